"""How many of the near pairs of brute force are found within clusters and across them, and what that costs.

    python -m benchmarks.cross_cluster [--rows 50000] [--dim 512] [--clusters 50] [--rounds 3] [--budget 0.25]

Data sets of unit rows with planted twins, and with cosines spread evenly from the largest eps up to 1:

* ``directions``: random directions, where k-means has borders everywhere;
* ``clouds``: round clouds, far fewer than clusters, which are cut to pieces;
* ``clips``: films of heavy-tailed length, each a walk through scenes with large and small steps, of a decaying spectrum.

*decided*: rows with an earlier row within eps that get such a score. *best*: those that get the score of the very best row.
Time is CPU time of the arithmetic (ranking, reading and writing left out): ranked clusters, against finding the borders
and comparing across, in turn in every round; the ratio is (within + across) / within.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.assign import assign
from curator_dask.dedup.borders import DEFAULT_BUDGET, find_borders, prepare_centroids
from curator_dask.dedup.cross_cluster import score_across
from curator_dask.dedup.kmeans import lloyd_partial, new_centres
from curator_dask.dedup.pairwise import max_earlier_similarity

Rows = NDArray[np.float32]


def unit(X: Rows) -> Rows:
    return (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)


def at_cosine(random: np.random.Generator, X: Rows, cosine: NDArray[np.float64]) -> Rows:
    """A row at the given cosine from each row, in a random direction."""
    away = random.standard_normal(X.shape, dtype=np.float32)
    away -= (away * X).sum(axis=1, keepdims=True) * X
    along = cosine[:, None].astype(np.float32)
    return unit(along * X + np.sqrt(1 - along * along) * unit(away))


def with_twins(random: np.random.Generator, X: Rows, share: float, eps: float) -> Rows:
    """The last rows replaced by twins of others, and all shuffled."""
    count = int(len(X) * share)
    source = random.permutation(len(X) - count)[:count]
    X[len(X) - count :] = at_cosine(random, X[source], random.uniform(1 - eps, 1, count))
    return X[random.permutation(len(X))]


def directions(random: np.random.Generator, rows: int, dim: int, eps: float) -> Rows:
    return with_twins(random, unit(random.standard_normal((rows, dim), dtype=np.float32)), 0.3, eps)


def clouds(random: np.random.Generator, rows: int, dim: int, eps: float) -> Rows:
    """Rows of one cloud have a cosine of 0.7 at eps 0.1 (0.35 at 0.5): not near, but much nearer than others."""
    middles = unit(random.standard_normal((max(2, rows // 10_000), dim), dtype=np.float32))
    inside = 0.7 if eps <= 0.1 else 0.35
    X = at_cosine(random, middles[random.integers(0, len(middles), rows)], np.full(rows, inside**0.5))
    return with_twins(random, X, 0.3, eps)


def clips(random: np.random.Generator, rows: int, dim: int, eps: float) -> Rows:
    spectrum = np.arange(1, dim + 1) ** -0.5

    def direction() -> NDArray[np.float64]:
        drawn = random.standard_normal(dim) * spectrum
        return drawn / np.linalg.norm(drawn)

    X = np.empty((rows, dim), dtype=np.float32)
    row = 0
    while row < rows:
        style = scene = direction()
        for _ in range(1 + int(random.pareto(1.2) * 8)):
            scene = scene + min(3.0, 0.3 * (random.pareto(1.5) + 0.3)) * direction() + 0.15 * style
            scene /= np.linalg.norm(scene)
            X[row] = scene
            row += 1
            if row == rows:
                break
    return with_twins(random, X, 0.2, eps)


DATA: dict[str, Callable[[np.random.Generator, int, int, float], Rows]] = {
    "directions": directions,
    "clouds": clouds,
    "clips": clips,
}


def clusters_of(X: Rows, k: int, iterations: int = 12) -> tuple[Rows, NDArray[np.int32]]:
    C = X[np.random.default_rng(1).choice(len(X), k, replace=False)]
    for _ in range(iterations):
        C = new_centres(lloyd_partial(X, C), C)
    return C, assign(X, C)[0]


def brute_force(X: Rows, block: int = 1024) -> NDArray[np.float32]:
    """The highest cosine of every row with an earlier one; in float32, with blocks on the diagonal masked."""
    best = np.zeros(len(X), dtype=np.float32)
    for start in range(0, len(X), block):
        cosine = X[start : start + block] @ X[: start + block].T
        cosine[:, start:][np.triu_indices(cosine.shape[0], m=cosine.shape[1] - start)] = -1
        best[start : start + block] = cosine.max(axis=1)
    return best


def within_clusters(X: Rows, members: list[NDArray[np.int64]]) -> NDArray[np.float32]:
    score = np.zeros(len(X), dtype=np.float32)
    for rows in members:
        if len(rows):
            score[rows], _ = max_earlier_similarity(X[rows])
    return score


@dataclass
class Across:
    score: NDArray[np.float32]
    borders_s: float
    pairs: int


def across_clusters(X: Rows, C: Rows, members: list[NDArray[np.int64]], eps: float, budget: float) -> Across:
    start = time.process_time()
    centroids = prepare_centroids(C, np.array([len(rows) for rows in members], dtype=np.float64))
    meet: list[list[NDArray[np.int64]]] = [[] for _ in members]
    for own, rows in enumerate(members):
        if len(rows):
            found = find_borders(X[rows], own, centroids, eps, budget=budget)
            for target in np.unique(found.cluster):
                meet[target].append(rows[found.row[found.cluster == target]])
    result = Across(np.zeros(len(X), dtype=np.float32), time.process_time() - start, 0)
    for rows, arrived in zip(members, meet, strict=True):
        if arrived and len(rows):
            queries = np.concatenate(arrived)
            scores = score_across(X[queries], X[rows], lambda q, m, a=queries, b=rows: (a[q], b[m]), eps)
            np.maximum.at(result.score, queries, scores.queries.cosine)
            result.score[rows] = np.maximum(result.score[rows], scores.members.cosine)
            result.pairs += len(queries) * len(rows)
    return result


def measure(name: str, X: Rows, largest: float, options: argparse.Namespace) -> None:
    C, labels = clusters_of(X, options.clusters)
    members = [np.flatnonzero(labels == cluster) for cluster in range(options.clusters)]
    pairs_within = sum(len(rows) * (len(rows) - 1) // 2 for rows in members)
    best = brute_force(X)
    for eps in (largest,) if largest > 0.1 else (0.01, 0.05, 0.1):
        ratios, borders = [], []
        for _ in range(options.rounds):
            start = time.process_time()
            within = within_clusters(X, members)
            middle = time.process_time()
            across = across_clusters(X, C, members, eps, options.budget)
            ratios.append((time.process_time() - start) / (middle - start))
            borders.append(across.borders_s / (middle - start))
        both = np.maximum(within, across.score)
        near = best >= 1 - eps
        decided = [float((score[near] >= 1 - eps).mean()) for score in (within, both)]
        same = float((both[near] >= best[near] - 1e-5).mean())
        print(
            f"| {name} | {options.dim} | {eps:g} | {near.sum()} | {decided[0]:.4f} | {decided[1]:.4f} | {same:.4f} "
            f"| {across.pairs / pairs_within:.2f} | {statistics.median(borders):.2f} | {statistics.median(ratios):.2f} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--clusters", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--budget", type=float, default=DEFAULT_BUDGET)
    parser.add_argument("--eps", type=float, nargs="+", default=[0.1, 0.5], help="the largest eps of the planted twins")
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    options = parser.parse_args()
    print(f"{options.rows} rows, {options.clusters} clusters, budget {options.budget:g}\n")
    print("| data | D | eps | rows to find | within | decided | best | comparisons / within | borders | time ratio |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for largest in options.eps:
        for name in options.data:
            measure(name, DATA[name](np.random.default_rng(0), options.rows, options.dim, largest), largest, options)


if __name__ == "__main__":
    main()
