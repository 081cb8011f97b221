"""Scale embedding rows to unit length, and give a reason for every row where that is impossible."""

from __future__ import annotations

from typing import Final

import numpy as np

from curator_dask.dedup.arrays.xp import Array, array_module, block_rows, row_blocks
from curator_dask.errors import InputError

GOOD: Final = 0
NOT_FINITE: Final = 1
ZERO_LENGTH: Final = 2
REASONS: Final = {NOT_FINITE: "not-finite", ZERO_LENGTH: "zero-length"}
"""Words for the codes that ``normalise`` gives to bad rows."""
NEARLY: Final = 2.0**-20
"""The squared length of a row that counts as a unit row may be off from one by so much."""
ROUNDING: Final = 2.0**-52
"""Per number of a row. Two float64 sums of the squares of a unit row, each in any order, are at most so far apart."""
WIDEST_SQUARED: Final = 4
"""Bytes of a number: the squares of floats this wide neither overflow nor vanish in float64."""


def normalise(X: Array, *, in_place: bool = False) -> tuple[Array, Array]:
    """Scale every row to Euclidean length one. Rows that have it, but for the rounding of float32, keep their numbers.

    >>> unit, reason = normalise(np.array([[3.0, 4.0], [np.nan, 1.0], [0.0, 0.0], [0.0, 1e300]]))
    >>> unit.round(2).tolist() == np.float32([[0.6, 0.8], [0, 0], [0, 0], [0, 1]]).tolist(), reason.tolist()
    (True, [0, 1, 2, 0])

    Args:
        X: (N, D) half, float or double, NumPy or CuPy.
        in_place: the unit rows may take the place of X, where it is float32 and C-contiguous: no second matrix is made.

    Returns:
        ``(unit, reason)``: (N, D) float32, C-contiguous, and (N,) uint8, of the same array module. ``reason`` is
        ``GOOD`` (0), ``NOT_FINITE`` (a NaN or an infinity in the row) or ``ZERO_LENGTH``; rows with a reason are
        all zeros in ``unit``. The length is taken in float64. Rows of doubles are divided by their largest component before,
        so that rows near either end of the range of floats neither overflow nor vanish.

    Raises:
        InputError: ``X`` is not a matrix of floats.
    """
    if X.ndim != 2 or X.shape[1] == 0 or X.dtype.kind != "f":
        raise InputError(f"embeddings must be a matrix (rows, dimensions) of floats, got {X.dtype} of shape {X.shape}")
    xp = array_module(X)
    unit = X if in_place and X.dtype == np.float32 and X.flags.c_contiguous else xp.empty(X.shape, dtype=np.float32)
    reason = xp.empty(X.shape[0], dtype=np.uint8)
    for rows in row_blocks(
        X.shape[0], block_rows(X, 32 * X.shape[1])
    ):  # a block and what is made of it stay in the cache
        unit[rows], reason[rows] = _normalise_block(X[rows])
    return unit, reason


def _normalise_block(block: Array) -> tuple[Array, Array]:
    xp = array_module(block)
    # NumPy warns when a signalling NaN or a long double is narrowed; such rows get their reason below.
    with np.errstate(invalid="ignore", over="ignore"):
        wide = block.astype(np.float64)
        kept = _are_unit(wide)
        if kept.all():
            return block.astype(np.float32, copy=False), xp.full(len(block), GOOD, np.uint8)
        unit, reason = _scaled(block, wide)
        unit[kept] = block[kept]
    return unit, reason


def _are_unit(wide: Array) -> Array:
    """(n,), which rows (n, D) float64 have the length one but for rounding.

    On the host BLAS adds up, in an order that depends on the processor. Near the line NumPy does, in the same order everywhere.
    """
    if array_module(wide) is not np:
        return abs((wide * wide).sum(axis=1) - 1.0) <= NEARLY
    off = np.abs(np.vecdot(wide, wide) - 1.0)
    unsure = np.abs(off - NEARLY) <= (wide.shape[1] + 16) * ROUNDING
    if unsure.any():
        off[unsure] = np.abs((wide[unsure] ** 2).sum(axis=1) - 1.0)
    near: Array = off <= NEARLY
    return near


def _scaled(block: Array, wide: Array) -> tuple[Array, Array]:
    """The rows and their reasons; `wide` are the rows in float64, which are lost."""
    xp = array_module(block)
    with np.errstate(invalid="ignore", over="ignore"):
        if block.dtype.itemsize > WIDEST_SQUARED:
            _shorten(wide)
        length = xp.sqrt((wide * wide).sum(axis=1))
    finite = xp.isfinite(length)
    if not finite.all():
        wide[~finite] = 0.0
    good = finite & (length > 0)
    wide *= (1.0 / xp.where(good, length, 1.0))[:, None]
    reason = xp.where(finite, xp.where(good, GOOD, ZERO_LENGTH), NOT_FINITE).astype(np.uint8)
    return wide.astype(np.float32), reason


def _shorten(wide: Array) -> None:
    """Divide every row (n, D) by its largest component, in place, unless that is zero or not finite."""
    xp = array_module(wide)
    largest = xp.maximum(wide.max(axis=1), -wide.min(axis=1))  # of a row with a NaN it is NaN
    # A division: the inverse of a subnormal number would be infinite.
    wide /= xp.where(xp.isfinite(largest) & (largest > 0), largest, 1.0)[:, None]
