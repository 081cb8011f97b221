"""Where k-means starts: centres chosen on the host, the same for CPU and GPU and for any partitioning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.priority import sample_priority
from curator_dask.dedup.xp import Array, to_host
from curator_dask.errors import ParameterError

Init = str | NDArray[Any]
METHODS: Final = ("k-means||", "random")
D2_GRID: Final = 2.0**11


def initial_centres(chunks: Sequence[Array], k: int, init: Init, seed: int, sample_rows: int) -> NDArray[np.float32]:
    """(k, D) float32 by the name of a method, or the array ``init`` itself once it is checked.

    ``"k-means||"`` samples by squared distance (``d2_start``) from ``sample_rows`` rows drawn by their position:
    one pass over a sample instead of k-means||'s passes over all rows, for starts of the same kind.
    """
    dim = chunks[0].shape[1]
    if not isinstance(init, str):
        return checked_centres(init, k, dim)
    check_method(init)
    total = sum(chunk.shape[0] for chunk in chunks)
    wanted = min(total, max(k, sample_rows))
    priority = sample_priority(np.arange(total), seed)
    sample = take_rows(chunks, np.argsort(priority, kind="stable")[:wanted])
    return d2_start(sample, k, seed) if init == "k-means||" else random_start(sample, k)


def check_method(init: str) -> None:
    """Raise a ParameterError unless ``init`` names a method."""
    if init not in METHODS:
        raise ParameterError(f"init must be 'k-means||', 'random' or an array of centroids, got {init!r}")


def checked_centres(init: Any, k: int, dim: int) -> NDArray[np.float32]:
    """``init`` as (k, dim) float32; a ParameterError if it has another shape or values that are not finite."""
    centres = np.ascontiguousarray(to_host(init), dtype=np.float32)
    if centres.shape != (k, dim):
        raise ParameterError(f"init has shape {centres.shape}, but n_clusters and the embeddings ask for {(k, dim)}")
    if not np.isfinite(centres).all():
        raise ParameterError("init has values that are not finite: every centroid must be made of ordinary numbers")
    return centres


def take_rows(chunks: Sequence[Array], positions: NDArray[np.int64]) -> NDArray[np.float32]:
    """The rows at ``positions`` (counted through all chunks), in that order, on the host."""
    ends = np.cumsum([chunk.shape[0] for chunk in chunks])
    rows = np.empty((len(positions), chunks[0].shape[1]), dtype=np.float32)
    for chunk, end in zip(chunks, ends, strict=True):
        here = np.flatnonzero((positions >= end - chunk.shape[0]) & (positions < end))
        rows[here] = to_host(chunk[positions[here] - (end - chunk.shape[0])])
    return rows


def random_start(sample: NDArray[np.float32], k: int) -> NDArray[np.float32]:
    """The first k rows of ``sample`` (m, D), which comes in a random order; from the front again if m < k."""
    return np.ascontiguousarray(sample[np.arange(k) % sample.shape[0]], dtype=np.float32)


def d2_start(sample: NDArray[np.float32], k: int, seed: int) -> NDArray[np.float32]:
    """k rows of ``sample``, each the best of a few drawn with a chance proportional to their squared distance so far.

    Arthur and Vassilvitskii's k-means++ (SODA 2007) in its greedy form: of ``2 + ln k`` draws the one that leaves the
    least sum of squared distances. One draw alone lands in a poor local optimum far more often (3 of 8 seeds on five
    well-separated blobs; the greedy form on 1). One float32 product of the sample with the draws per centre.

    Distances are those of rows rounded to multiples of 2**-11: then every product is a multiple of 2**-22 and every
    sum stays below 2**24 of them, so float32 is exact, and the draws depend on no BLAS and no number of threads. Rows
    less than about ``sqrt(D) * 2**-12`` apart may count as one place.

    Args:
        sample: (m, D) float32, unit rows, m >= 1, on the host.
        k: with fewer than k distinct rows, the rest are rows not drawn yet in the sample's order, then rows again
            from the front.

    Returns:
        (k, D) float32.
    """
    m = sample.shape[0]
    rows = np.rint(sample * np.float32(D2_GRID)) / np.float32(D2_GRID)
    sq_norms = np.einsum("nd,nd->n", rows, rows)
    random = np.random.default_rng(seed)
    drawn = [int(random.integers(m))]
    nearest = _sq_distances(rows, sq_norms, np.array(drawn))[0]
    while len(drawn) < min(k, m) and nearest.any():
        candidates = _draw(nearest, random, 2 + int(np.log(k)))
        after = np.minimum(nearest, _sq_distances(rows, sq_norms, candidates))
        best = int(after.sum(axis=1, dtype=np.float64).argmin())
        drawn.append(int(candidates[best]))
        nearest = after[best]
    left = np.setdiff1d(np.arange(m), drawn)
    order = np.concatenate([np.array(drawn, dtype=np.int64), left])
    return np.ascontiguousarray(sample[order[np.arange(k) % m]], dtype=np.float32)


def _sq_distances(
    rows: NDArray[np.float32], sq_norms: NDArray[np.float32], centres: NDArray[np.int64]
) -> NDArray[np.float32]:
    """(c, m) squared distances of all rows to c of them, exact multiples of 2**-22."""
    distances: NDArray[np.float32] = sq_norms + sq_norms[centres, None] - 2 * (rows[centres] @ rows.T)
    return distances


def _draw(sq_dist: NDArray[np.float32], random: np.random.Generator, num_draws: int) -> NDArray[np.int64]:
    """Indices with a chance proportional to ``sq_dist``, from an exact running sum of whole numbers."""
    cumulative = np.cumsum(sq_dist.astype(np.float64) * D2_GRID**2)
    return np.searchsorted(cumulative, random.integers(int(cumulative[-1]), size=num_draws), side="right")
