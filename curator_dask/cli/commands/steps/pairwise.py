"""``pairwise``: the highest similarity of each clip to the clips ranked before it."""

from __future__ import annotations

import typer

from curator_dask.cli.options import dedup, paths
from curator_dask.cli.options.groups import parameters_of
from curator_dask.cli.options.run_options import RunOptions, stage_command


@stage_command
def pairwise(
    ctx: typer.Context,
    *,
    input_path: paths.KMeansToRead,
    output_path: paths.OutputPath,
    id_field: paths.IdField = "id",
    embedding_field: paths.EmbeddingField = "embedding",
    embedding_dim: paths.EmbeddingDim = None,
    which_to_keep: dedup.WhichToKeep = "hard",
    keep: dedup.Keep = None,
    clips_path: paths.RankingClipsPath = None,
    sim_metric: dedup.SimMetric = "cosine",
    pairwise_batch_size: dedup.BatchSize = 1024,
    random_seed: dedup.RandomSeed = 42,
    cross_cluster: dedup.CrossCluster = False,
    recall: dedup.Recall = None,
    eps: dedup.CrossClusterEps = 0.01,
    run_options: RunOptions,
) -> None:
    """Score how alike the clips of a cluster are.

    Each clip is compared with those ranked before it, which it may be removed for. With --cross-cluster, also with those of
    other clusters.
    """
    from curator_dask import CrossClusterStage, PairwiseStage
    from curator_dask.cli.output import terminal
    from curator_dask.dedup.ranking.keep_rules import parse_keep
    from curator_dask.stages.cross_cluster.stage import require_cross_cluster

    require_cross_cluster(recall, cross_cluster)
    parameters = parameters_of(ctx, PairwiseStage)
    if cross_cluster:
        parameters["output_path"] = f"{output_path}/within"
    ranking = parse_keep(keep) if keep is not None else None
    stage = PairwiseStage(**parameters, ranking_strategy=ranking, **run_options.table_options)
    more = [CrossClusterStage.after(stage, output_path, eps, recall)] if cross_cluster else []
    results = terminal.run_stages([stage, *more], run_options)
    path = terminal.stage_failures_path(stage.output_path, "pairwise")
    terminal.show_results(results, run_options, failures_path=path)
    terminal.end_with_open(results, dry_run=run_options.dry_run)
