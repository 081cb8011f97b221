"""``embed``: one vector per clip."""

from __future__ import annotations

import typer

from curator_dask.cli.options import paths
from curator_dask.cli.options.embed import EmbeddingOptions, SourceVideoDir
from curator_dask.cli.options.groups import parameters_of
from curator_dask.cli.options.run_options import RunOptions, stage_command
from curator_dask.cli.options.split import Exclude, FollowLinks, Include, ModelDir


@stage_command
def embed(
    ctx: typer.Context,
    *,
    input_path: paths.ClipsToRead,
    output_path: paths.OutputPathOrInput = None,
    embedding_options: EmbeddingOptions,
    model_dir: ModelDir = "./models",
    video_dir: SourceVideoDir = None,
    include: Include = None,
    exclude: Exclude = None,
    follow_links: FollowLinks = False,
    id_field: paths.IdField = "id",
    embedding_field: paths.EmbeddingField = "embedding",
    run_options: RunOptions,
) -> None:
    """Compute one vector per clip: numbers that say what it looks like."""
    from curator_dask import EmbedStage
    from curator_dask.cli.output import terminal

    stage = EmbedStage(**parameters_of(ctx, EmbedStage), **run_options.folder_options)
    results = terminal.run_stages([stage], run_options)
    path = terminal.stage_failures_path(results[0].output_path, "embed")
    terminal.show_results(results, run_options, failures_path=path)
    terminal.end_with_open(results, dry_run=run_options.dry_run)
