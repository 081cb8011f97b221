"""What the pictures of a clip are like, in eight numbers: motion, brightness, black, frozen and plain frames, sharpness, bars.

They come from frames of 64x64 pixels at 15 per second, so they cost next to nothing where these frames pass anyway.
Frames become grey levels first, in whole numbers, so the result is the same on every machine. All but the black frames
and the bars are measured in the picture without its black bars.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

Frames: TypeAlias = npt.NDArray[np.uint8]
Numbers: TypeAlias = npt.NDArray[np.float64]

WHITE: Final = 255
DARK_LEVEL: Final = 25
"""A pixel of a black frame has at most this grey level, a tenth of white."""
DARK_PERCENT: Final = 98
"""At least so many percent of a black frame are dark. These two numbers are those of ffmpeg's ``blackdetect``."""
BAR_LEVEL: Final = 16
"""No pixel of a black bar is ever brighter."""
STILL_CHANGE: Final = 0.001
"""A frame that differs from the one before by at most this shows the same picture, as in ffmpeg's ``freezedetect``."""
SHORTEST_FREEZE: Final = 15
"""Frames after the first: a picture is frozen if it stands for a second. A shorter clip has to stand as a whole."""
PLAIN_CONTRAST: Final = 0.02
"""The grey levels of a plain frame have at most this standard deviation, as a share of white."""
SHARPNESS_STEP: Final = 3
"""Sharpness is measured in every third frame."""
DECIMALS: Final = 6


@dataclass(frozen=True, slots=True)
class Quality:
    """What the pictures of one clip are like. All numbers are shares from 0 to 1, but sharpness, which goes to 4."""

    motion_mean: float
    """How much each frame differs from the one 1/15 s before: the mean change of a pixel as a share of white."""
    motion_p90: float
    """The same for the livelier moments: nine tenths of the frames differ by at most this."""
    luminance: float
    """Mean brightness; 0 is black, 1 is white."""
    black_share: float
    """Share of the frames that are black: 98 % of their pixels have at most a tenth of the brightness of white."""
    frozen_share: float
    """Share of the frames that lie in a stretch of a second or more in which the picture does not change."""
    plain_share: float
    """Share of the frames that show next to nothing: the standard deviation of their brightness is at most 0.02."""
    sharpness: float
    """How sharp edges are: the root of the mean square of the Laplacian, as a share of white."""
    bars_share: float
    """Share of the picture's area that black bars at its edges take in all frames."""


COLUMNS: Final = tuple(field.name for field in fields(Quality))
"""The names of the columns, in order."""


def measure(frames: Frames) -> Quality:
    """The quality of a clip from its (T, H, W, 3) uint8 RGB frames, T >= 1, at 15 per second.

    A still picture between bars that take a quarter of its height:

    >>> frames = np.zeros((30, 8, 8, 3), np.uint8)
    >>> frames[:, 1:7] = np.arange(40, 200, 20, dtype=np.uint8)[None, None, :, None]
    >>> quality = measure(frames)
    >>> quality.bars_share, quality.frozen_share, quality.motion_mean, quality.black_share
    (0.25, 1.0, 0.0, 0.0)
    """
    grey = grey_levels(frames)
    black = black_frames(grey)
    inner = grey if black.all() else without_black_bars(grey)
    change = changes(inner)
    values = (
        change.mean() if len(change) else 0.0,
        np.quantile(change, 0.9) if len(change) else 0.0,
        inner.mean(dtype=np.float64) / WHITE,
        black.mean(),
        frozen_frames(change).mean(),
        (contrasts(inner) <= PLAIN_CONTRAST).mean(),
        sharpness(inner[::SHARPNESS_STEP]),
        1 - inner[0].size / grey[0].size,
    )
    return Quality(*(round(float(value), DECIMALS) for value in values))


def grey_levels(frames: Frames) -> Frames:
    """(T, H, W) uint8 luminance of (T, H, W, 3) RGB frames: 0.299 R + 0.587 G + 0.114 B in 256ths, rounded down."""
    red, green, blue = (frames[..., channel].astype(np.uint16) for channel in range(3))
    grey = red * 77
    grey += green * 150
    grey += blue * 29
    return (grey >> 8).astype(np.uint8)


def black_frames(grey: Frames) -> npt.NDArray[np.bool_]:
    """(T,) the frames that are black."""
    dark = np.count_nonzero(grey <= DARK_LEVEL, axis=(1, 2))
    black: npt.NDArray[np.bool_] = dark * 100 >= DARK_PERCENT * grey[0].size
    return black


def without_black_bars(grey: Frames) -> Frames:
    """The pictures without the lines and columns at their edges that are dark in all frames."""
    bright = grey.max(axis=0) > BAR_LEVEL
    if not bright.any():
        return grey
    rows, columns = (np.flatnonzero(bright.any(axis=axis)) for axis in (1, 0))
    if rows[0] == columns[0] == 0 and (rows[-1] + 1, columns[-1] + 1) == bright.shape:
        return grey
    return np.ascontiguousarray(grey[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


def changes(grey: Frames) -> Numbers:
    """(T - 1,) the mean difference of each frame from the one before, as a share of white."""
    before, after = grey[:-1], grey[1:]
    difference = np.maximum(before, after)
    difference -= np.minimum(before, after)
    sums: npt.NDArray[np.int64] = difference.reshape(len(difference), grey[0].size).sum(axis=1, dtype=np.int64)
    shares: Numbers = sums / (grey[0].size * WHITE)
    return shares


def frozen_frames(change: Numbers) -> npt.NDArray[np.bool_]:
    """(T,) the frames of stretches in which the picture stands for a second, or for the whole of a shorter clip.

    >>> frozen_frames(np.array([0.1] + [0] * 15 + [0.1])).astype(int).tolist()
    [0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0]
    """
    still = np.zeros(len(change) + 2, np.int8)
    still[1:-1] = change <= STILL_CHANGE
    edges = np.diff(still)
    first, after = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    long = after - first >= min(SHORTEST_FREEZE, len(change))
    frozen = np.zeros(len(change) + 1, np.bool_)
    for start, stop in zip(first[long].tolist(), after[long].tolist(), strict=True):
        frozen[start : stop + 1] = True
    return frozen if len(change) else ~frozen


def contrasts(grey: Frames) -> Numbers:
    """(T,) the standard deviation of each frame, as a share of white."""
    size = grey[0].size
    flat = grey.reshape(len(grey), size).astype(np.int32)
    squares = np.einsum("ij,ij->i", flat, flat, dtype=np.int64, casting="safe")
    spread: Any = np.sqrt(size * squares - flat.sum(axis=1, dtype=np.int64) ** 2)
    deviation: Numbers = spread / (size * WHITE)
    return deviation


def sharpness(grey: Frames) -> float:
    """The root of the mean square of the Laplacian (four neighbours), as a share of white; 0 for less than 3x3 pixels."""
    if min(grey.shape[1:]) < 3:
        return 0.0
    levels = grey.astype(np.int16)
    edges = 4 * levels[:, 1:-1, 1:-1]
    edges -= levels[:, :-2, 1:-1] + levels[:, 2:, 1:-1]
    edges -= levels[:, 1:-1, :-2] + levels[:, 1:-1, 2:]
    squares = np.square(edges, dtype=np.int32).sum(dtype=np.int64)
    return float(np.sqrt(squares / edges.size) / WHITE)
