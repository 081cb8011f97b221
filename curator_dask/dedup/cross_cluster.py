"""Comparing rows of one cluster with the members of another: duplicates that k-means put on two sides of a border.

Which rows to compare with which clusters is chosen by `curator_dask.dedup.borders`; `curator_dask.dedup.sketch` makes a
comparison several times cheaper than one of whole rows. What is found is measured as it is within clusters, in float64.

**Ranking.** Across clusters the rows are ordered by the very key that orders them within (`RankingStrategy.rank` over
rows of several clusters: for ``hard`` the distance to the own centroid, then the id, both descending). Ids are unique,
so this is one total order over all rows; a cluster's own order is that order with the other clusters left out.

**Scores.** A row's score is the highest cosine with any row before it: all of its own cluster, and of the others those
that lie within eps. A score that comes from another cluster is therefore at least ``1 - eps``, and lower ones are those
of the own cluster: decisions at this eps, or a smaller one, see all that was found.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.pairwise import TILE_ROWS, PartialScores
from curator_dask.dedup.sketch import SketchPair, make_sketcher, mean_sq_spread, sketch, sketch_width
from curator_dask.dedup.threshold import least_steps
from curator_dask.dedup.tiles import STEPS, best_match, measure_pairs, rounding_bound, side
from curator_dask.dedup.xp import Array, array_module, block_rows, row_blocks, to_host

DENSE_SHARE: Final = 0.04  # of all pairs, from which on comparing whole rows costs less than measuring one by one
MOST_PAIRS: Final = 1 << 22  # measured one by one: what memory holds at ease

Indices = NDArray[np.int64]
Order = Callable[[Indices, Indices], tuple[Indices, Indices]]
"""Indices of some queries and of some members → their places in a ranking of all of these."""


@dataclass(frozen=True, slots=True)
class AcrossScores:
    """What comparing some rows (queries) with the members of another cluster came to; on the host."""

    queries: PartialScores
    """Of each query the best member that ranks before it; the index is the member's."""
    members: PartialScores
    """Of each member the best query that ranks before it; the index is the query's."""
    num_measured: int
    """Pairs that the sketches let pass."""


def score_across(
    queries: Array, members: Array, order: Order, eps: float, *, tile_rows: int = TILE_ROWS
) -> AcrossScores:
    """Compare rows with the members of another cluster; only cosines of at least ``1 - eps`` count.

    Args:
        queries: (M, D) float32, unit rows, at least one; NumPy or CuPy.
        members: (N, D) float32, unit rows, at least one, of the same array module.
        order: puts rows in a common order; called once, with the rows for which it matters.
        tile_rows: changes speed and memory, never the result.

    Returns:
        The cosines of `curator_dask.dedup.tiles`: decided in float64, in steps of 2**-24; -inf and -1 where there is
        none. The earliest row wins among equal ones.
    """
    dim = members.shape[1]
    sketcher = make_sketcher(dim, eps, sketch_width(dim, eps, mean_sq_spread(members)))
    pair = SketchPair.of(sketch(queries, sketcher), sketch(members, sketcher), sketcher)
    near = _near_pairs(pair, queries.shape[0], members.shape[0], tile_rows)
    if near is None:
        return _score_all(queries, members, order, eps, tile_rows)
    return _score_pairs(queries, members, near, order, eps)


def _near_pairs(pair: SketchPair, num_queries: int, num_members: int, tile_rows: int) -> tuple[Indices, Indices] | None:
    """``(query, member)`` of the pairs that may be near; None where they are a good part of all."""
    most = min(MOST_PAIRS, 64 + DENSE_SHARE * num_queries * num_members)
    found: list[tuple[Indices, Indices]] = []
    num_found = 0
    for query, member in pair.near(tile_rows):
        num_found += query.size
        if num_found > most:
            return None
        found.append((to_host(query), to_host(member)))
    if not found:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    queries, members = (np.concatenate(ends) for ends in zip(*found, strict=True))
    return queries, members


def _score_pairs(
    queries: Array, members: Array, near: tuple[Indices, Indices], order: Order, eps: float
) -> AcrossScores:
    """Measure pair by pair; in float64 only those that may be the best of their row."""
    scores = _nothing_found(queries.shape[0], members.shape[0], len(near[0]))
    if not len(near[0]):
        return scores
    some_queries, query = np.unique(near[0], return_inverse=True)
    some_members, member = np.unique(near[1], return_inverse=True)
    xp = array_module(queries)
    query_side, member_side = side(queries[xp.asarray(some_queries)]), side(members[xp.asarray(some_members)])
    query_place, member_place = order(some_queries, some_members)
    later = np.where(query_place[query] > member_place[member], query, len(some_queries) + member)
    promising = _promising(query_side.rows, member_side.rows, query, member, later, least_steps(eps) / STEPS)
    query, member = query[promising], member[promising]
    steps = measure_pairs(query_side, member_side, query, member)
    good = steps >= least_steps(eps)
    query, member, cosine = query[good], member[good], steps[good] / STEPS
    query_later = query_place[query] > member_place[member]
    _keep_best(scores.queries, some_queries[query], some_members[member], member_place[member], cosine, query_later)
    _keep_best(scores.members, some_members[member], some_queries[query], query_place[query], cosine, ~query_later)
    return scores


def _promising(
    queries: Array, members: Array, query: Indices, member: Indices, later: Indices, least: float
) -> Indices:
    """Those pairs whose float32 products reach ``least`` and are not below the best of their later row for certain."""
    xp = array_module(queries)
    bound = rounding_bound(queries.shape[1])
    products = np.empty(len(query), np.float32)
    for part in row_blocks(len(query), block_rows(queries, 8 * queries.shape[1])):
        left, right = queries[xp.asarray(query[part])], members[xp.asarray(member[part])]
        products[part] = to_host(xp.einsum("ij,ij->i", left, right))
    best = np.full(int(later.max()) + 1, np.float32(least), np.float32)
    np.maximum.at(best, later, products)
    return np.flatnonzero(products >= best[later] - 2 * bound)


def _keep_best(
    into: PartialScores,
    row: Indices,
    other: Indices,
    place: Indices,
    cosine: NDArray[np.float64],
    of: NDArray[np.bool_],
) -> None:
    """Of the pairs ``of``, the highest cosine of each row; the earliest place among equal ones."""
    row, other, place, cosine = row[of], other[of], place[of], cosine[of]
    ordered = np.lexsort((place, -cosine, row))
    first = ordered[np.unique(row[ordered], return_index=True)[1]]
    into.cosine[row[first]], into.index[row[first]] = cosine[first], other[first]


def _score_all(queries: Array, members: Array, order: Order, eps: float, tile_rows: int) -> AcrossScores:
    """Compare whole rows, all of them."""
    num_queries, num_members = queries.shape[0], members.shape[0]
    query_place, member_place = order(np.arange(num_queries), np.arange(num_members))
    query_order, member_order = np.argsort(query_place), np.argsort(member_place)
    xp = array_module(queries)
    query_side = side(queries[xp.asarray(query_order)], query_place[query_order])
    member_side = side(members[xp.asarray(member_order)], member_place[member_order])
    scores = _nothing_found(num_queries, num_members, num_queries * num_members)
    for into, one, other, own_order, other_order in (
        (scores.queries, query_side, member_side, query_order, member_order),
        (scores.members, member_side, query_side, member_order, query_order),
    ):
        floor = least_steps(eps) / STEPS
        cosine, index = best_match(one, other, earlier_only=True, tile_rows=tile_rows, floor=floor)
        into.cosine[own_order] = cosine
        into.index[own_order] = np.where(index >= 0, other_order[index], -1)
    return scores


def _nothing_found(num_queries: int, num_members: int, num_measured: int) -> AcrossScores:
    none = [
        PartialScores(np.full(n, -np.inf, np.float32), np.full(n, -1, np.int64)) for n in (num_queries, num_members)
    ]
    return AcrossScores(none[0], none[1], num_measured)
