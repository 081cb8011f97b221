"""Compare still pictures: the same slide, or one with other words?

Two pictures of 32x32 grey levels are compared in every block of 4x4 that shows something in one of them: the correlation of
their grey levels. An encoder, more light or a border leaves it at .97 and more in each block; another word on a slide lowers
it to .85 and less in one. The block that is least alike decides. All sums are whole numbers, so their order does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SIDE = 32
BLOCK = 4
STEP = 2
NOTABLE = 0.3
"""Blocks with less than this share of the contrast of the strongest block show too little to be compared."""


def least_likeness(x: NDArray[np.uint8], y: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(A, B) the correlation in the block that is least alike, of each of x (A, 1024) and each of y (B, 1024).

    Plain pictures are like no other: -1.
    """
    result = np.full((len(x), len(y)), -1.0)
    blocks_x, blocks_y = _blocks(x), _blocks(y)
    for row in range(len(x)):
        result[row] = _least(blocks_x, row, blocks_y)
    return result


@dataclass(frozen=True)
class _Blocks:
    levels: NDArray[np.float64]
    """(N, blocks, 16) grey levels less the block's mean, times 16."""
    contrast: NDArray[np.float64]
    """(N, blocks) the length of each."""
    shows: NDArray[np.bool_]
    """(N, blocks) whether the block is notable."""


def _blocks(pictures: NDArray[np.uint8]) -> _Blocks:
    square = pictures.reshape(len(pictures), SIDE, SIDE).astype(np.float64)
    windows = np.lib.stride_tricks.sliding_window_view(square, (BLOCK, BLOCK), axis=(1, 2))[:, ::STEP, ::STEP]
    levels = windows.reshape(len(pictures), -1, BLOCK**2)
    levels = levels * BLOCK**2 - levels.sum(axis=2, keepdims=True)
    contrast = np.sqrt((levels**2).sum(axis=2))
    strongest = contrast.max(axis=1, initial=0.0, keepdims=True)
    return _Blocks(levels, contrast, (contrast >= NOTABLE * strongest) & (strongest > 0))


def _least(x: _Blocks, row: int, y: _Blocks) -> NDArray[np.float64]:
    product = (x.levels[row] * y.levels).sum(axis=2)
    lengths = x.contrast[row] * y.contrast
    likeness = np.divide(product, lengths, out=np.zeros_like(product), where=lengths > 0)
    compared = x.shows[row] | y.shows
    least: NDArray[np.float64] = np.where(compared, likeness, 1.0).min(axis=1, initial=1.0)
    return np.where(x.shows[row].any() & y.shows.any(axis=1), least, -1.0)
