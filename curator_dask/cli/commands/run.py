"""``run``: the whole job in one go."""

from __future__ import annotations

import typer

from curator_dask.cli import options as o


def run(
    ctx: typer.Context,
    video_dir: o.VideoDir,
    output_path: o.OutputPath,
    model_dir: o.ModelDir = "./models",
    video_limit: o.VideoLimit = None,
    splitting_algorithm: o.SplittingAlgorithm = "fixed_stride",
    fixed_stride_split_duration: o.SplitDuration = 10.0,
    fixed_stride_stride: o.SplitStride = None,
    fixed_stride_min_clip_length_s: o.MinClipLength = 2.0,
    limit_clips: o.LimitClips = 0,
    transcode_encoder: o.Encoder = "libopenh264",
    transcode_encoder_threads: o.EncoderThreads = 1,
    transcode_use_input_video_bit_rate: o.UseInputBitRate = False,
    transcode_bit_rate: o.BitRate = None,
    upload_clips: o.UploadClips = True,
    relative_ids: o.RelativeIds = False,
    embedding_algorithm: o.EmbeddingAlgorithm = "pdqf_tmk_nobars",
    frame_sampling: o.FrameSampling = "uniform",
    frames_from: o.FramesFrom = "auto",
    dtype: o.Dtype = "auto",
    torch_device: o.TorchDevice = "auto",
    trust_remote_code: o.TrustRemoteCode = False,
    decode_threads: o.DecodeThreads = None,
    n_clusters: o.NumClusters = None,
    which_to_keep: o.WhichToKeep = "hard",
    keep: o.Keep = None,
    sim_metric: o.SimMetric = "cosine",
    pairwise_batch_size: o.BatchSize = 1024,
    random_state: o.RandomState = 42,
    eps: o.Eps = None,
    target_keep: o.TargetKeep = None,
    rule: o.Rule = "pairwise",
    scope: o.Scope = "all",
    cross_cluster: o.CrossCluster = False,
    format: o.Format = "webdataset",
    media: o.Media = "copy",
    dataset_name: o.DatasetName = "clips",
    split: o.Split = "train=1",
    order: o.Order = "shuffled",
    seed: o.ShardSeed = 0,
    shard_bytes: o.ShardBytes = 1_000_000_000,
    shard_clips: o.ShardClips = 10_000,
    min_shards: o.MinShards = 1,
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
    """Split, embed, kmeans, pairwise, identify and export in one go; goes on where the last run stopped."""
    o.print_config(ctx, print_config)
    from curator_dask import SplitStage, Workflow
    from curator_dask.cli import terminal as face
    from curator_dask.export.plan import PlanParameters
    from curator_dask.export.splits import parse_splits

    storage = o.storage_options(storage_option)
    shards = PlanParameters(**{**o.parameters_of(ctx, PlanParameters), "splits": parse_splits(split)})
    cutting = SplitStage(
        **o.parameters_of(ctx, SplitStage), input_storage_options=storage, output_storage_options=storage
    )
    export = {"format": format, "media": media, "dataset_name": dataset_name, "shards": shards}
    workflow = Workflow(**{**o.parameters_of(ctx, Workflow), "split": cutting, "export": export})
    with face.run_context(ctx) as context:
        result = workflow.run(context)
    face.show_results(result.stages)
    face.show_failures(result.stages, "no file (dry run)" if dry_run else f"{output_path}/failures.jsonl")
    if result.totals is not None:
        typer.echo(str(result.totals))
        typer.echo(f"next: open {workflow.below('duplicates', 'duplicates.csv')} to see what went and why")
        if upload_clips:
            typer.echo(
                f"      train on {workflow.below('dataset')}, after: curator-dask verify {workflow.below('dataset')}"
            )
