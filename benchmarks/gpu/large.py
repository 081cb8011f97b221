"""As many vectors as a device holds: our own k-means in parts, and the similarities of some clusters, with CuPy alone.

    python -m benchmarks.gpu.large [--rows 10000000] [--dim 512] [--clusters 1000] [--iterations 3]

The vectors are made on the device, 100,000 at a time, so nothing is read. The memory must stay below the device's,
and the labels of a sample must be the CPU's.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

from benchmarks.gpu.device import GIB, Peak, mixture_on_device, timed
from benchmarks.gpu.kernels import same
from benchmarks.gpu.records import tell
from curator_dask.dedup.kmeans.assign import assign
from curator_dask.dedup.kmeans.lloyd import kmeans_fit
from curator_dask.dedup.similarity.pairwise import max_earlier_similarity

PART_ROWS = 100_000
SAMPLE_ROWS = 2000
SOME_CLUSTERS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--clusters", type=int, default=1000)
    parser.add_argument("--iterations", type=int, default=3)
    options = parser.parse_args()
    peak = Peak()
    with peak.watching():
        measure(options)
    tell("device memory, peak", peak.share, f"of {peak.total / GIB:.0f} GiB", at_most=1.0)


def measure(options: argparse.Namespace) -> None:
    import cupy

    begun = time.perf_counter()
    sizes = [min(PART_ROWS, options.rows - at) for at in range(0, options.rows, PART_ROWS)]
    parts = [mixture_on_device(size, options.dim, options.clusters, seed) for seed, size in enumerate(sizes)]
    told = f"{options.rows:,} x {options.dim} ({4 * options.rows * options.dim / GIB:.1f} GiB)"
    tell(f"{told}: made in {len(parts)} parts", time.perf_counter() - begun, "s")
    start = parts[0][: options.clusters].get()
    fits = []
    seconds = timed(lambda: fits.append(
        kmeans_fit(parts, len(start), init=start, max_iter=options.iterations, tol=0.0)))  # fmt: skip
    # The labels are found once more after the last iteration.
    tell(f"{told}: an iteration with {len(start)} centres", options.rows * (options.iterations + 1) / seconds, "rows/s")
    C = fits[0].centroids
    sample = parts[-1][:SAMPLE_ROWS]
    labels = cupy.concatenate([assign(part, cupy.asarray(C)) for part in parts])
    expected = assign(sample.get(), C)
    at = options.rows - sizes[-1]
    tell(f"labels of {len(expected):,} of them", agrees=same(labels[at : at + len(expected)].get(), expected))
    compare_some_clusters(parts, labels)


def compare_some_clusters(parts: list[Any], labels: Any) -> None:
    """The similarities of the largest clusters, gathered from all parts."""
    import cupy

    sizes = np.bincount(labels.get())
    for cluster in np.argsort(-sizes, kind="stable")[:SOME_CLUSTERS]:
        picked, at = [], 0
        for part in parts:
            picked.append(part[cupy.flatnonzero(labels[at : at + len(part)] == int(cluster))])
            at += len(part)
        X = cupy.concatenate(picked)[:50_000]
        found: list[Any] = []
        seconds = timed(lambda X=X, found=found: found.append(max_earlier_similarity(X)))
        few = X[:SAMPLE_ROWS]
        equal = [one.tobytes() == other.tobytes() for one, other in
                 zip(max_earlier_similarity(few.get()), max_earlier_similarity(few), strict=True)]  # fmt: skip
        tell(f"similarities of a cluster of {len(X):,}", len(X) / seconds, "rows/s", agrees=all(equal))


if __name__ == "__main__":
    main()
