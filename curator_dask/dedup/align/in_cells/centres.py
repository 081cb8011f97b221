"""Centres of cells, made from a sample of the rows.

k-means with all centres at once takes time in the square of their number. So very many are made part by part: the rows are
divided into parts of near ones, again and again, and each part makes a few centres of its own. Then time grows little more
than the number of rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.align.seeds import LENGTH
from curator_dask.dedup.arrays.rows import normalise
from curator_dask.dedup.arrays.xp import row_blocks
from curator_dask.dedup.kmeans.assign import assign
from curator_dask.dedup.kmeans.distances import centroid_distances
from curator_dask.dedup.kmeans.grouped_start import share_out
from curator_dask.dedup.kmeans.lloyd import kmeans_fit

SAMPLE_ROWS = 40
"""Rows per cell that the centres are made from."""
AT_ONCE = 256
"""Up to so many centres are made at once."""
OF_PART = 64
"""Of more, each part makes at most so many,"""
LEAST_OF_PART = 32
"""and about so many at least: there are no more parts than that takes,"""
PARTS = 64
"""and at most so many at each level."""
LEVELS = 6
"""Rows that still lie together after so many levels hardly differ."""
FIT_ROWS = 2 * SAMPLE_ROWS * AT_ONCE
"""One k-means takes at most so many rows: so its memory is bounded."""
ITERATIONS = 10
SEED = 42
BLOCK_ROWS = 8192

Rows = NDArray[np.int8]
Number = TypeVar("Number", np.int8, np.float32)


def sample_of(rows: NDArray[Number], count: int, number: int) -> NDArray[Number]:
    """At most `count` of the rows, drawn at random; `number` is that of the group they belong to."""
    chosen = np.random.default_rng([SEED, number]).permutation(len(rows))[:count]
    return rows[np.sort(chosen)]


def centres_of(sample: Rows, count: int) -> NDArray[np.float32]:
    """Centres of about so many cells, at most: whole numbers of about the length of a segment's row.

    Args:
        sample: (N, D) int8, rows of segments or pictures. Rows of zeros do not count.
        count: How many centres there are to be. Where there are fewer rows, there is one, of zeros.

    Returns:
        (cells, D) float32
    """
    moving = sample.any(axis=1)
    rows = sample if moving.all() else sample[moving]
    if count == 1 or len(rows) < count:
        return np.zeros((1, sample.shape[1]), np.float32)
    if count <= AT_ONCE:
        return _whole(_fitted(rows, count))
    centres = _whole(np.concatenate([_fitted(*part) for part in _parts(rows, count, LEVELS)]))
    # Near cells would otherwise follow each other, and one worker would get all of a crowded place.
    return centres[np.random.default_rng(SEED).permutation(len(centres))]


def _whole(centres: NDArray[np.float32]) -> NDArray[np.float32]:
    unit, _ = normalise(centres)
    whole: NDArray[np.float32] = np.rint(unit * np.float32(LENGTH))
    return whole


def _fitted(rows: Rows, count: int) -> NDArray[np.float32]:
    """(count, D) the centres that k-means finds for rows (N, D)."""
    unit = _unit(sample_of(rows, FIT_ROWS, 0))
    return kmeans_fit([unit], count, max_iter=ITERATIONS, seed=SEED).centroids


def _unit(rows: Rows) -> NDArray[np.float32]:
    unit, _ = normalise(rows.astype(np.float32), in_place=True)
    return np.asarray(unit)


def _parts(rows: Rows, count: int, levels: int) -> Iterator[tuple[Rows, int]]:
    """Rows that lie near each other, and how many of the `count` centres they get."""
    if count <= OF_PART or not levels:
        yield rows, min(count, OF_PART)
        return
    labels, shares = _divided(rows, count)
    for part in np.flatnonzero(shares):
        yield from _parts(rows[labels == part], int(shares[part]), levels - 1)


def _divided(rows: Rows, count: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The part of each row (N,), and how many centres each part gets: one, and more by its squared distances."""
    middles = _fitted(rows, min(PARTS, -(-count // LEAST_OF_PART)))
    labels, costs = np.empty(len(rows), np.int32), np.zeros(len(middles))
    for block in row_blocks(len(rows), BLOCK_ROWS):
        unit = _unit(rows[block])
        labels[block] = nearest = assign(unit, middles)
        distances = centroid_distances(unit, middles, nearest)[0].astype(np.float64)
        costs += np.bincount(nearest, weights=distances**2, minlength=len(middles))
    sizes = np.bincount(labels, minlength=len(middles))
    filled = (sizes > 0).astype(np.int64)
    return labels, filled + share_out(count - int(filled.sum()), costs, sizes - filled)
