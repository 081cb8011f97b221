"""Assignment to centroids and the search for border rows, with quick products of one-byte numbers and without.

    python -m benchmarks.one_byte [--rows 20000] [--dim 512] [--clusters 1000] [--rounds 5]

Each line is the least CPU time of all rounds per row, and its ratio to the bare product of float32 numbers. One thread. The
rows are a mixture as in `benchmarks.kmeans`; the centroids are the means of what a first assignment gives them. Border rows
are those at eps .01. Labels and border rows with ONNX Runtime are compared with those without; a difference ends the benchmark.
"""

from __future__ import annotations

import os

# Before NumPy is loaded: one thread.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import argparse
import platform
import sys
import time
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.kmeans import mixture, product
from curator_dask.dedup.arrays import one_byte
from curator_dask.dedup.arrays.one_byte import Multiplier, to_one_byte
from curator_dask.dedup.arrays.quick_products import are_quick
from curator_dask.dedup.cross_cluster.borders import find_borders
from curator_dask.dedup.cross_cluster.centroids import prepare_centroids
from curator_dask.dedup.kmeans import assign as assigning
from curator_dask.dedup.kmeans.assign import assign
from curator_dask.dedup.kmeans.grid import centres_on_grid
from curator_dask.dedup.kmeans.lloyd import lloyd_partial, new_centres
from curator_dask.dedup.kmeans.near import find_near, nearest_of

BLOCK = 1024
EPS = 0.01


class Clock:
    """Prints CPU times per row, and their ratio to the first one."""

    def __init__(self, num_rows: int, rounds: int) -> None:
        self._num_rows, self._rounds, self._first = num_rows, rounds, 0.0

    def tell(self, name: str, work: Callable[[], Any]) -> Any:
        seconds = []
        for _ in range(self._rounds):
            start = time.process_time()
            result = work()
            seconds.append(time.process_time() - start)
        self._first = self._first or min(seconds)
        print(f"| {name} | {min(seconds) / self._num_rows * 1e6:.1f} | {min(seconds) / self._first:.2f} |", flush=True)
        return result


def run(clock: Clock, X: Any, C: Any) -> list[Any]:
    """The times of what uses one-byte numbers; returns what it found."""
    own = np.flatnonzero(assign(X, C) == 0)
    some = np.ascontiguousarray(X[np.resize(own, len(X) // 10)])
    centroids = prepare_centroids(C, np.full(len(C), 1000.0))
    labels = clock.tell("labels", lambda: assign(X, C))
    near = clock.tell("near centroids", lambda: find_near(X, C))
    clock.tell("the nearest of the near ones", lambda: nearest_of(X, centres_on_grid(C), near))
    borders = Clock(len(some), 3).tell("border rows, each", lambda: find_borders(some, 0, centroids, EPS))
    return [labels, near, borders.row, borders.cluster, borders.sketches]


def products_of_one_byte(X: Any, C: Any) -> None:
    multiplier = Multiplier(to_one_byte(C))
    for start in range(0, len(X), BLOCK):
        multiplier.products(to_one_byte(X[start : start + BLOCK]))


def never() -> bool:
    return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, number in (("--rows", 20_000), ("--dim", 512), ("--clusters", 1000), ("--rounds", 5)):
        parser.add_argument(name, type=int, default=number)
    options = parser.parse_args()
    X = mixture(options.rows, options.dim, 3 * options.clusters)
    C = new_centres(lloyd_partial(X, X[: options.clusters].copy()), X[: options.clusters])
    clock, scores = Clock(len(X), options.rounds), np.empty((BLOCK, len(C)), np.float32)
    print(
        f"{platform.machine()}, load {os.getloadavg()[0]:.1f}\n\n| | µs of CPU per row | ratio to the first line |\n|---|---|---|"
    )
    clock.tell("bare product, float32", lambda: product(X, C, scores))
    with patch.object(one_byte, "are_quick", never), patch.object(assigning, "are_quick", never):
        clock.tell("one-byte products in float32", lambda: products_of_one_byte(X, C))
        without = run(clock, X, C)
    if not are_quick():
        sys.exit("ONNX Runtime's products of one-byte numbers are not exact, or not quicker, on this machine")
    print("| **with ONNX Runtime** | | |")
    clock.tell("one-byte products in ONNX Runtime", lambda: products_of_one_byte(X, C))
    if not all(map(np.array_equal, without, run(clock, X, C))):
        sys.exit("with ONNX Runtime, other labels or border rows were found")


if __name__ == "__main__":
    main()
