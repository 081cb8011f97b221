"""Decide which rows of a ranked cluster are removed, and find the nearest kept row of each.

The pairwise rule removes a row that is similar to *any* row ranked before it, even a removed one. So a chain of near
neighbours may lose rows that have no kept row within eps (orphans; `nearest_kept` finds them). The greedy rule compares
with kept rows only: every removed row has a kept row within eps.

Rows as directions in a plane, at eps 0.01 (cos 5° = 0.996 is within eps, cos 10° = 0.985 is not)::

    row      0     1     2           3
    angle    0°    5°    10°         90°
    pairwise kept  gone  gone        kept     row 2 is similar to row 1, which is removed: row 2 is an orphan
    greedy   kept  gone  kept        kept     row 2 is compared with row 0 only

>>> angle = np.radians([0, 5, 10, 90])
>>> X = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
>>> greedy_keep(X, 0.01).removed.tolist()
[False, True, False, False]
>>> pairwise = nearest_kept(X, np.array([False, True, True, False]))
>>> pairwise.kept_row.tolist(), pairwise.kept_score.round(3).tolist() == np.float32([0, 0.996, 0.985, 0]).tolist()
([0, 0, 0, 3], True)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.arrays.xp import Array, array_module, row_blocks
from curator_dask.dedup.similarity.best_match import best_match
from curator_dask.dedup.similarity.near import near_in_tile
from curator_dask.dedup.similarity.pairs import Side, side
from curator_dask.dedup.similarity.pairwise import TILE_ROWS, PartialScores, merge_partials
from curator_dask.dedup.similarity.scope import best_match_of_others
from curator_dask.dedup.similarity.threshold import check_eps
from curator_dask.dedup.similarity.tiles import Tile
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
    taken: NDArray[np.bool_] | None = None,
    tile_rows: int = TILE_ROWS,
) -> Removals:
    """Go through the rows in order; remove each row with a cosine of at least ``1 - eps`` to a *kept* earlier row.

    Args:
        X: (N, D) float32, unit rows in ranked order, NumPy or CuPy.
        candidates: (N,) rows that may be removed, on the host; the others are kept, and are compared with later
            candidates only. The rows that the pairwise rule removes are enough; None: all rows.
        sources: (N,) int64, on the host: only pairs of rows with different numbers count; None: all pairs.
        taken: (N,) rows that are removed already, for kept rows that are not in X; on the host.
        tile_rows: changes speed and memory, never the result.

    Returns:
        The kept row of a removed one comes earlier, and its score is at least ``1 - eps``; for rows that are taken it is
        -1, with the score 0.0.
    """
    check_eps(eps)
    if taken is not None and taken.any():
        return _keep_of_the_rest(X, eps, candidates, sources, taken, tile_rows)
    num_rows = X.shape[0]
    may_go = (
        np.arange(num_rows) if candidates is None else np.flatnonzero(_check_mask(candidates, num_rows, "candidates"))
    )
    result = Removals(np.zeros(num_rows, np.bool_), np.arange(num_rows), np.zeros(num_rows, np.float32))
    whole = side(X)
    kept_anyway = whole[np.delete(np.arange(num_rows), may_go)]
    kept = _KeptRows(whole, len(may_go))
    for rows in row_blocks(len(may_go), max(1, tile_rows // 2)):
        block = whole[may_go[rows]]
        removed, best = _greedy_block(block, (kept_anyway, kept.side()), eps, sources, tile_rows)
        result.removed[may_go[rows]] = removed
        result.kept_row[may_go[rows][removed]] = best.index[removed]
        result.kept_score[may_go[rows][removed]] = best.cosine[removed]
        kept.add(block[np.flatnonzero(~removed)])
    return result


def _keep_of_the_rest(
    X: Array,
    eps: float,
    candidates: NDArray[np.bool_] | None,
    sources: NDArray[np.int64] | None,
    taken: NDArray[np.bool_],
    tile_rows: int,
) -> Removals:
    """`greedy_keep` of the rows that are not taken."""
    rest = np.flatnonzero(~_check_mask(taken, X.shape[0], "taken"))
    chosen = None if candidates is None else candidates[rest]
    of_sources = None if sources is None else sources[rest]
    found = greedy_keep(
        X[array_module(X).asarray(rest)], eps, candidates=chosen, sources=of_sources, tile_rows=tile_rows
    )
    result = Removals(taken.copy(), np.full(len(taken), -1), np.zeros(len(taken), np.float32))
    result.removed[rest], result.kept_row[rest], result.kept_score[rest] = (
        found.removed,
        rest[found.kept_row],
        found.kept_score,
    )
    return result


class _KeptRows:
    """The rows kept so far, in one array that is allocated once."""

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
    """Decide on the rows of ``block``, and find the nearest kept row of each.

    Args:
        kept: the kept rows before the block, in parts.
    """
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
    X: Array | Side,
    removed: NDArray[np.bool_],
    *,
    sources: NDArray[np.int64] | None = None,
    tile_rows: int = TILE_ROWS,
) -> Removals:
    """Find the kept row with the highest cosine for each removed row, among earlier and later ones.

    Args:
        X: (N, D) float32, unit rows of one cluster, NumPy or CuPy; or a `Side` of them.
        removed: (N,) bool, on the host.
        sources: (N,) int64, on the host: only pairs of rows with different numbers count; None: all pairs.

    Returns:
        ``removed`` with its kept rows. A score below ``1 - eps`` marks an orphan. A removed row without any kept row
        that counts has the kept row -1 and the score 0.0.
    """
    whole = side(X)
    _check_mask(removed, len(whole.positions), "removed")
    result = Removals(removed, np.arange(len(removed)), np.zeros(len(removed), np.float32))
    nearest_among(result, whole, np.flatnonzero(removed), sources, tile_rows)
    return result


def nearest_among(
    result: Removals, whole: Side, gone: NDArray[np.int64], sources: NDArray[np.int64] | None, tile_rows: int
) -> None:
    """Note in `result` the nearest kept row of some of the removed rows, by comparing them with all kept rows."""
    kept = np.flatnonzero(~result.removed)
    cosine, index = _match(whole[gone], whole[kept], sources, earlier_only=False, tile_rows=tile_rows)
    result.kept_row[gone] = np.append(kept, -1)[index]
    result.kept_score[gone] = np.where(index >= 0, cosine, np.float32(0.0))


def _check_mask(mask: NDArray[np.bool_], num_rows: int, name: str) -> NDArray[np.bool_]:
    if mask.shape != (num_rows,):
        raise ParameterError(f"{name} has shape {mask.shape}, but there are {num_rows} rows")
    return mask
