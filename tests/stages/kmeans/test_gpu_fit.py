"""The parts of a fit on GPUs that need no GPU: where vectors go, what cuML is told, and what happens when workers die."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from concurrent.futures import Future as Outcome

import cloudpickle
import numpy as np
import pytest
from distributed import CancelledError

from curator_dask.errors import ClusterError, DeviceError, InputError
from curator_dask.runtime.cluster import LazyCluster
from curator_dask.runtime.cluster_settings import ClusterSettings
from curator_dask.runtime.device import WorkerMemory, torch_device, worker_memory
from curator_dask.runtime.progress import SilentReporter
from curator_dask.stages.kmeans import fit_watch as kmeans_watch
from curator_dask.stages.kmeans.fit_watch import DeviceFullError, FitLostError, retry, translate_error, watch
from curator_dask.stages.kmeans.gpu_fit import (
    GpuFit,
    Plan,
    choose_workers,
    estimator_options,
    join_parts,
    longest_fit_s,
    plan_fit,
)

cloudpickle.register_pickle_by_value(sys.modules[__name__])

GB = 10**9


def gpus(number: int, *, free: float = 80 * GB, host: float = 200 * GB) -> list[WorkerMemory]:
    return [WorkerMemory(int(free), int(free), int(host))] * number


class TestPlan:
    @pytest.mark.parametrize(
        ("workers", "num_rows", "expected"),
        [
            (gpus(1), 10_000_000, Plan(True, True, 0)),
            (gpus(1), 20_000_000, Plan(True, True, 0)),
            (gpus(1), 30_000_000, Plan(False, True, 3_906_250)),
            (gpus(1, host=50 * GB), 30_000_000, Plan(False, False, 3_906_250)),
            (gpus(4), 30_000_000, Plan(True, False, 0)),
            (gpus(4), 100_000_000, Plan(False, False, 3_906_250)),
            ([*gpus(3), *gpus(1, free=8 * GB)], 30_000_000, Plan(False, False, 390_625)),
            (gpus(1, free=1_000_000), 1000, Plan(False, True, 1000)),
        ],
        ids=["fits", "just fits", "does not fit", "nor in host memory twice", "four", "too much for four", "a small one",
             "no more than there are"],
    )  # fmt: skip
    def test_of_512_dimensions(self, workers, num_rows, expected):
        assert plan_fit(workers, num_rows, 512) == expected

    def test_host_memory_on_demand(self):
        assert plan_fit(gpus(2), 1000, 8, in_host_memory=True) == Plan(False, False, 1000)

    def test_what_cuml_is_told(self):
        start = np.eye(3, dtype=np.float64)[:2]
        options = estimator_options(start, GpuFit(7, 0.5, 2**31 + 5, 99), Plan(False, False, 12))
        init = options.pop("init")
        assert (init.dtype, init.flags.c_contiguous, init.tolist()) == (np.float32, True, start.tolist())
        assert options == {
            "n_clusters": 2, "n_init": 1, "max_iter": 7, "tol": 0.5, "random_state": 5, "max_samples_per_batch": 99,
            "device_buffer_samples": 12,
        }  # fmt: skip

    def test_parts_are_shared_out_evenly(self):
        assert choose_workers([5, 9, 4, 1], ["a", "b"]) == ["b", "a", "b", "a"]
        assert choose_workers([3], ["a", "b"]) == ["a"]
        rows = dict.fromkeys("abc", 0)
        sizes = np.random.default_rng(0).integers(1, 1000, 60).tolist()
        for size, place in zip(sizes, choose_workers(sizes, "abc"), strict=True):
            rows[place] += size
        assert max(rows.values()) - min(rows.values()) <= min(sizes) + 30

    def test_a_deadline_leaves_ten_times_the_time(self):
        assert longest_fit_s(0, 512, 1000, 300, 1) == 300
        # 10 million rows of 512, 1000 clusters, 300 iterations: 3.1e15 floating point operations, an H200's minute.
        assert 3000 < longest_fit_s(10**7, 512, 1000, 300, 1) < 12_000
        assert longest_fit_s(10**7, 512, 1000, 300, 8) < longest_fit_s(10**7, 512, 1000, 300, 1)

    def test_parts_become_one_array(self):
        parts = [np.ones((2, 3), np.float32), np.zeros((1, 3), np.float32)]
        assert join_parts(parts, on_device=False).tolist() == [[1] * 3, [1] * 3, [0] * 3]
        assert join_parts(parts[:1], on_device=False) is parts[0]


class TestErrors:
    @pytest.mark.parametrize(
        ("error", "kind", "told"),
        [
            (MemoryError("std::bad_alloc: out_of_memory"), DeviceFullError, "ran out of memory"),
            (RuntimeError("CUDA error: cudaErrorMemoryAllocation out of memory"), DeviceFullError, "ran out of memory"),
            (CancelledError("t"), FitLostError, "went away"),
            (OSError("Timed out"), FitLostError, "went away"),
            (RuntimeError("NCCL_ERROR: b'unhandled cuda error'"), DeviceError, "NCCL_DEBUG=INFO"),
            (ValueError("odd"), DeviceError, "cuML could not fit: ValueError: odd"),
            (InputError("ours"), InputError, "ours"),
        ],
        ids=lambda value: getattr(value, "__name__", None),
    )
    def test_are_put_in_our_words(self, error, kind, told):
        found = translate_error(error)
        assert type(found) is kind
        assert told in str(found)

    def test_a_worker_without_a_device_of_its_own(self, monkeypatch):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        with pytest.raises(DeviceError, match="dask cuda worker"):
            worker_memory()

    def test_torch_without_cuda_is_no_silent_cpu(self, monkeypatch):
        import torch

        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        assert torch_device("cpu") == torch_device("gpu", light=True) == "cpu"
        with pytest.raises(DeviceError, match=r"torch .* cannot use them"):
            torch_device("gpu")
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        assert torch_device("gpu") == "cuda"


def hang() -> None:
    """A task that waits for other tasks that never come."""
    time.sleep(300)


def _func_fit() -> None:
    raise MemoryError("std::bad_alloc: out_of_memory")


@pytest.fixture(scope="module")
def pair():
    """A client of two workers that these tests may kill."""
    with LazyCluster(ClusterSettings(device="cpu", n_workers=2, dashboard=False)) as lazy:
        yield lazy.client


@pytest.fixture
def workers(pair) -> list[str]:
    pair.wait_for_workers(2, timeout=60)
    return sorted(pair.scheduler_info(n_workers=-1)["workers"])


def ranks(client, workers: list[str], *functions) -> None:
    """Run one task per worker and wait for all of them, as cuML does."""
    tasks = [client.submit(function, workers=[worker], pure=False)
             for function, worker in zip(functions, workers, strict=True)]  # fmt: skip
    client.gather(tasks)


def kill(client, worker: str) -> None:
    (pid,) = client.run(os.getpid, workers=[worker]).values()
    os.kill(pid, signal.SIGKILL)


class TestWatch:
    @pytest.fixture(autouse=True)
    def quick(self, monkeypatch):
        monkeypatch.setattr(kmeans_watch, "LOOK_EVERY_S", 0.05)

    def test_a_fit_that_ends_well(self, pair, workers):
        assert watch(pair, lambda: pair.submit(sum, [1, 2]).result(), workers=workers, deadline_s=60) == 3

    def test_a_worker_that_dies_while_the_others_wait_for_it(self, pair, workers):
        ended: Outcome[BaseException] = Outcome()

        def work() -> None:
            try:
                ranks(pair, workers, hang, hang)
            except BaseException as error:
                ended.set_result(error)
                raise

        threading.Timer(1.0, kill, [pair, workers[0]]).start()
        with pytest.raises(FitLostError, match="1 of 2 GPU workers went away|went away during the fit"):
            watch(pair, work, workers=workers, deadline_s=120)
        assert ended.result(timeout=30)  # the thread that waited is not left behind
        kmeans_watch.restart(pair, workers)
        fresh = set(pair.scheduler_info(n_workers=-1)["workers"])
        assert len(fresh) == 2
        assert pair.submit(sum, [1, 2], pure=False).result(timeout=60) == 3

    def test_a_rank_that_fails_is_told_at_once_though_the_others_hang(self, pair, workers):
        with pytest.raises(DeviceFullError, match="bad_alloc"):
            watch(pair, lambda: pair.gather(
                [pair.submit(function, workers=[worker], pure=False)
                 for function, worker in zip((hang, _func_fit), workers, strict=True)], errors="skip",
            ), workers=workers, deadline_s=120)  # fmt: skip
        kmeans_watch.restart(pair, workers)

    def test_a_deadline(self, pair, workers):
        with pytest.raises(FitLostError, match="did not end within 1 s"):
            watch(pair, lambda: ranks(pair, workers, hang, hang), workers=workers, deadline_s=1)
        kmeans_watch.restart(pair, workers)


class Notes(SilentReporter):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


class TestRetry:
    @pytest.mark.parametrize(("error", "in_host_memory"), [(FitLostError("x"), False), (DeviceFullError("x"), True)])
    def test_once_on_fresh_workers(self, pair, workers, error, in_host_memory):
        attempts, notes = list[bool](), Notes()
        before = set(pair.run(os.getpid).values())

        def attempt(in_host: bool) -> str:
            attempts.append(in_host)
            if len(attempts) == 1:
                raise error
            return "fitted"

        assert retry(pair, attempt, notes) == "fitted"
        assert attempts == [False, in_host_memory]
        assert not before & set(pair.run(os.getpid).values())
        assert len(notes.notes) == 1

    @pytest.mark.parametrize(
        ("error", "kind"), [(FitLostError("x"), ClusterError), (DeviceFullError("x"), DeviceError)]
    )
    def test_not_twice(self, pair, workers, error, kind):
        def attempt(_: bool) -> None:
            raise error

        with pytest.raises(kind, match="x, ") as told:
            retry(pair, attempt, SilentReporter())
        assert type(told.value) is kind

    def test_other_errors_pass(self, pair, workers):
        def attempt(_: bool) -> None:
            raise InputError("no rows")

        before = set(pair.run(os.getpid).values())
        with pytest.raises(InputError):
            retry(pair, attempt, SilentReporter())
        assert set(pair.run(os.getpid).values()) == before
