"""Progress on stderr: bars on a terminal, a line now and then in a log file."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from curator_dask.cli.output.time_left import Pace, duration_text, left_text
from curator_dask.runtime.progress import Reporter, SilentReporter

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

LOG_EVERY_S = 30.0
"""How often a log file gets a line of progress, at most."""


def make_reporter(*, quiet: bool = False) -> Reporter:
    """Bars if stderr is a terminal, else lines; nothing if `quiet`."""
    if quiet:
        return QuietReporter()
    if not sys.stderr.isatty():
        return LogReporter()
    from rich.console import Console

    return BarReporter(Console(stderr=True))


class BarReporter:
    """One bar per stage, with its rate, the seconds of video and the time left."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: tuple[Progress, TaskID] | None = None
        self._pace = Pace(0, 0.0)

    def start(self, stage: str, total: int, unit: str) -> None:
        self._pace = Pace(total, time.monotonic())
        progress = _new_progress(self._console, self._pace, unit)
        self._bar = progress, progress.add_task(stage, total=total, unit=unit, rate="")
        progress.start()

    def advance(self, count: int = 1) -> None:
        if self._bar is None:
            return
        self._pace.advance(count)
        progress, task = self._bar
        progress.advance(task, count)
        speed = progress.tasks[0].speed
        progress.update(task, rate=f"{speed:,.1f}/s" if speed else "")

    def add_video(self, seconds: float) -> None:
        self._pace.video_s += seconds

    def finish(self) -> None:
        if self._bar is not None:
            self._bar[0].stop()
            self._bar = None

    def say(self, message: str) -> None:
        self._console.print(message, highlight=False, markup=False, style="dim")

    def note(self, message: str) -> None:
        self._console.print(message, highlight=False, markup=False, style="yellow")


class QuietReporter(SilentReporter):
    """Neither bars nor notes. Warnings and failures stand in the results."""

    def note(self, message: str) -> None:
        pass


class LogReporter(SilentReporter):
    """Not on a terminal: what begins, a line of progress now and then, and the notes."""

    def start(self, stage: str, total: int, unit: str) -> None:
        self._stage, self._unit = stage, unit
        self._pace = Pace(total, time.monotonic())
        self._told_s = self._pace.began_s

    def advance(self, count: int = 1) -> None:
        is_first, now = self._pace.before is None, time.monotonic()
        self._pace.advance(count)
        if self._pace.done >= self._pace.total:
            return
        if is_first or now - self._told_s >= LOG_EVERY_S:
            self._told_s = now
            self.note(f"{self._stage}: {progress_text(self._pace, self._unit, now)}")

    def add_video(self, seconds: float) -> None:
        self._pace.video_s += seconds

    def say(self, message: str) -> None:
        self.note(message)

    def note(self, message: str) -> None:
        print(message, file=sys.stderr, flush=True)  # noqa: T201  the command line may print


def progress_text(pace: Pace, unit: str, at_s: float) -> str:
    """``40 of 120 videos, 0:21:00 h of video, about 3 min left``."""
    count = f"{pace.done:,} of {pace.total:,} {unit}"
    return ", ".join(part for part in (count, _video_text(pace), left_text(pace.left_s(at_s), unit)) if part)


def _video_text(pace: Pace) -> str:
    return f"{duration_text(pace.video_s)} of video" if pace.video_s else ""


def _new_progress(console: Console, pace: Pace, unit: str) -> Progress:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
    )
    from rich.text import Text

    class FromPace(ProgressColumn):
        """The seconds of video, and the time left, which also grows while nothing ends."""

        def render(self, task: Task) -> Text:
            left = "" if task.finished else left_text(pace.left_s(time.monotonic()), unit)
            return Text("  ".join(part for part in (_video_text(pace), left) if part))

    return Progress(
        TextColumn("{task.description:<12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}  {task.fields[rate]}"),
        TimeElapsedColumn(),
        FromPace(),
        console=console,
    )
