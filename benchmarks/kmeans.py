"""k-means compared with faiss, and with the bare matrix product that every exact k-means needs.

    python -m benchmarks.kmeans [--rows 200000] [--dim 512] [--clusters 1000] [--iterations 20] [--rounds 3]

All sides get the same unit rows, the same cores and the same number of threads. They run one after the other in every
round, and each round gives its own ratios. faiss keeps its default settings except for two: it trains on all rows (by
default it would take 256 per cluster), and it runs as many iterations as we do. It starts from rows drawn at random; we
start with k-means||, which is timed separately. The inertia is that of the centroids that each side ends with, measured
for both by our exact distances.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.kmeans.assign import assign
from curator_dask.dedup.kmeans.distances import centroid_distances
from curator_dask.dedup.kmeans.lloyd import lloyd, lloyd_partial, sum_of_sq_norms
from curator_dask.dedup.kmeans.start import initial_centres

LIMIT = 1.1
ROWS_PER_CLUSTER = 20
Timed = tuple[float, float]


def mixture(num_rows: int, dim: int, places: int, seed: int = 0) -> NDArray[np.float32]:
    """Unit rows around ``places`` directions. The noise that moves a row away from its direction has a length of about 1.2."""
    random = np.random.default_rng(seed)
    directions = random.standard_normal((places, dim), dtype=np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    X = directions[random.integers(places, size=num_rows)]
    for start in range(0, num_rows, 20_000):
        part = X[start : start + 20_000]
        part += random.standard_normal(part.shape, dtype=np.float32) * np.float32(1.2 / dim**0.5)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return X


def timed(work: Callable[[], Any]) -> tuple[Timed, Any]:
    """(Wall, CPU) seconds and what the work returns. Threads of a BLAS that wait are busy, which counts as CPU time."""
    start, before = time.perf_counter(), time.process_time()
    result = work()
    return (time.perf_counter() - start, time.process_time() - before), result


def product(X: NDArray[np.float32], C: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """All scores of one iteration, by BLAS with all its threads; each block overwrites the one before."""
    for start in range(0, len(X), len(out)):
        part = X[start : start + len(out)]
        np.matmul(part, C.T, out=out[: len(part)])


def faiss_kmeans(X: NDArray[np.float32], k: int, iterations: int) -> NDArray[np.float32]:
    import faiss

    fitted = faiss.Kmeans(X.shape[1], k, niter=iterations, max_points_per_centroid=len(X))
    fitted.train(X)
    centroids: NDArray[np.float32] = fitted.centroids
    return centroids


def inertia(X: NDArray[np.float32], C: NDArray[np.float32]) -> float:
    l2, _ = centroid_distances(X, C, assign(X, C))
    return float((l2.astype(np.float64) ** 2).sum())


def one_round(X: NDArray[np.float32], options: argparse.Namespace, seed: int) -> dict[str, Any]:
    k, iterations = options.clusters, options.iterations
    sq_norms = sum_of_sq_norms(X)
    out = np.empty((-(-len(X) // 8), k), dtype=np.float32)
    gemm, _ = timed(lambda: [product(X, X[:k], out) for _ in range(3)])
    start, C = timed(lambda: initial_centres([X], k, "k-means||", seed, ROWS_PER_CLUSTER * k))
    ours, fitted = timed(lambda: lloyd(lambda C: lloyd_partial(X, C), C, sq_norms, max_iter=iterations, tol=0))
    theirs, centroids = timed(lambda: faiss_kmeans(X, k, iterations))
    passes = fitted.n_iter + 1  # the last one counts the rows of the final centroids
    return {
        "raw product": _per(gemm, 3),
        "ours": _per(ours, passes),
        "faiss": _per(theirs, iterations),
        "start": start,
        "ours with start": (start[0] + iterations * ours[0] / passes, start[1] + iterations * ours[1] / passes),
        "faiss in all": theirs,
        "inertia": (fitted.inertia, inertia(X, centroids)),
    }


def _per(seconds: Timed, count: int) -> Timed:
    return seconds[0] / count, seconds[1] / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--clusters", type=int, default=1000)
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    X = mixture(options.rows, options.dim, 3 * options.clusters)
    few = X[: 4 * options.clusters]
    faiss_kmeans(few, options.clusters, 1)
    lloyd_partial(few, few[: options.clusters])
    rounds = [one_round(X, options, seed) for seed in range(options.rounds)]
    report(rounds, options)


def report(rounds: list[dict[str, Any]], options: argparse.Namespace) -> None:
    import faiss

    print(f"{options.rows} rows of {options.dim}, {options.clusters} clusters, {options.iterations} iterations")
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, faiss {faiss.__version__}")
    print(f"threads: faiss {faiss.omp_get_max_threads()}, ours {_blas_threads()}\n")
    print(f"{'':18}{'wall s':>9}{'CPU s':>9}{'wall ratio':>12}{'CPU ratio':>11}{'limit':>7}")
    pairs = {"raw product": "faiss", "ours": "faiss", "faiss": "faiss", "start": "faiss in all",
             "ours with start": "faiss in all", "faiss in all": "faiss in all"}  # fmt: skip
    figures: dict[str, Any] = {}
    for name, other in pairs.items():
        wall, cpu = (statistics.median(one[name][i] for one in rounds) for i in (0, 1))
        ratios = [statistics.median(one[name][i] / one[other][i] for one in rounds) for i in (0, 1)]
        limit = f"{LIMIT:.2f}" if name == "ours" else ""
        print(f"{name:18}{wall:>9.3f}{cpu:>9.3f}{ratios[0]:>12.3f}{ratios[1]:>11.3f}{limit:>7}")
        figures[name] = {"wall_s": wall, "cpu_s": cpu, "wall_ratio": ratios[0], "cpu_ratio": ratios[1]}
    figures["inertia"] = [one["inertia"] for one in rounds]
    for ours, theirs in figures["inertia"]:
        print(
            f"inertia per row: ours {ours / options.rows:.5f}, faiss {theirs / options.rows:.5f} ({ours / theirs:.4f})"
        )
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


def _blas_threads() -> int:
    from threadpoolctl import threadpool_info

    return max(int(library["num_threads"]) for library in threadpool_info() if library["user_api"] == "blas")


if __name__ == "__main__":
    main()
