"""``inspect``: the report of a finished output."""

from __future__ import annotations

from typing import Annotated

import typer

from curator_dask.cli.options.declare import option
from curator_dask.cli.options.run_options import RunOptions, stage_command

Output = Annotated[str, typer.Argument(metavar="OUT", help="Output folder of run.")]
Previews = Annotated[bool, option("--previews/--no-previews", help="Make pictures of the clips that are shown.")]
MaxGroups = Annotated[int, option("--max-groups", min=0, help="Most groups of duplicates to show, the largest first.")]


@stage_command
def inspect(
    ctx: typer.Context,
    *,
    path: Output,
    previews: Previews = True,
    max_groups: MaxGroups = 2_000,
    run_options: RunOptions,
) -> None:
    """Make the report of an output, a page to look at.

    OUT/report/index.html shows what was removed beside what was kept, and why.
    """
    import curator_dask as cd
    from curator_dask.cli.output import terminal
    from curator_dask.cli.output.report_lines import report_lines

    stage = cd.InspectStage(path, previews, max_groups, storage_options=run_options.storage_options)
    results = terminal.run_stages([stage], run_options)
    page = None if run_options.dry_run else stage.page_path()
    numbers = stage.numbers() if page else None
    terminal.show_results(
        results,
        run_options,
        failures_path=terminal.stage_failures_path(path, stage.name),
        sentences=[numbers["totals"]["line"], *report_lines(numbers), f"next: open {page}"] if numbers else [],
        page=page,
    )
    terminal.end_with_open(results, dry_run=run_options.dry_run)
