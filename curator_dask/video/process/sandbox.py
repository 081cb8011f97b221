"""Run a program on untrusted input, with limits on time, memory and output, and leave no process behind.

FFmpeg's libraries are native code that reads untrusted files. They can loop for ever without the interpreter's lock,
where neither SIGALRM nor an exception reaches them, and an ffmpeg blocked on a file ignores SIGTERM. So each such job
is a process in its own group. SIGKILL to the group ends it at the time limit, at the end of the ``with`` block, or
(Linux) when the thread that started it, or the whole parent, dies. The thread that opens a stream must therefore live
longer than the stream.
"""

from __future__ import annotations

import contextlib
import io
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
Progress = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Finished:
    """The result of a child. ``returncode`` is negative for a signal, as in ``subprocess``."""

    returncode: int
    stdout: bytes
    stderr_tail: str
    """The last 8 KiB of stderr; bytes that are not UTF-8 are replaced."""
    stderr_lines: int
    """Number of all lines on stderr that ``keep_line`` keeps. With ffmpeg it shows how damaged a file is."""


class Child:
    """A running child whose stdout is read in blocks. :func:`stream` makes it."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        name: str,
        timeout_s: float,
        keep_line: LineFilter | None,
        progress: Progress | None,
    ) -> None:
        if process.stdout is None or process.stderr is None:
            raise ParameterError("a Child needs a process whose stdout and stderr are pipes")
        self._process = process
        self._name = name
        self._timeout_s = timeout_s
        self._deadline = time.monotonic() + timeout_s
        self._timed_out = False
        self._is_ending = threading.Event()
        self._num_reads = 0
        self._is_waiting = False
        self._progress = None if progress is None else lambda: (self._num_reads, progress())
        self._seen: object = self._progress and self._progress()
        self._stdout = process.stdout
        self._stderr = _StderrDrain(process.stderr, keep_line)
        self._timer = threading.Thread(target=self._kill_in_time, daemon=True)
        self._timer.start()

    def read(self, num_bytes: int) -> bytes:
        """Read ``num_bytes`` of stdout; fewer only at its end. Raises MediaError("timeout") after the time limit."""
        with self._waiting():
            block = self._stdout.read(num_bytes)
        if len(block) < num_bytes:
            self._raise_if_timed_out()
        return block

    def lines(self) -> Iterator[str]:
        """The lines of stdout, as ASCII; what cannot be that is replaced. Raises as `read` does."""
        rest = ""
        while block := self.read(io.DEFAULT_BUFFER_SIZE):
            *whole, rest = (rest + block.decode("ascii", "replace")).split("\n")
            yield from whole
        if rest:
            yield rest

    def read_into(self, buffer: memoryview | bytearray) -> int:
        """Fill ``buffer`` from stdout and return how many bytes came; fewer than its size only at the end of stdout."""
        view = memoryview(buffer).cast("B")
        filled = 0
        while filled < len(view):
            with self._waiting():
                count = self._stdout.readinto(view[filled:])  # type: ignore[attr-defined]
            if not count:
                self._raise_if_timed_out()
                break
            filled += count
        return filled

    def finish(self, stdout: bytes = b"") -> Finished:
        """Wait for the end of the child, within its time limit. ``stdout`` becomes part of the result."""
        self._stop_timer()
        with self._waiting():
            returncode = self._wait_in_time()
        self._raise_if_timed_out()
        tail, lines = self._stderr.finish()
        return Finished(returncode, stdout, tail, lines)

    def close(self) -> None:
        """Kill the child if it still runs, and close the pipes. It is safe to call this twice."""
        self._stop_timer()
        self._kill()
        self._process.wait()
        self._stdout.close()
        self._stderr.finish()

    @contextlib.contextmanager
    def _waiting(self) -> Iterator[None]:
        """The caller waits for the child; else the child may have to wait for the caller."""
        self._num_reads += 1
        self._is_waiting = True
        yield
        self._is_waiting = False

    def _kill_in_time(self) -> None:
        while not self._is_ending.wait(self._left_s()):
            if not self._has_moved():
                self._timed_out = True
                self._kill()
                return

    def _wait_in_time(self) -> int:
        while True:
            try:
                return self._process.wait(self._left_s())
            except subprocess.TimeoutExpired:
                if not self._has_moved():
                    self._timed_out = True
                    return 0

    def _left_s(self) -> float:
        return max(0.0, self._deadline - time.monotonic())

    def _has_moved(self) -> bool:
        """Whether the work has gone on since this was asked last; then the time limit begins anew."""
        if self._progress is None:
            return False
        now = self._progress()
        if now == self._seen and self._is_waiting:
            return False
        self._seen, self._deadline = now, time.monotonic() + self._timeout_s
        return True

    def _kill(self) -> None:
        # A dead child keeps its process id until wait() has returned, so this never kills another group.
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _stop_timer(self) -> None:
        # After the join, only this thread kills and waits.
        self._is_ending.set()
        self._timer.join()

    def _raise_if_timed_out(self) -> None:
        if self._timed_out:
            self.close()
            did = "finish" if self._progress is None else "get any further"
            raise MediaError("timeout", f"{self._name} did not {did} within {self._timeout_s:g} s and was killed")


@contextlib.contextmanager
def stream(
    argv: Sequence[str | bytes],
    *,
    timeout_s: float,
    memory_limit_bytes: int | None = MEMORY_LIMIT_BYTES,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    keep_line: LineFilter | None = None,
    progress: Progress | None = None,
) -> Iterator[Child]:
    """Start ``argv`` and yield it as a :class:`Child`. It is dead when the block ends, also after an exception.

    ``memory_limit_bytes`` limits the address space (Linux; None for no limit). stdin is empty. A thread reads stderr;
    lines for which ``keep_line`` is false are neither kept nor counted (it runs in that thread and must not raise).

    The child is killed ``timeout_s`` after its start. With ``progress`` it is killed when nothing has happened for so long:
    what ``progress`` returns is the same as before (it is called in another thread and must not raise), and the caller has
    waited for its output all the time. One that hangs is killed at the latest after twice this time.

    Raises ToolError if the child cannot be started.
    """
    if not timeout_s > 0:
        raise ParameterError(f"timeout_s ({timeout_s}) must be > 0")
    name = Path(os.fsdecode(argv[0])).name
    child = Child(_start(argv, memory_limit_bytes, cwd, env), name, timeout_s, keep_line, progress)
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
    """Run ``argv`` to its end and return its result. The caller must check the return code.

    Raises MediaError("timeout") after ``timeout_s`` seconds and MediaError("too-much-output") after
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
    """Reads a pipe to its end in a thread; keeps the tail and counts the lines. A line counts once per 4 KiB."""

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


def bytes_below(folder: Path) -> int:
    """The size of all files directly in `folder` together: it grows while a child writes there."""
    total = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):  # it may just have gone
                total += entry.stat().st_size
    return total
