"""The kernels on a device that has CuPy, and nothing of RAPIDS: how fast they are, and whether they find what the CPU finds.

    python -m benchmarks.gpu.kernels first-light | assign | lloyd | tiles

(`benchmarks.gpu.pairwise` and `benchmarks.gpu.alignment` are programs of their own.) What is compared is compared bit for
bit, on a sample where the whole would take the CPU too long; distances, which are promised to six digits only, to six digits.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from benchmarks.gpu.device import GIB, Peak, fastest, gemm_flops, mixture_on_device, timed
from benchmarks.gpu.records import sized, tell
from curator_dask.dedup.kmeans.assign import assign
from curator_dask.dedup.kmeans.distances import centroid_distances
from curator_dask.dedup.kmeans.lloyd import kmeans_fit, lloyd_partial
from curator_dask.dedup.similarity.candidates import PRECISIONS, Precision, candidate_precision, probe_rows

DIMS = (512, 1536)


def main() -> None:
    steps = {"first-light": first_light, "assign": assigning, "lloyd": iterating, "tiles": multiplying}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=steps)
    steps[parser.parse_args().step]()


def first_light() -> None:
    """Whether the device answers at all, to CuPy and to torch."""
    import cupy

    free, total = cupy.cuda.runtime.memGetInfo()
    tell("free memory of the device", free / GIB, f"of {total / GIB:.0f} GiB")
    tell("sum of 0 … 999 by CuPy", int(cupy.arange(1000).sum()), agrees=int(cupy.arange(1000).sum()) == 499_500)
    import torch

    where = "cuda" if torch.cuda.is_available() else "cpu"
    ones = torch.ones((64, 64), device=where)
    tell(f"a product by torch on {where}", float((ones @ ones).sum()), agrees=float((ones @ ones).sum()) == 64.0**3)
    tell("precision of candidates", candidate_precision(cupy.zeros((1, 1), dtype=cupy.float32)).name)
    peak = Peak()
    with peak.watching():
        held = cupy.zeros(sized(1 << 30, 1 << 20), dtype=cupy.uint8)
        seconds = fastest(lambda: held + 1)
    tell("a copy within the device", 2 * held.nbytes / seconds / 1e9, "GB/s")
    tell("memory in use, as NVML tells it", str(peak))


def assigning() -> None:
    """The nearest centre of every row."""
    import cupy

    num_rows, k, sample = sized((500_000, 1000, 5000), (4000, 50, 1000))
    for dim in DIMS:
        X = mixture_on_device(num_rows, dim, k, seed=0)
        C = X[:k].copy()
        labels = assign(X, C)
        expected = assign(X[:sample].get(), C.get())
        rate = num_rows / fastest(lambda X=X, C=C: assign(X, C))
        what = f"{num_rows:,} x {dim}, {k} centres"
        tell(f"labels, {what}", rate, "rows/s", agrees=same(labels[:sample].get(), expected))
        tell(f"labels, {what}", 2.0 * rate * k * dim / 1e12, "TFLOP/s")
        found = centroid_distances(X[:sample], C, labels[:sample])
        wanted = centroid_distances(X[:sample].get(), C.get(), expected)
        near = all(np.allclose(one.get(), other, atol=1e-6) for one, other in zip(found, wanted, strict=True))
        tell(f"distances, {sample:,} x {dim}", agrees=near)
        del X, C
        cupy.get_default_memory_pool().free_all_blocks()


def iterating() -> None:
    """Our own Lloyd, whose sums are exact."""
    num_rows, k, sample = sized((500_000, 1000, 20_000), (3000, 20, 1000))
    for dim in DIMS:
        X = mixture_on_device(num_rows, dim, k, seed=1)
        start = X[:k].get()
        lloyd_partial(X, X[:k].copy())
        seconds = timed(lambda X=X, start=start: kmeans_fit([X], k, init=start, max_iter=3, tol=0.0))
        tell(f"3 iterations, {num_rows:,} x {dim}, {k} centres", 3 * num_rows / seconds, "rows/s")
        part, few = X[:sample].copy(), start[: max(1, k // 10)]
        on_device = kmeans_fit([part], len(few), init=few, max_iter=5)
        on_host = kmeans_fit([part.get()], len(few), init=few, max_iter=5)
        equal = same(on_device.centroids, on_host.centroids) and on_device.n_iter == on_host.n_iter
        tell(f"centres of {sample:,} x {dim}", f"{on_device.n_iter} iterations", agrees=equal)


def multiplying() -> None:
    """Products in each precision: how far they are off, and how fast they are."""
    import cupy

    num_rows, size = sized((1024, 8192), (96, 64))
    for dim in (*DIMS, 1024):
        rows = mixture_on_device(num_rows, dim, 10, seed=2).get()
        X = np.concatenate([rows, probe_rows()]) if dim == probe_rows().shape[1] else rows
        exact = X.astype(np.float64) @ X.T.astype(np.float64)
        for precision in PRECISIONS.values():
            error = float(np.abs(product(cupy.asarray(X), precision).get() - exact).max())
            tell(f"{precision.name}, D = {dim}: largest error", error, at_most=float(precision.bound(dim)),
                 agrees=error <= float(precision.bound(dim)))  # fmt: skip
    for dim in DIMS:
        for precision in PRECISIONS.values():
            rate = gemm_flops(dim, precision, size=size)
            tell(f"{precision.name}, D = {dim}: product of {size:,} rows with each other", rate / 1e12, "TFLOP/s")


def product(X: Any, precision: Precision) -> Any:
    import cupy

    return precision.multiply(X, X, cupy.empty((len(X), len(X)), dtype=np.float32))


def same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether the arrays have the same type, shape and bits."""
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


if __name__ == "__main__":
    main()
