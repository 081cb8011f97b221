"""Products of each row with a few centres of its own."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.arrays.xp import row_blocks

GATHERED: Final = 512
"""Centres that are gathered at a time: 1 MiB of 512 numbers each."""

Matrix = NDArray[np.float32]


def products_of_few(rows: Matrix, C: Matrix, chosen: NDArray[Any]) -> Matrix:
    """(n, m) float32, the products of rows (n, D) with the centres of C (k, D) that ``chosen`` (n, m) names.

    >>> products_of_few(np.float32([[1, 0], [0, 1]]), np.float32([[2, 3], [4, 5]]), np.array([[0, 1], [1, 1]])).tolist()
    [[2.0, 4.0], [5.0, 5.0]]
    """
    num_rows = max(1, GATHERED // chosen.shape[1])
    gathered = np.empty((num_rows, chosen.shape[1], rows.shape[1]), dtype=np.float32)  # one piece of memory serves all
    products = np.empty(chosen.shape, dtype=np.float32)
    for part in row_blocks(len(rows), num_rows):
        of_rows = np.take(C, chosen[part], axis=0, out=gathered[: part.stop - part.start], mode="clip")
        np.matmul(of_rows, rows[part, :, None], out=products[part, :, None])
    return products
