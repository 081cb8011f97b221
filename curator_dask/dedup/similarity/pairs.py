"""Rows on one side of a comparison, and the cosines of pairs of them, measured in float64.

A cosine is a whole number of steps of 2**-24 (what float32 holds from 0.5 up), so it depends on the two rows alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.arrays.xp import Array, array_module, block_rows, row_blocks, to_host

STEPS: Final = 2.0**24
"""Steps of a cosine from 0 to 1."""
PAIR_BYTES: Final = 64  # per dimension of a measured pair: small enough to keep NumPy's temporaries out of fresh memory
DEVICE_PAIR_BYTES: Final = 32  # the same on a device: the size of its temporaries


@dataclass(frozen=True, slots=True)
class Side:
    """Rows of one side of a comparison.

    Attributes:
        rows: (N, D) float32, unit rows.
        positions: (N,) int64 ascending, on the host: the place of each row in the ranking.
        lengths: (N,) float64, the rows' exact lengths (float32 rows are unit only to about 1e-7).
    """

    rows: Array
    positions: NDArray[np.int64]
    lengths: Array

    def __getitem__(self, part: slice | NDArray[np.int64]) -> Side:
        on_device = part if isinstance(part, slice) else array_module(self.rows).asarray(part)
        return Side(self.rows[on_device], self.positions[part], self.lengths[on_device])


def side(rows: Array | Side, positions: NDArray[np.int64] | None = None) -> Side:
    """A ``Side`` of ``rows``, at the places 0, 1, 2, … unless given. What is one already stays as it is."""
    if isinstance(rows, Side):
        return rows
    xp = array_module(rows)
    rows = xp.ascontiguousarray(rows, dtype=np.float32)
    lengths = xp.empty(rows.shape[0])
    for part in row_blocks(rows.shape[0], block_rows(rows, PAIR_BYTES * rows.shape[1])):
        wide = rows[part].astype(np.float64)
        wide *= wide
        lengths[part] = xp.sqrt(wide.sum(axis=1))
    lengths[lengths == 0] = 1.0
    return Side(rows, np.arange(rows.shape[0]) if positions is None else positions, lengths)


def measure_pairs(
    left: Side, right: Side, left_index: NDArray[np.int64], right_index: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Cosines of the pairs (left_index[p], right_index[p]) from float64 dot products, in steps, on the host."""
    steps = array_module(left.rows).empty(len(left_index))
    for part, i, j in _pair_blocks(left.rows, left_index, right_index):
        wide = left.rows[i].astype(np.float64)
        wide *= right.rows[j]
        steps[part] = round_to_steps(wide.sum(axis=1), left.lengths[i] * right.lengths[j])
    return to_host(steps)


def pair_products(
    left: Side, right: Side, left_index: NDArray[np.int64], right_index: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Float32 dot products of the pairs (left_index[p], right_index[p]), on the host."""
    xp = array_module(left.rows)
    dots = xp.empty(len(left_index), dtype=np.float32)
    for part, i, j in _pair_blocks(left.rows, left_index, right_index):
        one, other = left.rows[i], right.rows[j]
        dots[part] = np.vecdot(one, other) if xp is np else (one * other).sum(axis=1)
    return to_host(dots)


def _pair_blocks(
    rows: Array, left_index: NDArray[np.int64], right_index: NDArray[np.int64]
) -> Iterator[tuple[slice, Array, Array]]:
    """Blocks of pairs that fit the memory: the places of the pairs, and both indices on the rows' device."""
    xp = array_module(rows)
    i, j = xp.asarray(left_index), xp.asarray(right_index)
    pair_bytes = PAIR_BYTES if xp is np else DEVICE_PAIR_BYTES
    for part in row_blocks(len(left_index), block_rows(rows, pair_bytes * rows.shape[1])):
        yield part, i[part], j[part]


def round_to_steps(dots: Array, lengths: Array) -> Array:
    """``dots / lengths`` in whole steps of 2**-24, at most ``STEPS``; -inf stays. The result takes the place of ``dots``."""
    xp = array_module(dots)
    dots /= lengths
    dots *= STEPS
    xp.rint(dots, out=dots)
    return xp.minimum(dots, STEPS, out=dots)
