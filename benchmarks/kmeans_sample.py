"""What it costs to fit k-means on a sample of the rows: inertia, and near copies that end in different clusters.

    python -m benchmarks.kmeans_sample [--rows 200000] [--dim 512] [--clusters 200] [--places 3000] [--faiss]

Each line is one way to fit; all of them start from the same centres and are measured on all rows.

* inertia: the mean squared distance to the centroid, and how much it is above that of the fit on all rows.
* together: the share of near copies (cosine about .995) that are in the cluster of their original. What is not together
  is found by the cross-cluster stage only.
* largest: rows of the largest cluster.
* The stage's way comes last: few rows and all centres, then more rows and, of many centres, those near each row.
* `--places 3000`: rows lie around 3,000 directions. `--places 0`: each 20,000 rows have 3,000 directions of their own, so
  that clusters have almost no structure, which is the hardest case for a sample.
* `--faiss`: also faiss with its defaults (25 iterations, 256 rows per centroid); needs the extra bench.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks.kmeans import faiss_kmeans, mixture
from curator_dask.dedup.kmeans.assign import assign
from curator_dask.dedup.kmeans.distances import centroid_distances
from curator_dask.dedup.kmeans.grid import centres_on_grid
from curator_dask.dedup.kmeans.lloyd import (
    Partial,
    iterate,
    labelled_partial,
    lloyd,
    lloyd_partial,
    new_centres,
    sum_of_sq_norms,
)
from curator_dask.dedup.kmeans.near import find_near, nearest_of
from curator_dask.dedup.kmeans.start import initial_centres
from curator_dask.stages.kmeans.fit import LAST_STEPS, STEPS_BETWEEN
from curator_dask.stages.kmeans.held import MANY_CENTRES
from curator_dask.stages.kmeans.sample import LEVELS, sample_tol

PART = 20_000
COPIES = PART // 5
NEAR = 0.1
Rows = NDArray[np.float32]


def rows_with_copies(num_rows: int, dim: int, places: int) -> Rows:
    """Unit rows; the first fifth of each 20,000 are near copies of the second fifth."""
    X = np.empty((num_rows, dim), np.float32)
    if places:
        X[:] = mixture(num_rows, dim, places)
    for number, start in enumerate(range(0, num_rows, PART)):
        part = X[start : start + PART]
        if not places:
            part[:] = mixture(len(part), dim, 3000, seed=number)
        noise = np.random.default_rng(number).standard_normal((COPIES, dim), np.float32)
        part[:COPIES] = part[COPIES : 2 * COPIES] + noise * np.float32(NEAR / dim**0.5)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return X


class Trial:
    """All rows and a start; measures what a fit of them is worth."""

    def __init__(self, X: Rows, k: int) -> None:
        self.X, self.k = X, k
        self.order = np.random.default_rng(5).permutation(len(X))
        before = time.process_time()
        self.start = initial_centres([X[self.order]], k, "k-means||", 42, 20 * k)
        self.start_s = time.process_time() - before
        self.best = 0.0

    def sample(self, per_cluster: int) -> Rows:
        return np.ascontiguousarray(self.X[self.order[: per_cluster * self.k]])

    def fit(self, rows: Rows, tol: float = 1e-4) -> Rows:
        sq_norms = sum_of_sq_norms(rows)
        return lloyd(lambda C: lloyd_partial(rows, C), self.start, sq_norms, max_iter=300, tol=tol).centroids

    def fit_in_levels(self, per_cluster: int) -> Rows:
        """As `curator_dask.stages.kmeans.fit` does it on workers, but for rows whose near centroids it has already: here all
        rows of a level look theirs up."""
        first, *others = (self.sample(round(level * per_cluster)) for level in LEVELS)
        C = iterate(
            lambda C: lloyd_partial(first, C), self.start, sum_of_sq_norms(first), max_iter=300,
            tol=sample_tol(1e-4, len(first), self.k),
        ).centroids  # fmt: skip
        for rows, steps in zip(others, (STEPS_BETWEEN, LAST_STEPS), strict=True):
            C = iterate(self.sums_over(rows, C), C, sum_of_sq_norms(rows), max_iter=steps, tol=1e-4).centroids
        return C

    def sums_over(self, rows: Rows, C: Rows) -> Callable[[Rows], Partial]:
        if self.k < MANY_CENTRES:
            return lambda C: lloyd_partial(rows, C)
        near = find_near(rows, C)
        return lambda C: labelled_partial(rows, nearest_of(rows, centres_on_grid(C), near), self.k)

    def step(self, C: Rows) -> Rows:
        return new_centres(lloyd_partial(self.X, C), C)

    def tell(self, name: str, work: Callable[[], Rows], before_s: float) -> tuple[Rows, float]:
        begun = time.process_time()
        C = work()
        seconds = before_s + time.process_time() - begun
        labels = assign(self.X, C)
        l2, _ = centroid_distances(self.X, C, labels)
        inertia = float((l2.astype(np.float64) ** 2).mean())
        self.best = self.best or inertia
        copies = np.flatnonzero(np.arange(len(self.X)) % PART < COPIES)
        together = float((labels[copies] == labels[copies + COPIES]).mean())
        print(
            f"| {name} | {seconds:.1f} | {inertia:.5f} | {inertia / self.best - 1:+.2%} | {together:.2%} "
            f"| {np.bincount(labels).max():,} |",
            flush=True,
        )
        return C, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000, help=f"a multiple of {PART}")
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--clusters", type=int, default=200)
    parser.add_argument("--places", type=int, default=3000)
    parser.add_argument("--per-cluster", type=int, nargs="+", default=[32, 64, 128, 256])
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--tol", type=float, help="where the fits on a sample stop; by default where the stage stops")
    parser.add_argument("--faiss", action="store_true")
    options = parser.parse_args()
    trial = Trial(rows_with_copies(options.rows, options.dim, options.places), options.clusters)
    print(f"{platform.machine()}, {os.cpu_count()} cores; {options.rows:,} x {options.dim}, k = {options.clusters}, "
          f"{f'{options.places} directions' if options.places else 'hardly any structure'}\n")  # fmt: skip
    print("| fit on | CPU s | inertia | above all rows | together | largest |\n|---|---|---|---|---|---|")
    trial.tell("all rows", lambda: trial.fit(trial.X), trial.start_s)
    for per_cluster in options.per_cluster:
        sample = trial.sample(per_cluster)
        tol = options.tol or sample_tol(1e-4, len(sample), options.clusters)
        C, seconds = trial.tell(
            f"{per_cluster} rows per cluster", lambda rows=sample, tol=tol: trial.fit(rows, tol), trial.start_s
        )
        for step in range(1, options.steps + 1):
            C, seconds = trial.tell(f"{per_cluster} and {step} over all", lambda C=C: trial.step(C), seconds)
    trial.tell("64, 256 and 512, as the stage does", lambda: trial.fit_in_levels(256), trial.start_s)
    if options.faiss:
        trial.tell("faiss, its defaults", lambda: faiss_kmeans(trial.sample(256), options.clusters, 25), 0.0)


if __name__ == "__main__":
    main()
