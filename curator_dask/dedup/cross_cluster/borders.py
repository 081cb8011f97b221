"""Which rows of a cluster to compare with which other clusters, to find duplicates that k-means put into different clusters.

Two rows with a cosine of at least ``1 - eps`` are at most ``sqrt(2 eps)`` apart (the chord). On the way from one to the
other lies the plane half-way between their two centroids, so *the distances of the two rows to that plane (margins) add
up to at most the chord*, and one of them is at most half of it. Comparing every row with the members of all clusters to
which it has a margin of at most half the chord therefore misses no pair.

Where that is too much work (random directions, clusters that cut a cloud to pieces, a large eps), the smallest margins
are taken first, as far as a budget goes, and no farther than pairs are found by the estimate of `missed`. That loses
little: only duplicates that differ along just the direction between the centroids reach the bound, and in D dimensions
only about ``1 / sqrt(D)`` of a difference lies along one direction. In few dimensions that is much. Comparisons, which
cost little there, then take up to eight times the budget.

Other ways were weighed, on random directions at eps 0.1, where k-means separates one pair in ten. The exact rule alone
compares a row with every other cluster. The next-nearest clusters of *every* row find as much only with several of them,
as most rows lie near no border at all. Further, independent clusterings leave about the product of their misses, for as
many more fits and comparisons. Comparing only the two bands beside a plane, by the sum of the margins, saves products of
sketches, which take little of the time. What this way finds and costs is in
``benchmarks/results/cross_cluster_2_cores.md``; its cost model is explained in ``docs/cross_cluster_cost.md``.

Products are those of one-byte numbers (`curator_dask.dedup.arrays.one_byte`), so the choice is the same on every machine.
Rounding the centroids moves the planes a little, which does no harm, as both sides take the same ones. Rounding a row
moves it towards a plane by its error at most, and rows are looked at that much farther.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.arrays.one_byte import Multiplier
from curator_dask.dedup.arrays.xp import Array, array_module, block_rows, row_blocks, to_host
from curator_dask.dedup.cross_cluster.aim import DEFAULT_BUDGET, Aim, check_budget, check_recall, take_aim
from curator_dask.dedup.cross_cluster.centroids import Centroids
from curator_dask.dedup.cross_cluster.cluster_rows import ClusterRows
from curator_dask.dedup.cross_cluster.planes import planes_around
from curator_dask.dedup.cross_cluster.sketch import (
    row_steps,
    sketch_directions,
    sketch_numbers,
)
from curator_dask.dedup.similarity.threshold import check_eps

TILE_NUMBER_BYTES: Final = 8
"""Bytes per number of a tile of products: the number, its comparison, and its share of the rows."""


@dataclass(frozen=True, slots=True)
class Borders:
    """Rows of one cluster with the other clusters that each has to be compared with; on the host."""

    row: NDArray[np.int64]
    cluster: NDArray[np.int64]
    left_out: int
    """Upper limit of the pairs of a row and a cluster within half the chord that are not listed. Where it is 0 for all
    clusters, no pair of near rows is missed."""
    sketches: Array
    """(N, width) sketches of all rows, on the rows' device, with the width of `Centroids.sketch_width`."""
    missed_share: float = 0.0
    """Estimated share of the near pairs of these rows that no comparison will find, if there are some at every distance."""


def find_borders(
    X: Array,
    own: int,
    centroids: Centroids,
    eps: float,
    *,
    budget: float = DEFAULT_BUDGET,
    recall: float | None = None,
    rows_at_once: int = 8192,
) -> Borders:
    """The clusters to compare the rows of a cluster with, the smallest margins first; and the sketches of the rows.

    Args:
        X: (N, D) float32, unit rows of one cluster, at least one; NumPy or CuPy.
        own: the index of their cluster in ``centroids``.
        eps: limit of the pairs to find.
        budget: the arithmetic that this search and the comparisons may take, as a share of the arithmetic of comparing the
            rows among themselves and of ``ASSIGNMENTS`` iterations of k-means. At least half goes to the comparisons, and
            in few dimensions up to ``MOST_BUDGETS`` times as much, if a sample says that pairs would be missed. A budget
            up to the default is spent no farther than `Misses.enough_margin`.
        recall: the share of near pairs to find, as a sample estimates it, whatever it costs; it takes the place of the budget.
            None: the budget decides.
        rows_at_once: rows of a block, each block with its share of the budget; memory holds a block times all clusters.

    Two rows of cluster 0 whose plane to cluster 1 is the diagonal; at eps 0.01 half the chord is 0.071::

        row             margin
        0  (1.00, 0.00)  0.707   too far from the plane: no row of cluster 1 can be near
        1  (0.72, 0.69)  0.018   compared with cluster 1

    >>> from curator_dask.dedup.cross_cluster.centroids import prepare_centroids
    >>> C = prepare_centroids(np.array([[0.9, 0.1], [0.1, 0.9]]), cost=np.array([2.0, 2.0]))
    >>> X = np.array([[1.0, 0.0], [0.72, 0.694]], np.float32)
    >>> borders = find_borders(X, 0, C, eps=0.01, budget=1000)
    >>> borders.row.tolist(), borders.cluster.tolist(), borders.left_out
    ([1], [1], 0)
    """
    check_eps(eps)
    check_budget(budget)
    check_recall(recall)
    xp = array_module(X)
    rows = ClusterRows.of(X)
    aim = take_aim(rows, centroids, planes_around(own, centroids), eps, (budget, recall))
    directions = xp.asarray(sketch_directions(X.shape[1], centroids.sketch_width(eps)))
    height = min(len(X), rows_at_once, block_rows(X, TILE_NUMBER_BYTES * len(aim.planes.cluster)))
    look = _Look(aim, Multiplier(centroids.numbers.take(xp.asarray(aim.planes.cluster))), directions, height)
    parts = [_of_block(rows, block, look) for block in row_blocks(X.shape[0], rows_at_once)]
    return Borders(
        np.concatenate([part.row for part in parts]),
        np.concatenate([part.cluster for part in parts]),
        sum(part.left_out for part in parts) + aim.passed_over * X.shape[0],
        xp.concatenate([part.sketches for part in parts]),
        aim.missed_share,
    )


@dataclass(frozen=True, slots=True)
class _Near:
    """Pairs of a row of a block and a plane with a margin up to the highest to look at; on the host, but for the sketches.

    Attributes:
        row, plane: (P,) int64, indices; of rows among all rows. beyond: (P,) float32, the products ``x.c - x.own``.
        num_within: the number of pairs within half the chord.
        sketches: (n, width) of all rows that were looked at.
    """

    row: NDArray[np.int64]
    plane: NDArray[np.int64]
    beyond: NDArray[np.float32]
    num_within: int
    sketches: Array


@dataclass(frozen=True, slots=True)
class _Look:
    """How the rows of one cluster are looked at, ``height`` of them at a time."""

    aim: Aim
    multiplier: Multiplier
    """Of the clusters that matter."""
    directions: Array
    """(width, D), those of the sketches."""
    height: int


def _of_block(rows: ClusterRows, block: slice, look: _Look) -> Borders:
    """The border rows among some rows."""
    aim, num_rows = look.aim, block.stop - block.start
    parts = [_near_of_tile(rows, slice(block.start + tile.start, block.start + tile.stop), look)
             for tile in row_blocks(num_rows, look.height)]  # fmt: skip
    row, plane, beyond = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("row", "plane", "beyond")
    )
    chosen = _affordable(aim, plane, beyond, aim.allowance * num_rows)
    left_out = sum(part.num_within for part in parts) - len(chosen)
    sketches = array_module(rows.exact).concatenate([part.sketches for part in parts])
    return Borders(row[chosen], aim.planes.cluster[plane[chosen]], left_out, sketches)


def _near_of_tile(rows: ClusterRows, tile: slice, look: _Look) -> _Near:
    """The near pairs of a few rows, whose products with all columns fit into the processor's cache."""
    xp, aim, num_planes = array_module(rows.exact), look.aim, len(look.aim.planes.cluster)
    least = [xp.asarray(aim.planes.least_products(margin)) for margin in (aim.highest, aim.limit)]
    beyond = look.multiplier.products(rows.rounded.take(tile))
    beyond -= beyond[:, aim.planes.own, None].copy()
    near = xp.flatnonzero(beyond >= least[0])
    num_within = near.size if aim.highest >= aim.limit else int(xp.count_nonzero(beyond >= least[1]))
    row, plane = near // num_planes, near % num_planes
    sketches = sketch_numbers(xp.matmul(row_steps(rows.exact[tile]), look.directions.T))
    return _Near(to_host(row) + tile.start, to_host(plane), to_host(beyond[row, plane]), num_within, sketches)


def _affordable(aim: Aim, plane: NDArray[np.int64], beyond: NDArray[np.float32], allowance: float) -> NDArray[np.int64]:
    """Indices of the pairs with the smallest margins, as many as the allowance pays for."""
    cost = aim.cost[plane]
    if cost.sum() <= allowance:
        return np.arange(len(plane))
    with np.errstate(invalid="ignore"):
        order = np.argsort(aim.planes.offset[plane] - aim.planes.slope[plane] * beyond, kind="stable")
    chosen: NDArray[np.int64] = order[np.cumsum(cost[order]) <= allowance]
    return chosen
