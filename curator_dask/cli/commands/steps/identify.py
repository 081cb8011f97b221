"""``identify``: decide which clips are removed."""

from __future__ import annotations

import typer

from curator_dask.cli.options import dedup, paths
from curator_dask.cli.options.groups import parameters_of
from curator_dask.cli.options.run_options import RunOptions, stage_command


@stage_command
def identify(
    ctx: typer.Context,
    *,
    input_path: paths.PairwiseToRead,
    kmeans_path: dedup.KMeansPathOrSweep = "",
    output_path: paths.OutputPathOrSweep = "",
    eps: dedup.Eps = None,
    target_keep: dedup.TargetKeep = None,
    rule: dedup.Rule = "auto",
    also: dedup.Also = None,
    min_cover: dedup.MinCover = 0.8,
    overlaps_path: dedup.OverlapsPath = None,
    against_path: dedup.AgainstPath = None,
    scope: dedup.Scope = "all",
    source_field: dedup.SourceField = None,
    recall_sample: dedup.RecallSample = 0,
    min_motion: dedup.MinMotion = None,
    max_static_share: dedup.MaxStaticShare = None,
    drop_black: dedup.DropBlack = False,
    overrides: dedup.Overrides = None,
    clips_path: paths.ClipsPath = None,
    id_field: paths.IdField = "id",
    embedding_field: paths.EmbeddingField = "embedding",
    sweep: dedup.Sweep = None,
    run_options: RunOptions,
) -> None:
    """Decide which clips are duplicates. Writes lists of the kept and of the removed clips."""
    from curator_dask import IdentifyDuplicatesStage
    from curator_dask.cli.output import terminal
    from curator_dask.cli.output.decision_report import decision_report

    if sweep is not None:
        terminal.show_sweep(input_path, run_options, sweep)
        return
    stage = IdentifyDuplicatesStage(**parameters_of(ctx, IdentifyDuplicatesStage), **run_options.table_options)
    (result,) = terminal.run_stages([stage], run_options)
    if run_options.dry_run:
        terminal.show_results([result], run_options)
        return
    criterion = stage.criterion()
    said = [decision_report(criterion, result.counts)]
    terminal.show_results([result], run_options, sentences=said, decided_by=criterion)
