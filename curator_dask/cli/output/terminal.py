"""Runs stages for a command, and shows their results: tables or a JSON document on stdout, failures on stderr."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from curator_dask.cli.output.documents import print_document, results_document
from curator_dask.cli.output.progress_bars import make_reporter
from curator_dask.cli.output.time_left import duration_text
from curator_dask.errors import OpenFailureError
from curator_dask.files import layout
from curator_dask.files.left_out import describe_left_out
from curator_dask.files.names import counted
from curator_dask.stages.base import RunContext, Stage, StageResult
from curator_dask.stages.run_record import describe_failures

if TYPE_CHECKING:
    from curator_dask.cli.options.run_options import RunOptions
    from curator_dask.data.beside_vectors.plain_clips import PlainClip
    from curator_dask.runtime.records import Failure

MAX_LINES_SHOWN = 5
"""Lines that say what failed, one per video and reason."""
LOG_COLUMNS = 120
"""Width of tables that do not go to a terminal."""
ALWAYS_SHOWN = ("clips", "embeddings", "rows", "kept", "removed")
"""These counts are shown even if they are zero."""
LATER = "later"
"""Stands in a plan for what is only known when an earlier stage is done."""
NEVER_SHOWN = ("n_clusters", "files_found", "files_left_out")
"""The clusters that have rows are counted, and the files left out have lines of their own."""


@contextlib.contextmanager
def run_context(options: RunOptions) -> Iterator[RunContext]:
    """A context for stages; the cluster that it may start ends with the block."""
    from curator_dask.runtime.cluster import LazyCluster
    from curator_dask.runtime.cluster_settings import ClusterSettings

    settings = ClusterSettings(
        device=options.device,
        n_workers=options.n_workers,
        scheduler_address=options.scheduler_address,
        scheduler_file=options.scheduler_file,
        verbose=options.verbose,
    )
    reporter = make_reporter(quiet=options.quiet)
    with LazyCluster(settings, on_start=reporter.note) as cluster:
        yield RunContext(
            cluster, reporter, overwrite=options.overwrite, retry_failed=options.retry_failed, dry_run=options.dry_run
        )


def run_stages(stages: Sequence[Stage], options: RunOptions) -> list[StageResult]:
    """Run stages one after the other. `show_results` shows what they did."""
    with run_context(options) as context:
        return [stage.run(context=context) for stage in stages]


def show_results(
    results: Sequence[StageResult],
    options: RunOptions,
    *,
    failures_path: str | None = None,
    sentences: Sequence[str] = (),
    **more: Any,
) -> None:
    """Print a table and sentences, or one JSON document; warnings and failures go to stderr.

    Args:
        results: of the stages, in order.
        options: which of these is wanted.
        failures_path: the file that lists the failures.
        sentences: what stands below the table.
        more: what else is in the document.
    """
    told = not (options.json or options.quiet)
    if options.json:
        document = results_document(results, dry_run=options.dry_run, failures_path=failures_path)
        print_document({**document, **more})
    if told:
        _print_table(results, dry_run=options.dry_run)
    for warning in (warning for result in results for warning in result.warnings):
        print(f"warning: {warning}", file=sys.stderr, flush=True)  # noqa: T201  the command line may print
    if failures_path is not None:
        show_failures(results, failures_path)
    if told and sentences:
        print("\n".join(sentences))  # noqa: T201  the command line may print


def _print_table(results: Sequence[StageResult], *, dry_run: bool) -> None:
    """One row per stage, and below it what was left out of the input."""
    from rich.console import Console
    from rich.table import Table

    table = Table("stage", "plan" if dry_run else "result", "to do" if dry_run else "done now", "from before", "time")
    for column in table.columns[2:]:
        column.justify = "right"
    for result in results:
        done_now, from_before = (f"{count:,}" if count else "-" for count in (result.num_run, result.num_skipped))
        units = (LATER if result.waits else done_now, from_before)
        table.add_row(result.stage, describe_counts(result), *units, f"{result.seconds:.1f} s")
    Console(width=None if sys.stdout.isatty() else LOG_COLUMNS, highlight=False).print(table)
    for result in results:
        _show_left_out(result)


def _show_left_out(result: StageResult) -> None:
    """Print why files of the input were not taken, and how many."""
    lines = describe_left_out(result.left_out)
    if lines:
        print("\n".join([f"{result.stage}: files of the input that were left out", *(f"  {line}" for line in lines)]))  # noqa: T201  the command line may print


def describe_counts(result: StageResult) -> str:
    """The counts in words, without most of the zeros."""
    parts = (_describe_count(name, value) for name, value in result.counts.items() if name not in NEVER_SHOWN)
    return ", ".join(part for part in parts if part)


def _describe_count(name: str, value: int) -> str:
    """A count in words; "" if it is not worth showing."""
    if name.endswith("_milliseconds"):
        return f"{duration_text(value / 1000)} of video"
    if name.endswith("_bytes"):
        return f"{_size(value)} {name.removesuffix('_bytes')}s".replace("sources", "of sources")
    return counted(value, name.replace("_", " ")) if value or name in ALWAYS_SHOWN else ""


def show_sweep(tables: str, options: RunOptions, eps_values: str) -> None:
    """Print what several values of eps would keep, one per line, or as one JSON document."""
    from curator_dask.files.folder import Folder
    from curator_dask.stages.identify.sweep import parse_eps_values, sweep_eps

    lines = sweep_eps(Folder(tables, options.storage_options), parse_eps_values(eps_values))
    if options.json:
        print_document({"sweep": [vars(line) for line in lines]})
        return
    head = f"{'eps':>8} {'kept':>12} {'removed':>12} {'kept, share':>12}"
    rows = (
        f"{line.eps:>8g} {line.kept:>12,} {line.removed:>12,} {line.kept / max(line.kept + line.removed, 1):>12.1%}"
        for line in lines
    )
    print("\n".join([head, *rows]))  # noqa: T201  the command line may print


def show_failures(results: Sequence[StageResult], path: str) -> None:
    """Print the number of failures, a line per video and reason, and the path of the file with all of them; on stderr.

    Open failures, which the machine caused, and plain clips are shown apart, in the same way.
    """
    failures = [failure for result in results for failure in result.failures]
    for is_open, what, advice in ((False, "failures", ""), (True, "open failures", "run again, ")):
        some = [failure for failure in failures if failure.is_open == is_open]
        _show_events(f"{counted(len(some), what)}, {advice}listed in {path}", some)
    for result in results:
        where = result.output.join(layout.PLAIN_CLIPS)
        are = "are" if len(result.plain) != 1 else "is"
        title = f"{counted(len(result.plain), 'clips')} {are} too plain to be compared, listed in {where}"
        _show_events(title, result.plain)


def end_with_open(results: Sequence[StageResult], *, dry_run: bool = False) -> None:
    """Raise OpenFailureError if some failures are open: the last line says so, and so does the exit status."""
    if not dry_run and any(result.num_open for result in results):
        raise OpenFailureError(describe_failures(results))


def _show_events(title: str, events: Sequence[Failure | PlainClip]) -> None:
    if not events:
        return
    counts = Counter((event.source, event.reason) for event in events)
    first = {(event.source, event.reason): event.message for event in reversed(events)}
    lines = [
        f"  {source}: {f'{count} times: ' if count > 1 else ''}{first[source, reason]} [{reason}]"
        for (source, reason), count in counts.items()
    ]
    more = [f"  … and {len(lines) - MAX_LINES_SHOWN} more lines of this kind"] if len(lines) > MAX_LINES_SHOWN else []
    text = "\n".join([title, *lines[:MAX_LINES_SHOWN], *more])
    print(text, file=sys.stderr, flush=True)  # noqa: T201  the command line may print


def stage_failures_path(output_path: str, stage: str) -> str:
    """The file that a stage lists its failures in."""
    return f"{output_path}/{layout.STATE}/{stage}/{layout.FAILURES}"


def run_failures_path(output_path: str, options: RunOptions) -> str:
    """The file that a whole run lists its failures in."""
    return "no file (dry run)" if options.dry_run else f"{output_path}/{layout.FAILURES}"


def _size(num_bytes: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 1000:
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.1f} TB"
