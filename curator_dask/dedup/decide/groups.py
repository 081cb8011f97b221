"""Groups of duplicates: connected components of the pairs within eps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.arrays.xp import Array
from curator_dask.dedup.similarity.near import near_of
from curator_dask.dedup.similarity.pairs import Side, side
from curator_dask.dedup.similarity.pairwise import TILE_ROWS

Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]
"""(P,) rows, and (P,) other rows."""


def duplicate_groups(
    X: Array | Side,
    eps: float,
    duplicate: NDArray[np.bool_],
    best: NDArray[np.int64],
    *,
    sources: NDArray[np.int64] | None = None,
    tile_rows: int = TILE_ROWS,
) -> NDArray[np.int64]:
    """The group of every row, named by its lowest row. Pairs with a cosine of at least ``1 - eps`` join their groups.

    Rows as directions in a plane, at eps 0.01 (5° are within eps, 10° are not); rows 0, 1 and 3 form one group, and so do
    rows 2 and 4:

    >>> angle = np.radians([0, 5, 90, 10, 91])
    >>> X = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    >>> duplicate, best = np.array([False, True, False, True, True]), np.array([0, 0, 2, 1, 2])
    >>> duplicate_groups(X, 0.01, duplicate, best).tolist()
    [0, 0, 2, 0, 2]

    Args:
        X: (N, D) float32, unit rows in ranked order, NumPy or CuPy; or a `Side` of them.
        duplicate: (N,) rows with an earlier row within eps, on the host.
        best: (N,) int64, the earlier row that each of them is most similar to.
        sources: (N,) int64, on the host: only pairs of rows with different numbers count; None: all pairs.

    Returns:
        (N,) int64. The lowest row of a group has no earlier row within eps, so either rule keeps it.
    """
    pairs = (
        (i, j) if sources is None else _of_different(sources, i, j)
        for i, j, _ in near_of(side(X), np.flatnonzero(duplicate), eps, tile_rows)
    )
    return joined_trees(duplicate, best, pairs)


def joined_trees(duplicate: NDArray[np.bool_], best: NDArray[np.int64], pairs: Iterable[Pairs]) -> NDArray[np.int64]:
    """`duplicate_groups` of rows with these pairs, which come in batches; memory holds one of them."""
    later = np.flatnonzero(duplicate)
    tree = _trees(later, best[later], len(duplicate))
    # The tree joins nearly all rows of a group; only trees are left to join, named by their lowest rows.
    return connected_groups(len(duplicate), _links(tree, pairs))[tree]


def _of_different(sources: NDArray[np.int64], i: NDArray[np.int64], j: NDArray[np.int64]) -> Pairs:
    different = sources[i] != sources[j]
    return i[different], j[different]


def _trees(rows: NDArray[np.int64], earlier: NDArray[np.int64], num_rows: int) -> NDArray[np.int64]:
    """(N,) the lowest row of the tree that each row is in, if some rows hang on earlier ones."""
    above = np.arange(num_rows)
    above[rows] = np.minimum(earlier, rows)  # a damaged table must not make a circle
    while not np.array_equal(lowest := above[above], above):
        above = lowest
    return above


def _links(tree: NDArray[np.int64], pairs: Iterable[Pairs]) -> Iterator[Pairs]:
    """Pairs of trees (by their lowest rows) that a near pair joins, batch by batch."""
    for i, j in pairs:
        apart = tree[i] != tree[j]
        if apart.any():
            links = np.unique(np.stack([tree[i[apart]], tree[j[apart]]]), axis=1)
            yield links[0], links[1]


def joined_groups(group: NDArray[Any], i: NDArray[Any], j: NDArray[Any]) -> NDArray[Any]:
    """The groups of N rows after the groups of rows ``i`` and ``j``, pair by pair, were joined.

    >>> joined_groups(np.array([0, 0, 2, 3, 2]), np.array([4, 3]), np.array([1, 3])).tolist()
    [0, 0, 0, 3, 0]

    Args:
        group: (N,) the lowest row of the group of each row. i, j: (P,) rows.

    Returns:
        (N,) of the type of `group`. Besides N numbers, memory holds the groups of the P pairs alone.
    """
    if not len(i):
        return group
    ends = np.concatenate([group[i], group[j]])
    nodes, node = np.unique(ends, return_inverse=True)  # ascending, so the lowest node is that of the lowest row
    lowest = connected_groups(len(nodes), [(node[: len(i)], node[len(i) :])])
    renamed = np.arange(len(group), dtype=group.dtype)
    renamed[nodes] = nodes[lowest]
    joined: NDArray[Any] = renamed[group]
    return joined


def connected_groups(num_rows: int, pairs: Iterable[Pairs]) -> NDArray[np.int64]:
    """Connected components of the graph of near pairs.

    >>> connected_groups(6, [(np.array([1, 5]), np.array([4, 3])), (np.array([4]), np.array([2]))]).tolist()
    [0, 1, 1, 3, 1, 3]

    Args:
        num_rows: rows, and nodes of the graph.
        pairs: batches ``(i, j)`` of row indices. Memory holds about ``num_rows`` pairs and the largest batch.

    Returns:
        (num_rows,) int64: the lowest row of the group that each row is in. A row without pairs is its own group.
    """
    labels = np.arange(num_rows)
    waiting: list[Pairs] = []
    for i, j in pairs:
        waiting.append((i, j))
        if sum(len(batch[0]) for batch in waiting) >= num_rows:
            labels, waiting = _join(labels, waiting), []
    return _join(labels, waiting) if waiting else labels


def _join(labels: NDArray[np.int64], batches: list[Pairs]) -> NDArray[np.int64]:
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    i, j = (labels[np.concatenate(ends)] for ends in zip(*batches, strict=True))
    graph = coo_matrix((np.ones(len(i), dtype=np.int8), (i, j)), shape=(len(labels), len(labels)))
    _, component = connected_components(graph, directed=False)
    _, lowest, of_row = np.unique(component[labels], return_index=True, return_inverse=True)
    return lowest[of_row]
