"""``kmeans``, ``pairwise``, ``identify`` and ``dedup-new``."""

from __future__ import annotations

import typer

from curator_dask.cli import options as o
from curator_dask.cli.decision_report import lines


def kmeans(
    ctx: typer.Context,
    input_path: o.InputPath,
    output_path: o.StageOutputPath,
    n_clusters: o.NumClusters = None,
    id_field: o.IdField = "id",
    embedding_field: o.EmbeddingField = "embedding",
    input_filetype: o.InputFiletype = "parquet",
    embedding_dim: o.EmbeddingDim = None,
    metadata_fields: o.MetadataFields = None,
    max_iter: o.MaxIter = 300,
    tol: o.Tol = 1e-4,
    random_state: o.RandomState = 42,
    init: o.InitMethod = "k-means||",
    n_init: o.NInit = 1,
    fit_data_fraction: o.FitFraction = None,
    cache_path: o.CachePath = None,
    storage_option: o.StorageOption = None,
    dry_run: o.DryRun = False,
    overwrite: o.Overwrite = False,
    device: o.Device = "auto",
    n_workers: o.NWorkers = None,
    scheduler_address: o.SchedulerAddress = None,
    scheduler_file: o.SchedulerFile = None,
    verbose: o.Verbose = False,
    config: o.Config = None,
    print_config: o.PrintConfig = False,
) -> None:
    """Cluster vectors (Parquet or JSON lines) with k-means."""
    o.print_config(ctx, print_config)
    from curator_dask import KMeansStage
    from curator_dask.cli import terminal as face

    kwargs = {"storage_options": o.storage_options(storage_option)}
    stage = KMeansStage(**o.parameters_of(ctx, KMeansStage), read_kwargs=kwargs, write_kwargs=kwargs)
    with face.run_context(ctx) as context:
        face.show_results([stage.run(context=context)])


def pairwise(
    ctx: typer.Context,
    input_path: o.InputPath,
    output_path: o.StageOutputPath,
    id_field: o.IdField = "id",
    embedding_field: o.EmbeddingField = "embedding",
    embedding_dim: o.EmbeddingDim = None,
    which_to_keep: o.WhichToKeep = "hard",
    keep: o.Keep = None,
    clips_path: o.RankingClipsPath = None,
    sim_metric: o.SimMetric = "cosine",
    pairwise_batch_size: o.BatchSize = 1024,
    random_seed: o.RandomSeed = 42,
    cross_cluster: o.CrossCluster = False,
    eps: o.CrossEps = 0.01,
    storage_option: o.StorageOption = None,
    dry_run: o.DryRun = False,
    overwrite: o.Overwrite = False,
    device: o.Device = "auto",
    n_workers: o.NWorkers = None,
    scheduler_address: o.SchedulerAddress = None,
    scheduler_file: o.SchedulerFile = None,
    verbose: o.Verbose = False,
    config: o.Config = None,
    print_config: o.PrintConfig = False,
) -> None:
    """Score every clip against those ranked before it in its cluster, or in any."""
    o.print_config(ctx, print_config)
    from curator_dask import CrossClusterStage, PairwiseStage
    from curator_dask.cli import terminal as face
    from curator_dask.dedup.ranking.keep_rules import parse_keep

    kwargs = {"storage_options": o.storage_options(storage_option)}
    ranking = parse_keep(keep) if keep is not None else None
    stage = PairwiseStage(
        **{**o.parameters_of(ctx, PairwiseStage), "output_path": f"{output_path}/within" if cross_cluster else output_path},
        ranking_strategy=ranking, read_kwargs=kwargs, write_kwargs=kwargs,
    )  # fmt: skip
    across = [CrossClusterStage.after(stage, output_path, eps)] if cross_cluster else []
    with face.run_context(ctx) as context:
        results = [one.run(context=context) for one in (stage, *across)]
    face.show_results(results)
    face.show_failures(results, f"{stage.output_path}/.curator/pairwise/failures.jsonl")


def identify(
    ctx: typer.Context,
    input_path: o.InputPath,
    kmeans_path: o.KMeansPath,
    output_path: o.StageOutputPath,
    eps: o.Eps = None,
    target_keep: o.TargetKeep = None,
    rule: o.Rule = "pairwise",
    scope: o.Scope = "all",
    source_field: o.SourceField = None,
    recall_sample: o.RecallSample = 0,
    clips_path: o.ClipsPath = None,
    id_field: o.IdField = "id",
    embedding_field: o.EmbeddingField = "embedding",
    storage_option: o.StorageOption = None,
    dry_run: o.DryRun = False,
    overwrite: o.Overwrite = False,
    device: o.Device = "auto",
    n_workers: o.NWorkers = None,
    scheduler_address: o.SchedulerAddress = None,
    scheduler_file: o.SchedulerFile = None,
    verbose: o.Verbose = False,
    config: o.Config = None,
    print_config: o.PrintConfig = False,
) -> None:
    """Decide which clips go at eps; write keep and remove lists."""
    o.print_config(ctx, print_config)
    from curator_dask import IdentifyDuplicatesStage
    from curator_dask.cli import terminal as face

    kwargs = {"storage_options": o.storage_options(storage_option)}
    stage = IdentifyDuplicatesStage(
        **o.parameters_of(ctx, IdentifyDuplicatesStage), read_kwargs=kwargs, write_kwargs=kwargs
    )
    with face.run_context(ctx) as context:
        result = stage.run(context=context)
    face.show_results([result])
    if not dry_run:
        typer.echo("\n".join(lines(stage.eps_of_finished_run(), result.counts)))


def dedup_new(
    ctx: typer.Context,
    input_path: o.InputPath,
    kmeans_path: o.KMeansPaths,
    duplicates_path: o.DuplicatesPaths,
    output_path: o.StageOutputPath,
    eps: o.DecidedEps = None,
    rule: o.DecidedRule = None,
    id_field: o.IdField = "id",
    embedding_field: o.EmbeddingField = "embedding",
    input_filetype: o.InputFiletype = "parquet",
    metadata_fields: o.MetadataFields = None,
    which_to_keep: o.WhichToKeep = "hard",
    keep: o.Keep = None,
    sim_metric: o.SimMetric = "cosine",
    random_seed: o.RandomSeed = 42,
    pairwise_batch_size: o.BatchSize = 1024,
    clips_path: o.ClipsPath = None,
    storage_option: o.StorageOption = None,
    dry_run: o.DryRun = False,
    overwrite: o.Overwrite = False,
    device: o.Device = "auto",
    n_workers: o.NWorkers = None,
    scheduler_address: o.SchedulerAddress = None,
    scheduler_file: o.SchedulerFile = None,
    verbose: o.Verbose = False,
    config: o.Config = None,
    print_config: o.PrintConfig = False,
) -> None:
    """Decide on new vectors beside a finished run, whose decisions stay."""
    o.print_config(ctx, print_config)
    from curator_dask import IncrementalStage
    from curator_dask.cli import terminal as face
    from curator_dask.dedup.ranking.keep_rules import parse_keep

    kwargs = {"storage_options": o.storage_options(storage_option)}
    ranking = parse_keep(keep) if keep is not None else None
    stage = IncrementalStage(
        **o.parameters_of(ctx, IncrementalStage), ranking_strategy=ranking, read_kwargs=kwargs, write_kwargs=kwargs
    )
    with face.run_context(ctx) as context:
        result = stage.run(context=context)
    face.show_results([result])
    if not dry_run:
        typer.echo("\n".join(lines(stage.decided_rule().eps, result.counts)))
