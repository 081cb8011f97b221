"""Rows in numbers of one byte, and their products: about four times as quick as those of float32 numbers.

A product of such numbers is a sum of whole numbers, which float32 holds exactly for 1,040 numbers per row. So it is the
same on every machine, in whatever way it is computed. PyTorch uses the processor's instructions for it. As it takes a
second to load, it is not loaded here: whoever has many products to compute loads it. Without it, float32 products give
the same numbers.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.arrays.xp import Array, array_module, row_blocks

MOST: Final = 127
EXACT_NUMBERS: Final = 1024
"""Products of so many numbers stay below 2**24, where float32 is exact."""
LEAST_NUMBERS: Final = 16
"""Rows of fewer numbers are left to NumPy. (PyTorch 2.13 gives wrong products for rows of a single number.)"""
TRIED: Final = (512, 256)
"""Rows and columns of the product that PyTorch is tried with."""

SMALLEST: Final = np.float32(2.0**-100)
"""Rows of smaller numbers have steps of this size all the same: 127 divided by a smaller number may not be a number."""

ERROR_STEPS: Final = np.float32(64)
"""What a number is rounded by is counted in parts of its row's step. The squares of so few add up exactly in float32."""


EVERY: Final = slice(None)


class OneByte(NamedTuple):
    """Rows as whole numbers of one byte, each row in steps of its own length."""

    numbers: Array
    """(n, D) int8, from -127 to 127."""
    steps: Array
    """(n,) float32, a row is about its numbers times its step."""
    errors: Array
    """(n,) float32, at least the distance of each row to its numbers times its step, and a few percent more."""

    def take(self, rows: Any) -> OneByte:
        """Some of the rows, which a slice or their numbers name."""
        return OneByte(self.numbers[rows], self.steps[rows], self.errors[rows])


def to_one_byte(X: Array) -> OneByte:
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
    whole -= wide
    return OneByte(numbers, steps, _errors(whole) * steps)


def _errors(parts: Array) -> Array:
    """(n,), at least the lengths of rows (n, D) of numbers between -1/2 and 1/2; the same bits on every machine."""
    xp = array_module(parts)
    parts *= ERROR_STEPS
    counted = xp.ceil(xp.abs(parts, out=parts), out=parts)
    squares = np.vecdot(counted, counted) if xp is np else xp.einsum("ij,ij->i", counted, counted)
    return xp.sqrt(squares) / ERROR_STEPS


def exact_products(rows: Array, columns: Array) -> Array:
    """(n, k), float32 or float64: the exact products of rows (n, D) and columns (k, D), one-byte numbers held as float32, of
    NumPy or CuPy."""
    dim = rows.shape[1]
    if dim <= EXACT_NUMBERS:
        return rows @ columns.T
    parts = row_blocks(dim, EXACT_NUMBERS)
    return sum((rows[:, part] @ columns[:, part].T).astype(np.float64) for part in parts)


class Multiplier:
    """Multiplies blocks of rows with the same columns. One block's products are overwritten by the next one's.

    Args:
        columns: of k columns with D numbers.
        num_rows: of the largest block.
        num_columns: at most so many columns are asked for at a time; None: all.
    """

    def __init__(self, columns: OneByte, num_rows: int, num_columns: int | None = None) -> None:
        xp = array_module(columns.numbers)
        self._steps = columns.steps
        size = num_rows * (len(columns.numbers) if num_columns is None else num_columns)
        self._products = xp.empty(size, np.float32)
        in_torch = xp is np and columns.numbers.shape[1] >= LEAST_NUMBERS and quick_products()
        self._multiply = (_InTorch if in_torch else _InFloat32)(columns.numbers, size)

    def products(self, rows: OneByte) -> Array:
        """(n, k) float32, the same bits on every machine."""
        products = self.in_steps(rows.numbers)
        products *= rows.steps[:, None]
        return products

    def in_steps(self, rows: Array, columns: slice = EVERY) -> Array:
        """(n, k) float32, the products of numbers (n, D) with some of the columns, in steps of the rows."""
        steps = self._steps[columns]
        products = shaped(self._products, len(rows), len(steps))
        self._multiply.write(rows, columns, products)
        products *= steps
        return products


def shaped(memory: Array, num_rows: int, num_columns: int) -> Array:
    """The beginning of a vector as a matrix of this shape."""
    return memory[: num_rows * num_columns].reshape(num_rows, num_columns)


class _InFloat32:
    """Products by NumPy or CuPy."""

    def __init__(self, columns: Array, size: int) -> None:
        self._columns = columns.astype(np.float32)

    def write(self, rows: Array, columns: slice, out: Array) -> None:
        """Write the products of rows (n, D) with some of the columns to ``out`` (n, k)."""
        out[:] = exact_products(rows.astype(np.float32), self._columns[columns])


class _InTorch:
    """Products by PyTorch, which `quick_products` allows."""

    def __init__(self, columns: NDArray[np.int8], size: int) -> None:
        self._torch: Any = sys.modules["torch"]
        self._columns = self._torch.from_numpy(columns)
        self._whole = np.empty(size, np.int32)

    def write(self, rows: NDArray[np.int8], columns: slice, out: NDArray[np.float32]) -> None:
        """Write the products of rows (n, D) with some of the columns to ``out`` (n, k)."""
        torch, whole = self._torch, shaped(self._whole, *out.shape)
        torch._int_mm(torch.from_numpy(rows), self._columns[columns].T, out=torch.from_numpy(whole))
        np.copyto(out, whole, casting="unsafe")


def quick_products() -> bool:
    """Whether PyTorch is loaded, uses one thread, and multiplies such numbers exactly and quicker than NumPy's float32 here."""
    torch: Any = sys.modules.get("torch")
    return hasattr(torch, "_int_mm") and torch.get_num_threads() == 1 and _is_exact_and_quick()


@functools.cache
def _is_exact_and_quick() -> bool:
    """Some processors add up products of two bytes in two bytes, where large ones do not fit; others have no quick way."""
    random = np.random.default_rng(0)
    rows, columns = (random.integers(-MOST, MOST + 1, (number, EXACT_NUMBERS), np.int8) for number in TRIED)
    rows[0], columns[0], columns[1] = MOST, MOST, -MOST
    found, expected = (np.empty(TRIED, np.float32) for _ in range(2))
    in_torch, in_float32 = _InTorch(columns, found.size), _InFloat32(columns, found.size)
    try:
        in_torch.write(rows, EVERY, found)
    except RuntimeError:  # this build has no such product
        return False
    in_float32.write(rows, EVERY, expected)
    ways = (lambda: in_torch.write(rows, EVERY, found)), (lambda: in_float32.write(rows, EVERY, expected))
    return np.array_equal(found, expected) and _seconds(ways[0]) < _seconds(ways[1])


def _seconds(work: Callable[[], None]) -> float:
    def once() -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    return min(once() for _ in range(3))
