"""A Dask cluster to work on: local processes, local GPUs, or a scheduler that runs already.

Started at the first use, so a run that finds everything done starts none.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curator_dask._version import __version__
from curator_dask.errors import ClusterError, ParameterError
from curator_dask.runtime.cluster_settings import ClusterSettings
from curator_dask.runtime.device import resolve_device
from curator_dask.runtime.local_cluster import local_gpus, local_processes

CONNECT_TIMEOUT_S = 30.0
# A scheduler started in the same second has not written its file yet.
SCHEDULER_FILE_TIMEOUT_S = 5.0
_LOGGERS = ("distributed", "distributed.nanny", "distributed.worker", "distributed.scheduler", "tornado")
WORKERS = ("cpu", "torch", "rapids")
"""What local workers of a GPU machine are made for; see `LazyCluster.serve`."""


@dataclass
class LazyCluster:
    """Holds the settings until the first task is there, then the client, then closes what it opened itself."""

    settings: ClusterSettings = field(default_factory=ClusterSettings)
    on_start: Callable[[str], None] | None = None
    """Told the dashboard's address when a cluster starts."""
    workers: str = "rapids"
    """What the local workers of a GPU machine are for; changed by `serve`."""
    _client: Any = None
    _started: bool = False
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @staticmethod
    def of(client: Any) -> LazyCluster:
        """Around a client of the caller's, which is left open. Raises ClusterError if it is closed already."""
        if client.asynchronous:
            raise ParameterError("the Dask client is asynchronous: give one made with Client(..., asynchronous=False)")
        if client.status != "running":
            raise ClusterError(f"the Dask client is {client.status}: connect it again, or leave it out")
        return LazyCluster(_client=client)

    @property
    def client(self) -> Any:
        if self._client is None:
            self._client = self._stack.enter_context(dask_client(self.settings, self.workers))
            self._started = True
            link = self._client.dashboard_link if self.settings.dashboard else None
            if link and self.on_start is not None:
                self.on_start(f"Dask dashboard: {link}")
        return self._client

    def serve(self, workers: str) -> None:
        """Have local workers of another kind from here on, on a machine with GPUs.

        ``cpu``: a process a core, for ffmpeg and for tables. ``torch``: a process a GPU whose memory is all torch's.
        ``rapids``: a process a GPU with RMM's pool, for cuDF, CuPy and cuML. Pools of two owners would not give memory
        back to each other, so the workers of one kind are closed before those of another start. Workers of a scheduler
        that runs already, of a caller's own client, and of a machine without a GPU do all kinds of work: nothing changes.
        """
        if workers not in WORKERS:
            raise ParameterError(f"workers ({workers!r}) must be one of {', '.join(WORKERS)}")
        if workers == self.workers or not self._is_own:
            return
        if self._client is not None and resolve_device(self.settings.device) == "gpu":
            self.close()
        self.workers = workers

    @property
    def _is_own(self) -> bool:
        """Whether the workers are (or will be) local ones that this object starts."""
        given = self._client is not None and not self._started
        return not (given or self.settings.scheduler_address or self.settings.scheduler_file)

    @property
    def device(self) -> str:
        """``cpu`` or ``gpu``: of the workers where they run already, else as the settings resolve on this machine."""
        if self._is_own and self.workers == "cpu":
            return "cpu"
        if self._client is None and not (self.settings.scheduler_address or self.settings.scheduler_file):
            return resolve_device(self.settings.device)
        found = set(self.client.run(resolve_device, self.settings.device).values())
        if not found:
            raise ClusterError("the Dask cluster has no workers at the moment: start some, then run again")
        if len(found) != 1:
            raise ClusterError(f"the workers differ ({sorted(found)}): use workers with GPUs or without, not both")
        return str(found.pop())

    @property
    def num_threads(self) -> int:
        return max(1, int(sum(self.client.nthreads().values())))

    def close(self) -> None:
        stack, self._stack, self._client, self._started = self._stack, contextlib.ExitStack(), None, False
        stack.close()

    def __enter__(self) -> LazyCluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def current_cluster() -> LazyCluster:
    """Around the caller's own active Dask client where there is one, else a local cluster of our own."""
    from distributed import default_client

    try:
        client = default_client()
    except ValueError:
        return LazyCluster()
    return LazyCluster.of(client)


@contextlib.contextmanager
def dask_client(settings: ClusterSettings | None = None, workers: str = "rapids") -> Iterator[Any]:
    """A `distributed.Client` for these settings; what was started for it is closed at the end of the block.

    ``workers`` is what local workers are for where there is a GPU, see `LazyCluster.serve`.

    Raises ClusterError if a running scheduler cannot be reached or has no workers, DeviceError if a GPU was asked for
    and there is none.
    """
    settings = settings or ClusterSettings()
    import dask
    import distributed  # noqa: F401  sets its loggers' levels when it is imported, so before we set ours

    with contextlib.ExitStack() as stack:
        # Strings of pandas frames stay as they are: dask would insert conversions even over cuDF partitions.
        stack.enter_context(dask.config.set({"dataframe.convert-string": False}))
        if not settings.verbose:
            stack.enter_context(_quiet_logs())
        if settings.scheduler_address or settings.scheduler_file:
            yield stack.enter_context(_attached(settings))
        elif resolve_device(settings.device) == "cpu":
            yield stack.enter_context(local_processes(settings, settings.n_workers))
        elif workers == "cpu":
            yield stack.enter_context(local_processes(settings, None))
        else:
            yield stack.enter_context(local_gpus(settings, workers))


@contextlib.contextmanager
def _attached(settings: ClusterSettings) -> Iterator[Any]:
    from distributed import Client

    where = settings.scheduler_address or f"--scheduler-file {settings.scheduler_file}"
    address = settings.scheduler_address or _address_in(Path(settings.scheduler_file or ""))
    try:
        _knock(address)
        client = Client(address, timeout=f"{CONNECT_TIMEOUT_S}s")
    except (OSError, ValueError, ImportError) as error:  # a time-out is an OSError; the others are malformed addresses
        raise ClusterError(
            f"no Dask scheduler answers at {address}: {str(error) or 'time-out'}. Start one with: dask scheduler"
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=CONNECT_TIMEOUT_S)
        except TimeoutError as error:
            raise ClusterError(
                f"the scheduler at {address} has no workers: start some with: dask worker {where}"
            ) from error
        _check_versions(client)
        yield client


def _knock(address: str) -> None:
    """Connect and hang up: a `Client` waits for ever where a program listens that is no scheduler and says nothing."""
    from distributed import Security
    from distributed.comm.core import connect

    async def reach() -> None:
        connecting = connect(address, timeout=CONNECT_TIMEOUT_S, **Security().get_connection_args("client"))
        comm = await asyncio.wait_for(connecting, 2 * CONNECT_TIMEOUT_S)
        comm.abort()

    # In a thread, as a notebook's own has an event loop that runs.
    with ThreadPoolExecutor(1) as threads:
        threads.submit(lambda: asyncio.run(reach())).result()


def _address_in(scheduler_file: Path) -> str:
    """The address in the file that ``dask scheduler --scheduler-file`` wrote."""
    deadline = time.monotonic() + SCHEDULER_FILE_TIMEOUT_S
    while not scheduler_file.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    try:
        return str(json.loads(scheduler_file.read_bytes())["address"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ClusterError(
            f"{scheduler_file} names no Dask scheduler ({type(error).__name__}: {error}). "
            f"Start one with: dask scheduler --scheduler-file {scheduler_file}"
        ) from error


def _check_versions(client: Any) -> None:
    """Workers that lack this package, or have another version of it, would fail every unit in words of their own."""
    try:
        found = set(client.run(package_version).values())
    except (ImportError, AttributeError) as error:
        raise ClusterError(
            f"the workers cannot import curator_dask ({error}): install version {__version__} where they run"
        ) from error
    if found - {__version__}:
        raise ClusterError(
            f"the workers have curator_dask {', '.join(sorted(found))} and this process {__version__}: "
            "install the same version on all"
        )


def package_version() -> str:
    return __version__


@contextlib.contextmanager
def _quiet_logs() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
