"""Find the runs in which two lines show the same: where a copy begins and ends, at which offset.

Every eight seconds on a diagonal are judged by themselves, and every four by a stricter measure. Passing ones join to
runs; a gap between two is bridged, and the end of the lines reached, where the longer run passes too. Of runs that cover
the same seconds the longest is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.align.diagonal import Alignment, align, compare, motion_about
from curator_dask.dedup.align.judge import Thresholds, moves_alike
from curator_dask.dedup.align.line import Line

SEGMENT_ROWS = (7, 15)
"""Rows (whole seconds, every half second) that are judged by themselves: four and eight seconds; less than eight where the
lines lie over each other for less."""
LEAST_USABLE = 0.7
"""At least this share of the rows of a segment must be usable on both sides."""
LEAST_PIECE_ROWS = 3
PIECE_MOTION = 0.4
PIECE_PICTURE = 0.1
EDGE_ROWS = 3
EDGE_MOTION = 0.3
"""Three rows at the end of a run may have this much less motion than its best part."""
SHORT_RUN_ROWS = 30
OTHER_SCENE_MOTION = 0.4
OTHER_SCENE_ABOUT = 0.8
OTHER_SCENE_ENERGY = 0.05
"""In another scene of a short run something moves, and less alike than this; against the mean of the best part too."""
REACH = 8
"""Windows: gaps and ends of at most this length are bridged."""


@dataclass(frozen=True)
class Overlap:
    """A stretch of x and a stretch of y that show the same. Windows are those of the lines, [first, stop)."""

    first_x: int
    stop_x: int
    first_y: int
    stop_y: int
    offset: int
    """In quarter seconds: second t of x is second t - offset / 4 of y."""
    picture: float
    motion: float
    energy: float
    still: bool

    @property
    def num_windows(self) -> int:
        return min(self.stop_x - self.first_x, self.stop_y - self.first_y)


def find_moving(x: Line, y: Line, offsets: Iterable[int], thresholds: Thresholds) -> list[Overlap]:
    """The overlaps at the given offsets (quarter seconds) in which something moves, without those that a longer one covers."""
    found = [overlap for offset in sorted(set(offsets)) for overlap in _on_diagonal(x, y, offset, thresholds)]
    return best_of(found)


def still_overlap(place_x: tuple[int, int], place_y: tuple[int, int], likeness: float) -> Overlap:
    """The overlap of two still stretches, which begin and stop at these windows. Nothing tells their offset; their starts
    are matched."""
    return Overlap(*place_x, *place_y, 2 * (place_x[0] - place_y[0]), likeness, 0.0, 0.0, True)


def best_of(overlaps: Iterable[Overlap]) -> list[Overlap]:
    """The overlaps without those that lie half or more under a better one on both sides.

    The better one is longer and moves more alike. Beside the right offset the same run passes too, with less motion.
    """
    kept: list[Overlap] = []
    for one in sorted(overlaps, key=lambda one: (-one.num_windows * one.motion**2, one.offset, one.first_x)):
        if not any(_covers(other, one) for other in kept):
            kept.append(one)
    return sorted(kept, key=lambda one: (one.first_x, one.first_y, one.offset))


def _covers(better: Overlap, worse: Overlap) -> bool:
    shared_x = min(better.stop_x, worse.stop_x) - max(better.first_x, worse.first_x)
    shared_y = min(better.stop_y, worse.stop_y) - max(better.first_y, worse.first_y)
    return min(shared_x, shared_y) * 2 >= worse.num_windows


def _on_diagonal(x: Line, y: Line, offset: int, thresholds: Thresholds) -> Iterator[Overlap]:
    alignment = align(x, y, offset)
    passing = np.zeros(len(alignment), np.bool_)
    short, long = SEGMENT_ROWS
    for num_rows in (short, max(short, min(long, len(alignment)))):
        passing |= _passing_rows(alignment, num_rows, thresholds)
    runs = []
    for run in _joined(alignment, _runs_of(passing), thresholds):
        run = _one_scene(alignment, *_trimmed(alignment, *_extended(alignment, *run, thresholds), thresholds))
        if run[1] - run[0] >= SEGMENT_ROWS[0]:
            runs.append(_with_what_stands(alignment, *run, thresholds))
    for start, stop in _merged(runs):
        yield overlap_of(alignment, offset, start, stop)


def _merged(runs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Runs of one diagonal, in order, where those that meet are one.

    >>> _merged([(0, 50), (40, 60), (70, 80)])
    [(0, 60), (70, 80)]
    """
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(runs):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return merged


def _trimmed(alignment: Alignment, start: int, stop: int, thresholds: Thresholds) -> tuple[int, int]:
    """Cut rows off both ends that move neither as the best part of the run does nor alike by themselves.

    Eight seconds pass with two that are not shared, so a run that is made of them reaches too far. The best part is four
    seconds long: a shared intro may be no longer than six.
    """
    num_rows = min(stop - start, SEGMENT_ROWS[0])
    first = np.arange(start, stop - num_rows + 1)
    motion = compare(alignment, first, first + num_rows).motion
    core = int(first[np.argmax(motion)])
    edges = np.arange(start, stop - EDGE_ROWS + 1)
    about = motion_about(alignment, (core, core + num_rows), edges, edges + EDGE_ROWS)
    own = compare(alignment, edges, edges + EDGE_ROWS)
    by_itself = (own.motion >= motion.max() - EDGE_MOTION) & (own.energy >= thresholds.min_energy)
    in_core = (edges >= core) & (edges < core + num_rows)
    alike = np.flatnonzero((about >= motion.max() - EDGE_MOTION) | by_itself | in_core)
    first_alike, after_alike = int(edges[alike[0]]), int(edges[alike[-1]]) + EDGE_ROWS
    # The outer one of three rows at an end that was cut is mostly of what is not shared.
    return first_alike + int(first_alike > start), after_alike - int(after_alike < stop)


def _one_scene(alignment: Alignment, start: int, stop: int) -> tuple[int, int]:
    """Cut a short run where for two seconds and more nothing moves as its best four seconds do.

    Eight seconds pass of which five are shared and much moves: an intro, say, and what follows it in each video.
    """
    num_rows = SEGMENT_ROWS[0]
    if not num_rows < stop - start <= SHORT_RUN_ROWS:
        return start, stop
    first = np.arange(start, stop - num_rows + 1)
    core = int(first[np.argmax(compare(alignment, first, first + num_rows).motion)])
    edges = np.arange(start, stop - EDGE_ROWS + 1)
    apart = _moves_apart(alignment, (core, core + num_rows), edges)
    others = edges[:-2][apart[:-2] & apart[1:-1] & apart[2:]]
    before, after = others[others + 2 < core], others[others >= core + num_rows - EDGE_ROWS]
    # The three pieces from the row `other` on cover five rows, of which the nearest to the core may be shared in part.
    start = min(core, int(before[-1]) + EDGE_ROWS + 1) if len(before) else start
    stop = max(core + num_rows, int(after[0]) + 1) if len(after) else stop
    return start, stop


def _moves_apart(alignment: Alignment, core: tuple[int, int], edges: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(n,) whether something moves in the three rows from each edge on, and not alike.

    Both sides of another scene are unlike the core, so against its mean they look somewhat alike; against their own they do
    not.
    """
    about = motion_about(alignment, core, edges, edges + EDGE_ROWS)
    own = compare(alignment, edges, edges + EDGE_ROWS)
    moves = (own.energy >= OTHER_SCENE_ENERGY) & (own.num_rows == EDGE_ROWS)
    apart: NDArray[np.bool_] = moves & (own.motion < OTHER_SCENE_MOTION) & (about < OTHER_SCENE_ABOUT)
    return apart


def _passing_rows(alignment: Alignment, num_rows: int, thresholds: Thresholds) -> NDArray[np.bool_]:
    """(n,) the rows that lie in a passing segment of this length."""
    covered = np.zeros(len(alignment) + 1, np.int64)
    first = np.arange(len(alignment) - num_rows + 1)
    if len(first):
        likeness = compare(alignment, first, first + num_rows)
        passing = moves_alike(likeness, thresholds) & (likeness.num_rows >= num_rows * LEAST_USABLE)
        np.add.at(covered, first[passing], 1)
        np.add.at(covered, first[passing] + num_rows, -1)
    return np.cumsum(covered)[:-1] > 0


def _runs_of(passing: NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.diff(np.concatenate([[0], passing.astype(np.int8), [0]]))
    return list(zip(np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist(), strict=True))


def _joined(alignment: Alignment, runs: list[tuple[int, int]], thresholds: Thresholds) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, stop in runs:
        near = joined and start - joined[-1][1] <= REACH
        if near and _may_grow(alignment, (joined[-1][0], stop), (joined[-1][1], start), thresholds):
            joined[-1] = (joined[-1][0], stop)
        else:
            joined.append((start, stop))
    return joined


def _extended(alignment: Alignment, start: int, stop: int, thresholds: Thresholds) -> tuple[int, int]:
    """Reach the ends of the diagonal where they are near and the longer run passes too."""
    if 0 < start <= REACH and _may_grow(alignment, (0, stop), (0, start), thresholds):
        start = 0
    end = len(alignment)
    if 0 < end - stop <= REACH and _may_grow(alignment, (start, end), (stop, end), thresholds):
        stop = end
    return start, stop


def _with_what_stands(alignment: Alignment, start: int, stop: int, thresholds: Thresholds) -> tuple[int, int]:
    """Let a run reach over the rows at its ends in which nothing moves on both sides.

    A slide that comes up alike on both sides is the same until it goes: also where a logo covers a part of it.
    """
    before = np.arange(start - 1, -1, -1)
    stop += _num_standing(
        alignment, (start, stop), np.full(len(alignment) - stop, stop), np.arange(stop, len(alignment)) + 1, thresholds
    )
    start -= _num_standing(alignment, (start, stop), before, np.full(len(before), start), thresholds)
    return start, stop


def _num_standing(
    alignment: Alignment,
    run: tuple[int, int],
    first: NDArray[np.int64],
    after: NDArray[np.int64],
    thresholds: Thresholds,
) -> int:
    """How many rows beside a run stand: the longest of the pieces [first, after), which grow by one row each."""
    if not len(first):
        return 0
    ends = np.concatenate([[run[0]], first]), np.concatenate([[run[1]], after])
    likeness = compare(alignment, *ends)
    alike = likeness.picture[1:] >= likeness.picture[0] - PIECE_PICTURE
    stands = (likeness.energy[1:] < thresholds.min_energy) & alike & (likeness.num_rows[1:] > 0)
    return len(stands) if stands.all() else int(np.argmin(stands))


def _may_grow(alignment: Alignment, run: tuple[int, int], piece: tuple[int, int], thresholds: Thresholds) -> bool:
    """Whether a run passes with a piece that did not pass by itself, and nothing in the piece speaks against it.

    A long run would pass with a few seconds that are not shared. So where something moves in the piece, it has to move
    somewhat alike; where nothing does, or in less than two seconds, its pictures have to be as alike as those of the run.
    """
    likeness = compare(alignment, np.array([run[0], piece[0]]), np.array([run[1], piece[1]]))
    if not moves_alike(likeness, thresholds)[0]:
        return False
    if likeness.num_rows[1] == 0:
        return True
    if likeness.energy[1] >= thresholds.min_energy and likeness.num_rows[1] >= LEAST_PIECE_ROWS:
        return bool(likeness.motion[1] >= PIECE_MOTION)
    return bool(likeness.picture[1] >= likeness.picture[0] - PIECE_PICTURE)


def overlap_of(alignment: Alignment, offset: int, start: int, stop: int) -> Overlap:
    likeness = compare(alignment, np.array([start]), np.array([stop]))
    # A row is the second from one window on, so a run of n rows shows n + 1 windows.
    windows = stop - start + 1
    first_x, first_y = alignment.first_x + start, alignment.first_y + start
    picture, motion, energy = (float(value[0]) for value in (likeness.picture, likeness.motion, likeness.energy))
    return Overlap(first_x, first_x + windows, first_y, first_y + windows, offset, picture, motion, energy, False)
