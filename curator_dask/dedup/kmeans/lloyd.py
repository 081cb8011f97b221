"""Lloyd's k-means in pieces that a distributed driver puts together: partial sums, their merge, the next centres.

The stop rule and the treatment of empty clusters are those of cuVS (``kmeans_fit`` in ``kmeans.cuh``): stop when the
cost falls by less than ``tol`` of itself or when the centres move by less than ``tol`` (sum of squares); a cluster
without rows keeps its centre.

Sums do not depend on their order
    Each component is rounded to a multiple of 2**-24 (float32 itself has no finer step from 0.5 up), and the sums run
    in float64. All of them are multiples of 2**-24, so float64 holds them exactly as long as they stay below 2**29:
    up to 2**29 (537 million) unit rows per cluster. Exact additions are associative: partitions, the order of rows,
    threads, workers, the order of merges and atomic additions on a GPU change no bit of the result. The squared
    lengths, on the same grid, are added up in the same way, once per fit, and every cost follows from the sums.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from threading import Lock
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.arrays.blocks import over_blocks
from curator_dask.dedup.arrays.some import Some
from curator_dask.dedup.arrays.xp import Array, array_module, block_rows, row_blocks, to_host
from curator_dask.dedup.kmeans.assign import assign
from curator_dask.dedup.kmeans.start import OVERSAMPLING, Init, initial_centres
from curator_dask.errors import InputError, ParameterError

GRID: Final = 2.0**24


@dataclass(frozen=True, slots=True)
class Partial:
    """The contribution of some rows to one Lloyd iteration: on the host, exact (see the module), merged by addition."""

    sums: NDArray[np.float64]
    """(k, D), the sum of the rows of each cluster."""
    counts: NDArray[np.int64]
    """(k,), the number of rows of each cluster."""

    def __sizeof__(self) -> int:
        """What a scheduler should know before it moves it."""
        return int(self.sums.nbytes + self.counts.nbytes)

    def cost(self, C: NDArray[np.float32], sq_norms: float) -> float:
        """Sum over the rows of the squared distance to their centre in ``C``, the centres they were assigned by.

        ``sq_norms`` is the `sum_of_sq_norms` of the same rows.

        >>> X, C = np.float32([[1, 0], [0.8, 0.6], [0.6, 0.8], [0, 1]]), np.float32([[1, 0], [0, 1]])
        >>> round(lloyd_partial(X, C).cost(C, sum_of_sq_norms(X)), 4)  # 0 + 0.4 + 0.4 + 0
        0.8
        """
        centres = C.astype(np.float64)
        to_centres = np.vdot(self.sums, centres)
        of_centres = np.vdot(self.counts.astype(np.float64), (centres * centres).sum(axis=1))
        return max(0.0, float(sq_norms - 2.0 * to_centres + of_centres))


@dataclass(frozen=True, slots=True)
class KMeansResult:
    """A fitted k-means."""

    centroids: NDArray[np.float32]
    """(k, D)"""
    counts: NDArray[np.int64]
    """(k,), the number of rows nearest to each centroid."""
    inertia: float
    """Sum of the squared distances of all rows to their centroid."""
    n_iter: int
    converged: bool


def lloyd_partial(X: Array, C: Array, *, max_rows: int | None = None) -> Partial:
    """Assign the rows of ``X`` (N, D) float32, unit, to the centres ``C`` (k, D) and add them up.

    >>> X = np.float32([[1, 0], [0.8, 0.6], [0.6, 0.8], [0, 1]])
    >>> partial = lloyd_partial(X, np.float32([[1, 0], [0, 1], [-1, 0]]))
    >>> partial.sums.round(4).tolist(), partial.counts.tolist()
    ([[1.8, 0.6], [0.6, 1.8], [0.0, 0.0]], [2, 2, 0])

    ``max_rows`` is that of `assign`, and changes only the memory.
    """
    labels = assign(X, C, max_rows=max_rows)
    return labelled_partial(X, labels, C.shape[0])


def labelled_partial(X: Array | Some, labels: Array, k: int) -> Partial:
    """The partial of rows (N, D), or of some rows of a matrix, with these labels (N,), of k clusters.

    >>> labelled_partial(np.float32([[1, 0], [0, 1], [1, 0]]), np.int32([1, 0, 1]), 2).sums.tolist()
    [[0.0, 1.0], [2.0, 0.0]]
    """
    some = Some.of(X)
    add_up = _add_up_on_host if array_module(some.X) is np else _add_up_on_device
    return Partial(to_host(add_up(some, labels, k)) / GRID, np.bincount(to_host(labels), minlength=k))


def _add_up_on_host(some: Some, labels: Array, k: int) -> Array:
    # Measured against sparse one-hot products (up to twice the time) and np.add.reduceat (ten times).
    sums = np.zeros((k, some.X.shape[1]))
    adding = Lock()

    def work(parts: Iterator[tuple[int, NDArray[np.int64]]]) -> None:
        for cluster, members in parts:
            rows = some[members]
            rows *= np.float32(GRID)
            part = np.rint(rows, out=rows).sum(axis=0, dtype=np.float64)  # whole numbers up to 2**24, added exactly
            with adding:
                sums[cluster] += part

    over_blocks(work, _members(labels, k, block_rows(some.X, 4 * some.X.shape[1])))
    return sums


def _members(labels: NDArray[np.int32], k: int, most: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Every cluster that has rows, with their indices, ``most`` at a time.

    >>> [(cluster, rows.tolist()) for cluster, rows in _members(np.int32([2, 0, 2, 2]), k=3, most=2)]
    [(0, [1]), (2, [0, 2]), (2, [3])]
    """
    order = np.argsort(labels, kind="stable")
    ends = np.cumsum(np.bincount(labels, minlength=k))
    for cluster, members in enumerate(np.split(order, ends[:-1])):
        for part in row_blocks(len(members), most):
            yield cluster, members[part]


def _add_up_on_device(some: Some, labels: Array, k: int) -> Array:
    xp, dim = array_module(some.X), some.X.shape[1]
    sums = xp.zeros((k, dim))
    for rows in row_blocks(len(some), block_rows(some.X, 8 * dim)):
        xp.add.at(sums, labels[rows], _round_to_grid(some[rows]))
    return sums


def _round_to_grid(rows: Array) -> Array:
    """Components as whole multiples of 2**-24: float64 integers of at most 2**24."""
    xp = array_module(rows)
    return xp.rint(rows * np.float32(GRID)).astype(np.float64)


def sum_of_sq_norms(X: Array) -> float:
    """The sum of the squared lengths of the rows of ``X`` (N, D), as exact as the sums: add it up over chunks."""
    return float(sq_norms_of(X).sum())


def sq_norms_of(X: Array | Some) -> Array:
    """(N,) float64, the squared lengths of rows (N, D), rounded to multiples of 2**-24: they add up exactly."""
    some = Some.of(X)
    xp = array_module(some.X)
    sq_norms = xp.empty(len(some))
    for rows in row_blocks(len(some), block_rows(some.X, 32 * some.X.shape[1])):
        on_grid = _round_to_grid(some[rows])
        # Squares are whole numbers and a row of them adds up to about 2**48: exact in any order.
        sq_norms[rows] = np.vecdot(on_grid, on_grid) if xp is np else (on_grid * on_grid).sum(axis=1)
    return xp.rint(sq_norms / GRID) / GRID


def merge(a: Partial, b: Partial) -> Partial:
    """The partial of the rows of both; exact, so the order and shape of a tree of merges do not matter.

    >>> X, C = np.float32([[1, 0], [0.8, 0.6], [0.6, 0.8], [0, 1]]), np.float32([[1, 0], [0, 1]])
    >>> merged, whole = merge(lloyd_partial(X[2:], C), lloyd_partial(X[:2], C)), lloyd_partial(X, C)
    >>> np.array_equal(merged.sums, whole.sums), merged.counts.tolist()
    (True, [2, 2])
    """
    return Partial(a.sums + b.sums, a.counts + b.counts)


def new_centres(partial: Partial, old_C: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean of every cluster, (k, D) float32; a cluster without rows keeps its old centre.

    >>> partial = Partial(sums=np.array([[3.0, 1.0], [0.0, 0.0]]), counts=np.array([4, 0]))
    >>> new_centres(partial, np.float32([[1, 0], [0, 1]])).tolist()
    [[0.75, 0.25], [0.0, 1.0]]
    """
    filled = partial.counts > 0
    means = partial.sums / np.where(filled, partial.counts, 1)[:, None]
    return np.where(filled[:, None], means, old_C).astype(np.float32)


def sq_shift(old_C: NDArray[np.float32], new_C: NDArray[np.float32]) -> float:
    """How far the centres moved: the sum of the squared differences.

    >>> sq_shift(np.float32([[1, 0], [0, 1]]), np.float32([[0.5, 0.5], [0, 1]]))
    0.5
    """
    difference = new_C.astype(np.float64) - old_C
    return float(np.vdot(difference, difference))


def has_converged(cost: float, last_cost: float | None, shift: float, tol: float) -> bool:
    """cuVS's stop rule: ``cost / last_cost > 1 - tol`` or ``shift < tol``; also when no centre moved at all.

    >>> has_converged(cost=99.995, last_cost=100.0, shift=0.5, tol=1e-4), has_converged(99.0, 100.0, 0.5, 1e-4)
    (True, False)

    Args:
        cost: the cost of this iteration, with the centres that its rows were assigned to.
        last_cost: the cost of the iteration before; None in the first.
        shift: ``sq_shift`` of this iteration's update.
    """
    settled = last_cost is not None and cost > (1.0 - tol) * last_cost
    return settled or shift < tol or shift == 0.0


class Iterations(NamedTuple):
    """Where iterations ended."""

    centroids: NDArray[np.float32]
    """(k, D)"""
    n_iter: int
    converged: bool
    partial: Partial | None
    """The rows as the last iteration assigned them, of which the centroids are the means; None without an iteration."""

    def result(self, sq_norms: float, n_iter_before: int = 0) -> KMeansResult:
        """The fit with its rows where the last iteration put them; their inertia is at most that of the iteration.

        No further pass looks for rows that the last move of the centroids brought nearer to another one. ``sq_norms`` is
        the `sum_of_sq_norms` of the rows, ``n_iter_before`` a number of iterations to count too. Raises ValueError where
        there was no iteration.
        """
        if self.partial is None:
            raise ValueError("no iteration has assigned the rows")
        inertia = self.partial.cost(self.centroids, sq_norms)
        return KMeansResult(self.centroids, self.partial.counts, inertia, n_iter_before + self.n_iter, self.converged)


SumUp = Callable[[NDArray[np.float32]], Partial]
"""Computes the `Partial` of all rows, wherever they are, assigned to the centres (k, D) that it is given."""


def iterate(
    sum_up: SumUp,
    C: NDArray[np.float32],
    sq_norms: float,
    *,
    max_iter: int,
    tol: float,
    after_each: Callable[[float], None] | None = None,
    relaxation: float = 1.0,
) -> Iterations:
    """Iterate from the centres ``C`` (k, D) until the stop rule or ``max_iter`` ends it; the parameters are those of `lloyd`.

    ``relaxation``, from 1 to below 2, is how many times the way to their means the centres move in all iterations but the
    last. Above 1 it takes fewer iterations (Salakhutdinov and Roweis, "Adaptive Overrelaxed Bound Optimization Methods",
    ICML 2003: near the optimum it converges for all values below 2).
    """
    last_cost: float | None = None
    partial: Partial | None = None
    done = False
    n_iter = 0
    while not done and n_iter < max_iter:
        n_iter += 1
        partial = sum_up(C)
        cost, means = partial.cost(C, sq_norms), new_centres(partial, C)
        done = has_converged(cost, last_cost, sq_shift(C, means), tol)
        is_last = done or n_iter == max_iter
        C, last_cost = means if is_last or relaxation == 1 else _move_beyond(C, means, relaxation), cost
        if after_each is not None:
            after_each(cost)
    return Iterations(C, n_iter, done, partial)


def _move_beyond(C: NDArray[np.float32], means: NDArray[np.float32], relaxation: float) -> NDArray[np.float32]:
    """The centres, moved this many times the way to their means."""
    wide = C.astype(np.float64)
    return (wide + relaxation * (means - wide)).astype(np.float32)


def lloyd(
    sum_up: SumUp,
    C: NDArray[np.float32],
    sq_norms: float,
    *,
    max_iter: int,
    tol: float,
    after_each: Callable[[float], None] | None = None,
) -> KMeansResult:
    """Iterate from the centres ``C`` (k, D) until the stop rule or ``max_iter`` ends it, then measure the last centres.

    >>> X = np.float32([[1, 0], [0.8, 0.6], [0.6, 0.8], [0, 1]])
    >>> fitted = lloyd(lambda C: lloyd_partial(X, C), X[:2], sum_of_sq_norms(X), max_iter=300, tol=1e-4)
    >>> fitted.centroids.round(2).astype(str).tolist(), fitted.counts.tolist(), fitted.n_iter
    ([['1.0', '0.0'], ['0.47', '0.8']], [1, 3], 2)

    Args:
        sum_up: see `SumUp`.
        sq_norms: the `sum_of_sq_norms` of all rows.
        max_iter: stop after this many iterations at the latest.
        tol: see `has_converged`.
        after_each: receives the cost of every iteration, with the centres that the iteration began with.
    """
    C, n_iter, done, _ = iterate(sum_up, C, sq_norms, max_iter=max_iter, tol=tol, after_each=after_each)
    final = sum_up(C)
    return KMeansResult(C, final.counts, final.cost(C, sq_norms), n_iter, done)


def kmeans_fit(
    chunks: Sequence[Array],
    k: int,
    *,
    init: Init = "k-means||",
    max_iter: int = 300,
    tol: float = 1e-4,
    seed: int = 42,
    n_init: int = 1,
    sample_rows: int | None = None,
    oversampling: float = OVERSAMPLING,
    max_rows: int | None = None,
) -> KMeansResult:
    """k-means over ``chunks`` in one process, from the same pieces as the distributed stage.

    Args:
        chunks: (n_i, D) float32, unit rows, NumPy or CuPy. How the rows are cut into chunks changes nothing.
        k: number of clusters; with more clusters than rows, some stay empty.
        init: ``"k-means||"``, ``"random"`` or a (k, D) array (see ``curator_dask.dedup.kmeans.start``).
        n_init: number of runs, with seeds ``seed, seed + 1, …``; the one with the lowest inertia is returned.
        sample_rows: number of rows that the start is chosen from; None: 20 per cluster.
        oversampling: rows per cluster that each round of ``"k-means||"`` draws.
        max_rows: see `assign`: it bounds the memory and changes no result.

    Raises:
        ParameterError: a count is below 1, ``tol`` is negative, or ``init`` is none of the above.
        InputError: there are no rows.
    """
    _check_counts(n_clusters=k, max_iter=max_iter, n_init=n_init, max_rows=1 if max_rows is None else max_rows)
    if not tol >= 0:
        raise ParameterError(f"tol must be 0 or more, got {tol}")
    filled = [chunk for chunk in chunks if chunk.shape[0]]
    if not filled:
        raise InputError("there are no rows to cluster")
    runs = range(n_init if isinstance(init, str) else 1)
    starts = (initial_centres(filled, k, init, seed + run, sample_rows or 20 * k, oversampling) for run in runs)
    sq_norms = sum(map(sum_of_sq_norms, filled))

    def sum_up(C: NDArray[np.float32]) -> Partial:
        partials = (lloyd_partial(chunk, array_module(chunk).asarray(C), max_rows=max_rows) for chunk in filled)
        return reduce(merge, partials)

    results = (lloyd(sum_up, start, sq_norms, max_iter=max_iter, tol=tol) for start in starts)
    return min(results, key=lambda result: result.inertia)


def _check_counts(**counts: int) -> None:
    for name, value in counts.items():
        if value < 1:
            raise ParameterError(f"{name} must be at least 1, got {value}")
