"""``run``: all steps in one command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from curator_dask.cli.options import align, dedup
from curator_dask.cli.options.embed import EmbeddingOptions
from curator_dask.cli.options.export import ExportOptions
from curator_dask.cli.options.groups import parameters_of
from curator_dask.cli.options.run_options import RunOptions, stage_command
from curator_dask.cli.options.split import Ids, RelativeIds, SplitOptions, UploadClips

if TYPE_CHECKING:
    from curator_dask import Workflow

PREVIEWS = 500
"""Clips that the report at the end of a run has pictures of; ``inspect`` makes them for more."""


@stage_command
def run(
    ctx: typer.Context,
    *,
    split_options: SplitOptions,
    upload_clips: UploadClips = True,
    relative_ids: RelativeIds = False,
    ids: Ids = "exact",
    embedding_options: EmbeddingOptions,
    n_clusters: dedup.NumClusters = None,
    which_to_keep: dedup.WhichToKeep = "hard",
    keep: dedup.KeepOfRun = None,
    sim_metric: dedup.SimMetric = "cosine",
    pairwise_batch_size: dedup.BatchSize = 1024,
    random_state: dedup.RandomState = 42,
    eps: dedup.EpsOfModel = None,
    target_keep: dedup.TargetKeep = None,
    rule: dedup.Rule = "auto",
    also: dedup.Also = None,
    min_cover: dedup.MinCover = 0.8,
    strictness: align.Strictness = 0.0,
    min_still_likeness: align.MinStillLikeness = 0.92,
    mirrored: align.Mirrored = False,
    against: dedup.AgainstRun = None,
    scope: dedup.Scope = "all",
    min_motion: dedup.MinMotion = None,
    motion_filter: dedup.MotionFilter = "disable",
    max_static_share: dedup.MaxStaticShare = None,
    drop_black: dedup.DropBlack = False,
    overrides: dedup.Overrides = None,
    cross_cluster: dedup.CrossCluster = False,
    recall: dedup.Recall = None,
    export_options: ExportOptions,
    report: dedup.Report = True,
    run_options: RunOptions,
) -> None:
    """Run all steps, from videos to training data.

    The steps are split, embed, kmeans, pairwise, align, identify and export. It continues where the last run stopped.
    """
    import curator_dask as cd
    from curator_dask.cli.output import terminal
    from curator_dask.cli.output.report_lines import report_lines

    # The cheapest to check come first: a wrong value is told before the stages and their libraries are imported.
    embed = cd.EmbedParameters(**parameters_of(ctx, cd.EmbedParameters))
    kmeans = cd.KMeansParameters(**parameters_of(ctx, cd.KMeansParameters))
    pairwise = cd.PairwiseParameters(**parameters_of(ctx, cd.PairwiseParameters), random_seed=random_state)
    asked = {**parameters_of(ctx, cd.IdentifyParameters), "min_motion": dedup.least_motion(motion_filter, min_motion)}
    identify = cd.IdentifyParameters(**asked)
    aligning = cd.AlignParameters(**parameters_of(ctx, cd.AlignParameters))
    exporting = export_options.parameters()
    split = cd.SplitStage(**parameters_of(ctx, cd.SplitStage), **run_options.folder_options)
    workflow = cd.Workflow(
        split, embed, kmeans, pairwise, identify, exporting, cross_cluster, keep, aligning, against, recall
    )
    inspection = cd.InspectStage(
        split_options.output_path, max_previews=PREVIEWS, storage_options=run_options.storage_options
    )
    with terminal.run_context(run_options) as context:
        result = workflow.run(context)
        inspected = [inspection.run(context=context)] if report and result.totals is not None else []
    page = inspection.page_path() if inspected else None
    told = report_lines(inspection.numbers()) if inspected else []
    terminal.show_results(
        [*result.stages, *inspected],
        run_options,
        failures_path=terminal.run_failures_path(split_options.output_path, run_options),
        sentences=[str(result.totals), *told, _next_steps(workflow, page)] if result.totals else [],
        totals=vars(result.totals) if result.totals else None,
        page=page,
    )
    if result.totals and not report and inspection.output.exists("report/report.json"):
        typer.echo(f"{inspection.page_path()} may be of an earlier run: curator-dask inspect makes it anew", err=True)
    terminal.end_with_open(result.stages, dry_run=run_options.dry_run)


def _next_steps(workflow: Workflow, page: str | None) -> str:
    decisions, dataset = workflow.below("duplicates", "duplicates.csv"), workflow.below("dataset")
    steps = [f"next: open {page or decisions} to see which clips were removed and why"]
    if workflow.split.upload_clips:
        steps.append(f"      train on {dataset}, after: curator-dask verify {dataset}")
    return "\n".join(steps)
