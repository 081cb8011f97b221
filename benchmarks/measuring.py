"""Measure the steps of one process: a process of its own per size, its processor time, and its memory. Linux only."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")


def for_each_size(sizes: Iterable[int], measure: Callable[..., None], *arguments: Any) -> None:
    """Call ``measure(size, *arguments)`` in a process of its own for each size, one after the other."""
    for size in sizes:
        apart(measure, size, *arguments)


def apart(work: Callable[..., None], *arguments: Any) -> None:
    """Call a function in a process of its own, so that its memory does not count. Ends the program if that fails."""
    process = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"the process for {', '.join(map(str, arguments[:1]))} ended with {process.exitcode}")


@dataclass(frozen=True)
class Step(Generic[Result]):
    """What one step gave and cost."""

    result: Result
    seconds: float
    """Of the processor."""
    before: int
    """Bytes in use at its start."""
    peak: int
    """The most bytes in use during it."""

    @property
    def growth(self) -> int:
        """Bytes of the peak above those in use at its start."""
        return max(self.peak - self.before, 0)


def measure_step(work: Callable[[], Result]) -> Step[Result]:
    """Do the work and measure it."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from what is in use now
    before, start = memory("VmRSS"), time.process_time()
    result = work()
    return Step(result, time.process_time() - start, before, memory("VmHWM"))


def memory(field: str) -> int:
    """A figure of this process in bytes: ``VmRSS``, memory in use now, or ``VmHWM``, its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))
