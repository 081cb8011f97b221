"""Lloyd's iterations that compare each row with a few near centres only, as those centres move little.

The nearest centres of every row are looked up once, by comparing the row with all centres in numbers of one byte. Later
iterations compare the row with these alone, which costs about a sixth of the product with a thousand centres. Where the
centres have moved far, a row may miss a centre that is nearer than all of its own; so this is for fitting, and not for
labels that are written.

For these later products, rows and centres are rounded to a grid on which every product and every partial sum is exact in
float32, as products of one-byte numbers are anyway. So neither the BLAS, nor the number of threads, nor the way in which
the rows are cut changes what is found.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.arrays.blocks import over_blocks
from curator_dask.dedup.arrays.some import Some
from curator_dask.dedup.arrays.xp import row_blocks
from curator_dask.dedup.kmeans.few import products_of_few
from curator_dask.dedup.kmeans.grid import OnGrid, Rows, rows_on_grid
from curator_dask.dedup.kmeans.screen import Screen, rows_at_a_time

NEAR: Final = 8
"""Centres that a row is compared with later."""
GROUPS: Final = 25
"""The centres are cut into this many groups. The nearest one of each group may be among the near ones of a row."""
GROUP_BITS: Final = 31
BLOCK: Final = 512
"""Rows that are compared with their near centres at a time."""

Indices = NDArray[np.int32]


def find_near(X: Rows | Some, C: Rows) -> Indices:
    """About the nearest centres of every row, the nearest one first.

    >>> X = np.float32([[1, 0], [0.6, 0.8]])
    >>> find_near(X, np.float32([[0, 1], [1, 0], [-1, 0]])).tolist()
    [[1, 0, 2], [0, 1, 2]]

    Args:
        X: (N, D) float32, unit rows, on the host, or some rows of a matrix.
        C: (k, D) float32, of any length. Numbers of one byte should tell them apart (`tells_apart` of
            `curator_dask.dedup.kmeans.screen`).

    Returns:
        (N, min(k, `NEAR`)) int32. Each is the nearest of its group of centres, by numbers of one byte, and so is their order.
    """
    num_near = min(C.shape[0], NEAR)
    some = Some.of(X)
    near = np.empty((len(some), num_near), dtype=np.int32)
    num_rows = rows_at_a_time(C.shape[0])

    def work(blocks: Iterator[slice]) -> None:
        screen, groups = Screen(C, num_rows), _Groups(C.shape[0], num_near)
        for block in blocks:
            near[block] = groups.best(screen.scores(some[block]))

    over_blocks(work, row_blocks(len(some), num_rows))
    return near


class _Groups:
    """Centres in groups that follow each other, each as large as the next one or larger by one."""

    def __init__(self, num_centres: int, num_near: int) -> None:
        self._starts = np.linspace(0, num_centres, min(GROUPS, num_centres), endpoint=False).astype(np.int32)
        sizes = np.diff(self._starts, append=num_centres)
        self._within = np.arange(num_centres, dtype=np.int32) - np.repeat(self._starts, sizes).astype(np.int32)
        self._bits = np.int32((1 << int(sizes.max() - 1).bit_length()) - 1)
        self._num_near = num_near

    def best(self, scores: Rows) -> Indices:
        """(n, num_near), the best centre of each of the best groups, the best first, by scores (n, k), which are changed.

        The last bits of a score make room for the number of its centre in its group, and once it is float64, for that of the
        group. So the highest scores tell whose they are, and no two are equal, which machines might put in different orders.
        """
        whole = scores.view(np.int32)
        whole &= ~self._bits
        whole |= self._within
        of_groups = np.maximum.reduceat(scores, self._starts, axis=1).astype(np.float64)
        of_groups.view(np.int64)[:] |= np.arange(len(self._starts))
        best = np.sort(np.partition(of_groups, -self._num_near, axis=1)[:, -self._num_near :], axis=1)[:, ::-1]
        within = best.astype(np.float32).view(np.int32) & self._bits
        near: Indices = self._starts[best.view(np.int64) & GROUP_BITS] + within
        return near


def nearest_of(X: Rows | Some, centres: OnGrid, near: Indices) -> Indices:
    """(N,) int32, for each row of X the nearest of its near centres (N, m), which `find_near` gave for earlier centres.

    >>> from curator_dask.dedup.kmeans.grid import centres_on_grid
    >>> X = np.float32([[1, 0], [0.6, 0.8]])
    >>> centres = centres_on_grid(np.float32([[0, 1], [1, 0], [0.9, 0.1]]))
    >>> nearest_of(X, centres, np.int32([[0, 1], [0, 2]])).tolist()
    [1, 0]
    """
    some = Some.of(X)
    labels = np.empty(len(some), dtype=np.int32)

    def work(blocks: Iterator[slice]) -> None:
        for block in blocks:
            chosen = near[block]
            scores = products_of_few(rows_on_grid(some[block]), centres.centres, chosen)
            scores -= centres.half_sq_norms[chosen]
            labels[block] = chosen[np.arange(len(chosen)), scores.argmax(axis=1)]

    over_blocks(work, row_blocks(len(some), BLOCK))
    return labels
