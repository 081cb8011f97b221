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

With many clusters, most lie far from the own one. A sample of the rows tells about how many of them lie near each other
cluster; clusters with next to none are left out of the product with the centroids.

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

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.arrays.one_byte import Multiplier, OneByte, exact_products, to_one_byte
from curator_dask.dedup.arrays.xp import Array, array_module, block_rows, row_blocks, to_host
from curator_dask.dedup.cross_cluster.centroids import Centroids
from curator_dask.dedup.cross_cluster.missed import (
    Misses,
    effective_dimension,
    upper_tail,
)
from curator_dask.dedup.cross_cluster.sketch import (
    row_steps,
    sketch_directions,
    sketch_numbers,
)
from curator_dask.dedup.similarity.threshold import check_eps
from curator_dask.errors import ParameterError

DEFAULT_BUDGET: Final = 1.0
FEW_DIMENSIONS: Final = 64
"""With at least so many, what is missed within the budget was measured to be next to nothing up to an eps of 0.1."""
MOST_BUDGETS: Final = 8.0
"""In fewer dimensions, comparisons take up to so many times their share of the budget if a sample says that they must."""
SAMPLE_ROWS: Final = 64
SAMPLE_EVERY: Final = 2  # at most one row in two is sampled, or the estimate costs as much as it saves
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

TILE_NUMBER_BYTES: Final = 8
"""Bytes per number of a tile of products: the number, its comparison, and its share of the rows."""

ROUNDING: Final = 2.0**-20
"""float32 moves what a product is compared with by at most this share of the lengths; rows that rounding to one byte does
not move at all may meet the limit to the last bit."""

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
    if not (budget >= 0 and math.isfinite(budget)):
        raise ParameterError(f"budget ({budget}) must be >= 0 and finite")


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


def check_recall(recall: float | None) -> None:
    if recall is not None and not 0 < recall <= 1:
        raise ParameterError(f"recall ({recall}) must be above 0 and at most 1: it is a share of the pairs")


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
    rows = _Rows.of(X)
    aim = _take_aim(rows, centroids, _planes_around(own, centroids), eps, (budget, recall))
    directions = xp.asarray(sketch_directions(X.shape[1], centroids.sketch_width(eps)))
    height = min(len(X), rows_at_once, block_rows(X, TILE_NUMBER_BYTES * len(aim.planes.cluster)))
    look = _Look(aim, Multiplier(centroids.numbers.take(xp.asarray(aim.planes.cluster)), height), directions, height)
    parts = [_of_block(rows, block, look) for block in row_blocks(X.shape[0], rows_at_once)]
    return Borders(
        np.concatenate([part.row for part in parts]),
        np.concatenate([part.cluster for part in parts]),
        sum(part.left_out for part in parts) + aim.passed_over * X.shape[0],
        xp.concatenate([part.sketches for part in parts]),
        aim.missed_share,
    )


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows of one cluster, (N, D), and the same rounded to numbers of one byte."""

    exact: Array
    rounded: OneByte

    @classmethod
    def of(cls, X: Array) -> _Rows:
        """The numbers are made a block at a time, so that little memory is needed besides them."""
        parts = [to_one_byte(X[rows]) for rows in row_blocks(len(X), block_rows(X, 16 * X.shape[1]))]
        return cls(X, OneByte(*map(array_module(X).concatenate, zip(*parts, strict=True))))

    def sample(self) -> OneByte:
        """Some rows, evenly spaced."""
        return self.rounded.take(slice(None, None, _every(self.exact)))

    def error(self) -> float:
        """The farthest that a row is moved by rounding."""
        return float(self.rounded.errors.max())


@dataclass(frozen=True, slots=True)
class _Planes:
    """The planes half-way between one centroid and the others: ``margin = offset - slope * (x.c - x.own)``.

    Attributes:
        own: the index of the own cluster in the arrays below.
        cluster: (m,) the clusters. slope, offset: (m,), on the host.
        apart: (m,) the distances of the centroids.
        rounding: (m,) how far ``x.c - x.own`` and its limits may be off in float32.
    """

    own: int
    cluster: NDArray[np.int64]
    slope: NDArray[np.float32]
    offset: NDArray[np.float32]
    apart: NDArray[np.float64]
    rounding: NDArray[np.float64]

    def take(self, some: NDArray[np.int64]) -> _Planes:
        own = int(np.searchsorted(some, self.own))
        apart, rounding = self.apart[some], self.rounding[some]
        return _Planes(own, self.cluster[some], self.slope[some], self.offset[some], apart, rounding)

    def least_products(self, margin: float) -> NDArray[np.float32]:
        """(m,) the least ``x.c - x.own`` of a row whose margin is at most this."""
        with np.errstate(divide="ignore", invalid="ignore"):
            least = (self.offset.astype(np.float64) - margin) / self.slope - self.rounding
        return np.where(np.isneginf(self.offset), -np.inf, least).astype(np.float32)


def _planes_around(own: int, centroids: Centroids) -> _Planes:
    products = to_host(exact_products(centroids.wide, centroids.wide[own : own + 1])[:, 0]).astype(np.float64)
    steps = to_host(centroids.numbers.steps).astype(np.float64)
    products = products * steps * steps[own]
    half = centroids.half_sq_norm
    apart = np.sqrt(np.maximum(0.0, 2.0 * (half + half[own] - products)))
    same = apart == 0.0
    inverse = np.where(same, 0.0, 1.0 / np.where(same, 1.0, apart))
    offset = np.where(same, -np.inf, (half - half[own]) * inverse)  # no plane parts two centroids at one place
    offset[own] = np.inf
    lengths = np.sqrt(2.0 * half) + math.sqrt(2.0 * half[own])
    rounding = ROUNDING * lengths * (1.0 + lengths)
    return _Planes(own, np.arange(len(half)), inverse.astype(np.float32), offset.astype(np.float32), apart, rounding)


@dataclass(frozen=True, slots=True)
class _Aim:
    """Which clusters to look at from one cluster, and how far.

    Attributes:
        planes: the planes to the clusters that matter; the own cluster is among them.
        highest: the highest margin to look at. limit: half the chord; no near row has a higher margin.
        cost: (m,) cost of comparing a row with the members of each cluster. allowance: average cost granted per row.
        passed_over: the number of clusters that are left out and may be within half the chord of some row.
        missed_share: see `Borders`.
    """

    planes: _Planes
    highest: float
    limit: float
    cost: NDArray[np.float64]
    allowance: float
    passed_over: int
    missed_share: float


def _take_aim(
    rows: _Rows, centroids: Centroids, planes: _Planes, eps: float, wanted: tuple[float, float | None]
) -> _Aim:
    """`wanted`: the budget, and the share of near pairs to find, if it takes the place of the budget."""
    budget, recall = wanted
    X, dim = rows.exact, centroids.dimension
    widths = centroids.sketch_widths(eps)
    cost = centroids.cost * np.where(widths < dim, SKETCH_PAIR[0] + SKETCH_PAIR[1] * widths, _within_pair(dim))
    limit = math.sqrt(2.0 * eps) / 2.0 + rows.error()
    sample = _sample_margins(rows.sample(), centroids, planes)
    misses = Misses.of(sample, eps, _scatter_dim(X, centroids, planes.own))
    if recall is not None:
        margin = misses.least_margin(limit, 1.0 - recall) if recall < 1 else limit  # a sample cannot promise all
        return _Aim(planes, margin, limit, cost, math.inf, 0, misses.share(margin))
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
    return _Aim(planes.take(kept), highest, limit, cost[kept], allowance, num_planes - len(kept), missed)


def _scatter_dim(X: Array, centroids: Centroids, own: int) -> int:
    """In how many dimensions the rows of a cluster scatter, by a sample."""
    return effective_dimension(to_host(X[:: _every(X)]), to_host(centroids.wide[own] * centroids.numbers.steps[own]))


def _cost_up_to(sample: NDArray[np.float32], cost: NDArray[np.float64], margin: float) -> float:
    """The cost per sampled row of comparing all margins up to this one."""
    return float(cost[np.nonzero(sample <= np.float32(margin))[1]].sum()) / max(1, len(sample))


def _within_pair(dim: int) -> float:
    return WITHIN_PAIR[0] + WITHIN_PAIR[1] * dim


def _sample_margins(sample: OneByte, centroids: Centroids, planes: _Planes) -> NDArray[np.float32]:
    """(S, k) margins of S rows, on the host."""
    products = to_host(Multiplier(centroids.numbers, len(sample.numbers)).products(sample))
    margins: NDArray[np.float32] = planes.offset - planes.slope * (products - products[:, planes.own, None])
    return margins


def _every(X: Array) -> int:
    """Every how many rows of X one is sampled."""
    return max(SAMPLE_EVERY, -(-int(X.shape[0]) // SAMPLE_ROWS))


def _highest(sample: NDArray[np.float32], cost: NDArray[np.float64], allowance: float, most: float) -> float:
    """The margin, at most ``most``, up to which comparing the sampled rows costs the allowance per row."""
    row, cluster = np.nonzero(sample <= np.float32(most))
    margins = sample[row, cluster]
    order = np.argsort(margins, kind="stable")
    place = int(np.searchsorted(np.cumsum(cost[cluster[order]]), allowance * len(sample)))
    return most if place >= len(order) else float(margins[order[place]])


def _planes_that_matter(sample: NDArray[np.float32], planes: _Planes, highest: float) -> NDArray[np.int64]:
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

    aim: _Aim
    multiplier: Multiplier
    """Of the clusters that matter."""
    directions: Array
    """(width, D), those of the sketches."""
    height: int


def _of_block(rows: _Rows, block: slice, look: _Look) -> Borders:
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


def _near_of_tile(rows: _Rows, tile: slice, look: _Look) -> _Near:
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


def _affordable(
    aim: _Aim, plane: NDArray[np.int64], beyond: NDArray[np.float32], allowance: float
) -> NDArray[np.int64]:
    """Indices of the pairs with the smallest margins, as many as the allowance pays for."""
    cost = aim.cost[plane]
    if cost.sum() <= allowance:
        return np.arange(len(plane))
    with np.errstate(invalid="ignore"):
        order = np.argsort(aim.planes.offset[plane] - aim.planes.slope[plane] * beyond, kind="stable")
    chosen: NDArray[np.int64] = order[np.cumsum(cost[order]) <= allowance]
    return chosen
