"""The track of a clip: what its picture shows every half second, small enough to lay thousands of hours over each other.

A vector says what a clip looks like as a whole. A track says what it shows when, so two clips can be compared at every
offset (see :mod:`curator_dask.dedup.align`). It comes from the frames that the default model sees, 64x64 at 15 per
second, with plain bars cut off:

1. Each frame gets its PDQF: the cosine transform of its luminance.
2. The 66 lowest frequencies are averaged over each half second, weighted so that fine detail counts too, and kept as
   whole numbers of 12 bits. They stay linear: what stands in the picture, such as a logo, adds the same to all windows
   and goes away with their mean.
3. Where the picture stands still for two seconds or more, such numbers cannot tell a slide from one with other words.
   There the mean picture itself is kept, as 32x32 grey levels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from curator_dask.dedup.align.line import stands_still
from curator_dask.models.pdqf import pdq

if TYPE_CHECKING:
    import torch

WINDOW_S = 0.5
FRAMES_PER_SECOND = 15
STEP = 3.0
"""The weighted numbers are kept as multiples of this. Lossy coding changes them by as much."""
LARGEST = 2047
LOWEST = 10
"""Frequencies whose row and column numbers (from 0) add up to at most this are kept: those that lossy copies keep too."""
PICTURE_SIDE = 32
SHORTEST_STILL = 4
"""Windows; shorter still stretches get no picture."""
MIN_QUALITY = 10
"""Windows of a lower PDQ quality are too plain to be told apart. A clip needs more to get a vector, as it stands for
itself; a window stands beside its neighbours, and dark scenes have 20 to 40."""
TRACK_VERSION = 1
"""Raise this number with any change to the tracks."""

_ROW_PLUS_COLUMN: npt.NDArray[np.int64] = np.add.outer(
    np.arange(pdq.NUM_FREQUENCIES), np.arange(pdq.NUM_FREQUENCIES)
).ravel()
FREQUENCIES: npt.NDArray[np.int64] = np.flatnonzero(_ROW_PLUS_COLUMN <= LOWEST)
"""The places of the kept frequencies among the 256 numbers of a PDQF."""
WEIGHTS: npt.NDArray[np.float64] = np.sqrt(_ROW_PLUS_COLUMN[FREQUENCIES] + 2.0)
"""The size of a natural picture's frequencies falls about as fast as their number grows; this weighs half against it."""
DIMENSION = len(FREQUENCIES)


@dataclass(frozen=True)
class Track:
    """What one clip shows, in windows of half a second from its first frame. The last window may be half full."""

    windows: npt.NDArray[np.int16]
    """(W, 66) weighted means of the lowest frequencies, in steps of 3, within -2047 and 2047."""
    usable: npt.NDArray[np.bool_]
    """(W,) whether the window's picture has enough texture to be matched."""
    stills: npt.NDArray[np.int32]
    """(S, 2) still stretches: the first window, and the window after the last."""
    pictures: npt.NDArray[np.uint8]
    """(S, 1024) the mean picture of each still stretch, 32x32 grey levels."""


def track_of_frames(descriptors: pdq.Descriptors, luma: torch.Tensor) -> Track:
    """The track of a clip of T frames at 15 per second.

    Args:
        descriptors: PDQF and quality of the T frames.
        luma: (T, 64, 64) float32 luminance, 0 to 255.
    """
    import torch

    window = window_of_frames(len(luma))
    low = descriptors.pdqf[:, torch.from_numpy(FREQUENCIES).to(luma.device)]
    weights = torch.from_numpy(WEIGHTS / STEP).to(luma.device)
    windows = _rounded(_means(low, window) * weights, -LARGEST, LARGEST).astype(np.int16)
    best = np.zeros(len(windows), np.int64)
    np.maximum.at(best, window, descriptors.quality.cpu().numpy())
    usable = (best >= MIN_QUALITY) & windows.any(axis=1)
    stills = still_stretches(windows, usable)
    return Track(windows, usable, stills, _pictures(luma, window, stills))


def window_of_frames(num_frames: int) -> npt.NDArray[np.int64]:
    """(T,) the window of each frame. A last window of less than a quarter second joins the one before it.

    >>> window_of_frames(20).tolist()
    [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2]
    >>> window_of_frames(17).tolist()
    [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1]
    """
    window = np.arange(num_frames) * 2 // FRAMES_PER_SECOND
    last = window == (window[-1] if num_frames else 0)
    if last.sum() < FRAMES_PER_SECOND // 4 and num_frames and window[-1] > 0:
        window[last] -= 1
    return window


def still_stretches(windows: npt.NDArray[np.int16], usable: npt.NDArray[np.bool_]) -> npt.NDArray[np.int32]:
    """(S, 2) the longest stretches of at least four usable windows in which each window is near the one before it."""
    joined = np.zeros(len(windows) + 1, np.bool_)
    joined[1:-1] = stands_still(windows, usable)
    edges = np.diff(joined.astype(np.int8))
    first, after = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) + 1
    long_enough = after - first >= SHORTEST_STILL
    return np.stack([first[long_enough], after[long_enough]], axis=1).astype(np.int32)


def _means(rows: torch.Tensor, window: npt.NDArray[np.int64]) -> torch.Tensor:
    """(W, D) float64 means of the rows of each window; exact, as the rows are whole multiples of a power of two."""
    import torch

    at = torch.from_numpy(window).to(rows.device)
    counts = torch.bincount(at)
    sums = torch.zeros(len(counts), rows.shape[1], dtype=torch.float64, device=rows.device)
    sums.index_add_(0, at, rows.double())
    return sums / counts[:, None]


def _pictures(
    luma: torch.Tensor, window: npt.NDArray[np.int64], stills: npt.NDArray[np.int32]
) -> npt.NDArray[np.uint8]:
    """(S, 1024) the mean picture of each still stretch."""
    import torch

    half = luma.shape[-1] // PICTURE_SIDE
    pictures = np.zeros((len(stills), PICTURE_SIDE**2), np.uint8)
    for row, (first, after) in enumerate(stills.tolist()):
        frames = luma[torch.from_numpy((window >= first) & (window < after)).to(luma.device)]
        # Grey levels in whole 256ths: their sum is exact in any order.
        levels = (frames.double() * 256).round().sum(dim=0).reshape(PICTURE_SIDE, half, PICTURE_SIDE, half)
        means = levels.sum(dim=(1, 3)) / (256 * half**2 * len(frames))
        pictures[row] = _rounded(means.flatten(), 0, 255).astype(np.uint8)
    return pictures


def _rounded(values: torch.Tensor, lowest: int, highest: int) -> npt.NDArray[np.float64]:
    rounded: npt.NDArray[np.float64] = values.round().clamp(lowest, highest).cpu().numpy()
    return rounded
