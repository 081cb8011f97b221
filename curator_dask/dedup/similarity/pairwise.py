"""How similar every row of a ranked cluster is to the rows before it: SemDeDup's pairwise step (Abbas et al., 2023).

``score_j = max(0, max over i < j of cos(x_i, x_j))``; only pairs with i < j are multiplied, tile by tile.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Final

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.arrays.xp import Array, array_module
from curator_dask.dedup.similarity.best_match import TileReader, best_match
from curator_dask.dedup.similarity.near import near_of
from curator_dask.dedup.similarity.pairs import STEPS, Side, side
from curator_dask.errors import ParameterError

TILE_ROWS: Final = 1024


@dataclass(frozen=True, slots=True)
class PartialScores:
    """For each of some rows the best earlier row among those compared so far; on the host."""

    cosine: NDArray[np.float32]
    """(M,), -inf where no earlier row has a cosine of 0 or more."""
    index: NDArray[np.int64]
    """(M,), its place in the ranking, or -1."""


def max_earlier_similarity(
    X: Array, *, tile_rows: int = TILE_ROWS, also: TileReader | None = None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The score of every row, and the earlier row it comes from.

    Args:
        X: (N, D) float32, unit rows in ranked order, NumPy or CuPy.
        tile_rows: rows of a tile; changes the speed and the memory (a tile squared), never the result.
        also: sees all products too, such as a `NearPairLister`.

    Returns:
        ``(score, argmax)`` on the host: (N,) float32 from 0 to 1, a whole number of steps of 2**-24, and (N,) int64.
        The earliest row wins among cosines of the same step. The first row, and a row whose cosines with earlier rows are
        all negative, get 0.0 and their own index.

    >>> X = np.array([[1.0, 0.0], [0.6, 0.8], [-0.8, -0.6], [0.8, 0.6]], np.float32)
    >>> score, argmax = max_earlier_similarity(X)
    >>> [f"{one:.2f}" for one in score], argmax.tolist()
    (['0.00', '0.60', '0.00', '0.96'], [0, 0, 2, 1])
    """
    _check_tile_rows(tile_rows)
    whole = side(X)
    cosine, index = best_match(whole, whole, earlier_only=True, tile_rows=tile_rows, floor=0.0, also=also)
    return finish_scores(PartialScores(cosine, index), 0)


def tile_block_scores(
    X_later: Array, X_earlier: Array, later_offset: int, earlier_offset: int, *, tile_rows: int = TILE_ROWS
) -> PartialScores:
    """Compare two ranges of a ranking: rows ``later_offset + 0, 1, …`` with ``earlier_offset + 0, 1, …``.

    The two ranges may be the same, overlap or lie in any order; a row is compared with rows at lower places only. For every
    later block, ``merge_partials`` over all earlier blocks and ``finish_scores`` give what ``max_earlier_similarity``
    gives for the whole, bit for bit.
    """
    places = later_offset + np.arange(X_later.shape[0])
    chunk = X_earlier, earlier_offset + np.arange(X_earlier.shape[0])
    return scores_among(X_later, places, [chunk], tile_rows=tile_rows)


def scores_among(
    X: Array,
    places: NDArray[np.int64],
    chunks: Iterable[tuple[Array, NDArray[np.int64]]],
    *,
    tile_rows: int = TILE_ROWS,
) -> PartialScores:
    """Compare some rows of a cluster with all others, which come in chunks: memory holds the rows and one chunk.

    Args:
        X: (M, D) float32, unit rows, NumPy or CuPy.
        places: (M,) int64 ascending, on the host: the places of the rows in the ranking.
        chunks: ``(rows, places)`` in any order, with the places of a chunk in any order; a row of X is compared with rows
            at lower places only, so chunks may hold the rows of X too.

    Returns:
        The best of all chunks, with places for indices; after ``finish_scores`` bit for bit what
        ``max_earlier_similarity`` gives for the whole.
    """
    _check_tile_rows(tile_rows)
    later = side(X, places)
    best = PartialScores(np.full(len(places), -np.inf, dtype=np.float32), np.full(len(places), -1))
    for rows, row_places in chunks:
        earlier = _in_order(rows, row_places, before=int(places[-1]) if len(places) else -1)
        if not len(earlier.positions):
            continue
        # A cosine counts from the best of earlier chunks on; an equal one counts, as its row may rank earlier.
        floor = np.maximum(best.cosine, np.float32(0.0))
        cosine, index = best_match(later, earlier, earlier_only=True, tile_rows=tile_rows, floor=floor)
        found = index >= 0
        best = merge_partials(best, PartialScores(cosine, np.where(found, earlier.positions[index], -1)))
    return best


def _in_order(rows: Array, places: NDArray[np.int64], before: int) -> Side:
    """The rows at places below `before`, ordered by place; copied only where they are not in this order."""
    if len(places) < 2 or np.all(places[1:] > places[:-1]):
        stop = int(np.searchsorted(places, before))
        return side(rows[:stop], places[:stop])
    order = np.argsort(places)
    order = order[: np.searchsorted(places[order], before)]
    return side(rows[array_module(rows).asarray(order)], places[order])


def runs_of_equal_work(num_rows: int, run_rows: int) -> list[slice]:
    """Cut a ranking into runs ``[start, stop)`` with about the same number of pairs of a row and an earlier row.

    There are about ``num_rows / run_rows`` runs; the first is the longest, with at most ``2 * run_rows`` rows.

    Eight rows in runs of about two, with 10, 11 and 15 such pairs (a row is paired with itself here)::

        row    0 1 2 3 | 4 5 | 6 7
        pairs  1 2 3 4 | 5 6 | 7 8

    >>> runs_of_equal_work(8, 2)
    [slice(0, 4, None), slice(4, 6, None), slice(6, 8, None)]
    """
    num_runs = max(1, -(-num_rows // run_rows))
    work = -(-num_rows * num_rows // num_runs)  # of one run: stop**2 - start**2
    runs, stop = [], 0
    while stop < num_rows:
        start = stop
        stop = min(num_rows, start + 2 * run_rows, 1 + math.isqrt(start * start + work - 1))  # the root, rounded up
        runs.append(slice(start, stop))
    return runs


def merge_partials(*partials: PartialScores) -> PartialScores:
    """The best match of each row over one or more partials, in any order: the higher cosine, then the earlier row."""
    return reduce(_merge_two, partials)


def _merge_two(a: PartialScores, b: PartialScores) -> PartialScores:
    take_b = (b.cosine > a.cosine) | ((b.cosine == a.cosine) & (b.index < a.index))
    return PartialScores(np.where(take_b, b.cosine, a.cosine), np.where(take_b, b.index, a.index))


def finish_scores(partial: PartialScores, offset: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """``(score, argmax)`` of the rows ``offset + 0, 1, …``: 0.0 and the own index where no cosine is 0 or more."""
    found = partial.cosine >= 0
    own = offset + np.arange(len(found))
    score = np.where(found, partial.cosine, np.float32(0.0)) + np.float32(0.0)  # -0.0 becomes 0.0
    return score.astype(np.float32), np.where(found, partial.index, own)


def near_pairs(
    X: Array, eps: float, *, tile_rows: int = TILE_ROWS
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]]:
    """All pairs of rows with a cosine of at least ``1 - eps``, tile by tile.

    Args:
        X: (N, D) float32, unit rows, NumPy or CuPy.

    Yields:
        ``(i, j, cosine)`` on the host, one tile at a time: int64, int64, float32; every pair once, with i < j. Which
        pairs there are does not depend on ``tile_rows``, but their order does.

    >>> X = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [0.8, 0.6]], np.float32)
    >>> [(i.tolist(), j.tolist()) for i, j, cosine in near_pairs(X, eps=0.05)]
    [([1], [3])]
    """
    _check_tile_rows(tile_rows)
    for j, i, steps in near_of(side(X), np.arange(X.shape[0]), eps, tile_rows):
        yield i, j, (steps / STEPS).astype(np.float32)


def _check_tile_rows(tile_rows: int) -> None:
    if tile_rows < 1:
        raise ParameterError(f"pairwise_batch_size ({tile_rows}) must be >= 1")
