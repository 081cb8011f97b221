"""Which rows go, which stay, and who stands for whom.

The compatible rule removes a row for its similarity to *any* earlier row, removed or not: a chain of near neighbours
can lose rows that have no kept neighbour (orphans; ``nearest_kept`` finds them). The greedy rule compares with kept
rows only: every removed row has a kept one within eps.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.pairwise import TILE_ROWS, PartialScores, merge_partials, near_in_tile
from curator_dask.dedup.threshold import check_eps
from curator_dask.dedup.tiles import Side, Tile, best_match, side
from curator_dask.dedup.xp import Array, array_module, row_blocks
from curator_dask.errors import ParameterError


@dataclass(frozen=True, slots=True)
class Kept:
    """The decision on every row of a cluster, and the kept row that stands for it; on the host."""

    removed: NDArray[np.bool_]
    """(N,)"""
    index: NDArray[np.int64]
    """(N,) of a removed row: the kept row with the highest cosine, the earliest on ties; of a kept row: itself."""
    score: NDArray[np.float32]
    """(N,) that cosine; 0.0 for kept rows."""


def greedy_keep(X: Array, eps: float, *, tile_rows: int = TILE_ROWS) -> Kept:
    """Go through the rows in order and remove each that has a cosine of at least ``1 - eps`` with a *kept* earlier row.

    Args:
        X: (N, D) float32, unit rows in ranked order, NumPy or CuPy.
        tile_rows: changes speed and memory, never the result.

    Returns:
        The decisions; the kept row of a removed one comes earlier, and its score is at least ``1 - eps``.
    """
    check_eps(eps)
    whole = side(X)
    num_rows = len(whole.positions)
    result = Kept(np.zeros(num_rows, np.bool_), np.arange(num_rows), np.zeros(num_rows, np.float32))
    kept = _KeptRows(whole, array_module(X).empty_like(whole.rows))
    for rows in row_blocks(num_rows, max(1, tile_rows // 2)):
        removed, best = _greedy_block(whole[rows], kept.side(), eps, tile_rows)
        result.removed[rows] = removed
        result.index[rows][removed] = best.index[removed]
        result.score[rows][removed] = best.cosine[removed]
        kept.add(whole[rows][np.flatnonzero(~removed)])
    return result


class _KeptRows:
    """The kept rows so far, side by side in memory."""

    def __init__(self, whole: Side, rows: Array) -> None:
        self._all = Side(rows, whole.positions.copy(), whole.lengths.copy())
        self._count = 0

    def side(self) -> Side:
        return self._all[: self._count]

    def add(self, more: Side) -> None:
        place = slice(self._count, self._count + len(more.positions))
        self._all.rows[place], self._all.positions[place] = more.rows, more.positions
        self._all.lengths[place] = more.lengths
        self._count = place.stop


def _greedy_block(block: Side, kept: Side, eps: float, tile_rows: int) -> tuple[NDArray[np.bool_], PartialScores]:
    """Decide the rows of ``block``, and find the best kept row of each, given all kept rows before the block."""
    before = _best_kept(block, kept, tile_rows)
    removed = before.cosine.astype(np.float64) >= 1.0 - eps
    later, earlier, _ = near_in_tile(block, Tile(block, 0, True), eps)
    order = np.argsort(earlier, kind="stable")
    first = np.searchsorted(earlier[order], np.arange(len(removed) + 1))
    for row in range(len(removed)):
        if not removed[row]:
            removed[later[order[first[row] : first[row + 1]]]] = True
    within = _best_kept(block, block[np.flatnonzero(~removed)], tile_rows)
    return removed, merge_partials(before, within)


def _best_kept(block: Side, kept: Side, tile_rows: int) -> PartialScores:
    cosine, index = best_match(block, kept, earlier_only=True, tile_rows=tile_rows, floor=0.0)
    return PartialScores(cosine, np.where(index >= 0, np.append(kept.positions, -1)[index], -1))


def nearest_kept(X: Array, removed: NDArray[np.bool_], *, tile_rows: int = TILE_ROWS) -> Kept:
    """For rows removed by the compatible rule, the kept row with the highest cosine, earlier or later.

    Args:
        X: (N, D) float32, unit rows of one cluster, NumPy or CuPy.
        removed: (N,) bool, on the host.

    Returns:
        ``removed`` with its kept rows. A score below ``1 - eps`` marks an orphan. Where no row was kept, the index
        of the removed rows is -1 and their score 0.0.
    """
    if removed.shape != (X.shape[0],):
        raise ParameterError(f"removed has shape {removed.shape}, but there are {X.shape[0]} rows")
    whole = side(X)
    gone, stay = np.flatnonzero(removed), np.flatnonzero(~removed)
    result = Kept(removed, np.arange(len(removed)), np.zeros(len(removed), np.float32))
    cosine, index = best_match(whole[gone], whole[stay], earlier_only=False, tile_rows=tile_rows)
    result.index[gone] = np.append(stay, -1)[index]
    result.score[gone] = np.where(index >= 0, cosine, np.float32(0.0))
    return result


def connected_groups(num_rows: int, pairs: Iterable[tuple[NDArray[np.int64], NDArray[np.int64]]]) -> NDArray[np.int64]:
    """Connected components of the graph of near pairs.

    Args:
        num_rows: rows, and nodes of the graph.
        pairs: batches ``(i, j)`` of row indices; memory holds about ``num_rows`` pairs and the largest batch.

    Returns:
        (num_rows,) int64: the lowest row of the group that each row is in; a row without pairs is its own.
    """
    labels = np.arange(num_rows)
    waiting: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    for i, j in pairs:
        waiting.append((i, j))
        if sum(len(batch[0]) for batch in waiting) >= num_rows:
            labels, waiting = _join(labels, waiting), []
    return _join(labels, waiting) if waiting else labels


def _join(labels: NDArray[np.int64], batches: list[tuple[NDArray[np.int64], NDArray[np.int64]]]) -> NDArray[np.int64]:
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    i, j = (labels[np.concatenate(ends)] for ends in zip(*batches, strict=True))
    graph = coo_matrix((np.ones(len(i), dtype=np.int8), (i, j)), shape=(len(labels), len(labels)))
    _, component = connected_components(graph, directed=False)
    _, lowest, of_row = np.unique(component[labels], return_index=True, return_inverse=True)
    return lowest[of_row]
