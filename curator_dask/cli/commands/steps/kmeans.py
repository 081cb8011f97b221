"""``kmeans``: cluster vectors."""

from __future__ import annotations

import typer

from curator_dask.cli.options import dedup, paths
from curator_dask.cli.options.groups import parameters_of
from curator_dask.cli.options.run_options import RunOptions, stage_command


@stage_command
def kmeans(
    ctx: typer.Context,
    *,
    input_path: paths.VectorsToRead,
    output_path: paths.OutputPath,
    n_clusters: dedup.NumClusters = None,
    id_field: paths.IdField = "id",
    embedding_field: paths.EmbeddingField = "embedding",
    input_filetype: paths.InputFiletype = "parquet",
    input_file_extensions: paths.InputFileExtensions = None,
    embedding_dim: paths.EmbeddingDim = None,
    metadata_fields: paths.MetadataFields = None,
    max_iter: dedup.MaxIter = 300,
    tol: dedup.Tol = 1e-4,
    random_state: dedup.RandomState = 42,
    init: dedup.InitMethod = "k-means||",
    n_init: dedup.NInit = 1,
    fit_data_fraction: dedup.FitFraction = None,
    fit_rows_per_cluster: dedup.FitRowsPerCluster = 256,
    exact_assignment: dedup.ExactAssignment = False,
    cache_path: dedup.CachePath = None,
    run_options: RunOptions,
) -> None:
    """Put clips that look alike into clusters, by their vectors.

    The vectors are Parquet files or JSON lines, of embed or your own. The method is k-means.
    """
    from curator_dask import KMeansStage
    from curator_dask.cli.output import terminal

    stage = KMeansStage(**parameters_of(ctx, KMeansStage), **run_options.table_options)
    terminal.show_results(terminal.run_stages([stage], run_options), run_options)
