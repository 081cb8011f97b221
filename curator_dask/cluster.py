"""A Dask cluster to work on: local processes, local GPUs, or a scheduler that runs already.

Started at the first use, so a run that finds everything done starts none.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from curator_dask.backend import resolve_device
from curator_dask.errors import ClusterError, ParameterError

LOOPBACK = "127.0.0.1"
DASHBOARD_PORT = 8787
CONNECT_TIMEOUT_S = 30
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class ClusterSettings:
    """Where the work runs. None of it changes a result."""

    device: str = "auto"
    """``auto``, ``cpu`` or ``gpu``."""
    n_workers: int | None = None
    """Local worker processes; by default one a core, or one a GPU."""
    scheduler_address: str | None = None
    scheduler_file: str | None = None
    dashboard: bool = True
    verbose: bool = False

    def __post_init__(self) -> None:
        if self.n_workers is not None and self.n_workers < 1:
            raise ParameterError(f"n_workers ({self.n_workers}) must be >= 1")
        if self.scheduler_address and self.scheduler_file:
            raise ParameterError("give scheduler_address or scheduler_file, not both")
        if self.n_workers is not None and (self.scheduler_address or self.scheduler_file):
            raise ParameterError("n_workers is for a local cluster: a running scheduler has its own workers")


@dataclass
class LazyCluster:
    """Holds the settings until the first task is there, then the client, then closes what it opened itself."""

    settings: ClusterSettings = field(default_factory=ClusterSettings)
    on_start: Callable[[str], None] | None = None
    """Told the dashboard's address when a cluster starts."""
    _client: Any = None
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @staticmethod
    def of(client: Any) -> LazyCluster:
        """Around a client of the caller's, which is left open."""
        return LazyCluster(_client=client)

    @property
    def client(self) -> Any:
        if self._client is None:
            self._client = self._stack.enter_context(dask_client(self.settings))
            if self.on_start is not None:
                self.on_start(f"Dask dashboard: {self._client.dashboard_link}")
        return self._client

    @property
    def device(self) -> str:
        """``cpu`` or ``gpu``: of the workers where they run already, else as the settings resolve on this machine."""
        if self._client is None and not (self.settings.scheduler_address or self.settings.scheduler_file):
            return resolve_device(self.settings.device)
        found = set(self.client.run(resolve_device, self.settings.device).values())
        if len(found) != 1:
            raise ClusterError(f"the workers differ ({sorted(found)}): use workers with GPUs or without, not both")
        return str(found.pop())

    @property
    def num_threads(self) -> int:
        return max(1, int(sum(self.client.nthreads().values())))

    def close(self) -> None:
        self._stack.close()
        self._stack = contextlib.ExitStack()
        self._client = None

    def __enter__(self) -> LazyCluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def current_cluster() -> LazyCluster:
    """Around the caller's own active Dask client where there is one, else a local cluster of our own."""
    try:
        from distributed import default_client

        return LazyCluster.of(default_client())
    except ValueError:
        return LazyCluster()


@contextlib.contextmanager
def dask_client(settings: ClusterSettings | None = None) -> Iterator[Any]:
    """A `distributed.Client` for these settings; what was started for it is closed at the end of the block.

    Raises ClusterError if a running scheduler cannot be reached or has no workers, DeviceError if a GPU was asked for
    and there is none.
    """
    settings = settings or ClusterSettings()
    import dask

    with contextlib.ExitStack() as stack:
        # Strings of pandas frames stay as they are: dask would insert conversions even over cuDF partitions.
        stack.enter_context(dask.config.set({"dataframe.convert-string": False}))
        if not settings.verbose:
            _silence_logs()
        if settings.scheduler_address or settings.scheduler_file:
            yield stack.enter_context(_attached(settings))
        elif resolve_device(settings.device) == "gpu":
            yield stack.enter_context(_local_gpus(settings))
        else:
            yield stack.enter_context(_local_processes(settings))


@contextlib.contextmanager
def _local_processes(settings: ClusterSettings) -> Iterator[Any]:
    import dask
    from distributed import Client, LocalCluster

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    n_workers = settings.n_workers or cores
    # Nannies set the BLAS threads to 1, which leaves cores idle when there are fewer workers than cores.
    threads = {name: str(max(1, cores // n_workers)) for name in _THREAD_VARIABLES}
    config = {
        "distributed.nanny.pre-spawn-environ": threads,
        # Memory of decoded frames and of matrices is bounded by this package; Dask's own limit is the last guard.
        "distributed.worker.memory.pause": 0.85,
    }
    if not settings.verbose:
        config["logging.distributed"] = "critical"
    with (
        dask.config.set(config),
        LocalCluster(
            n_workers=n_workers,
            threads_per_worker=1,
            processes=True,
            host=LOOPBACK,
            dashboard_address=_dashboard_address(settings),
            scheduler_kwargs={"dashboard": settings.dashboard},
            silence_logs=logging.INFO if settings.verbose else logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@contextlib.contextmanager
def _local_gpus(settings: ClusterSettings) -> Iterator[Any]:
    """One worker a GPU. RMM's stream-ordered allocator is shared with CuPy; torch keeps its own."""
    from dask_cuda import LocalCUDACluster
    from distributed import Client

    with (
        LocalCUDACluster(
            n_workers=settings.n_workers,
            threads_per_worker=1,
            rmm_async=True,
            rmm_allocator_external_lib_list=["cupy"],
            enable_cudf_spill=True,
            host=LOOPBACK,
            dashboard_address=_dashboard_address(settings),
            scheduler_kwargs={"dashboard": settings.dashboard},
            silence_logs=logging.INFO if settings.verbose else logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@contextlib.contextmanager
def _attached(settings: ClusterSettings) -> Iterator[Any]:
    from distributed import Client

    where = settings.scheduler_address or settings.scheduler_file
    try:
        client = Client(
            address=settings.scheduler_address,
            scheduler_file=settings.scheduler_file,
            timeout=f"{CONNECT_TIMEOUT_S}s",
        )
    except (OSError, TimeoutError, ValueError) as error:
        raise ClusterError(f"no Dask scheduler answers at {where}: {error}. Start one with: dask scheduler") from error
    with client:
        try:
            client.wait_for_workers(1, timeout=CONNECT_TIMEOUT_S)
        except TimeoutError as error:
            raise ClusterError(
                f"the scheduler at {where} has no workers: start some with: dask worker {where}"
            ) from error
        yield client


def _dashboard_address(settings: ClusterSettings) -> str:
    """Loopback only; the usual port where it is free, else any. Without a dashboard the port still serves health checks."""
    if not settings.dashboard:
        return f"{LOOPBACK}:0"
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, DASHBOARD_PORT))
        except OSError:
            return f"{LOOPBACK}:0"
    return f"{LOOPBACK}:{DASHBOARD_PORT}"


def _silence_logs() -> None:
    for name in ("distributed", "distributed.nanny", "distributed.worker", "distributed.scheduler", "tornado"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
