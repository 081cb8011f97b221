"""Which rows go, which stay, and who stands for whom.

The compatible rule removes a row for its similarity to *any* earlier row, removed or not: a chain of near neighbours
can lose rows that have no kept neighbour (orphans; ``nearest_kept`` finds them). The greedy rule compares with kept
rows only: every removed row has a kept one within eps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.arrays.xp import Array, array_module, row_blocks
from curator_dask.dedup.decide.threshold import check_eps
from curator_dask.dedup.similarity.pairwise import TILE_ROWS, PartialScores, merge_partials, near_in_tile
from curator_dask.dedup.similarity.scope import best_match_of_others
from curator_dask.dedup.similarity.tiles import Side, Tile, best_match, side
from curator_dask.errors import ParameterError


@dataclass(frozen=True, slots=True)
class Removals:
    """Which rows of a cluster are removed, and the nearest kept row of each; on the host."""

    removed: NDArray[np.bool_]
    """(N,)"""
    kept_row: NDArray[np.int64]
    """(N,) the kept row with the highest cosine, the earliest on ties; a kept row names itself, and -1 is no row."""
    kept_score: NDArray[np.float32]
    """(N,) that cosine; 0.0 for kept rows."""


def greedy_keep(
    X: Array,
    eps: float,
    *,
    candidates: NDArray[np.bool_] | None = None,
    sources: NDArray[np.int64] | None = None,
    tile_rows: int = TILE_ROWS,
) -> Removals:
    """Go through the rows in order and remove each that has a cosine of at least ``1 - eps`` with a *kept* earlier row.

    Args:
        X: (N, D) float32, unit rows in ranked order, NumPy or CuPy.
        candidates: (N,) rows that may go, on the host; the others stay, and are compared with later candidates only.
            The rows that the compatible rule removes are enough; None: all rows.
        sources: (N,) int64, on the host: only pairs of rows with different numbers count; None: all pairs.
        tile_rows: changes speed and memory, never the result.

    Returns:
        The decisions; the kept row of a removed one comes earlier, and its score is at least ``1 - eps``.
    """
    check_eps(eps)
    num_rows = X.shape[0]
    maybe = np.arange(num_rows) if candidates is None else np.flatnonzero(_checked(candidates, num_rows, "candidates"))
    result = Removals(np.zeros(num_rows, np.bool_), np.arange(num_rows), np.zeros(num_rows, np.float32))
    whole = side(X)
    stay = whole[np.delete(np.arange(num_rows), maybe)]
    kept = _KeptRows(whole, len(maybe))
    for rows in row_blocks(len(maybe), max(1, tile_rows // 2)):
        block = whole[maybe[rows]]
        removed, best = _greedy_block(block, (stay, kept.side()), eps, sources, tile_rows)
        result.removed[maybe[rows]] = removed
        result.kept_row[maybe[rows][removed]] = best.index[removed]
        result.kept_score[maybe[rows][removed]] = best.cosine[removed]
        kept.add(block[np.flatnonzero(~removed)])
    return result


class _KeptRows:
    """The kept rows so far, side by side in memory."""

    def __init__(self, like: Side, capacity: int) -> None:
        xp = array_module(like.rows)
        rows = xp.empty((capacity, like.rows.shape[1]), dtype=np.float32)
        self._all = Side(rows, np.empty(capacity, np.int64), xp.empty(capacity))
        self._count = 0

    def side(self) -> Side:
        return self._all[: self._count]

    def add(self, more: Side) -> None:
        place = slice(self._count, self._count + len(more.positions))
        self._all.rows[place], self._all.positions[place] = more.rows, more.positions
        self._all.lengths[place] = more.lengths
        self._count = place.stop


def _greedy_block(
    block: Side, kept: tuple[Side, ...], eps: float, sources: NDArray[np.int64] | None, tile_rows: int
) -> tuple[NDArray[np.bool_], PartialScores]:
    """Decide the rows of ``block``, and find the best kept row of each, given the kept rows before the block."""
    before = merge_partials(*(_best_kept(block, rows, sources, tile_rows) for rows in kept))
    removed = before.cosine.astype(np.float64) >= 1.0 - eps
    later, earlier, _ = near_in_tile(block, Tile(block, 0, True), eps)
    if sources is not None:
        other = sources[block.positions[later]] != sources[block.positions[earlier]]
        later, earlier = later[other], earlier[other]
    order = np.argsort(earlier, kind="stable")
    first = np.searchsorted(earlier[order], np.arange(len(removed) + 1))
    for row in range(len(removed)):
        if not removed[row]:
            removed[later[order[first[row] : first[row + 1]]]] = True
    within = _best_kept(block, block[np.flatnonzero(~removed)], sources, tile_rows)
    return removed, merge_partials(before, within)


def _best_kept(block: Side, kept: Side, sources: NDArray[np.int64] | None, tile_rows: int) -> PartialScores:
    cosine, index = _match(block, kept, sources, earlier_only=True, tile_rows=tile_rows, floor=0.0)
    return PartialScores(cosine, np.where(index >= 0, np.append(kept.positions, -1)[index], -1))


def _match(
    queries: Side, references: Side, sources: NDArray[np.int64] | None, **how: Any
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    if sources is None:
        return best_match(queries, references, **how)
    return best_match_of_others(queries, references, sources, **how)


def nearest_kept(
    X: Array,
    removed: NDArray[np.bool_],
    *,
    sources: NDArray[np.int64] | None = None,
    tile_rows: int = TILE_ROWS,
) -> Removals:
    """For removed rows, the kept row with the highest cosine, earlier or later.

    Args:
        X: (N, D) float32, unit rows of one cluster, NumPy or CuPy.
        removed: (N,) bool, on the host.
        sources: (N,) int64, on the host: only pairs of rows with different numbers count; None: all pairs.

    Returns:
        ``removed`` with its kept rows. A score below ``1 - eps`` marks an orphan. Where no row was kept that counts,
        the index of a removed row is -1 and its score 0.0.
    """
    _checked(removed, X.shape[0], "removed")
    whole = side(X)
    gone, stay = np.flatnonzero(removed), np.flatnonzero(~removed)
    result = Removals(removed, np.arange(len(removed)), np.zeros(len(removed), np.float32))
    cosine, index = _match(whole[gone], whole[stay], sources, earlier_only=False, tile_rows=tile_rows)
    result.kept_row[gone] = np.append(stay, -1)[index]
    result.kept_score[gone] = np.where(index >= 0, cosine, np.float32(0.0))
    return result


def _checked(mask: NDArray[np.bool_], num_rows: int, name: str) -> NDArray[np.bool_]:
    if mask.shape != (num_rows,):
        raise ParameterError(f"{name} has shape {mask.shape}, but there are {num_rows} rows")
    return mask
