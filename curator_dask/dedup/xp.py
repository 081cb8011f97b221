"""One algorithm for NumPy and CuPy: which array module an array belongs to, and walking it in blocks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = Any
"""A ``numpy.ndarray`` or a ``cupy.ndarray``."""


def array_module(array: Array) -> ModuleType:
    """The module (``numpy`` or ``cupy``) that ``array`` belongs to.

    CuPy is never imported here: an array that is CuPy's has brought it along.
    """
    cupy = sys.modules.get("cupy")
    if cupy is not None and isinstance(array, cupy.ndarray):
        return cupy
    return np


def to_host(array: Array) -> NDArray[Any]:
    """``array`` as a NumPy array; a copy only where it lies on a device."""
    if array_module(array) is np:
        return np.asarray(array)
    host: NDArray[Any] = array.get()
    return host


def row_blocks(num_rows: int, block_rows: int) -> Iterator[slice]:
    """Slices ``[start, stop)`` that cover ``num_rows`` rows in order, ``block_rows`` at a time."""
    for start in range(0, num_rows, block_rows):
        yield slice(start, min(start + block_rows, num_rows))


def rows_within(num_bytes: int, row_bytes: int, *, least: int = 64, most: int = 8192) -> int:
    """How many rows of ``row_bytes`` fit into ``num_bytes``: a power of two between ``least`` and ``most``."""
    fitting = max(1, num_bytes // max(1, row_bytes))
    return max(least, min(most, 1 << (fitting.bit_length() - 1)))
