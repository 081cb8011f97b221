"""cuML's Dask estimator as our fit drives it: its whole host side runs, with stand-ins for NCCL and for the device."""

from __future__ import annotations

import sys
from typing import ClassVar

import numpy as np
import pytest

pytest.importorskip("cuml", reason="RAPIDS is not installed: make test-rapids installs it", exc_type=ImportError)

import cloudpickle
from cuml.cluster import KMeans
from cuml.internals.base import Base
from distributed import Client, LocalCluster

from curator_dask.errors import DeviceError
from curator_dask.runtime.device import WorkerMemory
from curator_dask.stages.kmeans import gpu_fit as kmeans_gpu
from curator_dask.stages.kmeans.fit_watch import RANK_TASKS
from curator_dask.stages.kmeans.gpu_fit import GpuFit, fit_on_gpus
from curator_dask.stages.kmeans.spec import FitRows

cloudpickle.register_pickle_by_value(sys.modules[__name__])


class Rank(Base):
    """Stands for `KMeansMG`: records what a rank is given, and moves every centre to the mean of the rank's rows."""

    seen: ClassVar[list[tuple[list[np.ndarray], dict]]] = []

    def __init__(self, *, handle: object, output_type: str, **options: object) -> None:
        super().__init__(output_type="numpy")
        KMeans(**options)  # a name that it does not know is refused here, as on a GPU
        self.options = options

    def _validate_fit_params(self) -> None:
        pass

    def validate(self, parts: list[np.ndarray], rank: int, num_ranks: int) -> None:
        pass

    def fit(self, parts: list[np.ndarray], sample_weight: None = None) -> Rank:
        Rank.seen.append((parts, self.options))
        X = np.concatenate(parts)
        self.cluster_centers_ = self.options["init"] + X.mean(axis=0)
        self.n_iter_, self.inertia_ = 7, 1.0
        self.labels_ = np.zeros(len(X), np.int32)
        return self


class Comms:
    """Stands for the communicator of NCCL."""

    def __init__(self, *, comms_p2p: bool, client: Client) -> None:
        self.sessionId = b"session"

    def init(self, workers: object) -> None:
        pass

    def destroy(self) -> None:
        pass


def rows(X: np.ndarray) -> FitRows:
    """A fit's sample: the rows of X, which stand between others where the chunk is kept whole."""
    hashes = np.arange(len(X), dtype=np.uint64)
    if len(X) % 2:
        return FitRows(X, None, hashes, hashes, np.ones(len(X)), ())
    kept = np.concatenate([np.full_like(X, np.nan), X])
    return FitRows(
        kept, len(X) + np.arange(len(X)), hashes, np.arange(2 * len(X), dtype=np.uint64), np.ones(len(X)), ()
    )


@pytest.fixture
def clients(monkeypatch):
    """``clients(n)``: a client of n workers in this process, each of which claims a GPU of 1 GB."""
    monkeypatch.setattr("cuml.dask.cluster.kmeans.Comms", Comms)
    monkeypatch.setattr(
        "cuml.dask.cluster.kmeans.get_raft_comm_state", lambda *_: {"handle": None, "wid": 0, "nworkers": 2}
    )
    monkeypatch.setattr("cuml.dask.cluster.kmeans.cp", np)
    monkeypatch.setattr("cuml.cluster.kmeans_mg.KMeansMG", Rank)
    monkeypatch.setattr(kmeans_gpu, "worker_memory", lambda: WorkerMemory(10**9, 10**9, 10**10))
    Rank.seen.clear()
    opened: list = []

    def connect(n_workers: int) -> Client:
        cluster = LocalCluster(
            n_workers=n_workers, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0"
        )
        opened.extend([client := Client(cluster), cluster])
        return client

    yield connect
    for one in opened:
        one.close()


PARTS = [np.full((size, 3), size, np.float32) for size in (5, 0, 9, 4, 1)]
START = np.eye(3, dtype=np.float32)[:2]
OPTIONS = GpuFit(max_iter=20, tol=1e-3, seed=42, max_rows=1000, in_host_memory=True)


def test_a_fit_over_two_ranks(clients):
    client = clients(2)
    C, n_iter = fit_on_gpus(client, client.map(rows, PARTS), START, OPTIONS)
    assert n_iter == 7
    assert (C.dtype, C.shape) == (np.float32, (2, 3))
    assert len(Rank.seen) == 2
    given = sorted(len(part) for parts, _ in Rank.seen for part in parts)
    assert given == [1, 4, 5, 9]  # every row once, and no empty part
    assert sorted(sum(map(len, parts)) for parts, _ in Rank.seen) == [9, 10]
    for parts, options in Rank.seen:
        assert all(isinstance(part, np.ndarray) and part.dtype == np.float32 for part in parts)
        assert options.pop("init").tolist() == START.tolist()
        assert options == {
            "n_clusters": 2, "n_init": 1, "max_iter": 20, "tol": 1e-3, "random_state": 42, "max_samples_per_batch": 1000,
            "device_buffer_samples": 19, "verbose": False,
        }  # fmt: skip


def test_what_cuml_refuses_is_told(clients):
    client = clients(2)
    with pytest.raises(DeviceError, match=r"n_samples=19 should be >= n_clusters=30"):
        fit_on_gpus(client, client.map(rows, PARTS), np.zeros((30, 3), np.float32), OPTIONS)


def test_one_worker_needs_no_nccl(clients, monkeypatch):
    seen: list = []

    class Alone(Rank):
        def __init__(self, *, output_type: str, **options: object) -> None:
            super().__init__(handle=None, output_type=output_type, **options)
            seen.append(output_type)

        def fit(self, X: np.ndarray) -> Rank:
            return super().fit([X])

    monkeypatch.setattr("cuml.cluster.KMeans", Alone)
    client = clients(1)
    C, n_iter = fit_on_gpus(client, client.map(rows, PARTS), START, OPTIONS)
    assert (C.shape, n_iter, seen) == ((2, 3), 7, ["numpy"])
    ((parts, options),) = Rank.seen
    assert parts[0].tolist() == np.concatenate(PARTS).tolist()
    assert options["device_buffer_samples"] == 19


def test_on_this_machine_without_a_gpu_it_says_so(clients):
    """With cuML's own estimator, not a stand-in: the error that a user sees when a worker has lost its device."""
    import cupy

    if cupy.cuda.is_available():
        pytest.skip("this machine has a GPU")
    client = clients(1)
    with pytest.raises(DeviceError, match="cuML could not fit: CUDARuntimeError: cudaErrorInsufficientDriver"):
        fit_on_gpus(client, client.map(rows, PARTS), START, OPTIONS)


def test_ranks_are_known_by_their_names():
    """The watch over a fit finds the tasks of ranks by the names that cuML gives them."""
    from cuml.dask.cluster import KMeans as DaskKMeans
    from dask.utils import funcname

    names = {funcname(DaskKMeans._func_fit), funcname(DaskKMeans._func_preflight_fit), funcname(kmeans_gpu._fit_alone)}
    assert names == set(RANK_TASKS)
