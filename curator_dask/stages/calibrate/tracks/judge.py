"""Judge the thresholds of the rule `overlap` by the tracks of the clips and what the workers noted of their copies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.beside_vectors.track_files import read_tracks
from curator_dask.dedup.align.line import Line
from curator_dask.dedup.overlap_calibration import (
    CopyLevel,
    OtherLevel,
    OverlapCalibration,
    calibrate_overlap,
    highest_still_likeness,
    line_of_clip,
    matching_pairs,
)
from curator_dask.files import layout
from curator_dask.runtime.state import StageState
from curator_dask.video.edits import EDITS

Pairs: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Positions of the clips of each pair, the earlier one first."""


def judge_overlap(
    state: StageState, clips: Sequence[Mapping[str, Any]], other_videos: Pairs, other_moments: Pairs
) -> OverlapCalibration | None:
    """The thresholds for these clips, and the numbers behind them; None if no copy has a track.

    Args:
        clips: what the workers found out about each clip.
        other_videos: pairs of clips of different videos.
        other_moments: pairs of clips that show other moments of one video.
    """
    copies = [copy for clip in clips for copy in _copies_of(clip)]
    if not copies:
        return None
    lines, place = _lines_of(state, clips)
    videos, moments = (_placed(pairs, place) for pairs in (other_videos, other_moments))
    same = set(moments)
    others = [
        OtherLevel(title(clips[place[i]]), title(clips[place[j]]), level, (i, j) in same)
        for i, j, level in matching_pairs(lines, [*videos, *moments])
    ]
    light = [edit.name for edit in EDITS if edit.kind == "light"]
    stills = np.array([clip["stills"][name] for clip in clips for name in light if name in clip["stills"]])
    highest = highest_still_likeness(lines, [*videos, *moments])
    return calibrate_overlap(copies, others, (len(videos), len(moments)), stills, highest)


def _copies_of(clip: Mapping[str, Any]) -> Iterator[CopyLevel]:
    for edit in EDITS:
        for shift_s, level in clip["levels"].get(edit.name, ()):
            yield CopyLevel(edit.name, edit.kind, shift_s, level)


def _lines_of(state: StageState, clips: Sequence[Mapping[str, Any]]) -> tuple[list[Line], list[int]]:
    """The lines of the clips that have tracks, and the position of the clip of each."""
    position = {clip["id"]: number for number, clip in enumerate(clips)}
    paths = sorted(path for record in state.records() for path in record.outputs if path.startswith(layout.TRACKS))
    rows = sorted((position[row.id], row) for row in read_tracks(state.folder, paths) if row.id in position)
    return [line_of_clip(row.track) for _, row in rows], [number for number, _ in rows]


def _placed(pairs: Pairs, place: Sequence[int]) -> list[tuple[int, int]]:
    """The pairs of clips that both have tracks, by the positions of their lines."""
    line = {clip: number for number, clip in enumerate(place)}
    both = zip(pairs[0].tolist(), pairs[1].tolist(), strict=True)
    return [(line[i], line[j]) for i, j in both if i in line and j in line]


def title(clip: Mapping[str, Any]) -> str:
    """What a report calls a clip."""
    return f"{clip['id']} ({clip['source']})"
