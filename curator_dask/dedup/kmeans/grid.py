"""Rows and centres on a grid where products are exact: float32 with the same bits for any BLAS, threads and cut of the rows."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

ROW_BITS: Final = 12
"""Numbers of rows are rounded to multiples of 2**-12."""
AT_GRID: Final = np.float32(1.5 * 2.0 ** (23 - ROW_BITS))
CENTRE_BITS: Final = 11
LONGEST: Final = 1.75
"""Centres are scaled by a power of two to be at most this long on their grid, so that sums stay below 2**24 of its steps."""

Rows = NDArray[np.float32]


class OnGrid(NamedTuple):
    """Centres on their grid."""

    centres: Rows
    """(k, D)"""
    half_sq_norms: Rows
    """(k,), subtracted from the product with a row: the rest is largest where the centre is nearest."""
    step: float
    """The distance of two neighbours on the grid."""


def centres_on_grid(C: Rows) -> OnGrid:
    """The centres (k, D), of any length."""
    wide = C.astype(np.float64)
    longest = math.sqrt(float((wide * wide).sum(axis=1).max()))
    bits = CENTRE_BITS - (math.ceil(math.log2(longest / LONGEST)) if longest > 0 else 0)
    grid = 2.0 ** min(bits, 100)
    wide = np.rint(wide * grid) / grid
    return OnGrid(wide.astype(np.float32), (0.5 * (wide * wide).sum(axis=1)).astype(np.float32), 1 / grid)


def rows_on_grid(X: Rows) -> Rows:
    """The rows (N, D), each number between -1 and 1.

    >>> rows_on_grid(np.float32([[0.8, -0.6]])).tolist() == [[round(0.8 * 4096) / 4096, round(-0.6 * 4096) / 4096]]
    True
    """
    # Between 2**11 and 2**12 the step of float32 is that of the grid, so the sum is rounded to it: two quick passes.
    rounded: Rows = X + AT_GRID
    rounded -= AT_GRID
    return rounded
