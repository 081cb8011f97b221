"""One algorithm for NumPy and CuPy: which array module an array belongs to, and walking it in blocks."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = Any
"""A ``numpy.ndarray`` or a ``cupy.ndarray``."""


HOST_BLOCK_BYTES: Final = 1 << 22
DEVICE_BLOCK_BYTES: Final = 1 << 28
DEVICE_TILE_ROWS: Final = 8192
"""Rows of a tile that keep a GPU busy: products of smaller ones end before the next is under way."""
DEVICE_TILE_BYTES: Final = 24
"""Bytes per number of a tile: the product, its comparison, and twice float64 for cosines that are nearly equal."""
DEVICE_TILE_SHARE: Final = 0.5
"""Share of a device's free memory that a tile may take; the vectors are there already."""


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
    """Slices ``[start, stop)`` that cover ``num_rows`` rows in order, ``block_rows`` at a time.

    >>> list(row_blocks(5, 2))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    for start in range(0, num_rows, block_rows):
        yield slice(start, min(start + block_rows, num_rows))


def block_rows(array: Array, row_bytes: int) -> int:
    """How many rows to take at once when each needs ``row_bytes``: a power of two, at least 64.

    A block fits into the processor's cache, or fills a GPU.

    >>> block_rows(np.zeros((9, 4)), row_bytes=4096), block_rows(np.zeros((9, 4)), row_bytes=1 << 20)
    (1024, 64)
    """
    num_bytes, most = (HOST_BLOCK_BYTES, 1 << 13) if array_module(array) is np else (DEVICE_BLOCK_BYTES, 1 << 17)
    fitting = max(1, num_bytes // max(1, row_bytes))
    return max(64, min(most, 1 << (fitting.bit_length() - 1)))


def suited_tile_rows(rows: Array, tile_rows: int) -> int:
    """How many rows a tile has if ``tile_rows`` are asked for: as many under NumPy, at least 8192 on a device.

    (A tile has up to twice as many rows and columns.) A device with too little free memory for that gets the power of two
    that fits, but never less than was asked for.
    """
    xp = array_module(rows)
    if xp is np:
        return tile_rows
    free_bytes, _ = xp.cuda.runtime.memGetInfo()
    side_rows = math.isqrt(int(DEVICE_TILE_SHARE * free_bytes) // (4 * DEVICE_TILE_BYTES))
    return max(tile_rows, min(DEVICE_TILE_ROWS, 1 << max(0, side_rows.bit_length() - 1)))
