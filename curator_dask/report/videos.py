"""The source videos of a report, each with its clips in the order of time."""

from __future__ import annotations

import math
import posixpath
from collections import defaultdict
from itertools import groupby
from typing import Any, Final

from curator_dask.report.pairs import number
from curator_dask.report.run_output import RunOutput, joined

MOST_SOURCES: Final = 2_000
MOST_CLIPS: Final = 20_000
"""Clips of all the videos that are shown."""
MOST_TWINS: Final = 20


def sources(output: RunOutput) -> tuple[list[dict[str, Any]], int]:
    """The videos, those with a clip that does not stay first; and how many of them are left out."""
    videos = output.videos
    ordered = sorted(
        zip(videos.index, videos["clips"], videos["changed"], strict=True), key=lambda one: (not one[2], one[0])
    )
    chosen: list[str] = []
    room = MOST_CLIPS
    for name, size, _ in ordered[:MOST_SOURCES]:
        room -= int(size)
        if room < 0 and chosen:
            break
        chosen.append(name)
    shown = joined([one[one["source"].isin(chosen)] for one in output.clips()]).sort_values(["source", "start_s", "id"])
    rows = {name: list(some) for name, some in groupby(shown.to_dict("records"), lambda row: row["source"])}
    twins = _twins(output, set(shown["id"]))
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


def _twins(output: RunOutput, shown: set[str]) -> dict[str, list[str]]:
    """The clips that each of the shown clips shows again, or that show it."""
    found: dict[str, list[tuple[Any, str]]] = defaultdict(list)
    for removed in output.removed():
        columns = (removed[name] for name in ("id", "kept_id", "kept_ids", "cluster"))
        for name, kept_id, kept_ids, cluster in zip(*columns, strict=True):
            several = [str(one) for one in kept_ids] if kept_ids is not None and len(kept_ids) else [kept_id]
            place = (cluster if cluster == cluster else math.inf, name)
            for kept in several:
                if name in shown and isinstance(kept, str):
                    found[name].append((place, kept))
                if kept in shown:
                    found[kept].append((place, name))
    return {name: [twin for _, twin in sorted(some, key=lambda one: one[0])] for name, some in found.items()}
