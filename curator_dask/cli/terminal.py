"""What a person sees: progress on stderr, results on stdout."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from curator_dask.runtime.progress import Reporter, SilentReporter
from curator_dask.stages.base import RunContext, StageResult

if TYPE_CHECKING:
    import typer
    from rich.console import Console


class TerminalReporter:
    """One bar a stage with its rate and the time left."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress: Any = None
        self._task: Any = None

    def start(self, stage: str, total: int, unit: str) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("{task.description:<12}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}  {task.fields[rate]}"),
            TimeRemainingColumn(),
            console=self._console,
        )
        self._task = self._progress.add_task(stage, total=total, unit=unit, rate="")
        self._progress.start()

    def advance(self, count: int = 1) -> None:
        self._progress.advance(self._task, count)
        speed = self._progress.tasks[0].speed
        self._progress.update(self._task, rate=f"{speed:,.1f}/s" if speed else "")

    def finish(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def note(self, message: str) -> None:
        self._console.print(message, highlight=False, markup=False, style="yellow")


class PlainReporter(SilentReporter):
    """Off a terminal: no bars, only what a log should keep."""

    def note(self, message: str) -> None:
        print(message, file=sys.stderr, flush=True)  # noqa: T201  the terminal is this file's trade


def reporter() -> Reporter:
    if not sys.stderr.isatty():
        return PlainReporter()
    from rich.console import Console

    return TerminalReporter(Console(stderr=True))


@contextlib.contextmanager
def run_context(ctx: typer.Context) -> Iterator[RunContext]:
    """A context from the options that the commands share; its cluster ends with the block."""
    from curator_dask.runtime.cluster import LazyCluster
    from curator_dask.runtime.cluster_settings import ClusterSettings

    given = ctx.params
    settings = ClusterSettings(
        device=given["device"],
        n_workers=given["n_workers"],
        scheduler_address=given["scheduler_address"],
        scheduler_file=given["scheduler_file"],
        verbose=given["verbose"],
    )
    voice = reporter()
    with LazyCluster(settings, on_start=voice.note) as cluster:
        yield RunContext(cluster, voice, overwrite=given["overwrite"], dry_run=given["dry_run"])


def show_results(results: Sequence[StageResult]) -> None:
    """The table of the stages."""
    from rich.console import Console
    from rich.table import Table

    table = Table("stage", "result", "done now", "from before", "seconds")
    for column in table.columns[2:]:
        column.justify = "right"
    for result in results:
        done = "yes" if result.num_run else "-"
        table.add_row(
            result.stage, describe_counts(result), f"{result.num_run:,}" if result.num_run else done,
            f"{result.num_skipped:,}" if result.num_skipped else "-", f"{result.seconds:.1f}",
        )  # fmt: skip
    width = None if sys.stdout.isatty() else 120
    Console(width=width, highlight=False).print(table)


def describe_counts(result: StageResult) -> str:
    """The counts in words; zeros are left out, but not all of them."""
    parts = []
    for name, value in result.counts.items():
        if name == "n_clusters":  # asked for; the clusters that have rows are counted too
            continue
        if name.endswith("_milliseconds"):
            parts.append(f"{_duration(value / 1000)} of video")
        elif name.endswith("_bytes"):
            parts.append(f"{_size(value)} {name.removesuffix('_bytes')}s".replace("sources", "of sources"))
        elif value or name in ("clips", "embeddings", "rows", "kept", "removed"):
            parts.append(f"{value:,} {name.replace('_', ' ')}")
    return ", ".join(parts)


def show_failures(results: Sequence[StageResult], where: str, most: int = 5) -> None:
    """How many failures of which reason, and where to read them all; on stderr."""
    failures = [failure for result in results for failure in result.failures]
    if not failures:
        return
    lines = [f"{len(failures)} failures, listed in {where}"]
    lines += [f"  {failure.source}: {failure.message} [{failure.reason}]" for failure in failures[:most]]
    if len(failures) > most:
        lines.append(f"  … and {len(failures) - most} more")
    print("\n".join(lines), file=sys.stderr, flush=True)  # noqa: T201


def _duration(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d} h"


def _size(num_bytes: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 1000:
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.1f} TB"
