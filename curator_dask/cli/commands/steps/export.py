"""``export`` and ``verify``."""

from __future__ import annotations

import typer

from curator_dask.cli import options as o


def export(
    ctx: typer.Context,
    input_path: o.InputPath,
    output_path: o.StageOutputPath,
    duplicates_path: o.DuplicatesPath = None,
    pairwise_path: o.PairwisePath = None,
    all_clips: o.AllClips = False,
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
    """Write the kept clips as WebDataset shards, or as a Parquet index with media."""
    o.print_config(ctx, print_config)
    from curator_dask import ExportStage
    from curator_dask.cli import terminal as face
    from curator_dask.export.plan import PlanParameters
    from curator_dask.export.splits import parse_splits

    storage = o.storage_options(storage_option)
    stage = ExportStage(
        **o.parameters_of(ctx, ExportStage),
        shards=PlanParameters(**{**o.parameters_of(ctx, PlanParameters), "splits": parse_splits(split)}),
        input_storage_options=storage,
        output_storage_options=storage,
    )
    with face.run_context(ctx) as context:
        result = stage.run(context=context)
    face.show_results([result])
    face.show_failures([result], f"{output_path}/.curator/export/failures.jsonl")


def verify(
    path: o.DatasetPath,
    duplicates_path: o.DuplicatesPath = None,
    clips_opened_per_shard: o.ClipsOpened = 1,
    storage_option: o.StorageOption = None,
) -> None:
    """Read every shard back and compare it with the manifest; exit 1 with the first ten faults."""
    from curator_dask import verify_dataset

    found = verify_dataset(
        path,
        duplicates_path=duplicates_path,
        clips_opened_per_shard=clips_opened_per_shard,
        storage_options=o.storage_options(storage_option),
    )
    clips = sum(shard.samples for shard in found.manifest.shards)
    typer.echo(f"{len(found.manifest.shards)} shards, {clips} clips, {len(found.faults)} faults")
    for fault in found.faults[:10]:
        typer.echo(f"  {fault.shard} {fault.key}: {fault.what}".rstrip())
    if found.faults:
        raise typer.Exit(1)
