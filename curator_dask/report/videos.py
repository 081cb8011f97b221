"""The source videos of a report, each with its clips in the order of time."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from itertools import groupby
from typing import Any, Final

from curator_dask.report.pairs import number
from curator_dask.report.run_output import KEPT, RunOutput

MOST_SOURCES: Final = 2_000
MOST_CLIPS: Final = 20_000
"""Clips of all the videos that are shown."""
MOST_TWINS: Final = 20


def sources(output: RunOutput) -> tuple[list[dict[str, Any]], int]:
    """The videos, those with a clip that does not stay first; and how many of them are left out."""
    clips = output.clips.dropna(subset=["source"])
    changed = clips[clips["state"] != KEPT].groupby("source").size()
    sizes = clips.groupby("source").size()
    ordered = sorted(sizes.index, key=lambda name: (-int(changed.get(name, 0) > 0), str(name)))
    chosen: list[str] = []
    room = MOST_CLIPS
    for name in ordered[:MOST_SOURCES]:
        room -= int(sizes[name])
        if room < 0 and chosen:
            break
        chosen.append(name)
    shown = clips[clips["source"].isin(chosen)].sort_values(["source", "start_s", "id"])
    rows = {name: list(some) for name, some in groupby(shown.to_dict("records"), lambda row: row["source"])}
    twins = _twins(output)
    return [_source(name, rows[name], twins) for name in chosen], len(ordered) - len(chosen)


def _source(name: str, rows: list[dict[Any, Any]], twins: dict[str, list[str]]) -> dict[str, Any]:
    return {
        "source": name,
        "title": posixpath.basename(name.rstrip("/")) or name,
        "duration_s": number(max(row["end_s"] for row in rows)),
        "clips": [
            {
                "id": row["id"],
                "start_s": number(row["start_s"]),
                "end_s": number(row["end_s"]),
                "state": row["state"],
                "twins": twins.get(row["id"], [])[:MOST_TWINS],
            }
            for row in rows
        ],
    }


def _twins(output: RunOutput) -> dict[str, list[str]]:
    """The clips that each clip shows again, or that show it."""
    found: dict[str, list[str]] = defaultdict(list)
    removed = output.removed
    for name, kept_id, kept_ids in zip(removed["id"], removed["kept_id"], removed["kept_ids"], strict=True):
        several = [str(one) for one in kept_ids] if kept_ids is not None and len(kept_ids) else [kept_id]
        for kept in several:
            if isinstance(kept, str):
                found[name].append(kept)
                found[kept].append(name)
    return found
