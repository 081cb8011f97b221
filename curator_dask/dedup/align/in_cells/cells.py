"""Cells: rows that are alike lie in the same few cells, so only the rows of a cell have to be compared.

Each row lies in the cell of its nearest centre. The rows that it is compared with, which may be fewer, lie in the cells of
their nearest few. Rows and centres are whole numbers, so their products are exact and every machine finds the same cells.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.align.seeds import LENGTH, Segments
from curator_dask.dedup.align.stills import SIDE
from curator_dask.dedup.arrays.xp import row_blocks

THIN = 4
"""One of so many segments of a run is compared with all segments: a copy is then met every two seconds."""
PROBES = 3
CELL_SEGMENTS = 8_000
"""Segments of a cell, on average, before they are thinned."""
CELL_STILLS = 2_000
"""Still stretches of a cell, on average."""
PICTURE_SIDE = 8
"""Still pictures are reduced to so many grey levels a side."""
BLOCK_ROWS = 4096


def number_of_cells(num_rows: int, cell_rows: int) -> int:
    """How many cells so many rows get.

    >>> number_of_cells(0, 20_000), number_of_cells(50_000, 20_000)
    (1, 3)
    """
    return max(1, -(-num_rows // cell_rows))


def nearest_cells(rows: NDArray[np.float32], centres: NDArray[np.float32], count: int) -> NDArray[np.int32]:
    """(N, count) the nearest cells of each row, the nearest first; the lower one of equal ones."""
    nearest = np.empty((len(rows), min(count, len(centres))), np.int32)
    for block in row_blocks(len(rows), BLOCK_ROWS):
        products = rows[block] @ centres.T
        for place in range(nearest.shape[1]):
            best = products.argmax(axis=1)
            nearest[block, place] = best
            products[np.arange(len(best)), best] = -np.inf
    return nearest


def thinned(segments: Segments) -> NDArray[np.bool_]:
    """(N,) one of `THIN` segments of each run of segments that begin in neighbouring windows, from its first on.

    >>> segments = Segments(np.zeros((7, 3)), np.array([0, 0, 0, 0, 0, 0, 1]), np.array([2, 3, 4, 5, 6, 9, 10]))
    >>> thinned(segments).tolist()
    [True, False, False, False, True, True, True]
    """
    new = (np.diff(segments.line, prepend=-1) != 0) | (np.diff(segments.start, prepend=-1) != 1)
    new[:1] = True
    place = np.arange(len(new))
    mask: NDArray[np.bool_] = (place - np.maximum.accumulate(np.where(new, place, 0))) % THIN == 0
    return mask


def picture_rows(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(N, 64) the grey levels of still pictures, reduced, less their mean, scaled to the length of a segment's row."""
    if not len(pictures):
        return np.zeros((0, PICTURE_SIDE**2), np.float32)
    step = SIDE // PICTURE_SIDE
    levels = pictures.reshape(-1, PICTURE_SIDE, step, PICTURE_SIDE, step).astype(np.float64).sum(axis=(2, 4))
    levels = levels.reshape(len(pictures), -1) * PICTURE_SIDE**2
    levels -= levels.sum(axis=1, keepdims=True) / PICTURE_SIDE**2
    lengths = np.sqrt((levels**2).sum(axis=1, keepdims=True))
    rows: NDArray[np.float32] = np.rint(levels * LENGTH / np.where(lengths > 0, lengths, 1))
    return rows.astype(np.float32)
