"""Lloyd's iterations that compare each row with a few near centres only, as those centres move little.

The nearest centres of every row are looked up once, by comparing the row with all centres. Later iterations compare the
row with these alone, which costs about a sixth of the product with a thousand centres. Where the centres have moved far,
a row may miss a centre that is nearer than all of its own; so this is for fitting, and not for labels that are written.

Rows and centres are rounded to a grid on which every product and every partial sum is exact in float32. So neither the
BLAS, nor the number of threads, nor the way in which the rows are cut changes what is found.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.arrays.blocks import over_blocks
from curator_dask.dedup.arrays.xp import block_rows, row_blocks
from curator_dask.dedup.kmeans.grid import OnGrid, Rows, centres_on_grid, rows_on_grid

NEAR: Final = 8
"""Centres that a row is compared with later."""
GROUPS: Final = 25
"""The centres are cut into this many groups. The nearest one of each group may be among the near ones of a row."""
BLOCK: Final = 64
"""Rows whose near centres are gathered at a time: 1 MiB of 512 numbers each."""

Indices = NDArray[np.int32]


def find_near(X: Rows, C: Rows) -> Indices:
    """About the nearest centres of every row, the nearest one first.

    >>> X = np.float32([[1, 0], [0.6, 0.8]])
    >>> find_near(X, np.float32([[0, 1], [1, 0], [-1, 0]])).tolist()
    [[1, 0, 2], [0, 1, 2]]

    Args:
        X: (N, D) float32, unit rows, on the host.
        C: (k, D) float32, of any length.

    Returns:
        (N, min(k, `NEAR`)) int32. The first is the nearest (the lowest on ties, of the rows and centres on their grids);
        each of the others is the nearest of its group of centres, the nearest group first.
    """
    k = C.shape[0]
    num_near, centres = min(k, NEAR), centres_on_grid(C)
    size = -(-k // GROUPS)
    near = np.empty((X.shape[0], num_near), dtype=np.int32)
    num_rows = block_rows(X, 4 * size * GROUPS)

    def work(blocks: Iterator[slice]) -> None:
        scores = np.full((num_rows, size * GROUPS), -np.inf, dtype=np.float32)  # no centres fill the last groups
        for rows in blocks:
            near[rows] = _best_of_groups(rows_on_grid(X[rows]), centres, scores[: rows.stop - rows.start], num_near)

    over_blocks(work, row_blocks(X.shape[0], num_rows))
    return near


def _best_of_groups(block: Rows, centres: OnGrid, scores: Rows, num_near: int) -> Indices:
    of_centres = scores[:, : len(centres.centres)]
    np.matmul(block, centres.centres.T, out=of_centres)
    of_centres -= centres.half_sq_norms
    groups = scores.reshape(len(block), GROUPS, -1)
    best = groups.argmax(axis=2)
    score = np.take_along_axis(groups, best[:, :, None], axis=2)[:, :, 0]
    best += np.arange(GROUPS) * groups.shape[2]
    every = np.arange(len(block))
    near = np.empty((len(block), num_near), dtype=np.int32)
    for place in range(num_near):
        group = score.argmax(axis=1)
        near[:, place] = best[every, group]
        score[every, group] = -np.inf
    return near


def nearest_of(X: Rows, C: Rows, near: Indices) -> Indices:
    """(N,) int32, for each row the nearest of its near centres (N, m), which `find_near` gave for earlier centres.

    >>> X = np.float32([[1, 0], [0.6, 0.8]])
    >>> nearest_of(X, np.float32([[0, 1], [1, 0], [0.9, 0.1]]), np.int32([[0, 1], [0, 2]])).tolist()
    [1, 0]
    """
    centres = centres_on_grid(C)
    labels = np.empty(X.shape[0], dtype=np.int32)

    def work(blocks: Iterator[slice]) -> None:
        gathered = np.empty((BLOCK, near.shape[1], X.shape[1]), dtype=np.float32)
        for rows in blocks:
            chosen = near[rows]
            of_rows = np.take(centres.centres, chosen, axis=0, out=gathered[: len(chosen)], mode="clip")
            scores = np.matmul(of_rows, rows_on_grid(X[rows])[:, :, None])[:, :, 0]
            scores -= centres.half_sq_norms[chosen]
            labels[rows] = chosen[np.arange(len(chosen)), scores.argmax(axis=1)]

    over_blocks(work, row_blocks(X.shape[0], BLOCK))
    return labels
