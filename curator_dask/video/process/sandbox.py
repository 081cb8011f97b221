"""Run a program on hostile input: a wall-clock limit that holds, a memory limit, bounded output, and no orphans.

FFmpeg's libraries are native code fed with files of strangers. They can spin for ever with the interpreter's lock
released, where neither SIGALRM nor an exception reaches them, and an ffmpeg blocked on a file ignores SIGTERM. So each
such job is a process in its own group, ended by SIGKILL to the group: at the time limit, on leaving the ``with`` block,
or (Linux) when the thread that started it, or the whole parent, dies. The thread that opens a stream must therefore
outlive it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from curator_dask.errors import MediaError, ParameterError, ToolError
from curator_dask.video.process import _tied_exec

MEMORY_LIMIT_BYTES = 8 << 30
STDOUT_LIMIT_BYTES = 64 << 20
STDERR_TAIL_BYTES = 8 << 10
_LONGEST_LINE_BYTES = 4 << 10
LineFilter = Callable[[bytes], bool]


@dataclass(frozen=True, slots=True)
class Finished:
    """What a child left behind. ``returncode`` is negative for a signal, as in ``subprocess``."""

    returncode: int
    stdout: bytes
    stderr_tail: str
    """The last 8 KiB of stderr, undecodable bytes replaced."""
    stderr_lines: int
    """How many lines stderr had in all (of those that ``keep_line`` keeps): ffmpeg's measure of damage."""


class Child:
    """A running child whose stdout is read in blocks. Made by :func:`stream`."""

    def __init__(
        self, process: subprocess.Popen[bytes], name: str, timeout_s: float, keep_line: LineFilter | None
    ) -> None:
        if process.stdout is None or process.stderr is None:
            raise ParameterError("a Child needs a process whose stdout and stderr are pipes")
        self._process = process
        self._name = name
        self._timeout_s = timeout_s
        self._deadline = time.monotonic() + timeout_s
        self._timed_out = False
        self._stdout = process.stdout
        self._stderr = _StderrDrain(process.stderr, keep_line)
        self._timer = threading.Timer(timeout_s, self._on_timeout)
        self._timer.daemon = True
        self._timer.start()

    def read(self, num_bytes: int) -> bytes:
        """The next ``num_bytes`` of stdout; fewer only at its end. Raises MediaError("timeout") past the time limit."""
        block = self._stdout.read(num_bytes)
        if len(block) < num_bytes:
            self._raise_if_timed_out()
        return block

    def read_into(self, buffer: memoryview | bytearray) -> int:
        """Fill ``buffer`` from stdout and return how many bytes came; fewer than its size only at the end of stdout."""
        view = memoryview(buffer).cast("B")
        filled = 0
        while filled < len(view):
            count = self._stdout.readinto(view[filled:])  # type: ignore[attr-defined]
            if not count:
                self._raise_if_timed_out()
                break
            filled += count
        return filled

    def finish(self, stdout: bytes = b"") -> Finished:
        """Wait for the end of the child, within its time limit; ``stdout`` is handed through into the record."""
        self._stop_timer()
        try:
            returncode = self._process.wait(max(0.0, self._deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._timed_out = True
        self._raise_if_timed_out()
        tail, lines = self._stderr.finish()
        return Finished(returncode, stdout, tail, lines)

    def close(self) -> None:
        """Kill what still runs, and free the pipes. Safe to call twice."""
        self._stop_timer()
        self._kill()
        self._process.wait()
        self._stdout.close()
        self._stderr.finish()

    def _on_timeout(self) -> None:
        self._timed_out = True
        self._kill()

    def _kill(self) -> None:
        # Until the owner has waited for it, a dead child keeps its process id, so this never hits a stranger's group.
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _stop_timer(self) -> None:
        # Joined, so that from here on this thread alone kills and waits.
        self._timer.cancel()
        self._timer.join()

    def _raise_if_timed_out(self) -> None:
        if self._timed_out:
            self.close()
            raise MediaError("timeout", f"{self._name} did not finish within {self._timeout_s:g} s and was killed")


@contextlib.contextmanager
def stream(
    argv: Sequence[str | bytes],
    *,
    timeout_s: float,
    memory_limit_bytes: int | None = MEMORY_LIMIT_BYTES,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    keep_line: LineFilter | None = None,
) -> Iterator[Child]:
    """Start ``argv`` and yield it as a :class:`Child`; it is dead when the block is left, whatever happened inside.

    ``memory_limit_bytes`` caps the address space (Linux; None for no cap). stdin is empty. stderr is drained by a
    thread; lines for which ``keep_line`` is false are neither kept nor counted (it runs in that thread and must not
    raise). Raises ToolError where the child cannot be started.
    """
    if not timeout_s > 0:
        raise ParameterError(f"timeout_s ({timeout_s}) must be > 0")
    child = Child(_start(argv, memory_limit_bytes, cwd, env), Path(os.fsdecode(argv[0])).name, timeout_s, keep_line)
    try:
        yield child
    finally:
        child.close()


def run(
    argv: Sequence[str | bytes],
    *,
    timeout_s: float,
    memory_limit_bytes: int | None = MEMORY_LIMIT_BYTES,
    stdout_limit_bytes: int = STDOUT_LIMIT_BYTES,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    keep_line: LineFilter | None = None,
) -> Finished:
    """Run ``argv`` to its end and return what it said; a return code other than 0 is the caller's to judge.

    Raises MediaError("timeout") after ``timeout_s`` seconds and MediaError("too-much-output") past
    ``stdout_limit_bytes``.
    """
    with stream(
        argv, timeout_s=timeout_s, memory_limit_bytes=memory_limit_bytes, cwd=cwd, env=env, keep_line=keep_line
    ) as child:
        stdout = child.read(stdout_limit_bytes + 1)
        if len(stdout) > stdout_limit_bytes:
            raise MediaError("too-much-output", f"{os.fsdecode(argv[0])} wrote over {stdout_limit_bytes} bytes; killed")
        return child.finish(stdout)


class _StderrDrain:
    """Reads a pipe to its end in a thread, keeping the tail and the number of lines. Long lines count in pieces."""

    def __init__(self, pipe: IO[bytes], keep_line: LineFilter | None) -> None:
        self._pipe = pipe
        self._keep_line = keep_line
        self._tail = b""
        self._lines = 0
        self._thread = threading.Thread(target=self._drain, daemon=True)
        self._thread.start()

    def _drain(self) -> None:
        with self._pipe:
            while line := self._pipe.readline(_LONGEST_LINE_BYTES):
                if self._keep_line is None or self._keep_line(line):
                    self._lines += 1
                    self._tail = (self._tail + line)[-STDERR_TAIL_BYTES:]

    def finish(self) -> tuple[str, int]:
        self._thread.join()
        return self._tail.decode("utf-8", "replace"), self._lines


def _start(
    argv: Sequence[str | bytes], memory_limit_bytes: int | None, cwd: Path | None, env: Mapping[str, str] | None
) -> subprocess.Popen[bytes]:
    shim = [sys.executable, "-I", "-S", _tied_exec.__file__, str(os.getpid()), str(memory_limit_bytes or 0)]
    try:
        return subprocess.Popen(
            [*shim, *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd,
            env=env,
            start_new_session=True,
        )
    except OSError as error:
        raise ToolError(f"cannot start a child process for {os.fsdecode(argv[0])}: {error}") from error
