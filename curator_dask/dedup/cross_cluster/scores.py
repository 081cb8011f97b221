"""Compare rows of one cluster with the members of another: cross-cluster scores.

`borders` chooses which rows to compare with which clusters; `sketch` makes a comparison several times cheaper than one of
whole rows. Near pairs are measured as within clusters, in float64.

**Ranking.** All rows are ordered by the same key as within a cluster (`RankingStrategy.rank` over
rows of several clusters: for ``hard`` the distance to the own centroid, then the id, both descending). Ids are unique,
so this is one total order over all rows, and a cluster's own order is a part of it.

**Scores.** A row's score is its highest cosine with a row before it: any row of its own cluster, or a row within eps of
another cluster. So a score from another cluster is at least ``1 - eps``, and a lower score is from the own cluster.
Decisions at this eps or a smaller one can use every match.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.arrays.xp import Array, array_module, block_rows, row_blocks, to_host
from curator_dask.dedup.cross_cluster.sketch import SketchPair, least_products
from curator_dask.dedup.similarity.best_match import best_match
from curator_dask.dedup.similarity.candidates import rounding_bound
from curator_dask.dedup.similarity.pairs import STEPS, measure_pairs, side
from curator_dask.dedup.similarity.pairwise import TILE_ROWS, PartialScores
from curator_dask.dedup.similarity.threshold import least_steps
from curator_dask.dedup.similarity.tiles import where

DENSE_SHARE: Final = (
    0.04  # with a larger share of near pairs, comparing whole rows costs less than measuring one by one
)
MOST_PAIRS: Final = 1 << 22  # the most pairs that are measured one by one: memory holds them with ease

Indices = NDArray[np.int64]
Order = Callable[[Indices, Indices], tuple[Indices, Indices]]
"""Indices of some queries and of some members → their places in a ranking of all of these."""
_Near = tuple[Indices, Indices, NDArray[np.float32]]
"""(query, member, product) of pairs."""


@dataclass(frozen=True, slots=True)
class ComparedRows:
    """One side of a comparison: rows that are fetched only where pairs have to be measured.

    Attributes:
        size: N, how many rows there are.
        dim: D, the numbers of a row.
        rows: indices of M of the rows → (M, D) float32, unit rows; NumPy or CuPy.
        sketches: (N, W) sketches on the rows' device; None where whole rows are compared.
        scores: (N,) float32, on the host: the scores that the rows already have. Pairs that cannot raise the score of
            their later row are left out.
    """

    size: int
    dim: int
    rows: Callable[[Indices], Array]
    sketches: Array | None = None
    scores: NDArray[np.float32] | None = None

    @staticmethod
    def of(X: Array, sketches: Array | None = None, scores: NDArray[np.float32] | None = None) -> ComparedRows:
        """All rows of an array, (N, D) float32."""
        return ComparedRows(X.shape[0], X.shape[1], lambda some: X[array_module(X).asarray(some)], sketches, scores)

    def __len__(self) -> int:
        return self.size

    def floors(self, eps: float) -> NDArray[np.float64]:
        """(N,) the cosine that a match must exceed (or, where it is ``1 - eps``, reach); infinite where none can."""
        least = least_steps(eps) / STEPS
        if self.scores is None:
            return np.full(len(self), least)
        scores = self.scores.astype(np.float64)
        return np.where(scores >= 1.0, np.inf, np.maximum(scores, least))


@dataclass(frozen=True, slots=True)
class CrossClusterScores:
    """The matches of some rows (queries) and the members of another cluster; on the host."""

    queries: PartialScores
    """For each query the best member that ranks before it; the index is the member's."""
    members: PartialScores
    """For each member the best query that ranks before it; the index is the query's."""
    num_measured: int
    """Number of pairs that were measured on whole rows."""


def score_cross_cluster(
    queries: ComparedRows,
    members: ComparedRows,
    order: Order,
    eps: float,
    *,
    width: int = 0,
    tile_rows: int = TILE_ROWS,
) -> CrossClusterScores:
    """Compare rows with the members of another cluster; only cosines of at least ``1 - eps`` count.

    Args:
        queries: at least one row. members: at least one, of the same array module.
        order: puts rows in a common order; called once, with the rows for which it matters.
        width: how many numbers of the sketches to compare; 0 for whole rows. See `curator_dask.dedup.cross_cluster.sketch`.
        tile_rows: changes speed and memory, never the result.

    Returns:
        Cosines as in `curator_dask.dedup.similarity.best_match`: decided in float64, in steps of 2**-24; -inf and -1 where there
        is no match. The earliest row wins among equal ones. A match that does not raise the score of its row may be
        missing.

    Two queries and two members, ranked query 0, member 0, member 1, query 1; cosines of 0.95 and more count::

                            member 0     member 1
                            (0.8, 0.6)   (1.0, 0.0)
        query 0 (0.6, 0.8)     0.96         0.60       member 0 ranks after query 0: it is the member's match
        query 1 (0.0, 1.0)     0.60         0.00

    >>> queries = ComparedRows.of(np.array([[0.6, 0.8], [0.0, 1.0]], np.float32))
    >>> members = ComparedRows.of(np.array([[0.8, 0.6], [1.0, 0.0]], np.float32))
    >>> places = np.array([0, 3]), np.array([1, 2])
    >>> scores = score_cross_cluster(queries, members, lambda q, m: (places[0][q], places[1][m]), eps=0.05)
    >>> scores.queries.index.tolist(), scores.members.index.tolist()
    ([-1, -1], [0, -1])
    >>> [f"{cosine:.2f}" for cosine in scores.members.cosine]
    ['0.96', '-inf']
    """
    if queries.sketches is None or members.sketches is None:
        width = 0
    near = few_pairs(near_blocks(queries, members, eps, width, tile_rows), len(queries) * len(members))
    if near is None:
        return _score_all(queries, members, order, eps, tile_rows)
    return _score_pairs(queries, members, near, order, eps, width)


def near_blocks(
    queries: ComparedRows, members: ComparedRows, eps: float, width: int, tile_rows: int
) -> Iterator[tuple[Array, Array, Array]]:
    """``(query, member, product)`` of the pairs that may be near."""
    if width and queries.sketches is not None and members.sketches is not None:
        yield from SketchPair.of(queries.sketches[:, :width], members.sketches[:, :width]).near(eps, tile_rows)
        return
    left, right = queries.rows(np.arange(len(queries))), members.rows(np.arange(len(members)))
    least = np.float32(least_steps(eps) / STEPS) - rounding_bound(left.shape[1])
    for rows in row_blocks(left.shape[0], max(1, tile_rows // 2)):
        for columns in row_blocks(right.shape[0], tile_rows):
            products = left[rows] @ right[columns].T
            query, member = where(products >= least)
            if query.size:
                yield query + rows.start, member + columns.start, products[query, member]


def few_pairs(blocks: Iterable[tuple[Array, Array, Array]], num_pairs: int) -> _Near | None:
    """The near pairs of all blocks; None where they are more than `DENSE_SHARE` of all pairs, or too many for memory."""
    most = min(MOST_PAIRS, 64 + DENSE_SHARE * num_pairs)
    found: list[_Near] = []
    num_found = 0
    for query, member, product in blocks:
        num_found += query.size
        if num_found > most:
            return None
        found.append((to_host(query), to_host(member), to_host(product)))
    if not found:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)
    queries, members, products = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return queries, members, products


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Pairs of a query and a member.

    Attributes:
        query, member: (P,) int64, their indices.
        later: (P,) int64, the row of each pair that ranks later: a query, or a member's index plus the number of queries.
    """

    query: Indices
    member: Indices
    later: Indices

    def take(self, some: NDArray[Any]) -> _Pairs:
        return _Pairs(self.query[some], self.member[some], self.later[some])


def _score_pairs(
    queries: ComparedRows, members: ComparedRows, near: _Near, order: Order, eps: float, width: int
) -> CrossClusterScores:
    """Measure pair by pair; in float64 only the pairs that may be the best of their row."""
    floors = np.concatenate([queries.floors(eps), members.floors(eps)])
    least = least_products(width, floors) if width else floors - rounding_bound(queries.dim)
    least[np.isinf(floors)] = np.inf
    query, member, product = near
    some = np.flatnonzero(product >= np.minimum(least[query], least[len(queries) + member]))
    if not len(some):
        return _no_matches(len(queries), len(members), 0)
    query, member = query[some], member[some]
    places = _places(query, member, len(queries), len(members), order)
    later = np.where(places[query] > places[len(queries) + member], query, len(queries) + member)
    pairs = _Pairs(query, member, later).take(product[some] >= least[later])
    scores = _no_matches(len(queries), len(members), len(pairs.query))
    pairs, steps = _measure_pairs(queries, members, pairs, floors)
    good = steps >= least_steps(eps)
    pairs, cosine = pairs.take(good), steps[good] / STEPS
    query_later = pairs.later == pairs.query
    query_place, member_place = places[pairs.query], places[len(queries) + pairs.member]
    _keep_best(scores.queries, pairs.query, pairs.member, member_place, cosine, query_later)
    _keep_best(scores.members, pairs.member, pairs.query, query_place, cosine, ~query_later)
    return scores


def _places(query: Indices, member: Indices, num_queries: int, num_members: int, order: Order) -> Indices:
    """(num_queries + num_members,) the places in the ranking of the queries and members that are in a pair; -1 elsewhere."""
    some_queries, some_members = _distinct(query, num_queries), _distinct(member, num_members)
    places = np.full(num_queries + num_members, -1, np.int64)
    places[some_queries], places[num_queries + some_members] = order(some_queries, some_members)
    return places


def _distinct(index: Indices, num_rows: int) -> Indices:
    """``np.unique``, without sorting."""
    there = np.zeros(num_rows, bool)
    there[index] = True
    return np.flatnonzero(there)


def _measure_pairs(
    queries: ComparedRows, members: ComparedRows, pairs: _Pairs, floors: NDArray[np.float64]
) -> tuple[_Pairs, NDArray[np.float64]]:
    """The pairs that may be the best of their later row, and their cosines in steps."""
    some_queries, some_members = _distinct(pairs.query, len(queries)), _distinct(pairs.member, len(members))
    query_rows, member_rows = queries.rows(some_queries), members.rows(some_members)
    query, member = np.searchsorted(some_queries, pairs.query), np.searchsorted(some_members, pairs.member)
    products = _products(query_rows, member_rows, query, member)
    # A product below the floor, or below the best of its row, by more than rounding explains cannot be the best.
    best = floors.astype(np.float32)
    np.maximum.at(best, pairs.later, products)
    promising = np.flatnonzero(products >= best[pairs.later] - 2 * rounding_bound(queries.dim))
    query, member = query[promising], member[promising]
    few_queries, few_members = _distinct(query, len(some_queries)), _distinct(member, len(some_members))
    xp = array_module(query_rows)
    steps = measure_pairs(
        side(query_rows[xp.asarray(few_queries)]), side(member_rows[xp.asarray(few_members)]),
        np.searchsorted(few_queries, query), np.searchsorted(few_members, member),
    )  # fmt: skip
    return pairs.take(promising), steps


def _products(queries: Array, members: Array, query: Indices, member: Indices) -> NDArray[np.float32]:
    """(P,) the float32 products of pairs of rows, on the host."""
    xp = array_module(queries)
    products = np.empty(len(query), np.float32)
    for part in row_blocks(len(query), block_rows(queries, 8 * queries.shape[1])):
        left, right = queries[xp.asarray(query[part])], members[xp.asarray(member[part])]
        products[part] = to_host(xp.einsum("ij,ij->i", left, right))
    return products


def _keep_best(
    into: PartialScores,
    row: Indices,
    other: Indices,
    place: Indices,
    cosine: NDArray[np.float64],
    of: NDArray[np.bool_],
) -> None:
    """Keep the highest cosine of each row among the pairs ``of``; the earliest place among equal ones."""
    row, other, place, cosine = row[of], other[of], place[of], cosine[of]
    ordered = np.lexsort((place, -cosine, row))
    first = ordered[np.unique(row[ordered], return_index=True)[1]]
    into.cosine[row[first]], into.index[row[first]] = cosine[first], other[first]


def _score_all(
    queries: ComparedRows, members: ComparedRows, order: Order, eps: float, tile_rows: int
) -> CrossClusterScores:
    """Compare all rows with all members, without sketches."""
    query_place, member_place = order(np.arange(len(queries)), np.arange(len(members)))
    query_order, member_order = np.argsort(query_place), np.argsort(member_place)
    query_side = side(queries.rows(query_order), query_place[query_order])
    member_side = side(members.rows(member_order), member_place[member_order])
    scores = _no_matches(len(queries), len(members), len(queries) * len(members))
    for into, one, other, own_order, other_order in (
        (scores.queries, query_side, member_side, query_order, member_order),
        (scores.members, member_side, query_side, member_order, query_order),
    ):
        floor = least_steps(eps) / STEPS
        cosine, index = best_match(one, other, earlier_only=True, tile_rows=tile_rows, floor=floor)
        into.cosine[own_order] = cosine
        into.index[own_order] = np.where(index >= 0, other_order[index], -1)
    return scores


def _no_matches(num_queries: int, num_members: int, num_measured: int) -> CrossClusterScores:
    none = [
        PartialScores(np.full(n, -np.inf, np.float32), np.full(n, -1, np.int64)) for n in (num_queries, num_members)
    ]
    return CrossClusterScores(none[0], none[1], num_measured)
