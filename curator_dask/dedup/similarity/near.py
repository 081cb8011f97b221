"""All pairs of rows within eps. On the host, most pairs are left out by a few numbers per row, and never multiplied whole.

A row is folded: its numbers get signs, and every `folds`-th of them is added to one sum, over the root of `folds`. So a row is
projected on a few orthogonal directions of length 1, which brings no two rows further apart. Two unit rows with a cosine
of at least ``1 - eps`` are at most ``sqrt(2 eps)`` apart; where their folds are further apart, they are no pair. Nothing
is lost by it. Unrelated rows of unit length are about ``sqrt(2 / folds)`` apart after folding. Where the rows are so much alike
that many pairs are left, they are multiplied whole as before.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.arrays.xp import Array, array_module, row_blocks, to_host
from curator_dask.dedup.similarity.candidates import rounding_bound
from curator_dask.dedup.similarity.pairs import STEPS, Side, measure_pairs
from curator_dask.dedup.similarity.threshold import check_eps, least_steps
from curator_dask.dedup.similarity.tiles import DENSE, Tile, exact_steps, products, tiles_of, where

MOST_FOLDS: Final = 8
LEAST_FOLDS: Final = 4
"""With fewer folds, looking through the products costs what they save."""
LEAST_WIDTH: Final = 16
"""Fewer sums than this leave too many pairs."""
CLEARANCE: Final = 4.0
"""How many times the squared distance of a pair at the line unrelated rows have on average, folded, if their cosine is 0.5."""
_SEED: Final = 19840117

NearPairs = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]
"""Rows, lower rows, and their cosines in steps of 2**-24, on the host."""


class Folded(NamedTuple):
    """N rows in few numbers, with two columns more, so that a product is minus half the squared distance."""

    left: Side
    right: Side
    least: np.float32
    """The least product of a pair within eps, less what rounding may take away."""


def folds_for(dim: int, eps: float) -> int:
    """How many numbers of a row are added to one; 1 where it does not pay.

    >>> folds_for(512, 0.01), folds_for(512, 0.03), folds_for(512, 0.1), folds_for(64, 0.01), folds_for(5, 0.01)
    (8, 4, 1, 4, 1)
    """
    check_eps(eps)
    folds = MOST_FOLDS
    while folds >= LEAST_FOLDS:
        if dim // folds >= LEAST_WIDTH and 2.0 * eps * folds * CLEARANCE <= 1.0:
            return folds
        folds //= 2
    return 1


def folded(whole: Side, eps: float) -> Folded | None:
    """The rows folded for an eps; None on a device, which is as fast without, and where it does not pay."""
    folds = folds_for(whole.rows.shape[1], eps)
    if folds == 1 or array_module(whole.rows) is not np:
        return None
    sums = _fold(whole, folds)
    halves = -0.5 * np.einsum("ij,ij->i", sums, sums, dtype=np.float64)[:, None]
    ones = np.ones_like(halves)
    left, right = (
        Side(np.concatenate([sums, *ends], axis=1, dtype=np.float32), whole.positions, whole.lengths)
        for ends in ((halves, ones), (ones, halves))
    )
    return Folded(left, right, least_product(sums.shape[1], folds, eps))


def _fold(whole: Side, folds: int) -> NDArray[np.float32]:
    """(N, D // folds) float32: the rows, brought to length 1, on orthogonal directions; the last few numbers may be left out."""
    num_rows, dim = whole.rows.shape
    width = dim // folds
    signs = np.random.default_rng(_SEED).integers(0, 2, width * folds) * 2 - 1
    factors = (signs / math.sqrt(folds)).astype(np.float32).reshape(folds, width)
    sums: NDArray[np.float32] = np.einsum(
        "nfw,fw->nw", whole.rows[:, : width * folds].reshape(num_rows, folds, width), factors
    )
    sums /= whole.lengths[:, None].astype(np.float32)
    return sums


def least_product(width: int, folds: int, eps: float) -> np.float32:
    """The least product that two folded rows within eps can have.

    Every sum is off by at most ``folds + 4`` roundings of 2**-24, relative to the numbers in it, so each folded row is off by as
    much. A product has ``width + 2`` terms, whose sizes add up to 2 at most.
    """
    rounding = 2.0**-24
    apart = math.sqrt(2.0 * eps + 2.0**-23) + 2 * (folds + 4) * rounding
    return np.float32(-0.5 * apart * apart - (2 * width + 16) * rounding)


def near_of(whole: Side, rows: NDArray[np.int64], eps: float, tile_rows: int) -> Iterator[NearPairs]:
    """All pairs of one of `rows` and a lower row of `whole` with a cosine of at least ``1 - eps``, tile by tile.

    Args:
        whole: N rows at the places 0, 1, 2, …
        rows: some of them, ascending, on the host.
    """
    few = folded(whole, eps)
    for part in row_blocks(len(rows), max(1, tile_rows // 2)):
        some = rows[part]
        block = whole[some]
        for tile in tiles_of(block, whole, True, tile_rows):
            found = None if few is None else _near_by_folds(block, tile, few, eps)
            if found is None:
                few = None  # these rows are too much alike
                found = near_in_tile(block, tile, eps)
            row, column, steps = found
            if len(row):
                yield some[row], tile.start + column, steps


def _near_by_folds(block: Side, tile: Tile, few: Folded, eps: float) -> NearPairs | None:
    """As `near_in_tile`; None where too many pairs are left after folding."""
    columns = slice(tile.start, tile.start + len(tile.side.positions))
    scores = products(few.left[block.positions], Tile(few.right[columns], tile.start, tile.masked), np.float32)
    row, column = where(scores >= few.least)
    return _measured(block, tile, row, column, eps) if len(row) <= DENSE * len(block.positions) else None


def near_in_tile(block: Side, tile: Tile, eps: float) -> NearPairs:
    """``(row, column, steps)`` of the pairs of a tile with a cosine of at least ``1 - eps``."""
    scores = products(block, tile, np.float32)
    row, column = where(scores >= np.float32(least_steps(eps) / STEPS) - rounding_bound(block.rows.shape[1]))
    if row.size > DENSE * len(block.positions):
        steps = exact_steps(block, tile)
        row, column = where(steps >= least_steps(eps))
        return to_host(row), to_host(column), to_host(steps[row, column])
    return _measured(block, tile, row, column, eps)


def _measured(block: Side, tile: Tile, row: Array, column: Array, eps: float) -> NearPairs:
    """The pairs among these that are within eps."""
    row, column = to_host(row), to_host(column)
    steps = measure_pairs(block, tile.side, row, column)
    near = steps >= least_steps(eps)
    return row[near], column[near], steps[near]
