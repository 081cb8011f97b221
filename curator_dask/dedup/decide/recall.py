"""Count the near rows of each row of a sample, by brute force."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.arrays.priority import sample_priority
from curator_dask.dedup.arrays.xp import Array, row_blocks
from curator_dask.dedup.similarity.near import near_in_tile
from curator_dask.dedup.similarity.pairs import side
from curator_dask.dedup.similarity.pairwise import TILE_ROWS
from curator_dask.dedup.similarity.scope import check_scope
from curator_dask.dedup.similarity.tiles import tiles_of

SEED = 42


def drawing_order(ids: Any) -> NDArray[np.uint64]:
    """(N,) numbers of ids: those with the lowest ones are the sample. See `sample_priority`."""
    return sample_priority(ids, SEED)


def count_near(
    sample: Array,
    X: Array,
    eps: float,
    *,
    scope: str = "all",
    sample_sources: NDArray[np.int64] | None = None,
    sources: NDArray[np.int64] | None = None,
    tile_rows: int = TILE_ROWS,
) -> NDArray[np.int64]:
    """For every row of ``sample``, count the rows of ``X`` with a cosine of at least ``1 - eps`` (itself, if it is there).

    >>> X = np.eye(3, dtype=np.float32)[[0, 1, 0, 2]]
    >>> count_near(X[:2], X, 0.01).tolist()
    [2, 1]

    Args:
        sample: (M, D) float32, unit rows, NumPy or CuPy. X: (N, D), the same.
        scope: with ``"cross"`` or ``"same"``, only pairs of different or of equal sources count.
        sample_sources, sources: (M,) and (N,) int64, on the host.

    Returns:
        (M,) int64, on the host. Memory holds one tile of products.
    """
    check_scope(scope)
    queries, references = side(sample), side(X)
    counts = np.zeros(sample.shape[0], np.int64)
    for rows in row_blocks(len(counts), max(1, tile_rows // 2)):
        block = queries[rows]
        for tile in tiles_of(block, references, False, tile_rows):
            row, column, _ = near_in_tile(block, tile, eps)
            if scope != "all" and sample_sources is not None and sources is not None:
                same = sample_sources[rows][row] == sources[tile.start + column]
                row = row[same == (scope == "same")]
            counts[rows] += np.bincount(row, minlength=len(block.positions))
    return counts
