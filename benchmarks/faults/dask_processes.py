"""A Dask scheduler with one worker, as processes that a run does not own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

START_TIMEOUT_S = 120.0


class Dask(contextlib.AbstractContextManager["Dask"]):
    """They run within the ``with`` block. `options` are those by which a run finds them."""

    def __init__(self, folder: Path, **environment: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._environment = {**os.environ, **environment}
        self._file = folder / "scheduler.json"
        self._processes: list[subprocess.Popen[bytes]] = []
        self.options = ("--scheduler-file", str(self._file))

    def __enter__(self) -> Self:
        self._file.unlink(missing_ok=True)
        here = ("--host", "127.0.0.1", "--no-dashboard")
        self._start(
            "scheduler", *here, "--port", "0", "--dashboard-address", "127.0.0.1:0", "--scheduler-file", str(self._file)
        )
        ends = time.monotonic() + START_TIMEOUT_S
        while not self._file.exists() and time.monotonic() < ends:
            time.sleep(0.1)
        self._start("worker", *self.options, *here, "--nthreads", "1", "--local-directory", str(self._folder))
        return self

    def __exit__(self, *error: object) -> None:
        for process in reversed(self._processes):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def kill_scheduler(self) -> None:
        self._processes[0].kill()
        self._processes[0].wait()

    def _start(self, *command: str) -> None:
        with (self._folder / f"{command[0]}.txt").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", *command], stdout=log, stderr=log, cwd=self._folder, start_new_session=True,
                env=self._environment,
            )  # fmt: skip
        self._processes.append(process)
