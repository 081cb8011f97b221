"""``dedup-new``: decide on new vectors beside a finished run."""

from __future__ import annotations

import typer

from curator_dask.cli.options import dedup, paths
from curator_dask.cli.options.groups import parameters_of
from curator_dask.cli.options.run_options import RunOptions, stage_command


@stage_command
def dedup_new(
    ctx: typer.Context,
    *,
    input_path: paths.VectorsToRead,
    kmeans_path: dedup.FinishedKMeansPaths,
    duplicates_path: dedup.FinishedDuplicatesPaths,
    output_path: paths.OutputPath,
    eps: dedup.EpsOrFinished = None,
    rule: dedup.RuleOrFinished = None,
    min_cover: dedup.MinCoverOrFinished = None,
    against_path: dedup.AgainstOrFinished = None,
    id_field: paths.IdField = "id",
    embedding_field: paths.EmbeddingField = "embedding",
    input_filetype: paths.InputFiletype = "parquet",
    metadata_fields: paths.MetadataFields = None,
    which_to_keep: dedup.WhichToKeep = "hard",
    keep: dedup.Keep = None,
    sim_metric: dedup.SimMetric = "cosine",
    random_seed: dedup.RandomSeed = 42,
    pairwise_batch_size: dedup.BatchSize = 1024,
    clips_path: paths.NewClipsPath = None,
    run_options: RunOptions,
) -> None:
    """Decide which new clips are duplicates, beside a finished run. The decisions of the finished run do not change."""
    from curator_dask import IncrementalStage
    from curator_dask.cli.output import terminal
    from curator_dask.cli.output.decision_report import decision_report
    from curator_dask.dedup.ranking.keep_rules import parse_keep

    ranking = parse_keep(keep) if keep is not None else None
    stage = IncrementalStage(
        **parameters_of(ctx, IncrementalStage), ranking_strategy=ranking, **run_options.table_options
    )
    (result,) = terminal.run_stages([stage], run_options)
    if run_options.dry_run:
        terminal.show_results([result], run_options)
        return
    criterion = stage.criterion()
    said = [decision_report(criterion, result.counts)]
    terminal.show_results([result], run_options, sentences=said, decided_by=criterion)
