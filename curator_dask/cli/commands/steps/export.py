"""``export``: write training data."""

from __future__ import annotations

import typer

from curator_dask.cli.options import export as options
from curator_dask.cli.options import paths
from curator_dask.cli.options.run_options import RunOptions, stage_command


@stage_command
def export(
    ctx: typer.Context,
    *,
    input_path: paths.SplitToRead,
    output_path: paths.OutputPath,
    duplicates_path: options.DuplicatesPath = None,
    pairwise_path: options.PairwisePath = None,
    embeddings_path: options.EmbeddingsPath = None,
    all_clips: options.AllClips = False,
    keep_list: options.KeepList = None,
    export_options: options.ExportOptions,
    run_options: RunOptions,
) -> None:
    """Write the kept clips as training data. The format is WebDataset shards, or a Parquet index with media."""
    from curator_dask import ExportStage
    from curator_dask.cli.output import terminal

    stage = ExportStage(
        input_path,
        output_path,
        duplicates_path=duplicates_path,
        pairwise_path=pairwise_path,
        embeddings_path=embeddings_path,
        all_clips=all_clips,
        keep_list=keep_list,
        **vars(export_options.parameters()),
        **run_options.folder_options,
    )
    results = terminal.run_stages([stage], run_options)
    path = terminal.stage_failures_path(output_path, "export")
    terminal.show_results(results, run_options, failures_path=path)
    terminal.end_with_open(results, dry_run=run_options.dry_run)
