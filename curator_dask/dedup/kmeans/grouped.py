"""Assignment to many centres in two levels: a row is compared with the nearest few groups of centres only.

The centres are clustered themselves, into about the square root of their number. A row is compared with the middles of these
groups, then with the centres of the nearest few. Most rows find their nearest centre so; the others find one that is
nearly as near. How many groups suffice depends on the vectors, so `choose_search` measures it on some rows, and says where
it would not pay.

Everything that decides is exact: products on the grid of `curator_dask.dedup.kmeans.grid`, and float64 where two centres are
nearly as near. So labels depend neither on BLAS nor threads, nor on which rows are searched together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.arrays.blocks import over_blocks
from curator_dask.dedup.arrays.priority import sample_priority
from curator_dask.dedup.arrays.xp import block_rows, row_blocks
from curator_dask.dedup.kmeans.assign import TIE_GRID, assign, check_width
from curator_dask.dedup.kmeans.distances import centroid_distances
from curator_dask.dedup.kmeans.grid import OnGrid, Rows, centres_on_grid, rows_on_grid
from curator_dask.dedup.kmeans.lloyd import labelled_partial, new_centres

Indices = NDArray[np.int32]

ROUNDS: Final = 4
"""Iterations that group the centres."""
BEST: Final = 2
"""Centres of each group that a row remembers: so the second nearest is known even where it is in the same group."""
BLOCK_ROWS: Final = 4096
"""Rows that are searched together: enough for a matrix product with each group."""
UNSURE: Final = 8.0
"""Two scores that differ by less than this many steps of the grid are computed again in float64. A score of 512 numbers is off
by about .3 steps."""
LOOKS: Final = (2, 4, 8, 16, 32)
"""Numbers of groups that `choose_search` tries."""
MOST_COMPARED: Final = 1 / 3
"""A search that compares a row with more than this share of the centres takes as long as comparing it with all."""


class Groups(NamedTuple):
    """Centres in groups of near ones."""

    centres: OnGrid
    """(k, D) all centres."""
    double: NDArray[np.float64]
    """(k, D) the centres as they are."""
    middles: OnGrid
    """(G, D) the middle of each group."""
    members: tuple[NDArray[np.int64], ...]
    """The centres of each group, at least one, in order."""


@dataclass(frozen=True)
class Search:
    """How far to look, and what it costs."""

    groups: int
    """Groups that the centres are cut into."""
    looked_at: int
    """Groups that a row is compared with."""
    recall: float
    """Share of the tried rows that get their truly nearest centre."""
    inertia_ratio: float
    """Mean squared distance of these rows to the centre they get, divided by that to the nearest."""
    rows_tried: int


def group_centres(C: Rows, seed: int = 0) -> Groups:
    """Cluster the centres (k, D) float32 into about sqrt(k) groups."""
    k = len(C)
    longest = max(1.0, float(np.sqrt((C.astype(np.float64) ** 2).sum(axis=1).max())))
    rows = (C / np.float32(longest)).astype(np.float32)
    order = np.argsort(sample_priority(np.arange(k), seed), kind="stable")
    middles = rows[order[: round(k**0.5)]]
    for _ in range(ROUNDS):
        labels = assign(rows, middles)
        middles = new_centres(labelled_partial(rows, labels, len(middles)), middles)
    labels = assign(rows, middles)
    filled = np.unique(labels)
    members = tuple(np.flatnonzero(labels == group) for group in filled)
    return Groups(
        centres_on_grid(C), C.astype(np.float64), centres_on_grid(middles[filled] * np.float32(longest)), members
    )


@lru_cache(maxsize=1)
def _groups_of(numbers: bytes, k: int) -> Groups:
    return group_centres(np.frombuffer(numbers, dtype=np.float32).reshape(k, -1))


def groups_of(C: Rows) -> Groups:
    """The `group_centres`; those of the last centres are kept, as one chunk after another asks for them."""
    return _groups_of(np.ascontiguousarray(C, dtype=np.float32).tobytes(), len(C))


class Found(NamedTuple):
    """The best centres of the groups that rows were compared with."""

    scores: Rows
    """(n, looked_at * BEST) the higher, the nearer."""
    centres: Indices
    """(n, looked_at * BEST)"""


def assign_in_groups(X: Rows, groups: Groups, looked_at: int, *, max_rows: int | None = None) -> Indices:
    """The nearest centre of every row among those of its nearest groups.

    >>> C = np.float32([[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.9]])
    >>> X = np.float32([[1, 0], [0.6, 0.8], [0, 1]])
    >>> assign_in_groups(X, group_centres(C), 1).tolist(), assign_in_groups(X, group_centres(C), 2).tolist()
    ([0, 3, 2], [0, 3, 2])

    Args:
        X: (N, D) float32, unit rows, on the host.
        groups: from `group_centres`.
        looked_at: compare each row with the centres of this many groups; with all groups, the labels are those of `assign`.
        max_rows: at most this many rows are searched together, per thread. It changes the memory, not the result.

    Returns:
        (N,) int32, the lowest centre on ties.
    """
    check_width(X, groups.double)
    labels = np.empty(len(X), dtype=np.int32)

    def work(blocks: Iterator[slice]) -> None:
        for rows in blocks:
            labels[rows] = _nearest(X[rows], groups, search(X[rows], groups, looked_at))

    over_blocks(work, row_blocks(len(X), min(BLOCK_ROWS, max_rows or BLOCK_ROWS)))
    return labels


def search(X: Rows, groups: Groups, looked_at: int) -> Found:
    """The `BEST` centres of each of the groups nearest to each row of X (n, D), the nearest group first."""
    rows = rows_on_grid(X)
    looked_at = min(looked_at, len(groups.members))
    found = Found(
        np.full((len(X), looked_at * BEST), -np.inf, dtype=np.float32),
        np.zeros((len(X), looked_at * BEST), dtype=np.int32),
    )
    chosen = _nearest_groups(rows, groups)[:, :looked_at].ravel()
    order = np.argsort(chosen, kind="stable")
    ends = np.cumsum(np.bincount(chosen, minlength=len(groups.members)))
    for group, pairs in enumerate(np.split(order, ends[:-1])):
        if len(pairs):
            _search_group(rows, pairs // looked_at, pairs % looked_at, groups, group, found)
    return found


def _nearest_groups(rows: Rows, groups: Groups) -> NDArray[np.int64]:
    """(n, G), the groups by distance of their middles; equal ones in their order."""
    scores = rows @ groups.middles.centres.T
    np.subtract(groups.middles.half_sq_norms, scores, out=scores)
    nearest_first: NDArray[np.int64] = scores.argsort(axis=1, kind="stable")
    return nearest_first


def _search_group(
    rows: Rows, which: NDArray[np.int64], place: NDArray[np.int64], groups: Groups, group: int, found: Found
) -> None:
    members = groups.members[group]
    scores = rows[which] @ groups.centres.centres[members].T
    scores -= groups.centres.half_sq_norms[members]
    every = np.arange(len(which))
    for number in range(min(BEST, len(members))):
        best = scores.argmax(axis=1)
        found.scores[which, place * BEST + number] = scores[every, best]
        found.centres[which, place * BEST + number] = members[best]
        scores[every, best] = -np.inf


def _nearest(X: Rows, groups: Groups, found: Found) -> Indices:
    """(n,) the nearest of the centres that were found; the two best are measured again where the grid cannot tell them apart."""
    every = np.arange(len(X))
    first = found.scores.argmax(axis=1)
    best, nearest = found.scores[every, first], np.array(found.centres[every, first], dtype=np.int32)
    found.scores[every, first] = -np.inf
    second = found.scores.argmax(axis=1)
    unsure = np.flatnonzero(best - found.scores[every, second] < UNSURE * groups.centres.step)
    for part in row_blocks(len(unsure), block_rows(X, 32 * X.shape[1])):
        rows = unsure[part]
        nearest[rows] = _nearer(X[rows], groups, nearest[rows], found.centres[rows, second[rows]])
    return np.asarray(nearest)


def _nearer(X: Rows, groups: Groups, one: Indices, other: Indices) -> Indices:
    low, high = np.minimum(one, other), np.maximum(one, other)
    scores_low, scores_high = _exact_scores(X, groups.double[low]), _exact_scores(X, groups.double[high])
    nearer: Indices = np.where(scores_high > scores_low, high, low)
    return nearer


def _exact_scores(X: Rows, C: NDArray[np.float64]) -> NDArray[np.float64]:
    scores: NDArray[np.float64] = np.rint(((X - 0.5 * C) * C).sum(axis=1) * TIE_GRID)
    return scores


def near_in_groups(X: Rows, groups: Groups, looked_at: int, num_near: int) -> Indices:
    """(N, num_near) int32, about the nearest centres of every row of X (N, D), the nearest first, on the grid.

    Args:
        looked_at: compare each row with the centres of this many groups; `num_near` is at most `BEST` times as many.
    """
    near = np.empty((len(X), num_near), dtype=np.int32)

    def work(blocks: Iterator[slice]) -> None:
        for rows in blocks:
            found = search(X[rows], groups, looked_at)
            order = np.argsort(-found.scores, axis=1, kind="stable")[:, :num_near]
            near[rows] = np.take_along_axis(found.centres, order, axis=1)

    over_blocks(work, row_blocks(len(X), BLOCK_ROWS))
    return near


def choose_search(X: Rows, C: Rows, least_recall: float) -> Search | None:
    """The smallest search that finds the nearest of the centres C (k, D) for this share of the rows X (n, D).

    None, if it would compare rows with so many centres that comparing them with all is as quick.
    """
    groups = group_centres(C)
    exact = assign(X, C)
    wanted = _true_distances(X, C, exact)
    for looked_at in LOOKS:
        if looked_at > len(groups.members) * MOST_COMPARED:
            break
        labels = assign_in_groups(X, groups, looked_at)
        recall = float((labels == exact).mean())
        if recall >= least_recall:
            ratio = _true_distances(X, C, labels) / wanted if wanted else 1.0
            return Search(len(groups.members), looked_at, recall, ratio, len(X))
    return None


def _true_distances(X: Rows, C: Rows, labels: Indices) -> float:
    """The sum of the squared distances; in one order, so that it is the same everywhere."""
    return float((centroid_distances(X, C, labels)[0].astype(np.float64) ** 2).sum())
