"""All near pairs of some rows and the members of another cluster, not only the best match of each row.

`scores` finds the best match of each row, which is what a similarity table holds. The greedy rule needs more: where the
best match of a row is removed, another kept row may still be near. It asks for few rows at a time (kept rows, which are
no near neighbours of each other within their cluster), so the pairs are few too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.arrays.xp import Array, to_host
from curator_dask.dedup.cross_cluster.scores import ComparedRows, Indices, few_pairs, near_blocks
from curator_dask.dedup.similarity.pairs import STEPS, measure_pairs, side
from curator_dask.dedup.similarity.pairwise import TILE_ROWS
from curator_dask.dedup.similarity.threshold import least_steps

Blocks = Iterable[tuple[Array, Array, Array]]


@dataclass(frozen=True, slots=True)
class NearPairs:
    """Pairs of a query and a member, on the host.

    Attributes:
        query, member: (P,) int64, their indices.
        cosine: (P,) float32.
    """

    query: Indices
    member: Indices
    cosine: NDArray[np.float32]


def find_near_pairs(
    queries: ComparedRows,
    members: ComparedRows,
    eps: float,
    *,
    looked_for: float | None = None,
    width: int = 0,
    tile_rows: int = TILE_ROWS,
) -> NearPairs:
    """All pairs with a cosine of at least ``1 - eps``, measured in float64, in steps of 2**-24.

    >>> queries = ComparedRows.of(np.array([[0.6, 0.8], [0.0, 1.0]], np.float32))
    >>> members = ComparedRows.of(np.array([[0.8, 0.6], [1.0, 0.0]], np.float32))
    >>> pairs = find_near_pairs(queries, members, eps=0.05)
    >>> pairs.query.tolist(), pairs.member.tolist(), [f"{cosine:.2f}" for cosine in pairs.cosine]
    ([0], [0], ['0.96'])

    Args:
        queries, members: of the same array module.
        looked_for: the eps at which sketches tell what may be near; at least `eps`. None: `eps`.
        width: how many numbers of the sketches to compare; 0 for whole rows. See `curator_dask.dedup.cross_cluster.sketch`.
        tile_rows: changes speed and memory, never the result.
    """
    if queries.sketches is None or members.sketches is None:
        width = 0
    if not len(queries) or not len(members):
        return _joined([])
    wide = max(eps, looked_for or 0.0)
    few = few_pairs(near_blocks(queries, members, wide, width, tile_rows), len(queries) * len(members))
    blocks: Blocks = [few] if few is not None else near_blocks(queries, members, eps, 0, tile_rows)
    return _joined(list(_measured(queries, members, blocks, eps)))


def _measured(queries: ComparedRows, members: ComparedRows, blocks: Blocks, eps: float) -> Iterator[NearPairs]:
    """The near ones among the pairs of each block."""
    for block in blocks:
        query, member = (to_host(index) for index in block[:2])
        some_queries, some_members = np.unique(query), np.unique(member)
        if not len(some_queries):
            continue
        steps = measure_pairs(
            side(queries.rows(some_queries)), side(members.rows(some_members)),
            np.searchsorted(some_queries, query), np.searchsorted(some_members, member),
        )  # fmt: skip
        near = steps >= least_steps(eps)
        yield NearPairs(query[near], member[near], (steps[near] / STEPS).astype(np.float32))


def _joined(parts: list[NearPairs]) -> NearPairs:
    none = NearPairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))
    every = [none, *parts]
    return NearPairs(
        np.concatenate([part.query for part in every]),
        np.concatenate([part.member for part in every]),
        np.concatenate([part.cosine for part in every]),
    )
