"""``split``: cut videos into clips, and embed them."""

from __future__ import annotations

import typer

from curator_dask.cli.options.embed import EmbeddingOptions, GenerateEmbeddings
from curator_dask.cli.options.groups import parameters_of
from curator_dask.cli.options.run_options import RunOptions, stage_command
from curator_dask.cli.options.split import Ids, RelativeIds, SplitOptions, UploadClips


@stage_command
def split(
    ctx: typer.Context,
    *,
    split_options: SplitOptions,
    embedding_options: EmbeddingOptions,
    generate_embeddings: GenerateEmbeddings = True,
    upload_clips: UploadClips = True,
    relative_ids: RelativeIds = False,
    ids: Ids = "exact",
    run_options: RunOptions,
) -> None:
    """Cut videos into clips and compute their vectors."""
    from curator_dask import EmbedStage, SplitStage
    from curator_dask.cli.output import terminal
    from curator_dask.workflow import split_and_embed

    output_path = split_options.output_path
    stage = SplitStage(**parameters_of(ctx, SplitStage), **run_options.folder_options)
    embed = EmbedStage(
        **{**parameters_of(ctx, EmbedStage), "input_path": output_path, "output_path": None},
        **run_options.folder_options,
    )
    with terminal.run_context(run_options) as context:
        result = split_and_embed(stage, embed if generate_embeddings else None, context)
    path = terminal.run_failures_path(output_path, run_options)
    terminal.show_results(result.stages, run_options, failures_path=path)
    terminal.end_with_open(result.stages, dry_run=run_options.dry_run)
