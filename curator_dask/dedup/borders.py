"""Which rows of a cluster to compare with which other clusters, so that twins that k-means parted find each other.

Two rows with a cosine of at least ``1 - eps`` are at most ``sqrt(2 eps)`` apart (the chord). On the way from one to the
other lies the plane half-way between their two centroids, so *the distances of the two rows to that plane (margins) add
up to at most the chord*, and one of them is at most half of it. Comparing every row with the members of all clusters to
which it has a margin of at most half the chord therefore misses no pair.

Where that is too much work (random directions, clusters that cut a cloud to pieces, a large eps), the smallest margins
are taken first, as far as a budget goes. That loses little: the bound is met by twins that differ along just the one
direction that matters, and in D dimensions twins differ along it by a share of about ``1 / sqrt(D)``.

Other ways were weighed, on random directions at eps 0.1, where k-means parts one twin in ten. The exact rule alone compares
a row with every other cluster. The next-nearest clusters of *every* row find as much only with several of them, as most
rows lie near no border at all. Further, independent clusterings leave about the product of their misses, for as many more
fits and comparisons. What this way finds and costs is in ``benchmarks/results/cross_cluster_2_cores.md``.

Products are sums of whole numbers that float32 holds exactly, so the choice is the same on every machine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.sketch import ROW_STEPS, rounding_radius, row_steps, sketch_width
from curator_dask.dedup.threshold import check_eps
from curator_dask.dedup.xp import Array, array_module, row_blocks, to_host
from curator_dask.errors import ParameterError

DEFAULT_BUDGET: Final = 0.25
CENTROID_STEPS: Final = 4000.0
"""Length of the longest centroid in whole steps: times the rows' 4096 it stays below 2**24, where float32 is exact."""
ELEMENTWISE: Final = 16  # what looking at a product costs, in terms of a dot product
LEAST_COST_SHARE: Final = 1 / 12  # of comparing whole rows: BLAS is far slower at products of few terms


def check_budget(budget: float) -> None:
    if not (budget >= 0 and math.isfinite(budget)):
        raise ParameterError(f"cross_cluster_budget must be at least 0 and finite, got {budget}")


@dataclass(frozen=True, slots=True)
class Centroids:
    """The clusters' centres in whole steps, and what the margins need of them.

    Attributes:
        steps: (k, D) float32.
        unit: the length of a step.
        half_sq_norm: (k,) float64, half the squared lengths.
        cost: (k,) float64, the number of members of each, or anything proportional to it.
    """

    steps: Array
    unit: float
    half_sq_norm: NDArray[np.float64]
    cost: NDArray[np.float64]


def prepare_centroids(C: Array, cost: NDArray[np.float64]) -> Centroids:
    """(k, D) centres → whole steps. A margin is one to a plane; planes a hair from the exact ones serve as well."""
    xp = array_module(C)
    wide = C.astype(np.float64)
    longest = float(xp.sqrt((wide * wide).sum(axis=1)).max()) or 1.0
    unit = longest / CENTROID_STEPS
    steps = xp.rint(wide / unit)
    return Centroids(steps.astype(np.float32), unit, to_host((steps * steps).sum(axis=1)) * (0.5 * unit * unit), cost)


@dataclass(frozen=True, slots=True)
class Borders:
    """Rows of one cluster with the other clusters that each has to be compared with; on the host."""

    row: NDArray[np.int64]
    cluster: NDArray[np.int64]
    left_out: int
    """How many more there were within half the chord. Where it is 0 for all clusters, no pair is missed."""


def find_borders(
    X: Array, own: int, centroids: Centroids, eps: float, *, budget: float = DEFAULT_BUDGET, block_rows: int = 8192
) -> Borders:
    """The clusters to compare the rows of a cluster with: the smallest margins first.

    Args:
        X: (N, D) float32, unit rows of one cluster, NumPy or CuPy.
        own: the index of their cluster in ``centroids``.
        eps: of the pairs to find.
        budget: the arithmetic that comparing may take, as a share of that of comparing the rows among themselves.
        block_rows: rows at a time, each block with its share of the budget; memory holds a block times all clusters.
    """
    check_eps(eps)
    check_budget(budget)
    planes = _planes_around(own, centroids)
    limit = math.sqrt(2.0 * eps) / 2.0 + rounding_radius(X.shape[1])
    within = budget * X.shape[1] * centroids.cost[own] / 2.0
    found = Borders(np.zeros(0, np.int64), np.zeros(0, np.int64), 0)
    for rows in row_blocks(X.shape[0], block_rows):
        margins, sq_spread = _margins(row_steps(X[rows]), centroids, planes)
        allowance = within * margins.shape[0] / _compare_cost(X.shape[1], eps, sq_spread)
        block = _smallest(margins, centroids.cost, allowance, limit)
        found = Borders(
            np.concatenate([found.row, block.row + rows.start]),
            np.concatenate([found.cluster, block.cluster]),
            found.left_out + block.left_out,
        )
    return found


@dataclass(frozen=True, slots=True)
class _Planes:
    """The planes half-way between one centroid and all others: ``margin = offset - slope * (x.c - x.own)``."""

    own: int
    slope: NDArray[np.float32]
    offset: NDArray[np.float32]


def _planes_around(own: int, centroids: Centroids) -> _Planes:
    xp = array_module(centroids.steps)
    products = to_host(xp.matmul(centroids.steps, centroids.steps[own])).astype(np.float64) * centroids.unit**2
    half = centroids.half_sq_norm
    apart = np.sqrt(np.maximum(0.0, 2.0 * (half + half[own] - products)))
    same = apart == 0.0
    inverse = np.where(same, 0.0, 1.0 / np.where(same, 1.0, apart))
    offset = np.where(same, -np.inf, (half - half[own]) * inverse)  # no plane parts two centroids at one place
    offset[own] = np.inf
    slope = inverse * (centroids.unit / ROW_STEPS)
    return _Planes(own, slope.astype(np.float32), offset.astype(np.float32))


def _margins(steps: Array, centroids: Centroids, planes: _Planes) -> tuple[Array, float]:
    """(n, k) margins, and twice the mean squared distance to the centroid: what unrelated rows are apart."""
    xp = array_module(steps)
    products = xp.matmul(steps, centroids.steps.T)
    along = products[:, planes.own]
    # Whole numbers add up to the same in any order; a float32 mean would not.
    mean = float(along.sum(dtype=np.float64)) / steps.shape[0] * centroids.unit / ROW_STEPS
    sq_spread = 2.0 * (1.0 - 2.0 * mean + 2.0 * float(centroids.half_sq_norm[planes.own]))
    products -= along[:, None].copy()
    products *= -xp.asarray(planes.slope)
    products += xp.asarray(planes.offset)
    return products, sq_spread


def _compare_cost(dim: int, eps: float, sq_spread: float) -> float:
    """What it takes to compare two rows, in terms of a dot product."""
    return max(sketch_width(dim, eps, sq_spread) + 2 + ELEMENTWISE, LEAST_COST_SHARE * dim)


def _smallest(margins: Array, cost: NDArray[np.float64], allowance: float, limit: float) -> Borders:
    """The smallest margins up to ``limit`` whose clusters cost no more than ``allowance`` together."""
    xp = array_module(margins)
    flat, k = margins.ravel(), margins.shape[1]
    within_limit = int((flat <= np.float32(limit)).sum())
    most = min(within_limit, int(4.0 * allowance / float(cost.mean())))
    highest = limit if most >= flat.size else min(limit, float(xp.partition(flat, most)[most]))
    near = xp.flatnonzero(flat <= np.float32(highest))
    host_near, host_margin = to_host(near), to_host(flat[near])
    chosen = host_near[np.argsort(host_margin, kind="stable")]
    chosen = chosen[np.cumsum(cost[chosen % k]) <= allowance]
    return Borders(chosen // k, chosen % k, within_limit - len(chosen))
