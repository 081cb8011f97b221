"""The track that a clip would have if its picture were mirrored, left for right: exactly, from its numbers alone.

The cosine wave of an odd number of half turns changes its sign when the picture is mirrored, and all others stay.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.align.line import ClipTrack, Line

Shown = TypeVar("Shown", ClipTrack, Line)


def mirrored(track: Shown) -> Shown:
    """The track of the mirrored clip, or the line of the mirrored video."""
    pictures = track.pictures
    if len(pictures):
        side = math.isqrt(pictures.shape[1])
        pictures = pictures.reshape(-1, side, side)[:, :, ::-1].reshape(pictures.shape)
    return replace(track, windows=track.windows * mirror_signs(track.windows.shape[1]), pictures=pictures)


def mirror_signs(dimension: int) -> NDArray[np.int16]:
    """(D,) -1 for the numbers that change their sign, else 1.

    The numbers are those whose frequencies, down and across, add up to at most a limit; row by row, and in each row by the
    frequency across, from 1 on.

    >>> mirror_signs(6).tolist()
    [-1, 1, -1, -1, 1, -1]
    """
    num_rows = (math.isqrt(8 * dimension + 1) - 1) // 2
    across = np.concatenate([np.zeros(0, np.int64), *(np.arange(1, num_rows + 1 - row) for row in range(num_rows))])
    if len(across) != dimension:
        raise ValueError(f"{dimension} numbers fill no triangle of frequencies")
    return np.where(across % 2 == 1, -1, 1).astype(np.int16)
