"""Tiles: some queries with some references, and all products of a tile.

Where each row is compared with those before it only, half of a tile on the diagonal does not count: little of it is multiplied.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.arrays.xp import Array, array_module, row_blocks
from curator_dask.dedup.similarity.candidates import FLOAT32, Precision, multiply_float64
from curator_dask.dedup.similarity.pairs import Side, round_to_steps

NOTHING: Final = -np.inf
DENSE: Final = 4  # with more candidates per piece, one float64 GEMM costs less than measuring pair by pair
STEP: Final = 128  # rows of a tile on the diagonal that are multiplied together
DEVICE_STEP: Final = 2048  # the same on a device: enough rows to fill it, few enough to skip most of the upper half


class Tile(NamedTuple):
    """Some references, the index of the first, and whether some queries must not meet some of them (`masked`)."""

    side: Side
    start: int
    masked: bool


def tiles_of(
    block: Side, references: Side, earlier_only: bool, tile_rows: int, *, apart: bool = True
) -> Iterator[Tile]:
    """The tiles of references that ``block`` is compared with, in order; only those on the diagonal need a mask.

    If they are to be `apart`, these hold the rows of the block itself, so that they are the product of a matrix with itself
    (`products`). Rows 3 and 4 of five, with `earlier_only` and 1 as `tile_rows`, so tiles of up to two references::

                references   0 1 | 2   | 3 4
        row 3                x x | x   |         x: compared
        row 4                x x | x   | x
                             no mask   | mask

    >>> from curator_dask.dedup.similarity.pairs import side
    >>> rows = side(np.eye(5, dtype=np.float32))
    >>> [(tile.side.positions.tolist(), tile.masked) for tile in tiles_of(rows[3:5], rows, True, 1)]
    [([0, 1], False), ([2], False), ([3, 4], True)]
    """
    free = stop = len(references.positions)
    if earlier_only:
        free = int(np.searchsorted(references.positions, block.positions[0]))
        stop = int(np.searchsorted(references.positions, block.positions[-1], side="right"))
    middle = free if apart else 0
    for columns in row_blocks(middle, 2 * tile_rows):
        yield Tile(references[columns], columns.start, False)
    for columns in row_blocks(stop - middle, 2 * tile_rows):
        start, end = middle + columns.start, middle + columns.stop
        yield Tile(references[start:end], start, end > free)


def products(
    block: Side, tile: Tile, dtype: type[np.floating], buffer: Array | None = None, precision: Precision = FLOAT32
) -> Array:
    """Dot products (rows of ``block`` x rows of ``tile``); -inf where the tile's row does not come earlier.

    They are written to ``buffer``, a vector of that type, if one is given: fresh memory for every tile would cost time.
    ``precision`` applies to float32 products only.
    """
    xp = array_module(block.rows)
    shape = block.rows.shape[0], tile.side.rows.shape[0]
    scores = xp.empty(shape, dtype=dtype) if buffer is None else buffer[: shape[0] * shape[1]].reshape(shape)
    left, right = block.rows.astype(dtype, copy=False), tile.side.rows.astype(dtype, copy=False)
    multiply = precision.multiply if dtype is np.float32 else multiply_float64
    if not tile.masked:
        return multiply(left, right, scores)
    if xp is np and _is_same(left, right):
        multiply(left, right, scores)  # NumPy sees that it is symmetric, and has BLAS multiply half of it
        scores += _earlier_only(shape[0])
        return scores
    # On the diagonal half of the tile is masked: it is multiplied in steps, each only as far as one of its rows needs.
    for part in row_blocks(shape[0], STEP if xp is np else DEVICE_STEP):
        places = block.positions[part]
        every, some = np.searchsorted(tile.side.positions, places[[0, -1]]).tolist()
        multiply(left[part], right[:some], scores[part, :some])
        scores[part, some:] = -np.inf
        mixed = scores[part, every:some]  # the only columns that are earlier than some rows and not than others
        mixed[xp.asarray(tile.side.positions[every:some])[None, :] >= xp.asarray(places)[:, None]] = -np.inf
    return scores


def _is_same(left: NDArray[Any], right: NDArray[Any]) -> bool:
    """Whether both are the same rows in memory."""
    return left.shape == right.shape and left.ctypes.data == right.ctypes.data


def _earlier_only(num_rows: int) -> NDArray[np.float32]:
    """(N, N), to be added: it leaves the products of a row with earlier rows, and makes all others -inf.

    To set them by a mask takes three times as long.
    """
    return _upper_half(1 << (num_rows - 1).bit_length())[:num_rows, :num_rows]


@functools.lru_cache(maxsize=4)
def _upper_half(num_rows: int) -> NDArray[np.float32]:
    upper: NDArray[np.float32] = np.where(np.tri(num_rows, k=-1, dtype=np.bool_), np.float32(0), np.float32(NOTHING))
    return upper


def exact_steps(block: Side, tile: Tile) -> Array:
    """Cosines from float64 dot products, in steps; -inf where the tile's row does not come earlier."""
    return round_to_steps(products(block, tile, np.float64), block.lengths[:, None] * tile.side.lengths)


def where(mask: Array) -> tuple[Array, Array]:
    """Rows and columns of the true elements; NumPy's ``nonzero`` of a matrix takes several times as long."""
    flat = array_module(mask).flatnonzero(mask)
    return flat // mask.shape[1], flat % mask.shape[1]
