"""Which pairs of rows count: all, only pairs of different sources, or only pairs of the same source.

Neighbouring clips of one video look alike, and people treat them differently from copies in other videos. Pairs of the
same source lie in small sets of rows (`parts_in_scope`); pairs of different sources need a search that leaves out a
row's own source (`best_match_of_others`).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.arrays.xp import Array, array_module, row_blocks, to_host
from curator_dask.dedup.similarity.pairs import STEPS, Side, side
from curator_dask.dedup.similarity.pairwise import TILE_ROWS, PartialScores, finish_scores, max_earlier_similarity
from curator_dask.dedup.similarity.tiles import NOTHING, exact_steps, tiles_of
from curator_dask.errors import ParameterError

SCOPES: Final = ("all", "cross", "same")


def check_scope(scope: str) -> None:
    if scope not in SCOPES:
        raise ParameterError(f"scope must be one of {', '.join(SCOPES)}, got {scope!r}")


def source_codes(values: Any) -> NDArray[np.int64]:
    """(N,) int64, a number per source. A null is a source of its own, different from that of any other row.

    >>> source_codes(["b.mp4", "a.mp4", None, "b.mp4", None]).tolist()
    [1, 0, 7, 1, 9]
    """
    array = np.asarray(values, dtype=object)
    known = is_known(array)
    codes = np.arange(len(array), 2 * len(array))
    if known.any():
        codes[known] = np.unique(array[known].astype(str), return_inverse=True)[1]
    return codes


def is_known(sources: Any) -> NDArray[np.bool_]:
    """(N,) whether a source is known, that is, not null."""
    return np.array([value is not None and value == value for value in np.asarray(sources, dtype=object)], np.bool_)


def parts_in_scope(scope: str, sources: NDArray[np.int64] | None, num_rows: int) -> Iterator[slice | NDArray[np.int64]]:
    """Sets of rows such that only pairs within a set count. Rows ascend within a set; sets of one row are left out.

    >>> [rows.tolist() for rows in parts_in_scope("same", np.array([5, 8, 5, 9, 8, 5]), 6)]
    [[0, 2, 5], [1, 4]]
    >>> list(parts_in_scope("cross", np.array([5, 8, 5, 9, 8, 5]), 6))
    [slice(0, 6, None)]
    """
    if scope != "same" or sources is None:
        yield slice(0, num_rows)
        return
    order = np.argsort(sources, kind="stable")
    starts = np.flatnonzero(np.diff(sources[order], prepend=-1, append=-1))
    for start, end in pairwise(starts):
        if end - start > 1:
            yield order[start:end]


def other_sources(scope: str, sources: NDArray[np.int64] | None) -> NDArray[np.int64] | None:
    """The sources, if a search within a set of `parts_in_scope` has to leave out a row's own source; else None."""
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

    Rows 0, 1 and 3 come from source 0, row 2 from source 1::

                              0     1     2       cross     same
        0 (1.0, 0.0)                              0.00      0.00
        1 (0.6, 0.8)        0.60                  0.00      0.60
        2 (0.0, 1.0)        0.00  0.80            0.80      0.00
        3 (0.8, 0.6)        0.80  0.96  0.60      0.60      0.96

    >>> X = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [0.8, 0.6]], np.float32)
    >>> for scope in ("cross", "same"):
    ...     score, argmax = max_earlier_in_scope(X, scope, np.array([0, 0, 1, 0]))
    ...     print([f"{one:.2f}" for one in score], argmax.tolist())
    ['0.00', '0.00', '0.80', '0.60'] [0, 1, 1, 2]
    ['0.00', '0.60', '0.00', '0.96'] [0, 0, 2, 1]
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
    """`best_match` among the references whose source is not the query's.

    ``sources[p]`` is the source of the row at position p. All products are float64: a row with many near neighbours of its
    own source would have them measured again in any case.
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
            # Strictly higher: among equal cosines that of the earlier tile stays.
            better = (highest > best) & (highest >= floor * STEPS)
            best[better], index[rows][better] = highest[better], column[better] + tile.start
        cosine[rows] = best / STEPS
    return cosine, index
