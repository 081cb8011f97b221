"""Choose the centres that k-means starts from: on the host, the same for CPU and GPU and for any partitioning."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.arrays.blocks import over_blocks
from curator_dask.dedup.arrays.priority import sample_priority
from curator_dask.dedup.arrays.xp import Array, block_rows, row_blocks, to_host
from curator_dask.dedup.kmeans.assign import assign
from curator_dask.dedup.kmeans.screen import about_nearest
from curator_dask.errors import ParameterError

Init = str | NDArray[Any]
METHODS: Final = ("k-means||", "random")
OVERSAMPLING: Final = 2.0
ROUNDS: Final = 3
D2_GRID: Final = 2.0**11
SMALL_SAMPLE: Final = 8192
"""In a sample of up to this many rows (409 clusters), every row is a candidate: k-means++ over the whole sample."""
TABLE_BYTES: Final = 1 << 30
MOST_LEFT: Final = 0.01
"""Candidates are at distance zero. Where one-byte numbers leave them more than this share of what other rows have, on average,
they are too coarse."""


def initial_centres(
    chunks: Sequence[Array], k: int, init: Init, seed: int, sample_rows: int, oversampling: float = OVERSAMPLING
) -> NDArray[np.float32]:
    """(k, D) float32: the rows that a method chooses, or the checked array ``init`` itself.

    ``"k-means||"`` draws by squared distance (``d2_start``) from ``sample_rows`` rows. A seeded hash of the rows'
    positions chooses these, so that the rounds of the method read a sample instead of all rows.

    >>> chunks = [np.float32([[1, 0], [0.8, 0.6]]), np.float32([[0, 1]])]
    >>> initial_centres(chunks, 2, np.array([[1, 0], [0, 1]]), seed=0, sample_rows=3).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    dim = chunks[0].shape[1]
    if not isinstance(init, str):
        return check_centres(init, k, dim)
    check_method(init)
    total = sum(chunk.shape[0] for chunk in chunks)
    wanted = min(total, max(k, sample_rows))
    priority = sample_priority(np.arange(total), seed)
    sample = take_rows(chunks, np.argsort(priority, kind="stable")[:wanted])
    return d2_start(sample, k, seed, oversampling) if init == "k-means||" else random_start(sample, k)


def check_method(init: str) -> None:
    """Raise ParameterError unless ``init`` names a method."""
    if init not in METHODS:
        raise ParameterError(f"init must be 'k-means||', 'random' or an array of centroids, got {init!r}")


def check_array(init: Any) -> NDArray[Any]:
    """``init`` as a table of real numbers on the host, (k, D) of its own type. Raises ParameterError unless it is one.

    What it holds may be looked at before any vector is read; how many vectors and numbers there are, nobody knows yet.
    """
    try:
        array = to_host(init)
        array = array.astype(np.float64) if array.dtype == object else array
    except (TypeError, ValueError) as error:
        raise ParameterError(f"init is no array of numbers, a row for each centroid: {error}") from error
    if array.dtype.kind not in "biuf":
        raise ParameterError(f"init holds {array.dtype}: give real numbers, a row for each centroid")
    if array.ndim != 2 or not len(array):
        raise ParameterError(f"init has shape {array.shape}: give an array (n_clusters, D), a row for each centroid")
    bad = np.flatnonzero(~_is_short(array))
    if len(bad):
        raise ParameterError(
            f"init has values that are not finite, or too large to square as float32, the first in row {bad[0]}: every "
            "centroid must be made of ordinary numbers"
        )
    return array


def _is_short(array: NDArray[Any]) -> NDArray[np.bool_]:
    """(k,) whether the squared length of each row is a number of float32."""
    rows = array.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        short: NDArray[np.bool_] = np.isfinite(np.einsum("kd,kd->k", rows, rows).astype(np.float32))
    return short


def check_centres(init: Any, k: int, dim: int) -> NDArray[np.float32]:
    """``init`` as (k, dim) float32. Raises ParameterError if it has another shape or `check_array` refuses it."""
    centres = np.ascontiguousarray(check_array(init), dtype=np.float32)
    if centres.shape != (k, dim):
        raise ParameterError(f"init has shape {centres.shape}, but n_clusters and the embeddings ask for {(k, dim)}")
    return centres


def take_rows(chunks: Sequence[Array], positions: NDArray[np.int64]) -> NDArray[np.float32]:
    """The rows at ``positions`` (counted through all chunks), in that order, on the host.

    >>> take_rows([np.float32([[0], [1]]), np.float32([[2], [3]])], np.array([3, 0])).tolist()
    [[3.0], [0.0]]
    """
    ends = np.cumsum([chunk.shape[0] for chunk in chunks])
    rows = np.empty((len(positions), chunks[0].shape[1]), dtype=np.float32)
    for chunk, end in zip(chunks, ends, strict=True):
        here = np.flatnonzero((positions >= end - chunk.shape[0]) & (positions < end))
        rows[here] = to_host(chunk[positions[here] - (end - chunk.shape[0])])
    return rows


def random_start(sample: NDArray[np.float32], k: int) -> NDArray[np.float32]:
    """The first k rows of ``sample`` (m, D), which is in random order; if m < k, it starts again from the first row.

    >>> random_start(np.float32([[1, 0], [0, 1]]), 3).tolist()
    [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]
    """
    return np.ascontiguousarray(sample[np.arange(k) % sample.shape[0]], dtype=np.float32)


def d2_start(sample: NDArray[np.float32], k: int, seed: int, oversampling: float = OVERSAMPLING) -> NDArray[np.float32]:
    """k rows of ``sample``, chosen by k-means++; in a large sample, among candidates that k-means|| draws.

    Rows at equal places are drawn once, as long as there are other places:

    >>> sample = np.float32([[1, 0], [1, 0], [1, 0], [1, 0], [0, 1], [-1, 0]])
    >>> sorted(d2_start(sample, 3, seed=0).tolist())
    [[-1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]

    The candidates are those of Bahmani, Moseley, Vattani, Kumar and Vassilvitskii, "Scalable k-means++" (VLDB 2012):
    three rounds, each drawing about ``oversampling * k`` rows with a chance proportional to the squared distance to
    those drawn before; more rounds where these give fewer than k. The nearest
    candidate of a row is looked for by numbers of one byte; the weight of a candidate is the number of rows that have it.
    k candidates are then drawn one by one in the greedy form of Arthur and Vassilvitskii's k-means++
    (SODA 2007): it takes, among ``2 + ln k`` draws, the one that leaves the lowest sum of squared distances. A single
    draw ends in a poor local optimum far more often (3 of 8 seeds on five well-separated blobs, the greedy form 1).

    Distances are computed from rows rounded to multiples of 2**-11. Then every product is a multiple of 2**-22 and every
    sum stays below 2**24 of them, so float32 is exact, and the draws depend on no BLAS and no number of threads. Rows
    less than about ``sqrt(D) * 2**-12`` apart may count as one place.

    Args:
        sample: (m, D) float32, unit rows, m >= 1, on the host.
        k: with fewer than k distinct rows, the rest are rows not drawn yet in the sample's order, then rows again
            from the front.
        oversampling: candidates per cluster and round, above 0; more are slower and come closer to k-means++ over the
            whole sample. In a sample of up to ``SMALL_SAMPLE`` rows, every row is a candidate.

    Returns:
        (k, D) float32.
    """
    m = sample.shape[0]
    places = _Places.of(sample)
    random = np.random.default_rng(seed)
    if m <= SMALL_SAMPLE:
        candidates, weights = np.arange(m), np.ones(m)
    else:
        candidates, weights = _draw_candidates(places, min(k, m), max(1.0, oversampling * k), random)
    drawn = candidates[_choose_greedily(places.take(candidates), weights, k, random)]
    left = np.setdiff1d(np.arange(m), drawn)
    order = np.concatenate([drawn, left])
    return np.ascontiguousarray(sample[order[np.arange(k) % m]], dtype=np.float32)


class _Places(NamedTuple):
    """(m, D) float32 rows on the grid and (m,) their squared lengths."""

    rows: NDArray[np.float32]
    sq_norms: NDArray[np.float32]

    @staticmethod
    def of(sample: NDArray[np.float32]) -> _Places:
        rows = sample * np.float32(D2_GRID)
        np.rint(rows, out=rows)
        rows /= np.float32(D2_GRID)
        return _Places(rows, np.einsum("nd,nd->n", rows, rows))

    def take(self, which: slice | NDArray[np.int64] | NDArray[np.int32]) -> _Places:
        return _Places(self.rows[which], self.sq_norms[which])

    def sq_distances(self, to: _Places) -> NDArray[np.float32]:
        """(len(self), len(to)), exact multiples of 2**-22.

        >>> places = _Places.of(np.float32([[1, 0], [0, 1], [-1, 0]]))
        >>> places.sq_distances(places.take(slice(1))).tolist()
        [[0.0], [2.0], [4.0]]
        """
        distances = self.rows @ to.rows.T
        distances *= -2
        distances += self.sq_norms[:, None]
        distances += to.sq_norms
        return distances

    def sq_distances_each(self, to: _Places) -> NDArray[np.float32]:
        """(m,), of each row to the one at the same place."""
        products: NDArray[np.float32] = np.einsum("nd,nd->n", self.rows, to.rows)
        return self.sq_norms - np.float32(2) * products + to.sq_norms


def _draw_candidates(
    places: _Places, wanted: int, per_round: float, random: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """At least ``wanted`` candidates (fewer if there are fewer distinct places), and how many rows have each."""
    m = len(places.rows)
    candidates = np.array([random.integers(m)])
    nearest, owner = places.sq_distances(places.take(candidates))[:, 0], np.zeros(m, dtype=np.int64)
    done = 0
    while nearest.any() and (done < ROUNDS or len(candidates) < wanted):
        done += 1
        chance = nearest / nearest.sum(dtype=np.float64) * per_round
        new = np.flatnonzero(random.random(m) < chance)
        _move_to_nearer(places, new, nearest, owner, len(candidates))
        candidates = np.concatenate([candidates, new])
    return candidates, np.bincount(owner, minlength=len(candidates)).astype(np.float64)


def _move_to_nearer(
    places: _Places, drawn: NDArray[np.int64], nearest: NDArray[np.float32], owner: NDArray[np.int64], first: int
) -> None:
    """Update ``nearest`` and ``owner``, in place, with rows that are drawn as candidates and numbered from ``first``.

    Numbers of one byte cannot tell candidates apart that are far nearer to each other than to the others. Then drawn rows do
    not find themselves, and all rows are compared in more bits.
    """
    if not len(drawn):
        return
    new = places.take(drawn)
    index = about_nearest(places.rows, new.rows)
    distance = places.sq_distances_each(new.take(index))
    if distance[drawn].mean() > MOST_LEFT * np.minimum(nearest, distance).mean():
        index = assign(places.rows, new.rows)
        distance = places.sq_distances_each(new.take(index))
    nearer = distance < nearest
    owner[nearer] = first + index[nearer]
    nearest[nearer] = distance[nearer]


def _choose_greedily(
    places: _Places, weights: NDArray[np.float64], k: int, random: np.random.Generator
) -> NDArray[np.int64]:
    """Up to k indices of ``places``, by weighted k-means++; fewer if there are fewer distinct places."""
    sq_distances_of = _lookup(places)
    drawn = [int(_draw(weights, random, 1)[0])]
    nearest = sq_distances_of(np.array(drawn))[0]
    while len(drawn) < k and (nearest * weights).any():
        draws = _draw(nearest * weights * D2_GRID**2, random, 2 + int(np.log(k)))
        after = np.minimum(nearest, sq_distances_of(draws))
        # Whole multiples of 2**-22, fewer than 2**53 of them: this sum too is exact in any order. Not a product by BLAS: its
        # threads wait for the next one and use up a core meanwhile.
        best = int(np.einsum("ij,j->i", after, weights).argmin())
        drawn.append(int(draws[best]))
        nearest = after[best]
    return np.array(drawn)


def _lookup(places: _Places) -> Callable[[NDArray[np.int64]], NDArray[np.float32]]:
    """A function that returns the squared distances of some places to all; it reads a table of all pairs if that fits."""
    m = len(places.rows)
    if 4 * m * m > TABLE_BYTES:
        return lambda which: places.take(which).sq_distances(places)
    # Measured for 6,000 places: a thousand products of eight rows with all cost ten times the CPU time of the table.
    table = np.empty((m, m), dtype=np.float32)

    def work(blocks: Iterator[slice]) -> None:
        for rows in blocks:
            table[rows] = places.take(rows).sq_distances(places)

    over_blocks(work, row_blocks(m, block_rows(places.rows, 4 * m)))
    return lambda which: table[which]


def _draw(chances: NDArray[np.float64], random: np.random.Generator, num_draws: int) -> NDArray[np.int64]:
    """Indices with a chance proportional to ``chances``, whole numbers whose running sum is exact."""
    cumulative = np.cumsum(chances)
    return np.searchsorted(cumulative, random.integers(int(cumulative[-1]), size=num_draws), side="right")
