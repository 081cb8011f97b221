"""The line of a source video: the tracks of its clips, laid out in half seconds of the source's own time.

A copy may be cut at other places than its original, so clips are not compared with clips: lines are compared with lines,
and what they share is then given to the clips that show it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WINDOW_S = 0.5
"""Seconds per window of a track."""
STILL = 0.012
"""A window stands still if it differs from the one before it by at most this share of its own length. Slides have up to
0.003, an empty street before a still camera 0.02 and more."""


@dataclass(frozen=True)
class ClipTrack:
    """The track of one clip, and where it lies in its source. See `curator_dask.models.pdqf.track.Track`."""

    start_s: float
    """Where the clip begins in its source."""
    windows: NDArray[np.int16]
    """(W, D)"""
    usable: NDArray[np.bool_]
    """(W,)"""
    stills: NDArray[np.int32]
    """(S, 2) first window, and window after the last."""
    pictures: NDArray[np.uint8]
    """(S, P)"""


@dataclass(frozen=True)
class Line:
    """The windows of one source video, one every half second."""

    windows: NDArray[np.int16]
    """(W, D); zeros where no clip has a usable window."""
    usable: NDArray[np.bool_]
    """(W,)"""
    still: NDArray[np.int32]
    """(W,) the still stretch that each window belongs to; -1: none."""
    pictures: NDArray[np.uint8]
    """(S, P) the mean picture of each still stretch."""

    def __len__(self) -> int:
        return len(self.windows)


@dataclass(frozen=True)
class Stretches:
    """The still stretches of several lines, N of them, in the order of lines."""

    line: NDArray[np.int64]
    first: NDArray[np.int64]
    """(N,) the first window of each in its line."""
    stop: NDArray[np.int64]
    """(N,) the window after the last."""
    pictures: NDArray[np.uint8]
    """(N, P)"""


def stretches_of(lines: Sequence[Line]) -> Stretches:
    """The still stretches of all lines. Those without a window, which a clip before them covers, are left out."""
    parts = [_places(line) for line in lines]
    table = np.concatenate([np.zeros((3, 0), np.int64), *parts], axis=1)
    pictures = [line.pictures[part[0]] for line, part in zip(lines, parts, strict=True) if part.shape[1]]
    line = np.repeat(np.arange(len(lines)), [part.shape[1] for part in parts])
    return Stretches(line, table[1], table[2], np.concatenate(pictures) if pictures else np.zeros((0, 0), np.uint8))


def _places(line: Line) -> NDArray[np.int64]:
    """(3, S) number, first window and window after the last of each still stretch of a line."""
    windows = np.flatnonzero(line.still >= 0)
    number, first = np.unique(line.still[windows], return_index=True)
    _, last = np.unique(line.still[windows][::-1], return_index=True)
    return np.stack([number.astype(np.int64), windows[first], windows[len(windows) - 1 - last] + 1])


def first_window(start_s: float) -> int:
    """The window of the source in which a clip begins that starts at this second: the nearest.

    >>> first_window(10.0), first_window(9.9), first_window(0.2)
    (20, 20, 0)
    """
    return int(np.floor(start_s / WINDOW_S + 0.5))


def lay_out(clips: Sequence[ClipTrack]) -> Line:
    """The line of a source from the tracks of its clips. Where clips overlap, the first of them counts."""
    ends = [first_window(clip.start_s) + len(clip.windows) for clip in clips]
    num_windows, dimension = max(ends, default=0), clips[0].windows.shape[1] if clips else 0
    windows = np.zeros((num_windows, dimension), np.int16)
    usable = np.zeros(num_windows, np.bool_)
    still = np.full(num_windows, -1, np.int32)
    num_stills = 0
    for clip, end in zip(clips, ends, strict=True):
        place = np.arange(end - len(clip.windows), end)
        new = clip.usable & ~usable[place]
        windows[place[new]] = clip.windows[new]
        still[place[new]] = _stretch_of_windows(clip, num_stills)[new]
        usable[place[new]] = True
        num_stills += len(clip.stills)
    pictures = [clip.pictures for clip in clips if len(clip.pictures)]
    grow_over_borders(still, stands_still(windows, usable))
    return Line(windows, usable, still, np.concatenate(pictures) if pictures else np.zeros((0, 0), np.uint8))


def stands_still(windows: NDArray[np.int16], usable: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(W - 1,) whether each window, from the second on, is near the one before it. Both have to be usable."""
    values = windows.astype(np.int64)
    change = (np.diff(values, axis=0) ** 2).sum(axis=1)
    length = (values[1:] ** 2).sum(axis=1)
    still: NDArray[np.bool_] = (change <= STILL**2 * length) & usable[1:] & usable[:-1]
    return still


def grow_over_borders(still: NDArray[np.int32], near: NDArray[np.bool_]) -> None:
    """Give windows without a stretch to the stretch beside them, in place, if they are near it.

    A slide that comes up a second before a clip ends is too short for a stretch of that clip, but the next clip goes on with it.

    >>> still = np.array([-1, -1, 0, 0, -1, -1], np.int32)
    >>> grow_over_borders(still, np.array([False, True, True, True, False]))
    >>> still.tolist()
    [-1, 0, 0, 0, 0, -1]
    """
    loose = np.flatnonzero((still[1:] < 0) & near)
    for before in loose.tolist():
        still[before + 1] = still[before]
    loose = np.flatnonzero((still[:-1] < 0) & near)
    for at in loose[::-1].tolist():
        still[at] = still[at + 1]


def _stretch_of_windows(clip: ClipTrack, first: int) -> NDArray[np.int32]:
    """(W,) the number of the still stretch of each window, counted from `first`; -1 for the others."""
    stretch = np.full(len(clip.windows), -1, np.int32)
    for number, (start, stop) in enumerate(clip.stills.tolist()):
        stretch[start:stop] = first + number
    return stretch
