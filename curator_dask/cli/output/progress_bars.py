"""Progress on stderr: bars on a terminal, notes alone in a log file."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from curator_dask.runtime.progress import Reporter, SilentReporter

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID


def make_reporter(*, quiet: bool = False) -> Reporter:
    """Bars if stderr is a terminal, else notes alone; nothing if `quiet`."""
    if quiet:
        return QuietReporter()
    if not sys.stderr.isatty():
        return NotesReporter()
    from rich.console import Console

    return BarReporter(Console(stderr=True))


class BarReporter:
    """One bar per stage, with its rate and the time left."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: tuple[Progress, TaskID] | None = None

    def start(self, stage: str, total: int, unit: str) -> None:
        progress = _new_progress(self._console)
        self._bar = progress, progress.add_task(stage, total=total, unit=unit, rate="")
        progress.start()

    def advance(self, count: int = 1) -> None:
        if self._bar is None:
            return
        progress, task = self._bar
        progress.advance(task, count)
        speed = progress.tasks[0].speed
        progress.update(task, rate=f"{speed:,.1f}/s" if speed else "")

    def finish(self) -> None:
        if self._bar is not None:
            self._bar[0].stop()
            self._bar = None

    def note(self, message: str) -> None:
        self._console.print(message, highlight=False, markup=False, style="yellow")


class QuietReporter(SilentReporter):
    """Neither bars nor notes. Warnings and failures stand in the results."""

    def note(self, message: str) -> None:
        pass


class NotesReporter(SilentReporter):
    """Not on a terminal: no bars, only the notes that a log should hold."""

    def note(self, message: str) -> None:
        print(message, file=sys.stderr, flush=True)  # noqa: T201  the command line may print


def _new_progress(console: Console) -> Progress:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description:<12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}  {task.fields[rate]}"),
        TimeRemainingColumn(),
        console=console,
    )
