"""``verify``: check an export."""

from __future__ import annotations

import typer

from curator_dask.cli.options import export as options
from curator_dask.cli.options.run_options import StorageOption, parse_storage_options

MAX_FAULTS_SHOWN = 10


def verify(
    path: options.DatasetPath,
    duplicates_path: options.RemovedPath = None,
    clips_opened_per_shard: options.ClipsOpened = 1,
    storage_option: StorageOption = None,
) -> None:
    """Read every shard back and compare it with the manifest. Prints the first ten faults; exits with 1 if there are any."""
    from curator_dask import verify_dataset

    found = verify_dataset(
        path,
        duplicates_path=duplicates_path,
        clips_opened_per_shard=clips_opened_per_shard,
        storage_options=parse_storage_options(storage_option or []),
    )
    clips = sum(shard.samples for shard in found.manifest.shards)
    typer.echo(f"{len(found.manifest.shards)} shards, {clips} clips, {len(found.faults)} faults")
    for fault in found.faults[:MAX_FAULTS_SHOWN]:
        typer.echo(f"  {fault.shard} {fault.key}: {fault.what}".rstrip())
    if found.faults:
        raise typer.Exit(1)
