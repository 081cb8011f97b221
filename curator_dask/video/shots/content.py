"""Find changes of shots by the content of the frames alone. No weights; arithmetic on small frames.

A hard cut lies between frames t - 1 and t where *every* one of the six frames before differs from *every* one of the
six after, and by much more than neighbours usually do there::

    before                after              a flash in frames t and t + 1: t - 1 and t + 2 are alike, so there is no cut
    t-6 ... t-2 t-1  |  t  t+1 ... t+5       a pan, a wild camera: neighbours differ as much as the two sides do
     \\_______36 pairs_______/

Two more things are no cut. Behind a flash in a scene that moves, the picture comes back a little changed: the sides then differ
far less than the flash differs from them. And where something in the picture moves at once, few cells of it change.

A fade is a run of frames that lose their contrast one after the other until a plain picture, or gain it from there. Its
frames belong to no shot. Dissolves, in which one shot shows through the other, are beyond this.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curator_dask.video.frames.pipe import Frames
from curator_dask.video.shots.shots import Marks

Floats = npt.NDArray[np.float32]

SIDE = 6
"""Frames that are compared on each side of a cut. A flash is shorter."""
SHORTEST_SHOT = 3
"""Of two cuts that are nearer, one counts."""
_LAGS = 2 * SIDE - 1
_NEIGHBOURS = 6
"""Frames on each side whose steps tell how much neighbours differ."""
LEAST_DIFFERENCE = 5.0
"""Mean difference of grey levels (0 to 255) below which nothing is a cut."""
LEAST_RETURN = 0.4
"""The sides of a cut differ by at least this share of the largest step around it. Behind a flash they differ by less."""
_FLASH = 5
"""Frames on each side in which that step is looked for."""
LEAST_SPREAD = 0.35
"""Share of the cells (3x3 pixels) that a cut changes by more than `CHANGED`; less is something that moves in the picture."""
CHANGED = 8.0
"""Mean difference of grey levels above which a cell has changed."""
STANDING = 0.2
"""Where no neighbours differ by more, the picture stands, as slides do. There any change is one of shots."""
_USUAL_NOISE = 1.5
"""Added to what neighbours differ by: a still picture would make everything a cut."""
PLAIN_CONTRAST = 3.0
"""Standard deviation of grey levels below which a picture is plain."""
_FADING = 0.97
"""A frame of a fade has at most this share of the contrast of the frame beside it, further from the plain picture."""
LONGEST_PLAIN_FRAMES = 75
"""A plain picture that stands longer is a shot."""


@dataclass(frozen=True, slots=True)
class ContentMeasures:
    """What is measured on the frames of a video."""

    differences: Floats
    """(11, N): how much frame t differs from frame t - 1, …, t - 11; infinite where there is none."""
    spread: Floats
    """(N,): the share of the cells that differ between frame t and frame t - 1; 0 for the first frame."""
    contrasts: Floats
    """(N,): standard deviation of the grey levels of each frame."""


class Measuring:
    """Measures frames that come in blocks, in order. Memory holds what was measured."""

    def __init__(self) -> None:
        self._before: Floats | None = None
        self._parts: list[tuple[Floats, Floats, Floats]] = []

    def passing(self, blocks: Iterable[Frames]) -> Iterator[Frames]:
        """Yield the blocks, each (N, 27, 48, 3) uint8, after they were measured."""
        for frames in blocks:
            self._add(frames)
            yield frames

    def _add(self, frames: Frames) -> None:
        """Measure a block. The frames before it may be those of the block before."""
        pooled = _pooled(frames)
        known = 0 if self._before is None else len(self._before)
        joined = pooled if self._before is None else np.concatenate([self._before, pooled])
        differences = np.stack([_differences(joined, lag)[known:] for lag in range(1, _LAGS + 1)])
        self._parts.append((differences, _spread(joined)[known:], _contrasts(frames)))
        self._before = joined[-_LAGS:]

    def measures(self) -> ContentMeasures:
        """What was measured so far."""
        if not self._parts:
            return ContentMeasures(np.empty((_LAGS, 0), np.float32), *np.empty((2, 0), np.float32))
        differences, spread, contrasts = zip(*self._parts, strict=True)
        return ContentMeasures(np.concatenate(differences, axis=1), np.concatenate(spread), np.concatenate(contrasts))


def measure(blocks: Iterable[Frames]) -> ContentMeasures:
    """Measure the frames, which come in blocks of (N, 27, 48, 3) uint8."""
    measuring = Measuring()
    for _ in measuring.passing(blocks):
        pass
    return measuring.measures()


def mark_content_changes(measures: ContentMeasures, threshold: float) -> Marks:
    """(N,) bool: the last frame before each hard cut, and all frames of fades.

    `threshold`: how many times as much the sides of a cut differ as neighbours do.
    """
    marks = _fades(measures)
    cuts = hard_cuts(measures, threshold)
    # A cut beside a fade would make it longer by a frame that shows nothing of it.
    marks[cuts - 1] = True
    return marks


def hard_cuts(measures: ContentMeasures, threshold: float) -> npt.NDArray[np.int64]:
    """The first frames behind hard cuts, ascending."""
    steps = measures.differences[0]
    across, scores = _least_across(measures.differences), cut_scores(measures)
    everywhere = (measures.spread >= LEAST_SPREAD) | _stands(steps)
    lasting = across >= LEAST_RETURN * _largest_steps(steps)
    found = np.flatnonzero((scores >= threshold) & (across >= LEAST_DIFFERENCE) & everywhere & lasting)
    kept = [t for t in found.tolist() if scores[t] >= scores[max(t - SHORTEST_SHOT, 0) : t + SHORTEST_SHOT + 1].max()]
    before = [-SHORTEST_SHOT, *kept]
    apart = [t for last, t in zip(before, kept, strict=False) if t - last >= SHORTEST_SHOT or t == kept[0]]
    return np.array([t for t in apart if 0 < t < len(steps)], dtype=np.int64)


def cut_scores(measures: ContentMeasures) -> Floats:
    """(N,) float32: how many times as much the sides of each frame differ as neighbours do there."""
    scores: Floats = _least_across(measures.differences) / _least_of_change(measures)
    return scores


def flashes(measures: ContentMeasures, threshold: float) -> Marks:
    """(N,) bool: frames around which the picture changes at once, by `threshold` times as much as usual, and comes back."""
    largest = _largest_steps(measures.differences[0])
    comes_back = _least_across(measures.differences) < LEAST_RETURN * largest
    return comes_back & (largest >= threshold * _least_of_change(measures))


def _least_of_change(measures: ContentMeasures) -> Floats:
    """(N,) what neighbours differ by around each frame, and a little more."""
    return _usual_steps(measures.differences[0]) + np.float32(_USUAL_NOISE)


def _pooled(frames: Frames) -> Floats:
    """(N, 432) float32: means of 3x3 pixels, per colour."""
    count, height, width, colours = frames.shape
    cells = frames.reshape(count, height // 3, 3, width // 3, 3, colours)
    pooled: Floats = cells.mean(axis=(2, 4), dtype=np.float32).reshape(count, -1)
    return pooled


def _differences(pooled: Floats, lag: int) -> Floats:
    different = np.full(len(pooled), np.inf, np.float32)
    different[lag:] = np.abs(pooled[lag:] - pooled[:-lag]).mean(axis=1)
    return different


def _spread(pooled: Floats) -> Floats:
    spread = np.zeros(len(pooled), np.float32)
    cells = np.abs(pooled[1:] - pooled[:-1]).reshape(len(pooled) - 1, pooled.shape[1] // 3, 3).mean(axis=2)
    spread[1:] = (cells > CHANGED).mean(axis=1)
    return spread


def _contrasts(frames: Frames) -> Floats:
    contrasts: Floats = frames.mean(axis=3, dtype=np.float32).std(axis=(1, 2))
    return contrasts


def _least_across(differences: Floats) -> Floats:
    """(N,): the least difference of the six frames before t from the six from t on; 0 for the first frame."""
    num_frames = differences.shape[1]
    least = np.full(num_frames, np.inf, np.float32)
    for after in range(SIDE):
        for lag in range(after + 1, after + SIDE + 1):
            least[: num_frames - after] = np.minimum(least[: num_frames - after], differences[lag - 1, after:])
    return np.where(np.isfinite(least), least, 0)


def _usual_steps(steps: Floats) -> Floats:
    """(N,): the median step of the frames around each, without its own."""
    padded = np.pad(np.where(np.isfinite(steps), steps, np.nan), _NEIGHBOURS, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * _NEIGHBOURS + 1).copy()
    windows[:, _NEIGHBOURS] = np.nan
    known = ~np.isnan(windows)
    ordered = np.sort(windows, axis=1)  # those not known come last
    middle = np.maximum(known.sum(axis=1) - 1, 0) // 2
    median = np.take_along_axis(ordered, middle[:, None], axis=1)[:, 0]
    steps_around: Floats = np.nan_to_num(median, nan=0.0)
    return steps_around


def _largest_steps(steps: Floats) -> Floats:
    """(N,): the largest step of the frames around each."""
    padded = np.pad(np.where(np.isfinite(steps), steps, 0), _FLASH)
    largest: Floats = np.lib.stride_tricks.sliding_window_view(padded, 2 * _FLASH + 1).max(axis=1)
    return largest


def _stands(steps: Floats) -> Marks:
    """(N,) whether none of the frames around differs from its neighbour, but for the step at t itself."""
    moves = np.pad((np.where(np.isfinite(steps), steps, 0) > STANDING).astype(np.int64), _NEIGHBOURS)
    around = np.lib.stride_tricks.sliding_window_view(moves, 2 * _NEIGHBOURS + 1)
    stands: Marks = around.sum(axis=1) - around[:, _NEIGHBOURS] == 0
    return stands


def _fades(measures: ContentMeasures) -> Marks:
    """(N,) bool: frames that fade to a plain picture or from it, and plain pictures between shots."""
    contrasts = measures.contrasts
    marks = np.zeros(len(contrasts), dtype=bool)
    edges = np.flatnonzero(np.diff(np.r_[False, contrasts < PLAIN_CONTRAST, False].astype(np.int8)))
    for first, after in edges.reshape(-1, 2).tolist():
        begin, end = _ramp(contrasts, first, -1), _ramp(contrasts, after - 1, 1)
        if _is_flash(measures.differences, begin, end):
            continue
        if after - first <= LONGEST_PLAIN_FRAMES and (begin < first or end >= after):
            marks[first:after] = True
        marks[begin:first] = True
        marks[after : end + 1] = True
    return marks


def _ramp(contrasts: Floats, plain: int, step: int) -> int:
    """The frame furthest from a plain one in one direction, up to which each has clearly more contrast than the one before.

    A ramp of less than three frames is a cut to the plain picture: then it is the plain frame itself.
    """
    frame = plain
    while 0 <= frame + step < len(contrasts) and contrasts[frame] <= _FADING * contrasts[frame + step]:
        frame += step
    return frame if abs(frame - plain) >= SHORTEST_SHOT else plain


def _is_flash(differences: Floats, begin: int, end: int) -> bool:
    """Whether the picture behind these frames is the one before them. Longer runs than a flash are not compared."""
    lag = end - begin + 2
    if lag > _LAGS or begin == 0 or end + 1 >= differences.shape[1]:
        return False
    return bool(differences[lag - 1, end + 1] < LEAST_RETURN * differences[0, begin : end + 2].max())
