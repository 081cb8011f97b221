"""The track of a clip against those of its copies: up to which strictness they match, when a copy begins later too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from curator_dask.dedup.align.line import ClipTrack, Line
from curator_dask.dedup.overlap_calibration import (
    MIN_COVER,
    SHIFTS_S,
    Level,
    level_of,
    line_of_clip,
    still_likeness,
)
from curator_dask.models.base import Frames
from curator_dask.stages.embed.clip_tracks import Embedder
from curator_dask.stages.embed.part_results import Embedded

if TYPE_CHECKING:
    from curator_dask.models.pdqf.track import Track

LEAST_S = 4.0
"""A copy that begins later is left out if it would be shorter."""
LEAST_USABLE = 0.5
"""Copies of which less than this share can be told apart are left out."""


@dataclass(frozen=True)
class CopyTracks:
    """How one edited copy matches its original by their tracks."""

    levels: list[tuple[float, Level]]
    """Seconds that it begins later, and the level; see `curator_dask.dedup.overlap_calibration`."""
    still: float | None
    """The likeness of its least alike still picture."""


def line_of_track(track: Track | None) -> Line | None:
    """The line of one clip; None without a track, or where too little of it can be told apart."""
    if track is None or track.usable.mean() < LEAST_USABLE:
        return None
    return line_of_clip(ClipTrack(0.0, track.windows, track.usable, track.stills, track.pictures))


def compare_tracks(clip: Line, embedder: Embedder, copy: Embedded, frames: Frames, frames_per_s: float) -> CopyTracks:
    """Compare a clip with a copy and the frames of the copy's track."""
    levels = []
    for shift_s, later in _later_tracks(embedder, copy, frames, frames_per_s):
        line = line_of_track(later)
        levels.append((shift_s, level_of(clip, line, MIN_COVER) if line else None))
    whole = line_of_track(copy.track)
    return CopyTracks(levels, still_likeness(clip, whole) if whole else None)


def _later_tracks(
    embedder: Embedder, copy: Embedded, frames: Frames, frames_per_s: float
) -> Iterator[tuple[float, Track | None]]:
    """How many seconds the copy begins later, and its track from there on."""
    for shift_s in SHIFTS_S:
        rest = frames[round(shift_s * frames_per_s) :]
        if not shift_s:
            yield shift_s, copy.track
        elif len(rest) >= LEAST_S * frames_per_s:
            yield shift_s, embedder.with_track(copy, rest).track
