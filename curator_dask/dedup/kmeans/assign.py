"""Assign every row to its nearest centre.

The product of rows and centres is a float32 GEMM. Its last bits depend on the BLAS, on the number of threads and on
the place of a row within its block (measured: OpenBLAS differs in 1-15 % of the entries), and the choice
between two centres that are almost equally near would depend on them too. So the GEMM only finds the candidates: the
centres whose score lies within twice its rounding bound of the best. Where a row has more than one candidate, each is
measured again in float64: the labels are the same for any partitioning, any number of threads, and on CPU and GPU.

Where products of one-byte numbers are quicker (`curator_dask.dedup.arrays.one_byte`), they exclude most centres
before that. They change no label either.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple

import numpy as np

from curator_dask.dedup.arrays.blocks import over_blocks
from curator_dask.dedup.arrays.quick_products import are_quick
from curator_dask.dedup.arrays.xp import Array, array_module, block_rows, row_blocks, to_host
from curator_dask.dedup.kmeans.few import products_of_few
from curator_dask.dedup.kmeans.screen import Screen, rows_at_a_time
from curator_dask.errors import ParameterError

TIE_GRID: Final = 2.0**40  # float64 scores closer than this are one score: the lowest centre wins
DENSE: Final = 16  # candidates per row from which a float64 GEMM thins them out first
FEW: Final = (1, 2, 4, 8, 16, 32)
"""Rows with up to so many candidates are measured together. Those with more are compared with all centres."""
UNSURE: Final = -1
SCREENED_ROWS: Final = 2048
"""Rows whose candidates are looked through together."""
LEAST_CENTRES: Final = 128
"""Excluding centres by one-byte numbers pays from so many centres on,"""
LEAST_ROWS: Final = 1024
"""and from so many rows on."""


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


def assign(X: Array, C: Array, *, max_rows: int | None = None) -> Array:
    """The nearest centre of every row.

    >>> X = np.float32([[1, 0], [0.8, 0.6], [0.6, 0.8], [0, 1]])
    >>> assign(X, np.float32([[1, 0], [0, 1]])).tolist()
    [0, 0, 1, 1]

    Args:
        X: (N, D) float32, unit rows.
        C: (k, D) centres, of any length.
        max_rows: at most this many rows are compared with all centres at a time (per thread, on the CPU); None: as
            many as fit the cache. It changes the memory, not the result.

    Returns:
        (N,) int32, the lowest centre on ties; an array of X's module. Besides it, memory holds a few blocks of scores per
        thread.
    """
    xp = array_module(X)
    check_width(X, C)
    centres = _prepare(X, C)
    labels = xp.full(X.shape[0], UNSURE, dtype=np.int32)
    num_rows = block_rows(X, 4 * C.shape[0])
    num_rows = min(num_rows, max_rows or num_rows, max(1, X.shape[0]))
    if xp is np and X.shape[0] >= LEAST_ROWS and C.shape[0] >= LEAST_CENTRES and are_quick():
        at_a_time = min(num_rows, rows_at_a_time(C.shape[0]))
        _label(labels, X, row_blocks(X.shape[0], SCREENED_ROWS), lambda: _Screened(centres, at_a_time))
        unsure = np.flatnonzero(labels == UNSURE)
        left: Iterable[Any] = (unsure[some] for some in row_blocks(len(unsure), num_rows))
    else:
        left = row_blocks(X.shape[0], num_rows)
    _label(labels, X, left, lambda: _Directly(centres, num_rows))
    return labels


def _label(labels: Array, X: Array, blocks: Iterable[Any], way: Callable[[], Callable[[Array], Array]]) -> None:
    """Label some blocks of rows. Each thread makes one function to do so, which keeps its buffers: fresh pages cost time."""

    def work(own: Iterator[Any]) -> None:
        compare = way()
        for rows in own:
            labels[rows] = compare(X[rows])

    over_blocks(work, blocks) if array_module(X) is np else work(iter(blocks))


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


class _Directly:
    """Compares rows with all centres in float32."""

    def __init__(self, centres: _Centres, num_rows: int) -> None:
        xp = array_module(centres.single)
        self._centres, self._half_sq_norm = centres, centres.half_sq_norm.astype(np.float32)
        self._scores = xp.empty((num_rows, centres.single.shape[0]), dtype=np.float32)

    def __call__(self, block: Array) -> Array:
        xp, centres, scores = array_module(block), self._centres, self._scores[: block.shape[0]]
        xp.matmul(block, centres.single.T, out=scores)  # x.c - |c|^2 / 2 is largest where |x - c| is smallest
        scores -= self._half_sq_norm
        labels = scores.argmax(axis=1)
        every = xp.arange(block.shape[0])
        best = scores[every, labels]
        scores[every, labels] = -np.inf
        close = xp.flatnonzero(scores.max(axis=1) >= best - centres.single_width)
        if close.size:
            candidates = scores[close] >= (best[close] - centres.single_width)[:, None]
            candidates[xp.arange(close.size), labels[close]] = True
            labels[close] = _nearest_of(candidates, block[close], centres)
        return centres.lowest_equal[labels]


class _Screened:
    """Compares rows with all centres in one-byte numbers, and with those that may be the nearest ones in float32. Rows
    for which that is not enough are `UNSURE`."""

    def __init__(self, centres: _Centres, num_rows: int) -> None:
        self._centres = centres
        self._half_sq_norm = centres.half_sq_norm.astype(np.float32)
        self._screen = Screen(centres.single, num_rows)

    def __call__(self, block: Array) -> Array:
        found = self._screen.candidates(block, FEW[-1])
        counts = np.bincount(found.row, minlength=len(block))
        first = np.cumsum(counts) - counts
        labels = np.full(len(block), UNSURE, np.int64)
        labels[counts == 1] = found.centre[first[counts == 1]]
        for fewer, most in itertools.pairwise(FEW):
            rows = np.flatnonzero((counts > fewer) & (counts <= most))
            places = _Places(first[rows], counts[rows], most)
            labels[rows] = self._best_of(block[rows], found.centre[places.in_list()], places.filled())
        return np.where(labels == UNSURE, UNSURE, self._centres.lowest_equal[labels])

    def _best_of(self, rows: Array, candidates: Array, filled: Array) -> Array:
        """The best of the candidates (n, m) of each row; `UNSURE` where another one is nearly as near."""
        scores = products_of_few(rows, self._centres.single, candidates)
        scores -= self._half_sq_norm[candidates]
        scores[~filled] = -np.inf
        every, place = np.arange(len(rows)), scores.argmax(axis=1)
        best = scores[every, place]
        scores[every, place] = -np.inf
        is_sure = scores.max(axis=1) < best - self._centres.single_width
        return np.where(is_sure, candidates[every, place], UNSURE)


class _Places(NamedTuple):
    """Where the candidates of some rows stand in a list, as a table with ``most`` columns."""

    first: Array
    """(n,), the place of each row's first one."""
    counts: Array
    """(n,)"""
    most: int

    def filled(self) -> Array:
        """(n, most), whether a row has so many."""
        return np.arange(self.most) < self.counts[:, None]

    def in_list(self) -> Array:
        """(n, most); places that are not filled are those of the first one."""
        return self.first[:, None] + np.where(self.filled(), np.arange(self.most), 0)


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
