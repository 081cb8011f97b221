"""Rows in numbers of one byte, and their products: about three times as quick as those of float32 numbers.

A product of such numbers is a sum of whole numbers, which float32 holds exactly for 1,040 numbers per row. So it is the
same on every machine, in whatever way it is computed: by ONNX Runtime where that is quicker, else in float32.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.arrays.quick_products import are_quick, multiply
from curator_dask.dedup.arrays.xp import Array, array_module, row_blocks

MOST: Final = 127
EXACT_NUMBERS: Final = 1024
"""Products of so many numbers stay below 2**24, where float32 is exact."""
LEAST_NUMBERS: Final = 16
"""Rows of fewer numbers are left to NumPy."""

SMALLEST: Final = np.float32(2.0**-100)
"""Rows of smaller numbers have steps of this size all the same: 127 divided by a smaller number may not be a number."""

ROUNDING: Final = 2.0**-24
"""float32 moves a number by at most this share of it."""

EVERY: Final = slice(None)


class OneByte(NamedTuple):
    """Rows as whole numbers of one byte, each row in steps of its own length."""

    numbers: Array
    """(n, D) int8, from -127 to 127."""
    steps: Array
    """(n,) float32, a row is about its numbers times its step."""
    errors: Array
    """(n,) float32, at least the distance of each row to its numbers times its step, and hardly more; its last bits depend on
    the machine. None where nobody asked for them."""

    def take(self, rows: Any) -> OneByte:
        """Some of the rows, which a slice or their numbers name."""
        return OneByte(self.numbers[rows], self.steps[rows], None if self.errors is None else self.errors[rows])


def to_one_byte(X: Array, *, with_errors: bool = True) -> OneByte:
    """The rows (n, D) float32, of NumPy or CuPy, in numbers of one byte: the largest number of each row is 127 or -127,
    unless all of them are smaller than `SMALLEST`.

    >>> rows = to_one_byte(np.float32([[1, -0.5], [0, 0.02]]))
    >>> rows.numbers.tolist()
    [[127, -64], [0, 127]]
    """
    xp = array_module(X)
    wide = xp.abs(X)
    largest = wide.max(axis=1) if X.shape[1] else xp.zeros(len(X), np.float32)
    largest = xp.maximum(largest, SMALLEST)
    steps = largest / np.float32(MOST)
    xp.multiply(X, (np.float32(MOST) / largest)[:, None], out=wide)
    whole = xp.rint(wide)
    numbers = whole.astype(np.int8)
    if not with_errors:
        return OneByte(numbers, steps, None)
    whole -= wide
    return OneByte(numbers, steps, _lengths_before_rounding(whole) * steps)


def _lengths_before_rounding(rows: Array) -> Array:
    """(n,), at least the lengths of what rows (n, D) of numbers between -1/2 and 1/2 were before float32 rounded them.

    A sum of D squares, in any order, is off by less than D + 1 roundings, its root by half as many. Each number is the
    difference of a whole number and a product of up to 127, which two roundings have moved by less than 2**-16.
    """
    xp, dim = array_module(rows), rows.shape[1]
    squares = np.vecdot(rows, rows) if xp is np else xp.einsum("ij,ij->i", rows, rows)
    return xp.sqrt(squares) * np.float32(1 + (dim + 16) * ROUNDING) + np.float32(dim**0.5 * 2.0**-16)


def exact_products(rows: Array, columns: Array) -> Array:
    """(n, k), float32 or float64: the exact products of rows (n, D) and columns (k, D), one-byte numbers held as float32, of
    NumPy or CuPy."""
    dim = rows.shape[1]
    if dim <= EXACT_NUMBERS:
        return rows @ columns.T
    parts = row_blocks(dim, EXACT_NUMBERS)
    return sum((rows[:, part] @ columns[:, part].T).astype(np.float64) for part in parts)


class Multiplier:
    """Multiplies blocks of rows with the same columns (k, D)."""

    def __init__(self, columns: OneByte) -> None:
        self._steps = columns.steps
        numbers = columns.numbers
        is_quick = array_module(numbers) is np and numbers.shape[1] >= LEAST_NUMBERS and are_quick()
        self._multiply = (_Quickly if is_quick else _InFloat32)(numbers)

    def products(self, rows: OneByte) -> Array:
        """(n, k) float32, the same bits on every machine."""
        products = self.in_steps(rows.numbers)
        products *= rows.steps[:, None]
        return products

    def in_steps(self, rows: Array, columns: slice = EVERY) -> Array:
        """(n, k) float32, the products of numbers (n, D) with some of the columns, in steps of the rows."""
        return self._multiply.of(rows, columns, self._steps[columns])


class _InFloat32:
    """Products by NumPy or CuPy."""

    def __init__(self, columns: Array) -> None:
        self._columns = columns.astype(np.float32)

    def of(self, rows: Array, columns: slice, steps: Array) -> Array:
        """The products (n, k) of rows (n, D) with some of the columns, times the steps (k,) of these."""
        products = exact_products(rows.astype(np.float32), self._columns[columns]).astype(np.float32, copy=False)
        products *= steps
        return products


class _Quickly:
    """Products by ONNX Runtime, which `are_quick` allows."""

    def __init__(self, columns: NDArray[np.int8]) -> None:
        self._columns = np.ascontiguousarray(columns.T)

    def of(self, rows: NDArray[np.int8], columns: slice, steps: NDArray[np.float32]) -> NDArray[np.float32]:
        """The products (n, k) of rows (n, D) with some of the columns, times the steps (k,) of these."""
        return multiply(rows, np.ascontiguousarray(self._columns[:, columns]), steps)
