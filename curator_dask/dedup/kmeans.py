"""Lloyd's k-means in pieces that a distributed driver puts together: partial sums, their merge, the next centres.

Stop rule and empty clusters are cuVS's (``kmeans_fit`` in ``kmeans.cuh``): stop when the cost falls by less than
``tol`` of itself or when the centres move by less than ``tol`` (sum of squares); a cluster without rows keeps its
centre.

Sums that do not depend on their order
    Each component is rounded to a multiple of 2**-24 (float32 itself has no finer step from 0.5 up), and the sums run
    in float64. All of them are multiples of 2**-24, so float64 holds them exactly as long as they stay below 2**29:
    up to 2**29 (537 million) unit rows per cluster. Exact additions are associative: partitions, the order of rows,
    threads, workers and the order of merges change no bit of the result, not even atomic additions on a GPU do. The
    squared lengths, on the same grid, add up in the same way, and the cost follows from the sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Final

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.assign import assign
from curator_dask.dedup.start import Init, initial_centres
from curator_dask.dedup.xp import Array, array_module, block_rows, row_blocks, to_host
from curator_dask.errors import InputError, ParameterError

GRID: Final = 2.0**24


@dataclass(frozen=True, slots=True)
class Partial:
    """What some rows contribute to one Lloyd iteration; on the host, exact (see the module), merged by addition."""

    sums: NDArray[np.float64]
    """(k, D), the sum of the rows of each cluster."""
    counts: NDArray[np.int64]
    """(k,)"""
    sq_norms: float
    """The sum of the squared lengths of all rows."""

    def cost(self, C: NDArray[np.float32]) -> float:
        """Sum over the rows of the squared distance to their centre in ``C``, the centres they were assigned by."""
        centres = C.astype(np.float64)
        to_centres = np.vdot(self.sums, centres)
        of_centres = np.vdot(self.counts.astype(np.float64), (centres * centres).sum(axis=1))
        return max(0.0, float(self.sq_norms - 2.0 * to_centres + of_centres))


@dataclass(frozen=True, slots=True)
class KMeansResult:
    """A fitted k-means."""

    centroids: NDArray[np.float32]
    """(k, D)"""
    counts: NDArray[np.int64]
    """(k,), the rows nearest to each centroid."""
    inertia: float
    """Sum of the squared distances of all rows to their centroid."""
    n_iter: int
    converged: bool


def lloyd_partial(X: Array, C: Array) -> Partial:
    """Assign the rows of ``X`` (N, D) float32, unit, to the centres ``C`` (k, D) and add them up."""
    xp = array_module(X)
    labels, _ = assign(X, C)
    add_up = _add_up_on_host if xp is np else _add_up_on_device
    sums = to_host(add_up(X, labels, C.shape[0])) / GRID
    counts = np.bincount(to_host(labels), minlength=C.shape[0])
    return Partial(sums, counts, _sum_of_sq_norms(X))


def _on_grid(rows: Array) -> Array:
    """Components as whole multiples of 2**-24: float64 integers of at most 2**24."""
    xp = array_module(rows)
    return xp.rint(rows * np.float32(GRID)).astype(np.float64)


def _add_up_on_host(X: Array, labels: Array, k: int) -> Array:
    # Measured against sparse one-hot products (twice the time) and np.add.reduceat (ten times).
    sums = np.zeros((k, X.shape[1]))
    order = np.argsort(labels, kind="stable")
    ends = np.cumsum(np.bincount(labels, minlength=k))
    most = block_rows(X, 8 * X.shape[1])
    for cluster, members in enumerate(np.split(order, ends[:-1])):
        for part in row_blocks(len(members), most):
            sums[cluster] += _on_grid(X[members[part]]).sum(axis=0)
    return sums


def _add_up_on_device(X: Array, labels: Array, k: int) -> Array:
    xp = array_module(X)
    sums = xp.zeros((k, X.shape[1]))
    for rows in row_blocks(X.shape[0], block_rows(X, 8 * X.shape[1])):
        xp.add.at(sums, labels[rows], _on_grid(X[rows]))
    return sums


def _sum_of_sq_norms(X: Array) -> float:
    xp = array_module(X)
    total = 0.0
    for rows in row_blocks(X.shape[0], block_rows(X, 8 * X.shape[1])):
        on_grid = _on_grid(X[rows]) / GRID
        # Squares are multiples of 2**-48 and a row of them adds up to about 1: exact in any order.
        total += float(xp.rint((on_grid * on_grid).sum(axis=1) * GRID).sum()) / GRID
    return total


def merge(a: Partial, b: Partial) -> Partial:
    """The partial of the rows of both; exact, so the order and shape of a tree of merges do not matter."""
    return Partial(a.sums + b.sums, a.counts + b.counts, a.sq_norms + b.sq_norms)


def new_centres(partial: Partial, old_C: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean of every cluster, (k, D) float32; a cluster without rows keeps its old centre."""
    filled = partial.counts > 0
    means = partial.sums / np.where(filled, partial.counts, 1)[:, None]
    return np.where(filled[:, None], means, old_C).astype(np.float32)


def sq_shift(old_C: NDArray[np.float32], new_C: NDArray[np.float32]) -> float:
    """How far the centres moved: the sum of the squared differences."""
    difference = new_C.astype(np.float64) - old_C
    return float(np.vdot(difference, difference))


def converged(cost: float, last_cost: float | None, shift: float, tol: float) -> bool:
    """cuVS's stop rule: ``cost / last_cost > 1 - tol`` or ``shift < tol``; also when no centre moved at all.

    Args:
        cost: of this iteration, with the centres it assigned by; ``last_cost`` of the one before, None in the first.
        shift: ``sq_shift`` of this iteration's update.
    """
    settled = last_cost is not None and cost > (1.0 - tol) * last_cost
    return settled or shift < tol or shift == 0.0


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
) -> KMeansResult:
    """k-means over ``chunks`` in one process, from the same pieces as the distributed stage.

    Args:
        chunks: (n_i, D) float32, unit rows, NumPy or CuPy. How the rows are cut into chunks changes nothing.
        k: clusters; more than there are rows leaves some of them empty.
        init: ``"k-means||"``, ``"random"`` or a (k, D) array (see ``curator_dask.dedup.start``).
        n_init: runs with seeds ``seed, seed + 1, …``; the one with the least inertia is returned.
        sample_rows: how many rows the start is chosen from, 20 per cluster unless given.

    Raises:
        ParameterError: a count is below 1, ``tol`` is negative, or ``init`` is neither of the above.
        InputError: there are no rows.
    """
    _check_counts(n_clusters=k, max_iter=max_iter, n_init=n_init)
    if not tol >= 0:
        raise ParameterError(f"tol must be 0 or more, got {tol}")
    filled = [chunk for chunk in chunks if chunk.shape[0]]
    if not filled:
        raise InputError("there are no rows to cluster")
    runs = range(n_init if isinstance(init, str) else 1)
    starts = (initial_centres(filled, k, init, seed + run, sample_rows or 20 * k) for run in runs)
    return min((_lloyd(filled, start, max_iter, tol) for start in starts), key=lambda result: result.inertia)


def _check_counts(**counts: int) -> None:
    for name, value in counts.items():
        if value < 1:
            raise ParameterError(f"{name} must be at least 1, got {value}")


def _lloyd(chunks: Sequence[Array], C: NDArray[np.float32], max_iter: int, tol: float) -> KMeansResult:
    last_cost: float | None = None
    done = False
    n_iter = 0
    while not done and n_iter < max_iter:
        n_iter += 1
        partial = reduce(merge, (lloyd_partial(chunk, C) for chunk in chunks))
        cost, next_C = partial.cost(C), new_centres(partial, C)
        done = converged(cost, last_cost, sq_shift(C, next_C), tol)
        C, last_cost = next_C, cost
    final = reduce(merge, (lloyd_partial(chunk, C) for chunk in chunks))
    return KMeansResult(C, final.counts, final.cost(C), n_iter, done)
