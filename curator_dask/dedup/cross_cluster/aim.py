"""Which clusters to look at from one cluster, and how far: what the budget pays for, and what a sample says would be missed.

With many clusters, most lie far from the own one. A sample of the rows tells about how many of them lie near each other
cluster; clusters with next to none are left out of the product with the centroids.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.arrays.one_byte import Multiplier, OneByte
from curator_dask.dedup.arrays.xp import Array, to_host
from curator_dask.dedup.cross_cluster.centroids import Centroids
from curator_dask.dedup.cross_cluster.cluster_rows import ClusterRows, sample_step
from curator_dask.dedup.cross_cluster.missed import Misses, effective_dimension, upper_tail
from curator_dask.dedup.cross_cluster.planes import Planes
from curator_dask.errors import ParameterError

DEFAULT_BUDGET: Final = 1.0
FEW_DIMENSIONS: Final = 64
"""With at least so many, what is missed within the budget was measured to be next to nothing up to an eps of 0.1."""
MOST_BUDGETS: Final = 8.0
"""In fewer dimensions, comparisons take up to so many times their share of the budget if a sample says that they must."""
HEADROOM: Final = 1.5
"""The highest margin to look at is estimated for this many times the budget; the budget itself then cuts off the rest."""
MOST_KEPT: Final = 64
"""Up to this number of clusters, all are looked at."""
AFFORDABLE: Final = 0.75
"""All clusters are looked at if at least this share of the budget is then left for comparisons."""
MUCH_FEWER: Final = 0.75
"""Clusters are left out only if less than this share of them stays."""
LOST_SHARE: Final = 0.01
"""Estimated share of the border rows within the budget that may be lost with the clusters that are left out."""

# Costs in nanoseconds on one core of one machine; only their ratios matter. See docs/cross_cluster_cost.md.
WITHIN_PAIR: Final = (6.0, 0.043)  # comparing two rows of a cluster: per pair, and per number of a row
SKETCH_PAIR: Final = (0.6, 0.05)  # comparing two sketches, and what follows from it: per pair, and per number
MULTIPLY: Final = 0.05  # per number of a product with centroids or directions
MARGIN: Final = 2.0  # per margin
ROW: Final = 2.0  # per number of a row that is turned into whole steps
ASSIGNMENTS: Final = 2.0
"""Iterations of k-means in the work that a budget is a share of: fewer than any fit takes. With many small clusters k-means
is nearly all the work, and the comparisons within clusters do not tell what a run can afford."""


def check_budget(budget: float) -> None:
    """Raise ParameterError for a budget that is no share."""
    if not (budget >= 0 and math.isfinite(budget)):
        raise ParameterError(f"budget ({budget}) must be >= 0 and finite")


def check_recall(recall: float | None) -> None:
    """Raise ParameterError for a recall that is no share of the pairs."""
    if recall is not None and not 0 < recall <= 1:
        raise ParameterError(f"recall ({recall}) must be above 0 and at most 1: it is a share of the pairs")


@dataclass(frozen=True, slots=True)
class Aim:
    """Which clusters to look at from one cluster, and how far.

    Attributes:
        planes: the planes to the clusters that matter; the own cluster is among them.
        highest: the highest margin to look at. limit: half the chord; no near row has a higher margin.
        cost: (m,) cost of comparing a row with the members of each cluster. allowance: average cost granted per row.
        passed_over: the number of clusters that are left out and may be within half the chord of some row.
        missed_share: see `Borders`.
    """

    planes: Planes
    highest: float
    limit: float
    cost: NDArray[np.float64]
    allowance: float
    passed_over: int
    missed_share: float


def take_aim(
    rows: ClusterRows, centroids: Centroids, planes: Planes, eps: float, wanted: tuple[float, float | None]
) -> Aim:
    """What to look at from the cluster of some rows.

    Args:
        wanted: the budget, and the share of near pairs to find, if it takes the place of the budget.
    """
    budget, recall = wanted
    X, dim = rows.exact, centroids.dimension
    widths = centroids.sketch_widths(eps)
    cost = centroids.cost * np.where(widths < dim, SKETCH_PAIR[0] + SKETCH_PAIR[1] * widths, _within_pair(dim))
    limit = math.sqrt(2.0 * eps) / 2.0 + rows.error()
    sample = _sample_margins(rows.sample(), centroids, planes)
    misses = Misses.of(sample, eps, _scatter_dim(X, centroids, planes.own))
    if recall is not None:
        margin = misses.least_margin(limit, 1.0 - recall) if recall < 1 else limit  # a sample cannot promise all
        return Aim(planes, margin, limit, cost, math.inf, 0, misses.share(margin))
    most_budgets = MOST_BUDGETS if dim < FEW_DIMENSIONS else 1.0
    needed = _cost_up_to(sample, cost, misses.least_margin(limit))
    # Whoever asks for more gets more.
    enough = misses.enough_margin(limit) if budget <= DEFAULT_BUDGET else limit
    per_member = X.shape[0] / centroids.cost[planes.own]
    assigning = ASSIGNMENTS * len(planes.cluster) * dim * MULTIPLY
    work = budget * (_within_pair(dim) * centroids.cost[planes.own] / 2.0 + assigning / per_member)

    def aim(num_planes: int) -> tuple[float, float]:
        numbers = num_planes + centroids.sketch_width(eps)
        fixed = numbers * (dim * MULTIPLY + MARGIN) + dim * ROW
        granted = max(work - fixed / per_member, work / 2.0)
        allowance = max(granted, min(needed, most_budgets * granted))
        return allowance, _highest(sample, cost, HEADROOM * allowance, enough)

    num_planes = len(planes.cluster)
    allowance, highest = aim(num_planes)
    kept = np.arange(num_planes)
    if num_planes > MOST_KEPT and allowance < AFFORDABLE * work:
        those = _planes_that_matter(sample, planes, highest)
        if len(those) < MUCH_FEWER * num_planes:
            kept = those
            allowance, highest = aim(len(kept))
    missed = misses.share(_highest(sample, cost, allowance, enough))
    return Aim(planes.take(kept), highest, limit, cost[kept], allowance, num_planes - len(kept), missed)


def _scatter_dim(X: Array, centroids: Centroids, own: int) -> int:
    """In how many dimensions the rows of a cluster scatter, by a sample."""
    return effective_dimension(
        to_host(X[:: sample_step(X)]), to_host(centroids.wide[own] * centroids.numbers.steps[own])
    )


def _cost_up_to(sample: NDArray[np.float32], cost: NDArray[np.float64], margin: float) -> float:
    """The cost per sampled row of comparing all margins up to this one."""
    return float(cost[np.nonzero(sample <= np.float32(margin))[1]].sum()) / max(1, len(sample))


def _within_pair(dim: int) -> float:
    return WITHIN_PAIR[0] + WITHIN_PAIR[1] * dim


def _sample_margins(sample: OneByte, centroids: Centroids, planes: Planes) -> NDArray[np.float32]:
    """(S, k) margins of S rows, on the host."""
    products = to_host(Multiplier(centroids.numbers).products(sample))
    margins: NDArray[np.float32] = planes.offset - planes.slope * (products - products[:, planes.own, None])
    return margins


def _highest(sample: NDArray[np.float32], cost: NDArray[np.float64], allowance: float, most: float) -> float:
    """The margin, at most ``most``, up to which comparing the sampled rows costs the allowance per row."""
    row, cluster = np.nonzero(sample <= np.float32(most))
    margins = sample[row, cluster]
    order = np.argsort(margins, kind="stable")
    place = int(np.searchsorted(np.cumsum(cost[cluster[order]]), allowance * len(sample)))
    return most if place >= len(order) else float(margins[order[place]])


def _planes_that_matter(sample: NDArray[np.float32], planes: Planes, highest: float) -> NDArray[np.int64]:
    """Ascending indices of the planes that hold all but ``LOST_SHARE`` of the margins up to ``highest``, and of the own one.

    Margins to one plane are assumed to be normal. Their mean is half the distance of the centroids, as the rows' mean is
    their centroid; their deviation is the sample's.
    """
    others = np.isfinite(planes.offset)
    middle = planes.apart[others] / 2.0
    deviation = sample[:, others].std(axis=0, dtype=np.float64)
    usual = float(deviation.sum()) / max(1, len(deviation))  # there may be none: all centroids at one place
    deviation = np.maximum(deviation, 0.5 * usual) + 1e-9
    expected = np.where(np.isneginf(planes.offset), 1.0, 0.0)
    expected[others] = upper_tail((middle - highest) / deviation)
    order = np.argsort(-expected, kind="stable")
    enough = int(np.searchsorted(np.cumsum(expected[order]), (1.0 - LOST_SHARE) * expected.sum())) + 1
    return np.union1d(order[: max(enough, MOST_KEPT)], [planes.own])
