"""How local workers start: Dask's nannies fork them from a server that was started in time, or spawn them where there is none.

Dask takes the way to start a process by its name from `multiprocessing`, which has a list of such ways. Ours is put there.
"""

from __future__ import annotations

import contextlib
import io
import os
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing import context, forkserver, popen_forkserver, reduction, resource_tracker, spawn, util
from multiprocessing.process import BaseProcess
from typing import Any

from curator_dask.runtime.worker_processes.fork_server import serve
from curator_dask.runtime.worker_processes.variables import NAMES, process_variables, worker_variables
from curator_dask.runtime.worker_processes.without_main import SERVER_NAME, workers_leave_main_alone

METHOD = "curator_dask"
"""The value of ``distributed.worker.multiprocessing-method``. It stays known, as restored settings may name it later."""

CLOSE_TIMEOUT_S = 5.0
"""How long the server may take to end; it needs a thousandth of that."""


class ForkServer:
    """A process that is forked for the workers of a cluster, so many as start together; None: one per core."""

    def __init__(self, n_workers: int | None) -> None:
        self._n_workers = n_workers
        self._environ = dict(os.environ)
        self._requests, theirs = socket.socketpair()
        spawned = context.SpawnContext()
        self._process = spawned.Process(target=serve, args=(theirs, n_workers), name=SERVER_NAME, daemon=True)
        with theirs, contextlib.ExitStack() as stack, _in_environment(process_variables(self._environ)):
            stack.callback(self._requests.close)
            self._process.start()
            stack.pop_all()

    def fits(self) -> bool:
        """Whether a process that is spawned now would start with the same variables: many are read then, and never again."""
        wanted = worker_variables(self._n_workers, self._environ)
        has = {**self._environ, **{name: wanted[name] for name in NAMES}}
        return all(has.get(name) == os.environ.get(name) for name in wanted)

    def fork(self, inherited: Sequence[int]) -> tuple[int, int]:
        """Ask for a new process: a file where its id and then its exit status come, and one to write to what it is to do.

        Raises OSError if the server is gone.
        """
        status, its_status = os.pipe()
        its_task, task = os.pipe()
        try:
            socket.send_fds(self._requests, [b"+"], [its_task, its_status, _tracker(), *inherited])
        except OSError:
            _close(status, task)
            raise
        finally:
            _close(its_status, its_task)
        return status, task

    def close(self) -> None:
        """Let the server end. No worker of it may run any more."""
        self._requests.close()
        self._process.join(CLOSE_TIMEOUT_S)
        self._process.kill()
        self._process.join()
        self._process.close()


def _tracker() -> int:
    """The pipe of the process that removes what `multiprocessing` leaves in the system."""
    file = resource_tracker.getfd()
    if file is None:
        raise OSError("multiprocessing has no resource tracker")
    return file


def _close(*files: int) -> None:
    for file in files:
        os.close(file)


_servers: list[ForkServer] = []


@contextlib.contextmanager
def forked_workers(n_workers: int | None) -> Iterator[None]:
    """Within the block, so many Dask workers (None: one per core) that start by `METHOD` are forked from a server.

    The server starts now and imports what it needs while the caller does the same. Workers are spawned where there is none.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(workers_leave_main_alone())
        if sys.platform.startswith("linux"):  # elsewhere, libraries of the system may crash in a fork
            with contextlib.suppress(OSError):
                server = stack.enter_context(contextlib.closing(ForkServer(n_workers)))
                _servers.append(server)
                stack.callback(_servers.remove, server)
        yield


@contextlib.contextmanager
def _in_environment(environment: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class _Forked(popen_forkserver.Popen):
    """A process that was forked from a server of ours, as `multiprocessing` handles it."""

    def __init__(self, process: BaseProcess, server: ForkServer) -> None:
        self._server = server
        super().__init__(process)

    def _launch(self, process: Any) -> None:
        task = io.BytesIO()
        context.set_spawning_popen(self)
        try:
            reduction.dump(spawn.get_preparation_data(process.name), task)
            reduction.dump(process, task)
        finally:
            context.set_spawning_popen(None)
        self.sentinel, file = self._server.fork(self._fds)  # type: ignore[attr-defined]
        # The worker takes its end of this pipe for the life of its parent, so a second one stays open.
        self.finalizer = util.Finalize(self, _close, (os.dup(file), self.sentinel))
        with os.fdopen(file, "wb") as stream:
            stream.write(task.getbuffer())
        self.pid = forkserver.read_signed(self.sentinel)


class _WorkerProcess(context.SpawnProcess):
    @staticmethod
    def _Popen(process: BaseProcess) -> Any:  # noqa: N802  its name in `multiprocessing`
        for server in reversed(_servers):
            if server.fits():
                with contextlib.suppress(OSError, EOFError):  # the server was killed
                    return _Forked(process, server)
        return context.SpawnProcess._Popen(process)


class _Context(context.SpawnContext):
    Process = _WorkerProcess


context._concrete_contexts[METHOD] = _Context()  # type: ignore[attr-defined]
