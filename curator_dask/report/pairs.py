"""The pairs of a report: removed clips beside the kept ones, in groups, and the pairs nearest to the line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from curator_dask.report.run_output import KEPT, RunOutput

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
    removed = output.with_sources(output.removed.dropna(subset=["kept_id"]), "kept_id")
    sizes = removed["group"].value_counts().to_dict()
    heads = removed.sort_values("kept_id").drop_duplicates("group")
    first = dict(zip(heads["group"], heads["kept_id"], strict=True))
    ordered = sorted(sizes, key=lambda name: (-sizes[name], first[name]))
    listed = removed[removed["group"].isin(ordered[:most])].sort_values(["group", "kept_id", "id"])
    rows = groupby(listed.groupby("group").head(MOST_REMOVED).to_dict("records"), lambda row: row["group"])
    pairs = {name: [removed_clip(row) for row in some] for name, some in rows}
    return [_group(pairs[name], int(sizes[name])) for name in ordered[:most]], max(len(ordered) - most, 0)


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
    by_overlap = output.overlaps is not None and output.rule == "overlap"
    found = (
        _close_by_cover(output, output.overlaps)
        if by_overlap and output.overlaps is not None
        else _close_by_score(output)
    )
    return {
        "removed": [_pair(row) for row in output.with_sources(found[0], "other_id").to_dict("records")],
        "kept": [_pair(row) for row in output.with_sources(found[1], "other_id").to_dict("records")],
    }


def _close_by_score(output: RunOutput) -> tuple[pd.DataFrame, pd.DataFrame]:
    removed = output.removed[~output.removed["reason"].isin([OVERRIDE, COPY])]
    removed = removed.sort_values(["cosine_sim_score", "id"]).head(MOST_CLOSE)
    removed = removed.assign(other_id=removed["kept_id"].fillna(removed["max_id"]))
    scores = output.scores[output.scores["id"] != output.scores["max_id"]]
    stays = scores[scores["id"].map(output.clip_of["state"]) == KEPT]
    kept = stays.sort_values(["cosine_sim_score", "id"], ascending=[False, True]).head(MOST_CLOSE)
    return removed, kept.assign(other_id=kept["max_id"])


def _close_by_cover(output: RunOutput, overlaps: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    removed = output.removed.dropna(subset=["kept_id"]).sort_values(["cover", "kept_score", "id"]).head(MOST_CLOSE)
    removed = removed.assign(other_id=removed["kept_id"], strength=removed["kept_score"])
    state, clips = output.clip_of["state"], output.clip_of
    both = overlaps[(overlaps["id"].map(state) == KEPT) & (overlaps["other_id"].map(state) == KEPT)]
    length = both["id"].map(clips["end_s"] - clips["start_s"])
    strength = both["picture"].where(both["kind"] == "still", both["motion"])
    close = both.assign(cover=(both["end_s"] - both["start_s"]) / length, strength=strength)
    return removed, close.sort_values(["cover", "id", "other_id"], ascending=[False, True, True]).head(MOST_CLOSE)


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
