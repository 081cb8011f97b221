"""RAPIDS on a device: cuDF's reader, cuML's fit by one worker and through Dask, and decisions, each against the CPU.

python -m benchmarks.gpu.rapids first-light | read | fit | fit-dask | decisions
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.gpu.device import Peak, mixture_on_device, timed
from benchmarks.gpu.kernels import same
from benchmarks.gpu.records import sized, tell
from curator_dask import IdentifyDuplicatesStage, KMeansStage, PairwiseStage
from curator_dask.data.device_vectors import read_matrix
from curator_dask.data.vectors import column_matrix, matrix_column
from curator_dask.dedup.kmeans.assign import assign
from curator_dask.dedup.kmeans.lloyd import KMeansResult, kmeans_fit
from curator_dask.files.folder import Folder
from curator_dask.runtime.cluster import LazyCluster
from curator_dask.runtime.cluster_settings import ClusterSettings
from curator_dask.runtime.device import worker_memory
from curator_dask.stages.base import RunContext
from curator_dask.stages.kmeans.gpu_fit import GpuFit, Plan, dask_matrix, estimator_options, fit_on_gpus

FIT = GpuFit(max_iter=20, tol=1e-4, seed=42, max_rows=32768)
EPS = 0.05
LEAST_SAME_LABELS = 0.999


class Rows:
    """Stands for a chunk of vectors; the fit reads only its `X`."""

    def __init__(self, X: np.ndarray) -> None:
        self.X = X


def main() -> None:
    steps: dict[str, Callable[[], None]] = {
        "first-light": first_light, "read": read, "fit": fit_alone, "fit-dask": fit_through_dask, "decisions": decide,
    }  # fmt: skip
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=steps)
    steps[parser.parse_args().step]()


def first_light() -> None:
    """Whether cuDF, cuML and a worker of dask-cuda answer at all."""
    import cudf
    import cupy
    from cuml.cluster import KMeans

    tell("cudf.Series([1, 2]).sum()", int(cudf.Series([1, 2]).sum()), agrees=int(cudf.Series([1, 2]).sum()) == 3)
    X = np.random.default_rng(0).standard_normal((1000, 64), dtype=np.float32)
    for where, rows, buffer in (("on the device", cupy.asarray(X), 0), ("in host memory", X, 100)):
        model = KMeans(n_clusters=8, init=X[:8].copy(), n_init=1, random_state=42, device_buffer_samples=buffer).fit(
            rows
        )
        tell(f"cuML fits 1000 x 64, vectors {where}", f"{int(model.n_iter_)} iterations")
    begun = time.perf_counter()
    with gpu_cluster() as cluster:
        (memory,) = cluster.client.run(worker_memory).values()
        tell("LocalCUDACluster starts one worker", time.perf_counter() - begun, "s")
        tell(
            "memory of its device",
            f"{memory.device_free:,} bytes free",
            agrees=0 < memory.device_free <= memory.device_total,
        )


def read() -> None:
    """A file of vectors, as cuDF and as Arrow read it."""
    num_rows, dim = sized((400_000, 512), (2000, 32))
    X = mixture_on_device(num_rows, dim, 100, seed=0).get()
    with tempfile.TemporaryDirectory() as scratch:
        for compression in ("zstd", "snappy", "none"):
            path = Path(scratch, f"{compression}.parquet")
            pq.write_table(
                pa.table({"embedding": matrix_column(X)}), path, compression=compression, use_dictionary=False
            )
            found: list[Any] = []

            def work(path: Path = path, found: list[Any] = found) -> None:
                found[:] = read_matrix(Folder(scratch), path.name, "embedding", dim)

            work()
            seconds = timed(work)
            expected, _ = column_matrix(pq.read_table(path)["embedding"], dim)
            tell(f"cuDF reads {num_rows:,} x {dim}, {compression}", X.nbytes / seconds / 1e9, "GB/s",
                 agrees=same(found[0].get(), np.asarray(expected)))  # fmt: skip


def fit_alone() -> None:
    """`cuml.cluster.KMeans` in one task, with the vectors on the device and in host memory."""
    X, start, expected = fitted_on_the_cpu()
    with gpu_cluster() as cluster:
        loaded = held_by_workers(cluster, X)
        for where, told in (("on the device", FIT), ("in host memory", GpuFit(*fit_settings(), in_host_memory=True))):
            begun = time.perf_counter()
            C, n_iter = fit_on_gpus(cluster.client, loaded, start, told)
            tell_fit(f"one worker, vectors {where}", X, C, n_iter, expected, time.perf_counter() - begun)


def fit_through_dask() -> None:
    """`cuml.dask.cluster.KMeans`, as several workers use it; with one worker NCCL has one rank."""
    from cuml.dask.cluster import KMeans

    X, start, expected = fitted_on_the_cpu()
    with gpu_cluster() as cluster:
        client, loaded = cluster.client, held_by_workers(cluster, X)
        workers = sorted(client.scheduler_info(n_workers=-1)["workers"])
        parts = [(future, len(rows)) for future, rows in zip(loaded, np.array_split(X, len(loaded)), strict=True)]
        for on_device in (True, False):
            plan = Plan(on_device, alone=False, buffer_rows=0 if on_device else max(1, len(X) // 10))
            begun = time.perf_counter()
            matrix = dask_matrix(client, parts, X.shape[1], workers, on_device=on_device)
            model = KMeans(client=client, **estimator_options(start, FIT, plan)).fit(matrix)
            C = model.cluster_centers_
            C = np.ascontiguousarray(C.get() if hasattr(C, "get") else C, dtype=np.float32)
            seconds = time.perf_counter() - begun
            where = "on the device" if on_device else "in host memory"
            tell_fit(f"through Dask, vectors {where}", X, C, int(model.n_iter_), expected, seconds)


def decide() -> None:
    """Which rows are removed, by the stages on GPU workers and on CPU workers."""
    num_rows, dim, k = sized((100_000, 256, 100), (2000, 16, 8))
    X, directions = separated(num_rows, dim, k)
    removed: dict[str, set[int]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch, "vectors")
        source.mkdir()
        for number, rows in enumerate(np.array_split(np.arange(num_rows), 4)):
            table = pa.table({"id": rows, "embedding": matrix_column(np.ascontiguousarray(X[rows]))})
            pq.write_table(table, source / f"{number}.parquet")
        for device in ("cpu", "gpu"):
            with LazyCluster(ClusterSettings(device=device, dashboard=False)) as cluster, Peak().watching() as peak:
                begun = time.perf_counter()
                removed[device] = removed_ids(source, Path(scratch, device), RunContext(cluster), directions)
                tell(f"decisions on {num_rows:,} x {dim}, {device} workers", time.perf_counter() - begun, "s")
    tell("device memory, peak", str(peak))
    equal = removed["cpu"] == removed["gpu"]
    tell("removed rows", f"{len(removed['gpu']):,}", agrees=equal and 0 < len(removed["gpu"]) < num_rows)


def gpu_cluster() -> LazyCluster:
    return LazyCluster(ClusterSettings(device="gpu", dashboard=False))


def fit_settings() -> tuple[int, float, int, int]:
    return FIT.max_iter, FIT.tol, FIT.seed, FIT.max_rows


def separated(num_rows: int, dim: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit rows around k directions that lie well apart, and the directions. Every tenth row is a near copy of another."""
    random = np.random.default_rng(0)
    directions = unit(random.standard_normal((k, dim)))
    rows = directions[random.integers(0, k, num_rows)] + 0.3 * random.standard_normal((num_rows, dim)) / np.sqrt(dim)
    copies, source = random.random(num_rows) < 0.1, random.integers(0, num_rows, num_rows)
    rows[copies] = rows[source[copies]] + 0.01 * random.standard_normal((int(copies.sum()), dim)) / np.sqrt(dim)
    return unit(rows), directions


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def fitted_on_the_cpu() -> tuple[np.ndarray, np.ndarray, KMeansResult]:
    """Rows, the centres to start from, and what our own k-means makes of them."""
    X, directions = separated(*sized((200_000, 256, 100), (2000, 16, 8)))
    noise = np.random.default_rng(2).standard_normal(directions.shape) / np.sqrt(directions.shape[1])
    start = unit(directions + 0.2 * noise)
    return X, start, kmeans_fit([X], len(start), init=start, max_iter=FIT.max_iter, tol=FIT.tol)


def held_by_workers(cluster: LazyCluster, X: np.ndarray) -> list[Any]:
    futures: list[Any] = cluster.client.scatter([Rows(part) for part in np.array_split(X, 5)], hash=False)
    return futures


def tell_fit(what: str, X: np.ndarray, C: np.ndarray, n_iter: int, expected: KMeansResult, seconds: float) -> None:
    labels = float(np.mean(assign(X, C) == assign(X, expected.centroids)))
    near = np.allclose(C, expected.centroids, rtol=1e-3, atol=1e-4)
    tell(f"{what}: {n_iter} iterations over {len(X):,} x {X.shape[1]} (the CPU: {expected.n_iter})", seconds, "s",
         agrees=bool(near and abs(n_iter - expected.n_iter) <= 1))  # fmt: skip
    tell(
        f"{what}: share of labels that are the CPU's",
        labels,
        at_least=LEAST_SAME_LABELS,
        agrees=labels >= LEAST_SAME_LABELS,
    )


def removed_ids(source: Path, out: Path, context: RunContext, start: np.ndarray) -> set[int]:
    """The ids that the stages from k-means to identify remove."""
    folders = {name: str(out / name) for name in ("k", "p", "d")}
    KMeansStage(len(start), input_path=str(source), output_path=folders["k"], init=start).run(context=context)
    PairwiseStage(input_path=folders["k"], output_path=folders["p"]).run(context=context)
    IdentifyDuplicatesStage(folders["p"], folders["k"], folders["d"], eps=EPS).run(context=context)
    return set(pq.read_table(Path(folders["d"], "duplicates.parquet"))["id"].to_pylist())


if __name__ == "__main__":
    main()
