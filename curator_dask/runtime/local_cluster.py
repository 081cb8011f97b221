"""Workers on this machine: one process per core, or one process per GPU."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curator_dask.errors import ClusterError, DeviceError
from curator_dask.files.names import counted
from curator_dask.runtime.temporary_keys import temporary_keys
from curator_dask.runtime.worker_processes.forking import METHOD
from curator_dask.runtime.worker_processes.variables import NAMES, worker_variables
from curator_dask.runtime.worker_processes.without_main import workers_leave_main_alone

if TYPE_CHECKING:
    from curator_dask.runtime.cluster_settings import ClusterSettings

LOOPBACK = "127.0.0.1"
DASHBOARD_PORT = 8787
CLOSE_TIMEOUT_S = 15.0
"""How long workers may take to end; they need about a second."""
MOST_STARTS = 3
RMM_KEEPS = 0.8
"""Share of a device that RMM's pool keeps once it has grown to it; memory beyond it goes back to the driver when free."""

# Dask's watching of itself takes 7 % of two cores while nothing runs (measured); our tasks last seconds, not milliseconds.
QUIET = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.system-monitor.interval": "5s",
    # The scheduler, which runs in the client, would keep the last 1,000 messages to each worker, with all that tasks are told.
    "distributed.admin.low-level-log-length": 10,
}


@contextlib.contextmanager
def local_processes(settings: ClusterSettings, n_workers: int | None) -> Iterator[Any]:
    """A client of local CPU workers, by default one per core. Where a server to fork them from runs, they are forked."""
    import dask
    from dask.system import CPU_COUNT
    from distributed import Client, LocalCluster

    # The cores that this process may use: fewer than the machine has in a container or under a batch system.
    n_workers = n_workers or CPU_COUNT
    with (
        dask.config.set({"distributed.worker.multiprocessing-method": METHOD}),
        _configure(settings, n_workers),
        _start(LocalCluster, settings, n_workers=n_workers, processes=True) as cluster,
        Client(cluster, direct_to_workers=True) as client,  # else results pass the scheduler on their way
    ):
        yield client


@contextlib.contextmanager
def local_gpus(settings: ClusterSettings, workers: str) -> Iterator[Any]:
    """A client of local GPU workers, by default one per GPU."""
    from dask_cuda import LocalCUDACluster
    from distributed import Client

    n_workers = settings.n_workers or _num_gpus()
    with (
        _configure(settings, n_workers),
        _start(LocalCUDACluster, settings, n_workers=n_workers, **gpu_options(workers)) as cluster,
        Client(cluster, direct_to_workers=True) as client,  # else results pass the scheduler on their way
    ):
        yield client


def gpu_options(workers: str) -> dict[str, Any]:
    """The parameters of `dask_cuda.LocalCUDACluster` for ``rapids`` or ``torch`` workers.

    RAPIDS workers share RMM's stream-ordered allocator among cuDF, cuML and CuPy, and cuDF spills its own frames to the
    host. They get no pool of a fixed size, which dask-cuda refuses beside it, and no managed memory: using more of that
    than the card has can hang it. Torch workers get no pool, as torch manages the device by itself.
    """
    if workers == "torch":
        return {}
    return {
        "rmm_async": True,
        "rmm_release_threshold": RMM_KEEPS,
        "rmm_allocator_external_lib_list": ["cupy"],
        "enable_cudf_spill": True,
        "pre_import": "cudf,cupy,rmm",
    }


def _num_gpus() -> int:
    """How many devices this process may use."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len(visible.split(","))
    import pynvml

    pynvml.nvmlInit()
    return int(pynvml.nvmlDeviceGetCount())


@contextlib.contextmanager
def _configure(settings: ClusterSettings, n_workers: int) -> Iterator[None]:
    """Apply Dask's settings for local workers within the block."""
    import dask

    config = {
        "distributed.nanny.pre-spawn-environ": worker_variables(n_workers, os.environ),
        # This package bounds the memory of decoded frames and of matrices; Dask's own limit is the last guard.
        "distributed.worker.memory.pause": 0.85,
        # A local cluster gives up a worker that its nanny has not replaced within 15 s; imports alone can take longer.
        "distributed.deploy.lost-worker-timeout": "300s",
        **QUIET,
    }
    if not settings.verbose:
        config["logging.distributed"] = "critical"
    with dask.config.set(config):
        yield


@contextlib.contextmanager
def _start(kind: Any, settings: ClusterSettings, **parameters: Any) -> Iterator[Any]:
    """A cluster that is closed at the end of the block. Raises ClusterError if it does not start.

    Keys that live as long as the cluster keep other users of the machine out: who reaches a scheduler can run code.
    """
    common = {
        "security": temporary_keys(),
        "threads_per_worker": 1,
        "host": LOOPBACK,
        "dashboard_address": _dashboard_address(settings),
        "scheduler_kwargs": {"dashboard": settings.dashboard},
        "silence_logs": logging.INFO if settings.verbose else logging.CRITICAL,
    }
    with workers_leave_main_alone(), _restore_environment() as restore:
        try:
            cluster = _make(kind, {**common, **parameters})
        except (OSError, RuntimeError, ValueError) as error:
            raise ClusterError(
                f"the local Dask cluster does not start ({counted(parameters['n_workers'], 'workers')}): {error} "
                "--verbose shows the log of the workers"
            ) from error
        except Exception as error:
            if type(error).__module__ != "pynvml":  # its errors derive from NVMLError, which is no OSError
                raise
            raise DeviceError(f"the NVIDIA driver does not answer ({error}). nvidia-smi says more") from error
        with _close_in_time(cluster):
            restore()
            yield cluster


def refuse_lost_folder() -> None:
    """Raise ClusterError where the working folder was removed: workers begin there, and Dask would wait for them for ever."""
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise ClusterError(
            "the folder that this program runs in was removed, so no worker can start in it: change to another folder, "
            "then run again"
        ) from error


def _make(kind: Any, parameters: dict[str, Any]) -> Any:
    """A cluster. Dask gives it up if a worker is killed as it starts, so that is tried again."""
    for _ in range(MOST_STARTS - 1):
        with contextlib.suppress(RuntimeError):
            return kind(**parameters)
    return kind(**parameters)


@contextlib.contextmanager
def _close_in_time(cluster: Any) -> Iterator[None]:
    """Close the cluster at the end of the block, and kill the workers that do not end by themselves.

    A nanny waits without limit for a worker that never starts, for instance for one that should replace a dead worker.
    """
    from distributed.core import Status

    try:
        yield
    finally:
        try:
            cluster.close(timeout=CLOSE_TIMEOUT_S)
        except TimeoutError:
            for nanny in cluster.workers.values():
                nanny.auto_restart = False
                if nanny.pid is not None:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(nanny.pid, signal.SIGKILL)
            cluster.status = Status.closed  # else it would be closed once more when the process ends


@contextlib.contextmanager
def _restore_environment() -> Iterator[Callable[[], None]]:
    """Undo what nannies do to this process: they set their workers' variables here too, and the next cluster would use them."""
    before = {name: os.environ[name] for name in NAMES if name in os.environ}

    def restore() -> None:
        for name in NAMES:
            os.environ.pop(name, None)
        os.environ.update(before)

    try:
        yield restore
    finally:
        restore()


def _dashboard_address(settings: ClusterSettings) -> str:
    """Where the dashboard listens: this machine only, on the usual port if it is free, else on any.

    Without a dashboard, health checks are still served there.
    """
    if not settings.dashboard:
        return f"{LOOPBACK}:0"
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, DASHBOARD_PORT))
        except OSError:
            return f"{LOOPBACK}:0"
    return f"{LOOPBACK}:{DASHBOARD_PORT}"
