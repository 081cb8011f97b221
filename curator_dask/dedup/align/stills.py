"""Compare still pictures: the same slide, or one with other words?

Two pictures of 32x32 grey levels are compared in every block of 4x4 that shows something in one of them: the correlation of
their grey levels. An encoder, more light or a border leaves it at .97 and more in each block; another word on a slide lowers
it to .85 and less in one. The block that is least alike decides. All sums are whole numbers, so their order does not matter.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.arrays.xp import row_blocks

SIDE = 32
BLOCK = 4
STEP = 2
NOTABLE = 0.3
"""Blocks with less than this share of the contrast of the strongest block show too little to be compared."""
BOUND_MARGIN = 0.001
"""A float32 product is off by far less than this."""
BOUND_ROWS = 1024
PAIRS_AT_ONCE = 512


@dataclass(frozen=True)
class PairsAlike:
    """Pairs of pictures that are alike, S of them, in order."""

    i: NDArray[np.int64]
    j: NDArray[np.int64]
    likeness: NDArray[np.float64]
    """The correlation in the block that is least alike."""


def pairs_alike(x: NDArray[np.uint8], y: NDArray[np.uint8], least: float) -> PairsAlike:
    """The pairs of a picture of x (A, 1024) and one of y (B, 1024) with a likeness of at least `least`. Plain pictures are
    like no other.

    Where the correlations of all blocks are at least `least`, their mean is too. So one product, over blocks that lie side
    by side, rules out most pairs.
    """
    parts = [np.zeros((3, 0))]
    if len(x) and len(y):
        blocks_x, blocks_y = _blocks(x), _blocks(y)
        for i, j in _near_on_average(blocks_x, blocks_y, least):
            found = np.stack([i, j, _least(blocks_x, i, blocks_y, j)])
            parts.append(found[:, found[2] >= least])
    i, j, likeness = np.concatenate(parts, axis=1)
    return PairsAlike(i.astype(np.int64), j.astype(np.int64), likeness)


@dataclass(frozen=True)
class _Blocks:
    levels: NDArray[np.float64]
    """(N, blocks, 16) grey levels less the block's mean, times 16."""
    contrast: NDArray[np.float64]
    """(N, blocks) the length of each."""
    shows: NDArray[np.bool_]
    """(N, blocks) whether the block is notable."""
    strongest: NDArray[np.float64]
    """(N,) the largest contrast; 0 for plain pictures."""


def _blocks(pictures: NDArray[np.uint8]) -> _Blocks:
    square = pictures.reshape(len(pictures), SIDE, SIDE).astype(np.float64)
    windows = np.lib.stride_tricks.sliding_window_view(square, (BLOCK, BLOCK), axis=(1, 2))[:, ::STEP, ::STEP]
    levels = windows.reshape(len(pictures), -1, BLOCK**2)
    levels = levels * BLOCK**2 - levels.sum(axis=2, keepdims=True)
    contrast = np.sqrt((levels**2).sum(axis=2))
    strongest = contrast.max(axis=1, initial=0.0, keepdims=True)
    return _Blocks(levels, contrast, (contrast >= NOTABLE * strongest) & (strongest > 0), strongest[:, 0])


def _near_on_average(x: _Blocks, y: _Blocks, least: float) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Pairs that the means of their blocks' correlations do not rule out, some hundred at a time, in order."""
    (notable_x, all_x, count_x), (notable_y, all_y, count_y) = _side_by_side(x), _side_by_side(y)
    for rows in row_blocks(len(all_x), BOUND_ROWS):
        near = notable_x[rows] @ all_y.T >= (count_x[rows] * np.float32(least - BOUND_MARGIN))[:, None]
        near &= all_x[rows] @ notable_y.T >= (count_y * np.float32(least - BOUND_MARGIN))[None]
        near &= (x.strongest[rows] > 0)[:, None] & (y.strongest > 0)
        i, j = np.nonzero(near)
        for some in row_blocks(len(i), PAIRS_AT_ONCE):
            yield i[some] + rows.start, j[some]


def _side_by_side(pictures: _Blocks) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """The blocks that do not lie over each other, each of length 1: (N, D) the notable ones, (N, D) all, (N,) how many."""
    per_side = (SIDE - BLOCK) // STEP + 1
    chosen = np.arange(per_side**2).reshape(per_side, per_side)[:: BLOCK // STEP, :: BLOCK // STEP].ravel()
    contrast, shows = pictures.contrast[:, chosen, None], pictures.shows[:, chosen]
    unit = np.divide(
        pictures.levels[:, chosen], contrast, out=np.zeros_like(pictures.levels[:, chosen]), where=contrast > 0
    ).astype(np.float32)
    rows = len(unit), -1
    return (unit * shows[:, :, None]).reshape(rows), unit.reshape(rows), shows.sum(axis=1).astype(np.float32)


def _least(x: _Blocks, i: NDArray[np.int64], y: _Blocks, j: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n,) the correlation in the block that is least alike; -1 where a picture is plain."""
    product = (x.levels[i] * y.levels[j]).sum(axis=2)
    lengths = x.contrast[i] * y.contrast[j]
    likeness = np.divide(product, lengths, out=np.zeros_like(product), where=lengths > 0)
    shows_x, shows_y = x.shows[i], y.shows[j]
    least: NDArray[np.float64] = np.where(shows_x | shows_y, likeness, 1.0).min(axis=1, initial=1.0)
    return np.where(shows_x.any(axis=1) & shows_y.any(axis=1), least, -1.0)
