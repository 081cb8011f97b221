"""``kmeans``, ``pairwise`` and ``identify``."""

from __future__ import annotations

import typer

from curator_dask.cli import options as o


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
    from curator_dask.cli import face
    from curator_dask.stages.kmeans import KMeansStage

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
    sim_metric: o.SimMetric = "cosine",
    pairwise_batch_size: o.BatchSize = 1024,
    random_seed: o.RandomSeed = 42,
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
    """Score every clip against those ranked before it in its cluster."""
    o.print_config(ctx, print_config)
    from curator_dask.cli import face
    from curator_dask.stages.pairwise import PairwiseStage

    kwargs = {"storage_options": o.storage_options(storage_option)}
    stage = PairwiseStage(**o.parameters_of(ctx, PairwiseStage), read_kwargs=kwargs, write_kwargs=kwargs)
    with face.run_context(ctx) as context:
        result = stage.run(context=context)
    face.show_results([result])
    face.show_failures([result], f"{output_path}/.curator/pairwise/failures.jsonl")


def identify(
    ctx: typer.Context,
    input_path: o.InputPath,
    kmeans_path: o.KMeansPath,
    output_path: o.StageOutputPath,
    eps: o.StageEps = 0.01,
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
    from curator_dask.cli import face
    from curator_dask.stages.identify import IdentifyDuplicatesStage

    kwargs = {"storage_options": o.storage_options(storage_option)}
    stage = IdentifyDuplicatesStage(
        **o.parameters_of(ctx, IdentifyDuplicatesStage), read_kwargs=kwargs, write_kwargs=kwargs
    )
    with face.run_context(ctx) as context:
        face.show_results([stage.run(context=context)])
