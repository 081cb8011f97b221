"""Find changes of shots by the content of the frames alone. No weights; arithmetic on small frames.

A hard cut lies between frames t - 1 and t where *every* one of the three frames before differs from *every* one of the
three after, and by much more than neighbours usually do there::

    before        after           a flash in frame t: t - 1 and t + 1 are alike, so there is no cut
    t-3 t-2 t-1 | t  t+1 t+2      a pan, a wild camera: neighbours differ as much as the two sides do
     \\______nine pairs____/

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

SIDE = 3
"""Frames that are compared on each side of a cut."""
_LAGS = 2 * SIDE - 1
_NEIGHBOURS = 6
"""Frames on each side whose steps tell how much neighbours differ."""
LEAST_DIFFERENCE = 5.0
"""Mean difference of grey levels (0 to 255) below which nothing is a cut."""
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
    """(5, N): how much frame t differs from frame t - 1, …, t - 5; infinite where there is none."""
    contrasts: Floats
    """(N,): standard deviation of the grey levels of each frame."""


def measure(blocks: Iterable[Frames]) -> ContentMeasures:
    """Measure the frames, which come in blocks of (N, 27, 48, 3) uint8."""
    parts = list(_measured(blocks))
    if not parts:
        return ContentMeasures(np.empty((_LAGS, 0), np.float32), np.empty(0, np.float32))
    differences, contrasts = zip(*parts, strict=True)
    return ContentMeasures(np.concatenate(differences, axis=1), np.concatenate(contrasts))


def mark_content_changes(measures: ContentMeasures, threshold: float) -> Marks:
    """(N,) bool: the last frame before each hard cut, and all frames of fades.

    `threshold`: how many times as much the sides of a cut differ as neighbours do.
    """
    marks = _fades(measures.contrasts)
    cuts = hard_cuts(measures.differences, threshold)
    # A cut beside a fade would make it longer by a frame that shows nothing of it.
    marks[cuts - 1] = True
    return marks


def hard_cuts(differences: Floats, threshold: float) -> npt.NDArray[np.int64]:
    """The first frames behind hard cuts, ascending."""
    num_frames = differences.shape[1]
    across = _least_across(differences)
    scores = across / (_usual_steps(differences[0]) + _USUAL_NOISE)
    found = np.flatnonzero((scores >= threshold) & (across >= LEAST_DIFFERENCE))
    kept = [t for t in found.tolist() if scores[t] >= scores[max(t - SIDE, 0) : t + SIDE + 1].max()]
    apart = [t for before, t in zip([-SIDE, *kept], kept, strict=False) if t - before >= SIDE or t == kept[0]]
    return np.array([t for t in apart if 0 < t < num_frames], dtype=np.int64)


def _measured(blocks: Iterable[Frames]) -> Iterator[tuple[Floats, Floats]]:
    """Per block, the differences to frames before, which may be those of the block before, and the contrasts."""
    before: Floats | None = None
    for frames in blocks:
        pooled = _pooled(frames)
        known = 0 if before is None else len(before)
        joined = pooled if before is None else np.concatenate([before, pooled])
        yield np.stack([_differences(joined, lag)[known:] for lag in range(1, _LAGS + 1)]), _contrasts(frames)
        before = joined[-_LAGS:]


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


def _contrasts(frames: Frames) -> Floats:
    contrasts: Floats = frames.mean(axis=3, dtype=np.float32).std(axis=(1, 2))
    return contrasts


def _least_across(differences: Floats) -> Floats:
    """(N,): the least difference of the three frames before t from the three from t on; 0 for the first frame."""
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


def _fades(contrasts: Floats) -> Marks:
    """(N,) bool: frames that fade to a plain picture or from it, and plain pictures between shots."""
    marks = np.zeros(len(contrasts), dtype=bool)
    edges = np.flatnonzero(np.diff(np.r_[False, contrasts < PLAIN_CONTRAST, False].astype(np.int8)))
    for first, after in edges.reshape(-1, 2).tolist():
        begin, end = _ramp(contrasts, first, -1), _ramp(contrasts, after - 1, 1)
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
    return frame if abs(frame - plain) >= SIDE else plain
