"""Which pairs count: all, only those of different sources, or only those of one source.

Neighbours in one take look alike, and people treat them apart from copies between videos. Pairs of one source fall into
small sets of their own (`parts_in_scope`); pairs of different sources need a search that passes over a row's own source
(`best_match_of_others`).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.arrays.xp import Array, array_module, row_blocks, to_host
from curator_dask.dedup.similarity.pairwise import TILE_ROWS, PartialScores, finish_scores, max_earlier_similarity
from curator_dask.dedup.similarity.tiles import NOTHING, STEPS, Side, exact_steps, side, tiles_of
from curator_dask.errors import ParameterError

SCOPES: Final = ("all", "cross", "same")


def check_scope(scope: str) -> None:
    if scope not in SCOPES:
        raise ParameterError(f"scope must be one of {', '.join(SCOPES)}, got {scope!r}")


def source_codes(values: Any) -> NDArray[np.int64]:
    """A number for every source, (N,) int64; a null is a source of its own, equal to no other row's."""
    array = np.asarray(values, dtype=object)
    known = is_known(array)
    codes = np.arange(len(array), 2 * len(array))
    if known.any():
        codes[known] = np.unique(array[known].astype(str), return_inverse=True)[1]
    return codes


def is_known(sources: Any) -> NDArray[np.bool_]:
    """(N,) whether a source is no null."""
    return np.array([value is not None and value == value for value in np.asarray(sources, dtype=object)], np.bool_)


def parts_in_scope(scope: str, sources: NDArray[np.int64] | None, num_rows: int) -> Iterator[slice | NDArray[np.int64]]:
    """Sets of rows, each in ascending order, between which no pair counts; sets of one row are left out."""
    if scope != "same" or sources is None:
        yield slice(0, num_rows)
        return
    order = np.argsort(sources, kind="stable")
    starts = np.flatnonzero(np.diff(sources[order], prepend=-1, append=-1))
    for start, end in pairwise(starts):
        if end - start > 1:
            yield order[start:end]


def other_sources(scope: str, sources: NDArray[np.int64] | None) -> NDArray[np.int64] | None:
    """The sources that a search has to tell apart within a part of `parts_in_scope`; None: none."""
    return sources if scope == "cross" else None


def max_earlier_in_scope(
    X: Array, scope: str, sources: NDArray[np.int64] | None, *, tile_rows: int = TILE_ROWS
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """`max_earlier_similarity` over the pairs that count.

    Args:
        X: (N, D) float32, unit rows in ranked order, NumPy or CuPy.
        sources: (N,) int64, on the host; needed for any scope but ``"all"``.

    Returns:
        ``(score, argmax)``: a row without an earlier row that counts has 0.0 and its own index.
    """
    if scope == "cross" and sources is not None:
        whole = side(X)
        found = best_match_of_others(whole, whole, sources, earlier_only=True, tile_rows=tile_rows, floor=0.0)
        return finish_scores(PartialScores(*found), 0)
    score, argmax = np.zeros(X.shape[0], np.float32), np.arange(X.shape[0])
    for part in parts_in_scope(scope, sources, X.shape[0]):
        rows = np.arange(X.shape[0])[part]
        score[part], best = max_earlier_similarity(X[_on_device(X, part)], tile_rows=tile_rows)
        argmax[part] = rows[best]
    return score, argmax


def _on_device(X: Array, part: slice | NDArray[np.int64]) -> Any:
    return part if isinstance(part, slice) else array_module(X).asarray(part)


def best_match_of_others(
    queries: Side,
    references: Side,
    sources: NDArray[np.int64],
    *,
    earlier_only: bool,
    tile_rows: int = TILE_ROWS,
    floor: float = NOTHING,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """`tiles.best_match` among the references of other sources than the query's.

    ``sources[p]`` is the source of the row at position p. All products are float64: who has many near neighbours of one
    source would have them measured again in any case.
    """
    cosine = np.full(len(queries.positions), NOTHING, dtype=np.float32)
    index = np.full(len(queries.positions), -1, dtype=np.int64)
    for rows in row_blocks(len(queries.positions), max(1, tile_rows // 2)):
        block = queries[rows]
        best = np.full(len(block.positions), NOTHING)
        for tile in tiles_of(block, references, earlier_only, tile_rows):
            steps = exact_steps(block, tile)
            same = sources[block.positions][:, None] == sources[tile.side.positions]
            steps[array_module(steps).asarray(same)] = NOTHING
            column, highest = to_host(steps.argmax(axis=1)), to_host(steps.max(axis=1))
            # Strictly: of equal cosines the earlier tile keeps its place.
            better = (highest > best) & (highest >= floor * STEPS)
            best[better], index[rows][better] = highest[better], column[better] + tile.start
        cosine[rows] = best / STEPS
    return cosine, index
