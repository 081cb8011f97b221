"""Build ``report.json``: all that the page shows, and all that tests compare."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, Final

from curator_dask.files.names import counted
from curator_dask.report.numbers import cluster_sizes, removed_by, shares_of, sums_per_state, sweep
from curator_dask.report.pairs import MOST_GROUPS, borderline, groups, ids_of_pairs, number
from curator_dask.report.quality import dropped_lines, quality_histograms
from curator_dask.report.run_output import DROPPED, FAILED, KEPT, PLAIN, REMOVED, RunOutput
from curator_dask.report.videos import sources

SCHEMA_VERSION: Final = 1
MOST_EXAMPLES, MOST_PLAIN_IDS, MOST_PLAIN_LINES = 5, 20, 200
FEW, MANY = 0.02, 0.6
"""Shares of removed clips that are not ordinary for footage from the web, where 20 to 40 % go."""

Json = dict[str, Any]


def build_report(output: RunOutput, *, most_groups: int = MOST_GROUPS) -> Json:
    """The whole report, ready for JSON. Clips have no previews yet: `with_previews` names those that are there."""
    shown, groups_left_out = groups(output, most_groups)
    close = borderline(output)
    videos, sources_left_out = sources(output)
    seconds, num_bytes = sums_per_state(output)
    plain, dropped = _plain(output), dropped_lines(output)
    named = [*_ids_of_groups(shown), *ids_of_pairs((*close["removed"], *close["kept"]))]
    named += [name for line in (*plain, *dropped) for name in line["ids"]]
    named += [clip["id"] for video in videos for clip in video["clips"]]
    return {
        "schema_version": SCHEMA_VERSION,
        "name": output.name,
        **_decided_by(output),
        "totals": totals(output),
        "seconds": seconds,
        "bytes": num_bytes,
        "orphans": output.record.get("stages", {}).get("identify", {}).get("orphans"),
        "removed_by": removed_by(output),
        "warnings": list(_warnings(output)),
        "sweep": sweep(output),
        "sweep_rule": "pairwise",
        "scores": shares_of(rows["cosine_sim_score"] for rows in output.scores()),
        "overlaps": _overlaps(output),
        "clusters": cluster_sizes(output),
        "groups": shown,
        "groups_left_out": groups_left_out,
        "borderline": close,
        "sources": videos,
        "sources_left_out": sources_left_out,
        "failures": _failures(output.failures),
        "plain": plain,
        "dropped": dropped,
        "quality": quality_histograms(output),
        "clips": _clips(output, named),
    }


def with_previews(report: Json, previews: Mapping[str, str]) -> Json:
    """The report with the paths of the previews that are there, by the id of the clip."""
    clips = {name: {**clip, "preview": previews.get(name)} for name, clip in report["clips"].items()}
    return {**report, "clips": clips}


def totals(output: RunOutput) -> Json:
    """The clips by their state, and the line that a run ends with."""
    counts, num_open = Counter[str](), 0
    waiting = {one.get("clip_id") for one in output.failures if one.get("open")}
    for clips in output.clips():
        counts.update(clips["state"])
        num_open += int((clips["id"].isin(waiting) & (clips["state"] == FAILED)).sum())
    held = {state: counts[state] for state in (KEPT, REMOVED, DROPPED, PLAIN, FAILED)}
    plain = f" + {held[DROPPED]} dropped" if held[DROPPED] else ""
    plain += f" + {held[PLAIN]} plain" if held[PLAIN] else ""
    left = f" + {num_open} open" if num_open else ""
    held[FAILED] -= num_open
    line = f"{counts.total()} clips = {held[KEPT]} kept + {held[REMOVED]} removed{plain} + {held[FAILED]} failed{left}"
    if not held[DROPPED]:
        del held[DROPPED]
    return {"clips": counts.total(), **held, **({"open": num_open} if num_open else {}), "line": line}


def _decided_by(output: RunOutput) -> Json:
    names = ("min_cover", "strictness", "scope")
    model = output.record.get("parameters", {}).get("embed", {}).get("model", {}).get("model")
    return {"rule": output.rule, "eps": output.eps, **{name: output.parameter(name) for name in names}, "model": model}


def unusual_share(held: Json) -> str | None:
    """What there is to say of the share that was removed, from the totals; None where it is ordinary, or clips are few."""
    compared = held["kept"] + held["removed"]
    share = held["removed"] / compared if compared else 0.0
    if compared < 100 or FEW <= share <= MANY:
        return None
    return f"{share:.1%} of the clips were removed; on footage from the web, 20 to 40 % is ordinary."


def _warnings(output: RunOutput) -> Iterator[str]:
    unusual = unusual_share(totals(output))
    if unusual:
        yield unusual
    num_expected, missing = _files_missing(output)
    if missing:
        yield f"{missing:,} of {counted(num_expected, 'clips')} cannot be played or shown in pictures: their files are not here."
    lost = Counter[str]()
    for removed in output.removed():
        lost.update(removed[removed["same_source"].astype(bool)]["source"].dropna())
    sizes = output.videos["clips"].to_dict() if lost else {}
    emptied = sorted(str(name) for name, count in lost.items() if 2 * count > sizes[name])
    if emptied:
        videos = "1 video loses" if len(emptied) == 1 else f"{len(emptied):,} videos lose"
        yield f"{videos} over half of the clips to clips of the same video, for example {emptied[0]}."


def _files_missing(output: RunOutput) -> tuple[int, int]:
    """How many clips should have a file, and how many of them have none."""
    num_expected = num_there = 0
    for clips in output.clips():
        expected = clips[clips["width"].notna() & clips["state"].isin([KEPT, REMOVED])]
        num_expected += len(expected)
        num_there += int(expected["has_file"].fillna(value=False).astype(bool).sum())
    return num_expected, num_expected - num_there


def _overlaps(output: RunOutput) -> Json | None:
    overlaps = output.overlaps
    if overlaps is None:
        return None
    return {name: shares_of(rows[name] for rows in overlaps()) for name in ("picture", "motion")}


def _ids_of_groups(shown: Iterable[Json]) -> list[str]:
    return [name for group in shown for name in (*group["kept"], *(pair["id"] for pair in group["removed"]))]


def _failures(failures: list[Json]) -> list[Json]:
    def key(one: Json) -> tuple[str, str]:
        return str(one.get("stage")), str(one.get("reason"))

    lines = []
    for (stage, reason), some in groupby(sorted(failures, key=key), key):
        members = list(some)
        examples = [
            {name: one.get(name) for name in ("source", "clip_id", "message")} for one in members[:MOST_EXAMPLES]
        ]
        lines.append({"stage": stage, "reason": reason, "number": len(members), "examples": examples})
    return lines


def _plain(output: RunOutput) -> list[Json]:
    parts = output.plain.sort_values(["source", "reason", "id"]).groupby(["source", "reason"], sort=True)
    lines = [
        {"source": source, "reason": reason, "number": len(part), "ids": part["id"].head(MOST_PLAIN_IDS).tolist()}
        for (source, reason), part in parts
    ]
    return sorted(lines, key=lambda line: (-int(line["number"]), line["source"]))[:MOST_PLAIN_LINES]


def _clips(output: RunOutput, named: Iterable[str]) -> Json:
    """What is known of the named clips, in the order in which they are named first."""
    wanted = list(dict.fromkeys(named))
    rows = output.clips_named(set(wanted)).reindex(wanted)
    return {
        name: {
            "source": row.source if isinstance(row.source, str) else "",
            "start_s": number(row.start_s),
            "end_s": number(row.end_s),
            "width": _whole(row.width),
            "height": _whole(row.height),
            "bytes": _whole(row.num_bytes),
            "clip": f"../clips/{name}.mp4" if row.has_file is True or row.has_file == 1 else None,
            "preview": None,
        }
        for name, row in zip(wanted, rows.itertuples(), strict=True)
    }


def _whole(value: Any) -> int | None:
    return None if value is None or value != value else int(value)
