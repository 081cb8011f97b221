"""Assign every row to its nearest centre, and compute how far away the centre is.

The product of rows and centres is a float32 GEMM. Its last bits depend on the BLAS, on the number of threads and on
the place of a row within its block (measured: OpenBLAS differs in 1-15 % of the entries), and the choice
between two centres that are almost equally near would depend on them too. So the GEMM only finds the candidates: the
centres whose score lies within twice its rounding bound of the best. Where a row has more than one candidate, each is
measured again in float64: the labels are the same for any partitioning, any number of threads, and on CPU and GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from curator_dask.dedup.arrays.blocks import over_blocks
from curator_dask.dedup.arrays.xp import Array, array_module, block_rows, row_blocks, to_host
from curator_dask.errors import ParameterError

TIE_GRID: Final = 2.0**40  # float64 scores closer than this are one score: the lowest centre wins
DENSE: Final = 16  # candidates per row from which a float64 GEMM thins them out first


class _Centres(NamedTuple):
    """(k, D) centres in both precisions, with the numbers that comparing rows with them needs."""

    single: Array
    double: Array
    half_sq_norm: Array
    """(k,), half the squared length of each centre: it is subtracted from the centre's scores."""
    lowest_equal: Array
    """(k,) int32, for each centre the first centre with the same numbers."""
    single_width: np.float32
    """A centre whose float32 score is this far below the best is not the nearest one."""
    double_width: float
    """The same for float64 scores."""


def assign(X: Array, C: Array, *, max_rows: int | None = None) -> tuple[Array, Array]:
    """The nearest centre of every row.

    >>> X = np.float32([[1, 0], [0.8, 0.6], [0.6, 0.8], [0, 1]])
    >>> labels, sq_dist = assign(X, np.float32([[1, 0], [0, 1]]))
    >>> labels.tolist(), sq_dist.round(4).astype(str).tolist()
    ([0, 0, 1, 1], ['0.0', '0.4', '0.4', '0.0'])

    Args:
        X: (N, D) float32, unit rows.
        C: (k, D) centres, of any length.
        max_rows: at most this many rows are compared with all centres at a time (per thread, on the CPU); None: as
            many as fit the cache. It changes the memory, not the result.

    Returns:
        ``(labels, sq_dist)``: (N,) int32, the lowest centre on ties, and (N,) float32, the squared distance as the
        GEMM computes it, accurate to about ``D * 2**-24``; ``centroid_distances`` gives the exact one. Both are arrays
        of X's module. Besides the results, memory holds one block of scores per thread.
    """
    xp = array_module(X)
    check_width(X, C)
    centres = _prepare(X, C)
    labels = xp.zeros(X.shape[0], dtype=np.int32)
    sq_dist = xp.zeros(X.shape[0], dtype=np.float32)
    num_rows = block_rows(X, 4 * C.shape[0])
    num_rows = min(num_rows, max_rows or num_rows, max(1, X.shape[0]))

    def work(blocks: Iterator[slice]) -> None:
        scores = xp.empty((num_rows, C.shape[0]), dtype=np.float32)  # used again and again: fresh pages cost time
        for rows in blocks:
            labels[rows], best = _assign_block(X[rows], centres, scores[: rows.stop - rows.start])
            sq_dist[rows] = xp.maximum(np.float32(0.0), np.float32(1.0) - np.float32(2.0) * best)

    every_block = row_blocks(X.shape[0], num_rows)
    over_blocks(work, every_block) if xp is np else work(every_block)
    return labels, sq_dist


def check_width(X: Array, C: Array) -> None:
    if C.ndim != 2 or C.shape[0] == 0 or C.shape[1] != X.shape[1]:
        raise ParameterError(f"centroids have shape {C.shape}, embeddings {X.shape}: the second numbers must agree")


def _prepare(X: Array, C: Array) -> _Centres:
    xp = array_module(X)
    single = xp.ascontiguousarray(xp.asarray(C, dtype=np.float32))
    double = single.astype(np.float64)
    sq_norm = (double * double).sum(axis=1)
    longest = max(1.0, float(sq_norm.max())) ** 0.5
    # A dot product of D terms in float32 is off by at most D * 2**-24 * |x| * |c|; a few more for the subtraction.
    rounding = (X.shape[1] + 8) * longest * longest
    widths = np.float32(2.0 * rounding * 2.0**-24), 2.0 * rounding * 2.0**-53 + 2.0 / TIE_GRID
    return _Centres(single, double, 0.5 * sq_norm, xp.asarray(_lowest_equal(C)), *widths)


def _lowest_equal(C: Array) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    """(k,) int32, for every centre the first one with the same numbers.

    >>> _lowest_equal(np.float32([[1, 0], [0, 1], [1, 0], [1, -0.0]])).tolist()
    [0, 1, 0, 0]
    """
    lowest: dict[bytes, int] = {}
    centres = np.asarray(to_host(C), dtype=np.float32) + np.float32(0.0)  # -0.0 becomes 0.0
    found = [lowest.setdefault(centre.tobytes(), j) for j, centre in enumerate(centres)]
    return np.array(found, dtype=np.int32)


def _assign_block(block: Array, centres: _Centres, scores: Array) -> tuple[Array, Array]:
    xp = array_module(block)
    xp.matmul(block, centres.single.T, out=scores)  # x.c - |c|^2 / 2 is largest where |x - c| is smallest
    scores -= centres.half_sq_norm.astype(np.float32)
    labels = scores.argmax(axis=1)
    every = xp.arange(block.shape[0])
    best = scores[every, labels]
    scores[every, labels] = -np.inf
    close = xp.flatnonzero(scores.max(axis=1) >= best - centres.single_width)
    if close.size:
        candidates = scores[close] >= (best[close] - centres.single_width)[:, None]
        candidates[xp.arange(close.size), labels[close]] = True
        labels[close] = _nearest_of(candidates, block[close], centres)
    return centres.lowest_equal[labels], best


def _nearest_of(candidates: Array, rows: Array, centres: _Centres) -> Array:
    """(n,), the nearest of the centres marked in ``candidates`` (n, k); one float64 arithmetic measures every pair."""
    xp = array_module(rows)
    wide = rows.astype(np.float64)
    if int(candidates.sum()) > DENSE * rows.shape[0]:
        scores = xp.matmul(wide, centres.double.T)
        scores -= centres.half_sq_norm
        candidates = scores >= scores.max(axis=1)[:, None] - centres.double_width
    row, centre = xp.nonzero(candidates)
    exact = xp.full(candidates.shape, -np.inf)
    for pairs in row_blocks(row.shape[0], block_rows(rows, 8 * rows.shape[1])):
        i, j = row[pairs], centre[pairs]
        score = (wide[i] * centres.double[j]).sum(axis=1) - centres.half_sq_norm[j]
        exact[i, j] = xp.rint(score * TIE_GRID)
    return exact.argmax(axis=1)


def centroid_distances(X: Array, C: Array, labels: Array) -> tuple[Array, Array]:
    """Distances of every row to the centre of its label, computed in float64.

    >>> X, C = np.float32([[1, 0], [0.6, 0.8]]), np.float32([[2, 0], [0, 0.5]])
    >>> l2, cosine = centroid_distances(X, C, np.array([0, 1]))
    >>> l2.round(4).astype(str).tolist(), cosine.round(4).astype(str).tolist()
    (['1.0', '0.6708'], ['0.0', '0.2'])

    Returns:
        ``(l2_dist_to_cent, cosine_dist_to_cent)``, both (N,) float32: ``|x - c|`` with the centre as it is, and
        ``1 - x.c / (|x| |c|)``, never below 0, and 1 for a centre of length zero.
    """
    xp = array_module(X)
    check_width(X, C)
    C64 = xp.asarray(C).astype(np.float64)
    lengths = xp.sqrt((C64 * C64).sum(axis=1))
    l2 = xp.empty(X.shape[0], dtype=np.float32)
    cosine = xp.empty(X.shape[0], dtype=np.float32)

    def work(blocks: Iterator[slice]) -> None:
        for rows in blocks:
            x, c, c_length = X[rows].astype(np.float64), C64[labels[rows]], lengths[labels[rows]]
            x_length = xp.sqrt((x * x).sum(axis=1))
            scale = x_length * c_length
            similarity = (x * c).sum(axis=1) / xp.where(scale > 0, scale, 1.0)
            cosine[rows] = xp.maximum(0.0, 1.0 - similarity)
            x -= c
            x *= x
            l2[rows] = xp.sqrt(x.sum(axis=1))

    every_block = row_blocks(X.shape[0], block_rows(X, 32 * X.shape[1]))
    over_blocks(work, every_block) if xp is np else work(every_block)
    return l2, cosine
