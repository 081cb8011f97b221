"""A Dask cluster to work on: local processes, local GPUs, or a scheduler that runs already.

It is started at the first use, so a run that finds everything done starts none.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import logging
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curator_dask.errors import ClusterError, ParameterError
from curator_dask.runtime.agreement.versions import check_versions
from curator_dask.runtime.cluster_settings import ClusterSettings
from curator_dask.runtime.device import resolve_device
from curator_dask.runtime.local_cluster import local_gpus, local_processes, refuse_lost_folder
from curator_dask.runtime.waiting import NO_WORKERS_S, ask_workers, asking_scheduler, log
from curator_dask.runtime.worker_processes.forking import forked_workers

CONNECT_TIMEOUT_S = 30.0
LOOK_S = 0.5
"""How long an address is called before any work. A host that is slower is not refused: the client waits longer, later."""
_CALLABLE = ("tcp", "tls")
"""Protocols whose addresses are a host and a port."""
# A scheduler started in the same second has not written its file yet.
SCHEDULER_FILE_TIMEOUT_S = 5.0
_LOGGERS = (
    "distributed",
    "distributed.client",
    "distributed.nanny",
    "distributed.worker",
    "distributed.scheduler",
    "tornado",
)
WORKERS = ("cpu", "torch", "rapids")
"""The kinds of local workers on a GPU machine; see `LazyCluster.serve`."""


@dataclass
class LazyCluster:
    """The settings of a cluster until the first task needs it, then its client. It closes only what it opened itself."""

    settings: ClusterSettings = field(default_factory=ClusterSettings)
    on_start: Callable[[str], None] | None = None
    """Called when a cluster starts: with what begins, and with the address of the dashboard; and when there are no workers.
    Without it, a warning of the latter is logged."""
    workers: str = "rapids"
    """The kind of the local workers on a GPU machine; `serve` changes it."""
    _client: Any = None
    _started: bool = False
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @staticmethod
    def of(client: Any) -> LazyCluster:
        """The cluster of a caller's client, which stays open. Raises ClusterError if it is closed already."""
        if client.asynchronous:
            raise ParameterError("the Dask client is asynchronous: give one made with Client(..., asynchronous=False)")
        if client.status != "running":
            raise ClusterError(f"the Dask client is {client.status}: connect it again, or leave it out")
        return LazyCluster(_client=client)

    def check(self) -> None:
        """Refuse at once, and start nothing, where the device is not there or nobody listens at the scheduler's address.

        Raises DeviceError and ClusterError.
        """
        if self._client is not None:
            return
        if self.settings.scheduler_address or self.settings.scheduler_file:
            _refuse_deaf_address(_address(self.settings))
        else:
            resolve_device(self.settings.device)

    @property
    def client(self) -> Any:
        """The `distributed.Client`; the first use starts the cluster or connects to it."""
        if self._client is None:
            if self.on_start is not None:
                self.on_start("starting workers" if self._is_own else "connecting to the Dask scheduler")
            self._client = self._stack.enter_context(dask_client(self.settings, self.workers, self._say))
            self._started = True
            link = self._client.dashboard_link if self.settings.dashboard else None
            if link and self.on_start is not None:
                self.on_start(f"Dask dashboard: {link}")
        return self._client

    def serve(self, workers: str) -> None:
        """Use local workers of this kind from now on, on a machine with GPUs.

        ``cpu``: one process per core, for ffmpeg and for tables. ``torch``: one process per GPU, whose memory torch manages
        alone. ``rapids``: one process per GPU with RMM's pool, for cuDF, CuPy and cuML. Pools of two owners would not give
        memory back to each other, so the workers of one kind are closed before those of another start. Nothing changes for
        workers of a scheduler that runs already, of a caller's own client, and of a machine without a GPU, as they do all
        kinds of work.
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
        """``cpu`` or ``gpu``: what the settings mean on this machine for workers of our own, else what the workers have."""
        if self._is_own:
            return "cpu" if self.workers == "cpu" else resolve_device(self.settings.device)
        try:
            found = ask_workers(
                self.client, resolve_device, self.settings.device, timeout_s=NO_WORKERS_S, say=self._say
            )
        except TimeoutError as error:
            raise ClusterError(
                f"the Dask cluster has had no workers for {NO_WORKERS_S:.0f} s: start some, then run again"
            ) from error
        if len(found) != 1:
            raise ClusterError(f"the workers differ ({sorted(found)}): use workers with GPUs or without, not both")
        return str(found.pop())

    @property
    def num_threads(self) -> int:
        """Threads of all workers together, at least 1."""
        client = self.client
        with asking_scheduler():
            return max(1, int(sum(client.nthreads().values())))

    def _say(self, text: str) -> None:
        (self.on_start or log)(text)

    def close(self) -> None:
        """Close what this object opened itself."""
        stack, self._stack, self._client, self._started = self._stack, contextlib.ExitStack(), None, False
        stack.close()

    def __enter__(self) -> LazyCluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def current_cluster() -> LazyCluster:
    """The cluster of the caller's active Dask client if there is one, else a local cluster of our own."""
    from distributed import default_client

    try:
        client = default_client()
    except ValueError:
        return LazyCluster()
    return LazyCluster.of(client)


@contextlib.contextmanager
def dask_client(
    settings: ClusterSettings | None = None,
    workers: str = "rapids",
    say: Callable[[str], None] | None = None,
) -> Iterator[Any]:
    """A `distributed.Client` for these settings. What was started for it is closed at the end of the block.

    Args:
        workers: the kind of local workers where there is a GPU, see `LazyCluster.serve`.
        say: hears of it if a running scheduler has no workers. Without it, a warning is logged.

    Raises:
        ClusterError: a running scheduler cannot be reached, or gets no workers within five minutes; or workers are to be
            started, and the working folder was removed.
        DeviceError: a GPU was asked for and there is none.
    """
    settings = settings or ClusterSettings()
    runs_already = bool(settings.scheduler_address or settings.scheduler_file)
    on_cpu = not runs_already and resolve_device(settings.device) == "cpu"
    processes = not runs_already and (on_cpu or workers == "cpu")
    n_processes = settings.n_workers if on_cpu else None
    if not runs_already:
        refuse_lost_folder()
    with contextlib.ExitStack() as stack:
        if processes:  # their server imports Dask while this process does
            stack.enter_context(forked_workers(n_processes))
        import dask
        import distributed  # noqa: F401  sets the levels of its loggers as it is imported, which must come before we set ours

        # Dask would convert the strings of pandas frames, even over cuDF partitions.
        stack.enter_context(dask.config.set({"dataframe.convert-string": False}))
        if not settings.verbose:
            stack.enter_context(_quiet_logs())
        if runs_already:
            yield stack.enter_context(_attach(settings, say or log))
        elif processes:
            yield stack.enter_context(local_processes(settings, n_processes))
        else:
            yield stack.enter_context(local_gpus(settings, workers))


@contextlib.contextmanager
def _attach(settings: ClusterSettings, say: Callable[[str], None]) -> Iterator[Any]:
    """A client of a scheduler that runs already, once it has workers of our version."""
    from distributed import Client

    where = settings.scheduler_address or f"--scheduler-file {settings.scheduler_file}"
    address = _address(settings)
    try:
        _knock(address)
        client = Client(address, timeout=f"{CONNECT_TIMEOUT_S}s")
    except (OSError, ValueError, ImportError) as error:  # a time-out is an OSError; the others are malformed addresses
        raise _nobody_answers(address, error) from error
    except TypeError as error:  # what Dask raises without keys
        raise ClusterError(
            f"the scheduler at {address} asks for keys: set distributed.comm.tls in Dask's configuration, or "
            "DASK_DISTRIBUTED__COMM__TLS__CA_FILE, …__CLIENT__CERT and …__CLIENT__KEY"
        ) from error
    with client:
        try:
            check_versions(functools.partial(ask_workers, client, timeout_s=NO_WORKERS_S, say=say), say)
        except TimeoutError as error:
            raise ClusterError(
                f"the scheduler at {address} has had no workers for {NO_WORKERS_S:.0f} s: "
                f"start some with: dask worker {where}"
            ) from error
        yield client


def _refuse_deaf_address(address: str) -> None:
    """Raise ClusterError for what cannot be an address, for an unknown host, and for a port where nobody listens."""
    from distributed.comm.addressing import parse_address, parse_host_port
    from distributed.comm.registry import get_backend

    try:
        protocol, place = parse_address(address)
        get_backend(protocol)
        if protocol in _CALLABLE:
            _call(*parse_host_port(place))
    except (OSError, ValueError) as error:
        raise _nobody_answers(address, error) from error


def _call(host: str, port: int) -> None:
    if not host:
        raise ValueError("it names no host")
    with contextlib.suppress(TimeoutError), socket.create_connection((host, port), LOOK_S):
        pass


def _nobody_answers(address: str, error: Exception) -> ClusterError:
    """The error for an address where no scheduler can be reached."""
    why = str(error) or "time-out"
    return ClusterError(f"no Dask scheduler answers at {address}: {why}. Start one with: dask scheduler")


def _knock(address: str) -> None:
    """Connect and hang up. A `Client` would wait for ever for a program that listens there, is no scheduler and never answers."""
    from distributed import Security
    from distributed.comm.core import connect

    async def reach() -> None:
        connecting = connect(address, timeout=CONNECT_TIMEOUT_S, **Security().get_connection_args("client"))
        comm = await asyncio.wait_for(connecting, 2 * CONNECT_TIMEOUT_S)
        comm.abort()

    # In a thread of its own, because a notebook's main thread runs an event loop already.
    with ThreadPoolExecutor(1) as threads:
        threads.submit(lambda: asyncio.run(reach())).result()


def _address(settings: ClusterSettings) -> str:
    return settings.scheduler_address or _address_in(Path(settings.scheduler_file or ""))


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


@contextlib.contextmanager
def _quiet_logs() -> Iterator[None]:
    """Show only critical messages of Dask within the block."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
