"""Find changes of shots by the content of the frames alone. No weights; arithmetic on small frames.

A hard cut lies between frames t - 1 and t where *every* one of the six frames before differs from *every* one of the
six after, and by much more than neighbours usually do there::

    before                after              a flash in frames t and t + 1: t - 1 and t + 2 are alike, so there is no cut
    t-6 ... t-2 t-1  |  t  t+1 ... t+5       a pan, a wild camera: neighbours differ as much as the two sides do
     \\_______36 pairs_______/

Two more things are no cut. Behind a flash in a scene that moves, the picture comes back a little changed: the sides then differ
far less than the flash differs from them. And where something in the picture moves at once, few cells of it change.

A picture that stands, as slides do, is looked at more closely (`writing`). There a cut may change few cells, but
over much of the height. Where texture goes in places and comes in others besides, it is the next slide, and a small difference is
enough. A caption, a new line of a list or a pointer is neither.

Between two fast pans the sides differ little more than neighbours do. There neighbours are compared without the motion of the
camera too.

A fade is a run of frames that lose their contrast one after the other until a plain picture, or gain it from there, while the
picture stays. Its frames belong to no shot. A dull shot that only comes near to a plain picture is none, and neither is a change
most of which comes at once. Dissolves, in which one shot shows through the other, are beyond this.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curator_dask.video.frames.pipe import Frames
from curator_dask.video.shots.motion import steps_without_motion
from curator_dask.video.shots.shots import Marks
from curator_dask.video.shots.writing import compare_neighbours

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
LEAST_RETURN = 0.45
"""The sides of a cut differ by at least this share of the largest step around it. Behind a flash they differ by less."""
_ALIKE_BY_CHANCE = 3
"""So many of the 36 pairs may be more alike: beside a fast pan some frames are. Behind a flash more pairs are alike."""
_FLASH = 5
"""Frames on each side in which that step is looked for."""
LEAST_SPREAD = 0.35
"""Share of the cells (3x3 pixels) that a cut changes by more than `CHANGED`; less is something that moves in the picture."""
CHANGED = 8.0
"""Mean difference of grey levels above which a cell has changed."""
STANDING = 0.2
"""Where no neighbours differ by more, the picture stands, as slides do."""
MOVED = 1.0
"""Mean difference of grey levels above which something moves in a cell."""
MOST_MOVING = 0.12
"""A picture stands, too, where no more than this share of the cells moves: one who speaks beside slides."""
LEAST_HEIGHT = 0.36
"""There a cut may change fewer cells, but over this share of the height. A caption of three lines needs less."""
LEAST_EXCHANGE = 0.01
"""Share of the pixels whose texture comes, and of those whose texture goes, where the next page comes. A line only comes."""
LEAST_OF_PAGES = 1.0
"""As `LEAST_DIFFERENCE`, where the next page comes in a picture that stands: most of the ground is the same."""
MOST_WITHOUT_MOTION = np.float32(3.0)
"""How much higher the score of a cut may be without the motion of the camera."""
_USUAL_NOISE = 1.5
"""Added to what neighbours differ by: a still picture would make everything a cut."""
_NOISE_OF_PAGES = 0.3
"""Added where the next page comes in a picture that stands, which has been told from writing on it otherwise."""
PLAIN_CONTRAST = 3.0
"""Standard deviation of grey levels below which a picture is plain."""
_FADING = 0.97
"""A frame of a fade has at most this share of the contrast of the frame beside it, further from the plain picture."""
_NO_PICTURE = 1.0
"""Contrast below which nothing of a picture is left. A dull shot has more, and becomes a fade only by what is beside it."""
_FADED_CONTRAST = 6.0
"""A fade from a picture that is not quite plain leads to one with this contrast at least. A dull shot wavers by less."""
_MOST_AT_ONCE = 0.34
"""Share of the contrast of a fade that comes or goes from one frame to the next at most. A flash that dies away goes faster."""
_LIKENESS = 0.5
"""Frames of a fade correlate with those beside them, as the picture stays. Those of a pan to a wall do so less."""
LONGEST_PLAIN_FRAMES = 75
"""A plain picture that stands longer is a shot."""


@dataclass(frozen=True, slots=True)
class ContentMeasures:
    """What is measured on the frames of a video."""

    differences: Floats
    """(11, N): how much frame t differs from frame t - 1, …, t - 11; infinite where there is none."""
    spread: Floats
    """(N,): the share of the cells that differ between frame t and frame t - 1; 0 for the first frame."""
    moving: Floats
    """(N,): the share of the cells that differ by more than noise does; 0 for the first frame."""
    contrasts: Floats
    """(N,): standard deviation of the grey levels of each frame."""
    likeness: Floats
    """(N,): the correlation of frame t and frame t - 1, however bright they are; 1 where one of them is plain."""
    unmoved_steps: Floats
    """(N,): how much frame t differs from frame t - 1 without the motion of the camera (`motion`); infinite for the first."""
    heights: Floats
    """(N,): the share of the height that changed since frame t - 1 (`writing`) if that stood; else 0."""
    exchanges: Floats
    """(N,): the share of the pixels where texture came, or where it went, whichever is smaller; else 0."""


class Measuring:
    """Measures frames that come in blocks, in order. Memory holds what was measured."""

    def __init__(self) -> None:
        self._before: Floats | None = None
        self._last: Floats | None = None
        self._parts: list[tuple[Floats, ...]] = []

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
        differences = np.stack([_differences(joined, lag) for lag in range(1, _LAGS + 1)])
        spread, moving = _spreads(joined)
        of_grey = self._measure_grey(frames, _breaks_rest(differences[0], moving)[known:])
        self._parts.append((differences[:, known:], spread[known:], moving[known:], *of_grey))
        self._before = joined[-_LAGS:]

    def _measure_grey(self, frames: Frames, break_rest: Marks) -> tuple[Floats, ...]:
        """Contrasts, likeness, steps without motion, and what the frames of a block change in a picture that stood."""
        coming = frames.mean(axis=3, dtype=np.float32)
        grey = coming if self._last is None else np.concatenate([self._last, coming])
        known, self._last = len(grey) - len(coming), coming[-1:]
        contrasts: Floats = grey.std(axis=(1, 2))
        heights, exchanges = compare_neighbours(grey, np.r_[np.zeros(known, bool), break_rest])
        return (
            *(contrasts[known:], _likeness(grey, contrasts)[known:], steps_without_motion(grey)[known:]),
            *(heights[known:], exchanges[known:]),
        )

    def measures(self) -> ContentMeasures:
        """What was measured so far."""
        if not self._parts:
            return ContentMeasures(np.empty((_LAGS, 0), np.float32), *np.empty((7, 0), np.float32))
        return ContentMeasures(*(np.concatenate(parts, axis=-1) for parts in zip(*self._parts, strict=True)))


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
    across, scores = _least_across(measures.differences), cut_scores(measures)
    everywhere = (measures.spread >= LEAST_SPREAD) | (_stands(measures) & (measures.heights >= LEAST_HEIGHT))
    enough = across >= np.where(_pages(measures), LEAST_OF_PAGES, LEAST_DIFFERENCE)
    found = np.flatnonzero((scores >= threshold) & enough & everywhere & ~_comes_back(measures))
    kept = [t for t in found.tolist() if scores[t] >= scores[max(t - SHORTEST_SHOT, 0) : t + SHORTEST_SHOT + 1].max()]
    before = [-SHORTEST_SHOT, *kept]
    apart = [t for last, t in zip(before, kept, strict=False) if t - last >= SHORTEST_SHOT or t == kept[0]]
    return np.array([t for t in apart if 0 < t < len(across)], dtype=np.int64)


def cut_scores(measures: ContentMeasures) -> Floats:
    """(N,) float32: how many times as much the sides of each frame differ as neighbours do there.

    Where a camera pans, it counts too how many times as much the step to the frame is as all others around, without the motion:
    up to `MOST_WITHOUT_MOTION` times the score with it. The step to a flash is no such step, as the one behind it is large too.
    """
    scores: Floats = _least_across(measures.differences) / _least_of_change(measures)
    others = _largest_steps(measures.unmoved_steps, but_its_own=True)
    without_motion = measures.unmoved_steps / (others + np.float32(_USUAL_NOISE))
    either: Floats = np.maximum(scores, np.minimum(without_motion, MOST_WITHOUT_MOTION * scores))
    return either


def flashes(measures: ContentMeasures, threshold: float) -> Marks:
    """(N,) bool: frames around which the picture changes at once, by `threshold` times as much as usual, and comes back."""
    largest = _largest_steps(measures.differences[0])
    return _comes_back(measures) & (largest >= threshold * _least_of_change(measures))


def _comes_back(measures: ContentMeasures) -> Marks:
    """(N,) bool: frames around which the two sides differ far less than some neighbours do there."""
    across = _least_across(measures.differences, _ALIKE_BY_CHANCE)
    back: Marks = across < LEAST_RETURN * _largest_steps(measures.differences[0])
    return back


def _least_of_change(measures: ContentMeasures) -> Floats:
    """(N,) what neighbours differ by around each frame, and a little more."""
    noise = np.where(_pages(measures), _NOISE_OF_PAGES, _USUAL_NOISE).astype(np.float32)
    least: Floats = _usual_steps(measures.differences[0]) + noise
    return least


def _pages(measures: ContentMeasures) -> Marks:
    """(N,) whether a picture that stands becomes another page at each frame, and not only something is written on it."""
    return _stands(measures) & (measures.heights >= LEAST_HEIGHT) & (measures.exchanges >= LEAST_EXCHANGE)


def _breaks_rest(steps: Floats, moving: Floats) -> Marks:
    """(N,) whether each frame differs from the one before, which did not differ from the one before that."""
    breaks: Marks = np.isfinite(steps) & (steps >= LEAST_OF_PAGES)
    breaks[1:] &= _rests(steps, moving)[:-1]
    return breaks


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


def _spreads(pooled: Floats) -> tuple[Floats, Floats]:
    """Twice (N,): the share of the cells that change by more than `CHANGED`, and by more than `MOVED`; 0 for the first frame."""
    cells = np.abs(pooled[1:] - pooled[:-1]).reshape(len(pooled) - 1, pooled.shape[1] // 3, 3).mean(axis=2)
    both = np.zeros((2, len(pooled)), np.float32)
    both[:, 1:] = [(cells > least).mean(axis=1) for least in (CHANGED, MOVED)]
    return both[0], both[1]


def _rests(steps: Floats, moving: Floats) -> Marks:
    """(N,) whether each frame is as the one before, but for a small part of the picture; so is the first."""
    rests: Marks = (np.where(np.isfinite(steps), steps, 0) <= STANDING) | (moving <= MOST_MOVING)
    return rests


def _likeness(grey: Floats, contrasts: Floats) -> Floats:
    likeness = np.ones(len(grey), np.float32)
    centred = grey - grey.mean(axis=(1, 2), keepdims=True)
    products = contrasts[1:] * contrasts[:-1]
    shared = (centred[1:] * centred[:-1]).mean(axis=(1, 2)) / np.maximum(products, 1e-6)
    plain = np.minimum(contrasts[1:], contrasts[:-1]) < _NO_PICTURE
    likeness[1:] = np.where(plain, 1, shared)
    return likeness


def _least_across(differences: Floats, passed_over: int = 0) -> Floats:
    """(N,): the least difference of the six frames before t from the six from t on, but for some pairs that differ even less.

    Near the ends of the video, where there are fewer pairs, it is the largest of theirs at most; 0 for the first frame.
    """
    num_frames = differences.shape[1]
    least = np.full((passed_over + 1, num_frames), np.inf, np.float32)
    for after, before in np.ndindex(SIDE, SIDE):
        coming = np.full(num_frames, np.inf, np.float32)
        coming[: max(num_frames - after, 0)] = differences[after + before, after:]
        for row in least:
            row[:], coming = np.minimum(row, coming), np.maximum(row, coming)
    across: Floats = np.where(np.isfinite(least), least, 0).max(axis=0)
    return across


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


def _largest_steps(steps: Floats, *, but_its_own: bool = False) -> Floats:
    """(N,): the largest step of the frames around each, with or without its own."""
    padded = np.pad(np.where(np.isfinite(steps), steps, 0), _FLASH)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * _FLASH + 1)
    if but_its_own:
        windows = np.delete(windows, _FLASH, axis=1)
    largest: Floats = windows.max(axis=1)
    return largest


def _stands(measures: ContentMeasures) -> Marks:
    """(N,) whether all frames around rest, but for the step at t itself."""
    moves = np.pad((~_rests(measures.differences[0], measures.moving)).astype(np.int64), _NEIGHBOURS)
    around = np.lib.stride_tricks.sliding_window_view(moves, 2 * _NEIGHBOURS + 1)
    stands: Marks = around.sum(axis=1) - around[:, _NEIGHBOURS] == 0
    return stands


def _fades(measures: ContentMeasures) -> Marks:
    """(N,) bool: frames that fade to a plain picture or from it, and plain pictures between shots."""
    contrasts = measures.contrasts
    marks = np.zeros(len(contrasts), dtype=bool)
    edges = np.flatnonzero(np.diff(np.r_[False, contrasts < PLAIN_CONTRAST, False].astype(np.int8)))
    for first, after in edges.reshape(-1, 2).tolist():
        begin, end = _ramp(measures, first, -1), _ramp(measures, after - 1, 1)
        if not _is_plain(contrasts, begin, end) or _is_flash(measures.differences, begin, end):
            continue
        if after - first <= LONGEST_PLAIN_FRAMES and (begin < first or end >= after):
            marks[first:after] = True
        marks[begin:first] = True
        marks[after : end + 1] = True
    return marks


def _is_plain(contrasts: Floats, begin: int, end: int) -> bool:
    """Whether these frames reach a plain picture or come from one, and are no dull shot."""
    least, most = contrasts[begin : end + 1].min(), max(contrasts[begin], contrasts[end])
    return bool(least < _NO_PICTURE or most >= _FADED_CONTRAST)


def _ramp(measures: ContentMeasures, plain: int, step: int) -> int:
    """The frame furthest from a plain one in one direction, up to which each has clearly more contrast than the one before.

    A ramp of less than three frames is a cut to the plain picture: then it is the plain frame itself.
    """
    contrasts, frame = measures.contrasts, plain
    while 0 <= frame + step < len(contrasts) and contrasts[frame] <= _FADING * contrasts[frame + step]:
        if measures.likeness[max(frame, frame + step)] < _LIKENESS:
            break
        frame += step
    frame = _before_jump(contrasts, plain, frame)
    return frame if abs(frame - plain) >= SHORTEST_SHOT else plain


def _before_jump(contrasts: Floats, plain: int, furthest: int) -> int:
    """The frame up to which the contrast grows step by step. A cut from a dull shot to a like one makes most of it at once."""
    frames = np.arange(plain, furthest + 1) if furthest >= plain else np.arange(plain, furthest - 1, -1)
    rises = np.diff(contrasts[frames])
    jumps = np.flatnonzero(rises > _MOST_AT_ONCE * rises.sum())
    return int(frames[jumps[0]]) if len(jumps) else furthest


def _is_flash(differences: Floats, begin: int, end: int) -> bool:
    """Whether the picture behind these frames is the one before them. Longer runs than a flash are not compared."""
    lag = end - begin + 2
    if lag > _LAGS or begin == 0 or end + 1 >= differences.shape[1]:
        return False
    return bool(differences[lag - 1, end + 1] < LEAST_RETURN * differences[0, begin : end + 2].max())
