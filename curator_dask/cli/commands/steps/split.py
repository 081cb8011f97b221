"""``split`` and ``embed``."""

from __future__ import annotations

from typing import Any

import typer

from curator_dask.cli import options as o


def split(
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
    embedding_algorithm: o.EmbeddingAlgorithm = "pdqf_tmk_nobars",
    frame_sampling: o.FrameSampling = "uniform",
    frames_from: o.FramesFrom = "auto",
    dtype: o.Dtype = "auto",
    torch_device: o.TorchDevice = "auto",
    trust_remote_code: o.TrustRemoteCode = False,
    decode_threads: o.DecodeThreads = None,
    generate_embeddings: o.GenerateEmbeddings = True,
    upload_clips: o.UploadClips = True,
    relative_ids: o.RelativeIds = False,
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
    """Cut videos into clips and compute their vectors."""
    o.print_config(ctx, print_config)
    from curator_dask import EmbedStage, SplitStage
    from curator_dask.cli import terminal as face
    from curator_dask.workflow import split_and_embed

    storage = o.storage_options(storage_option)
    folders: dict[str, Any] = {"input_storage_options": storage, "output_storage_options": storage}
    stage = SplitStage(**o.parameters_of(ctx, SplitStage), **folders)
    shared = {**o.parameters_of(ctx, EmbedStage), **folders}
    vectors = EmbedStage(**{**shared, "input_path": output_path, "output_path": None})
    with face.run_context(ctx) as context:
        result = split_and_embed(stage, vectors if generate_embeddings else None, context)
    face.show_results(result.stages)
    face.show_failures(result.stages, f"{output_path}/failures.jsonl" if not dry_run else "no file (dry run)")


def embed(
    ctx: typer.Context,
    input_path: o.InputPath,
    output_path: o.StageOutputPath | None = None,
    embedding_algorithm: o.EmbeddingAlgorithm = "pdqf_tmk_nobars",
    frame_sampling: o.FrameSampling = "uniform",
    frames_from: o.FramesFrom = "auto",
    dtype: o.Dtype = "auto",
    torch_device: o.TorchDevice = "auto",
    trust_remote_code: o.TrustRemoteCode = False,
    decode_threads: o.DecodeThreads = None,
    model_dir: o.ModelDir = "./models",
    video_dir: o.OptionalVideoDir = None,
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
    """Compute one vector a clip, of a split output or of any folder of clips."""
    o.print_config(ctx, print_config)
    from curator_dask import EmbedStage
    from curator_dask.cli import terminal as face

    storage = o.storage_options(storage_option)
    stage = EmbedStage(
        **o.parameters_of(ctx, EmbedStage), input_storage_options=storage, output_storage_options=storage
    )
    with face.run_context(ctx) as context:
        result = stage.run(context=context)
    face.show_results([result])
    face.show_failures([result], f"{result.output_path}/.curator/embed/failures.jsonl")
