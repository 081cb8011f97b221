"""The decisions of a run in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from curator_dask.files.names import counted


def decision_report(criterion: str, counts: Mapping[str, int]) -> str:
    """What decided (``eps 0.01``, say), the share kept, advice on orphans if there are any, and the recall if measured."""
    return "\n".join(_sentences(criterion, counts))


def _sentences(criterion: str, counts: Mapping[str, int]) -> Iterator[str]:
    rows = counts["rows"]
    if not rows:
        yield f"{criterion}: there are no rows to decide on"
        return
    groups = f", {counted(counts['groups'], 'groups')} of duplicates" if "groups" in counts else ""
    yield f"{_explained(criterion)}: {counts['kept']:,} of {rows:,} rows kept ({_share(counts['kept'], rows)}){groups}"
    if counts.get("dropped", 0) + counts.get("plain_dropped", 0):
        yield _dropped(counts)
    if counts["orphans"]:
        yield (
            f"{counted(counts['orphans'], 'orphans')} among the removed rows: rows without a kept row within eps, as in a "
            "chain of near-duplicates. --rule greedy removes no such rows"
        )
    if "recall_rows" in counts:
        found, pairs = counts["recall_pairs_found"], counts["recall_pairs"]
        if not pairs:
            yield f"recall: the {counts['recall_rows']:,} sampled rows have no duplicates"
            return
        yield (
            f"recall {_share(found, pairs)}: {found:,} of the {pairs:,} duplicate pairs of {counts['recall_rows']:,} "
            "sampled rows were found"
        )


def _explained(criterion: str) -> str:
    """What decided, with the similarity that an eps stands for."""
    name, _, value = criterion.partition(" ")
    return f"{criterion} (a similarity of {1 - float(value):.6g} or more)" if name == "eps" else criterion


def _dropped(counts: Mapping[str, int]) -> str:
    number = counts["dropped"] + counts["plain_dropped"]
    names = {"dropped_black": "black", "dropped_static": "static", "dropped_low_motion": "with little motion"}
    reasons = ", ".join(f"{counts[key]:,} {name}" for key, name in names.items() if counts.get(key))
    plain = f", {counts['plain_dropped']:,} of them plain" if counts["plain_dropped"] else ""
    return f"{counted(number, 'clips')} dropped by the filters: {reasons}{plain}"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}"
