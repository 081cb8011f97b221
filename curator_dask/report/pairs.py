"""The pairs of a report: removed clips beside the kept ones, in groups, and the pairs nearest to the line."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from curator_dask.report.run_output import KEPT, Frames, RunOutput, first_rows

if TYPE_CHECKING:
    import pandas as pd

MOST_GROUPS: Final = 2_000
MOST_REMOVED: Final = 200
"""Removed clips that one group shows."""
MOST_CLOSE: Final = 50
OVERRIDE: Final = "override"
"""The reason of a clip that was removed by hand."""
COPY: Final = "copy"
"""The reason of a clip that was removed by the moments it shares, where similarity decided on the others."""

Json = dict[str, Any]


def groups(output: RunOutput, most: int = MOST_GROUPS) -> tuple[list[Json], int]:
    """The groups of duplicates, those with most removed clips first; and how many of them are left out.

    Clips that were removed by hand, and orphans, are in none: no kept clip is named for them.
    """
    number, best = 0, list[_Ranked]()
    for rows in output.groups():
        ranked = _ranked(rows, most)
        number += rows["group"].nunique()
        best = heapq.nsmallest(most, [*best, *ranked], key=lambda one: one[:2])
    return [
        _group(pairs, size) for size, _, pairs in ((-less, first, pairs) for less, first, pairs in best)
    ], number - len(best)


_Ranked = tuple[int, str, list[Json]]
"""A group: the number of its removed clips, negative; its first kept id; and as many of the removed clips as are shown."""


def _ranked(removed: pd.DataFrame, most: int) -> list[_Ranked]:
    """The groups with most removed clips among these, which are whole groups."""
    sizes = removed["group"].value_counts().to_dict()
    heads = removed.sort_values("kept_id").drop_duplicates("group")
    first = dict(zip(heads["group"], heads["kept_id"], strict=True))
    ordered = heapq.nsmallest(most, sizes, key=lambda name: (-sizes[name], first[name]))
    listed = removed[removed["group"].isin(ordered)].sort_values(["group", "kept_id", "id"])
    rows = groupby(listed.groupby("group").head(MOST_REMOVED).to_dict("records"), lambda row: row["group"])
    pairs = {name: [removed_clip(row) for row in some] for name, some in rows}
    return [(-int(sizes[name]), first[name], pairs[name]) for name in ordered]


def _group(pairs: list[Json], size: int) -> Json:
    """The kept clip that most of the removed ones name comes first."""
    named = Counter(pair["kept_id"] for pair in pairs)
    kept = {name for pair in pairs for name in (pair["kept_id"], *pair["kept_ids"])}
    ordered = sorted(kept, key=lambda name: (-named[name], name))
    return {"kept": ordered, "removed": pairs, "removed_left_out": size - len(pairs)}


def removed_clip(row: Mapping[Any, Any]) -> Json:
    """One removed clip as the report names it."""
    kept_ids = row.get("kept_ids")
    return {
        "id": row["id"],
        "kept_id": _text(row["kept_id"]),
        "kept_ids": [str(name) for name in kept_ids] if isinstance(kept_ids, list | np.ndarray) else [],
        "reason": row["reason"],
        "score": _score(row),
        "offset_s": number(row.get("offset_s")),
        "cover": number(row.get("cover")),
        "kind": _text(row.get("kind")),
        "same_source": bool(row["same_source"]),
    }


def borderline(output: RunOutput) -> dict[str, list[Json]]:
    """The removed clips that were nearest to staying, and the kept ones that were nearest to going."""
    if output.overlaps is not None and output.rule == "overlap":
        found = _close_by_cover(output, output.overlaps)
    else:
        found = _close_by_score(output)
    return {
        "removed": [_pair(row) for row in output.with_sources(found[0], "other_id").to_dict("records")],
        "kept": [_pair(row) for row in output.with_sources(found[1], "other_id").to_dict("records")],
    }


def _close_by_score(output: RunOutput) -> tuple[pd.DataFrame, pd.DataFrame]:
    decided = (one[~one["reason"].isin([OVERRIDE, COPY])] for one in output.removed())
    removed = first_rows(decided, ["cosine_sim_score", "id"], MOST_CLOSE)
    removed = removed.assign(other_id=removed["kept_id"].fillna(removed["max_id"]))
    stays = (one[(one["id"] != one["max_id"]) & (one["state"] == KEPT)] for one in output.scores())
    kept = first_rows(stays, ["cosine_sim_score", "id"], MOST_CLOSE, ascending=[False, True])
    return removed, kept.assign(other_id=kept["max_id"])


def _close_by_cover(output: RunOutput, overlaps: Frames) -> tuple[pd.DataFrame, pd.DataFrame]:
    covered = (one.dropna(subset=["kept_id"]) for one in output.removed())
    removed = first_rows(covered, ["cover", "kept_score", "id"], MOST_CLOSE)
    removed = removed.assign(other_id=removed["kept_id"], strength=removed["kept_score"])
    close = (_with_cover(one[(one["state"] == KEPT) & (one["other_state"] == KEPT)]) for one in overlaps())
    return removed, first_rows(close, ["cover", "id", "other_id"], MOST_CLOSE, ascending=[False, True, True])


def _with_cover(both: pd.DataFrame) -> pd.DataFrame:
    length = both["end_of_clip_s"] - both["start_of_clip_s"]
    strength = both["picture"].where(both["kind"] == "still", both["motion"])
    return both.assign(cover=(both["end_s"] - both["start_s"]) / length, strength=strength)


def _pair(row: Mapping[Any, Any]) -> Json:
    return {
        "id": row["id"],
        "other_id": row["other_id"],
        "score": _score(row),
        "offset_s": number(row.get("offset_s")),
        "cover": number(row.get("cover")),
        "kind": _text(row.get("kind")),
        "strength": number(row.get("strength")),
        "same_source": bool(row["same_source"]),
    }


def ids_of_pairs(found: Iterable[Mapping[str, Any]]) -> list[str]:
    """The clips that pairs name, in their order."""
    return [name for pair in found for name in (pair["id"], pair["other_id"]) if name]


def number(value: Any) -> float | None:
    """A number for JSON; None where it is not known.

    >>> number(float("nan")), number(np.float32(0.5))
    (None, 0.5)
    """
    return None if value is None or value != value else round(float(value), 6)


def _score(row: Mapping[Any, Any]) -> float | None:
    """The similarity of the two clips. The tables have that of the most similar clip only, which may be another one."""
    other = row["other_id"] if "other_id" in row else row["kept_id"]
    return number(row.get("cosine_sim_score")) if row.get("max_id") == other else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
