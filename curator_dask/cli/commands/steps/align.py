"""``align``: which stretches of which clips show the same moment."""

from __future__ import annotations

import typer

from curator_dask.cli.options import align as align_options
from curator_dask.cli.options import paths
from curator_dask.cli.options.groups import parameters_of
from curator_dask.cli.options.run_options import RunOptions, stage_command


@stage_command
def align(
    ctx: typer.Context,
    *,
    input_path: paths.VectorsToRead,
    output_path: paths.OutputPath,
    reference_path: align_options.ReferencePath = None,
    strictness: align_options.Strictness = 0.0,
    min_still_likeness: align_options.MinStillLikeness = 0.92,
    mirrored: align_options.Mirrored = False,
    run_options: RunOptions,
) -> None:
    """Find the stretches that clips share, whenever each begins.

    It compares the tracks that embed wrote.
    """
    from curator_dask import AlignStage
    from curator_dask.cli.output import terminal

    stage = AlignStage(**parameters_of(ctx, AlignStage), **run_options.table_options)
    terminal.show_results(terminal.run_stages([stage], run_options), run_options)
