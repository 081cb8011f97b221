"""A process that has imported what every worker needs, and becomes a new worker whenever it is asked to: by a fork.

Workers so start in milliseconds, and share the memory of what is imported. It is Python's own fork server (`multiprocessing`)
in small, but it belongs to one cluster, has the environment of that cluster's workers from its start on, and no file
through which anybody else could reach it.

It has no threads, as locks that they hold would never be released in a fork. So nothing is imported here that starts some:
OpenBLAS ends its own before a fork, PyArrow's allocator does not.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from multiprocessing import forkserver, resource_tracker, spawn
from typing import Any

from curator_dask.runtime.worker_processes.variables import worker_variables

IMPORTED = (
    "distributed.nanny",
    "distributed.http.worker",
    "distributed.http.worker.prometheus",
    "distributed.http.health",
    "distributed.http.statics",
    "multiprocessing.synchronize",
    "numpy.random",
    "tornado.platform.asyncio",
    "curator_dask.runtime.units",
)
MOST_FILES = 253
"""So many open files Linux hands on with one message."""


def serve(requests: socket.socket, n_workers: int | None) -> None:
    """Fork a worker for each request, until the other end of the socket is closed, or its process is gone.

    Args:
        requests: the server's end.
        n_workers: as many as `forked_workers` says.

    A request is a byte with open files: where the worker reads what it is to do, where its process id and its exit status go
    to, the pipe of the resource tracker, and those that the worker inherits.
    """
    at_ctrl_c = signal.signal(signal.SIGINT, signal.SIG_IGN)  # the program may go on, and its end is that of the server
    _import_all(n_workers)
    if threading.active_count() == 1:  # a site may start threads in all processes: then none is forked
        ended, told = socket.socketpair()
        _wake_at_ends(told)
        _answer(requests, ended, [requests.fileno(), ended.fileno(), told.fileno()], at_ctrl_c)
    os._exit(0)


def _import_all(n_workers: int | None) -> None:
    os.environ.update(worker_variables(n_workers, os.environ))  # before NumPy is imported
    gc.disable()
    for name in IMPORTED:
        importlib.import_module(name)
    gc.freeze()  # a worker's collector would else write to all pages that it shares


def _answer(requests: socket.socket, ended: socket.socket, own: Sequence[int], at_ctrl_c: Any) -> None:
    """`own`: the files that are not a worker's."""
    status_files: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([requests, ended], [], [])
        if ended in ready:
            ended.recv(1 << 16)
            _tell_ends(status_files)
        if requests in ready:
            _, files, _, _ = socket.recv_fds(requests, 1, MOST_FILES)
            if not files:
                return
            _fork(files, status_files, own, at_ctrl_c)


def _wake_at_ends(told: socket.socket) -> None:
    """Have something written to this socket whenever a child has ended."""
    told.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)


def _tell_ends(status_files: dict[int, int]) -> None:
    """Tell the client of all children that have ended."""
    while status_files:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        _tell(status_files[pid], os.waitstatus_to_exitcode(status))
        os.close(status_files.pop(pid))


def _tell(file: int, number: int) -> None:
    with contextlib.suppress(BrokenPipeError):  # the client is gone
        forkserver.write_signed(file, number)


def _fork(files: Sequence[int], status_files: dict[int, int], own: Sequence[int], at_ctrl_c: Any) -> None:
    task, status, *inherited = files
    pid = os.fork()
    if not pid:
        signal.signal(signal.SIGINT, at_ctrl_c)
        _become_worker(task, inherited, [status, *status_files.values(), *own])
    status_files[pid] = status
    _tell(status, pid)
    for file in (task, *inherited):
        os.close(file)


def _become_worker(task: int, inherited: Sequence[int], others: Sequence[int]) -> None:
    """Do what is read from `task`, as a process that was spawned, and end."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for file in others:
            os.close(file)
        gc.enable()
        tracker, *files = inherited
        resource_tracker._resource_tracker._fd = tracker  # type: ignore[attr-defined]
        forkserver._forkserver._inherited_fds = files  # type: ignore[attr-defined]
        code = spawn._main(task, os.dup(task))
        atexit._run_exitfuncs()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)
