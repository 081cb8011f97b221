"""The stages as they run on a GPU worker, with stand-ins for the device, for cuDF's reader and for cuML's estimator.

The path is the real one: vectors read to the device, cuML's fit, labels and scores by the kernels on the device. What the
stand-ins compute is what the CPU computes, so both must write the same files.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import cloudpickle
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from distributed import Client, LocalCluster

from curator_dask import IdentifyDuplicatesStage, KMeansStage, PairwiseStage
from curator_dask import cluster as cluster_module
from curator_dask.backend import WorkerMemory
from curator_dask.cluster import LazyCluster
from curator_dask.dedup.kmeans import kmeans_fit
from curator_dask.pipeline import RunContext
from curator_dask.stages import kmeans_gpu, vector_source
from curator_dask.tables import opened_parquet
from curator_dask.vectors import column_matrix
from tests.dedup.reference import random_unit
from tests.strict_cupy import DeviceArray, strict_cupy
from tests.trees import tree

cloudpickle.register_pickle_by_value(sys.modules[__name__])

told: list[dict[str, Any]] = []


class OurLloyd:
    """In place of `cuml.cluster.KMeans`."""

    def __init__(self, **options: Any) -> None:
        told.append(options)
        self.options = options

    def fit(self, X: Any) -> SimpleNamespace:
        host = X.get() if isinstance(X, DeviceArray) else X
        told[-1]["on_device"] = isinstance(X, DeviceArray)
        start = self.options["init"]
        done = kmeans_fit([host], len(start), init=start, max_iter=self.options["max_iter"], tol=self.options["tol"])
        return SimpleNamespace(cluster_centers_=done.centroids, n_iter_=done.n_iter)


def read_matrix(folder: Any, path: str, field: str, dimension: int, row_groups: Any = None) -> Any:
    with opened_parquet(folder, path) as file:
        table = (
            file.read(columns=[field])
            if row_groups is None
            else file.read_row_groups(list(row_groups), columns=[field])
        )
    X, reasons = column_matrix(table[field], dimension)
    return sys.modules["cupy"].asarray(X), reasons


@pytest.fixture(params=[10**9, 20_000], ids=["large device", "small device"])
def on_gpu(request, monkeypatch, context):
    """A worker in this process that takes itself for one with a GPU of that many bytes."""
    assert context.cluster.client  # started while this machine still looks like what it is
    told.clear()
    cuml = ModuleType("cuml.cluster")
    cuml.KMeans = OurLloyd  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cuml.cluster", cuml)
    monkeypatch.setitem(sys.modules, "cupy", strict_cupy())
    memory = WorkerMemory(request.param, request.param, 10**10)
    monkeypatch.setattr(kmeans_gpu, "worker_memory", lambda: memory)
    monkeypatch.setattr(vector_source, "read_matrix", read_matrix)
    monkeypatch.setattr(cluster_module, "resolve_device", lambda device: "cpu" if device == "cpu" else "gpu")
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0") as local,
        Client(local) as client,
    ):
        yield RunContext(LazyCluster.of(client)), request.param


def write(folder: Path) -> Path:
    """Vectors with near-copies in two files, and rows that no cluster takes."""
    folder.mkdir()
    X = [row.tolist() for row in random_unit(600, 16, 0, copies=0.4, noise=1e-3)]
    X[5], X[17], X[300] = None, [0.0] * 16, [1.0, 2.0]
    for number in range(2):
        table = pa.table(
            {"id": range(300 * number, 300 * number + 300), "embedding": X[300 * number : 300 * number + 300]}
        )
        pq.write_table(table, folder / f"{number}.parquet")
    return folder


def dedup(source: Path, out: Path, context: RunContext) -> dict[str, str]:
    KMeansStage(6, input_path=str(source), output_path=str(out / "k")).run(context=context)
    PairwiseStage(input_path=str(out / "k"), output_path=str(out / "p")).run(context=context)
    IdentifyDuplicatesStage(str(out / "p"), str(out / "k"), str(out / "d"), eps=0.01).run(context=context)
    return tree(out, hidden=False)


def test_cpu_and_gpu_write_the_same_files(tmp_path, context, on_gpu):
    gpu, num_bytes = on_gpu
    source = write(tmp_path / "v")
    expected = dedup(source, tmp_path / "cpu", context)
    assert dedup(source, tmp_path / "gpu", gpu) == expected
    assert len(expected) > 10
    (options,) = told
    assert (options["n_clusters"], options["n_init"], options["init"].shape) == (6, 1, (6, 16))
    assert options["on_device"] == (num_bytes > 10**6)
    assert (options["device_buffer_samples"] > 0) != options["on_device"]
    assert np.load(tmp_path / "gpu" / "k" / "kmeans_centroids.npy").shape == (6, 16)
