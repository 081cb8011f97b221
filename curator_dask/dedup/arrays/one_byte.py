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

from curator_dask.dedup.arrays.xp import row_blocks

MOST: Final = 127
EXACT_NUMBERS: Final = 1024
"""Products of so many numbers stay below 2**24, where float32 is exact."""
LEAST_NUMBERS: Final = 16
"""Rows of fewer numbers are left to NumPy. (PyTorch 2.13 gives wrong products for rows of a single number.)"""
TRIED: Final = (512, 256)
"""Rows and columns of the product that PyTorch is tried with."""

Matrix = NDArray[np.float32]
OneByteNumbers = NDArray[np.int8]


class OneByte(NamedTuple):
    """Rows as whole numbers of one byte, each row in steps of its own length."""

    numbers: OneByteNumbers
    """(n, D), from -127 to 127."""
    steps: Matrix
    """(n,), a row is about its numbers times its step."""
    errors: Matrix
    """(n,), the distance of each row to its numbers times its step."""


def to_one_byte(X: Matrix) -> OneByte:
    """The rows (n, D) float32 in numbers of one byte: the largest number of each row is 127 or -127.

    >>> rows = to_one_byte(np.float32([[1, -0.5], [0, 0.02]]))
    >>> rows.numbers.tolist()
    [[127, -64], [0, 127]]
    """
    largest = np.maximum(X.max(axis=1, initial=0.0), -X.min(axis=1, initial=0.0))
    largest[largest == 0] = 1.0
    steps = largest / np.float32(MOST)
    wide = X * (np.float32(MOST) / largest)[:, None]
    whole = np.rint(wide)
    numbers = whole.astype(np.int8)
    whole -= wide
    return OneByte(numbers, steps, np.sqrt(np.einsum("ij,ij->i", whole, whole)) * steps)


class Multiplier:
    """Multiplies blocks of rows with the same columns. One block's products are overwritten by the next one's.

    Args:
        columns: of k columns with D numbers.
        num_rows: of the largest block.
    """

    def __init__(self, columns: OneByte, num_rows: int) -> None:
        self._steps = columns.steps
        self._products = np.empty((num_rows, len(columns.numbers)), np.float32)
        in_torch = columns.numbers.shape[1] >= LEAST_NUMBERS and quick_products()
        self._multiply = (_InTorch if in_torch else _InFloat32)(columns.numbers, num_rows)

    def products(self, rows: OneByte) -> Matrix:
        """(n, k) float32, the same bits on every machine."""
        products = self._products[: len(rows.numbers)]
        self._multiply.write(rows.numbers, products)
        products *= self._steps
        products *= rows.steps[:, None]
        return products


class _InFloat32:
    """Products by NumPy."""

    def __init__(self, columns: OneByteNumbers, num_rows: int) -> None:
        self._columns = columns.astype(np.float32)

    def write(self, rows: OneByteNumbers, out: Matrix) -> None:
        """Write the products of rows (n, D) with the columns to ``out`` (n, k)."""
        wide = rows.astype(np.float32)
        if wide.shape[1] <= EXACT_NUMBERS:
            np.matmul(wide, self._columns.T, out=out)
            return
        parts = row_blocks(wide.shape[1], EXACT_NUMBERS)
        out[:] = sum((wide[:, part] @ self._columns[:, part].T).astype(np.float64) for part in parts)


class _InTorch:
    """Products by PyTorch, which `quick_products` allows."""

    def __init__(self, columns: OneByteNumbers, num_rows: int) -> None:
        self._torch: Any = sys.modules["torch"]
        self._columns = self._torch.from_numpy(columns).T
        self._whole = np.empty((num_rows, len(columns)), np.int32)

    def write(self, rows: OneByteNumbers, out: Matrix) -> None:
        """Write the products of rows (n, D) with the columns to ``out`` (n, k)."""
        torch, whole = self._torch, self._whole[: len(rows)]
        torch._int_mm(torch.from_numpy(rows), self._columns, out=torch.from_numpy(whole))
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
    in_torch, in_float32 = _InTorch(columns, len(rows)), _InFloat32(columns, len(rows))
    try:
        in_torch.write(rows, found)
    except RuntimeError:  # this build has no such product
        return False
    in_float32.write(rows, expected)
    is_exact = np.array_equal(found, expected)
    return is_exact and _seconds(lambda: in_torch.write(rows, found)) < _seconds(lambda: in_float32.write(rows, found))


def _seconds(work: Callable[[], None]) -> float:
    def once() -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    return min(once() for _ in range(3))
