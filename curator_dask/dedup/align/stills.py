"""Compare still pictures: the same slide, or one with other words?

Two pictures of 32x32 grey levels are scaled to mean 0 and deviation 1, so a brighter or paler copy is the same. Then their
difference is measured in each block of 4x4: another word changes one block by much, an encoder changes all by little.
The scaled pictures are rounded to 1024ths, so that the sums over a block are exact.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SIDE = 32
BLOCK = 4
STEPS = 1024


def worst_block(x: NDArray[np.uint8], y: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(A, B) the largest root-mean-square difference in a block, of each of x (A, 1024) and each of y (B, 1024).

    Plain pictures, which have no deviation, differ infinitely from all others.
    """
    result = np.empty((len(x), len(y)))
    blocks_y, deviations_y = _standard(y)
    for row, (block, deviation) in enumerate(zip(*_standard(x), strict=True)):
        squares = ((block[None] - blocks_y) ** 2).mean(axis=2).max(axis=1, initial=0.0)
        result[row] = np.where((deviations_y > 0) & (deviation > 0), np.sqrt(squares) / STEPS, np.inf)
    return result


def _standard(pictures: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(N, blocks, 16) pictures with mean 0 and deviation 1, and their (N,) deviations."""
    levels = pictures.astype(np.float64)
    total, squares = levels.sum(axis=1), (levels**2).sum(axis=1)
    size = pictures.shape[1]
    deviation = np.sqrt(size * squares - total**2) / size
    scaled = (size * levels - total[:, None]) / size / np.where(deviation > 0, deviation, 1.0)[:, None]
    scaled = np.rint(scaled * STEPS)
    per_side = SIDE // BLOCK
    blocks = scaled.reshape(-1, per_side, BLOCK, per_side, BLOCK).swapaxes(2, 3).reshape(len(pictures), -1, BLOCK**2)
    return blocks, deviation
