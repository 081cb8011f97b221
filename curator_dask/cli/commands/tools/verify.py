"""``verify``: check an output, or an export by itself."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from curator_dask.cli.options import export as options
from curator_dask.cli.options.run_options import Json, StorageOption, parse_storage_options
from curator_dask.cli.output.documents import faults_document, print_document
from curator_dask.files.names import counted

if TYPE_CHECKING:
    from curator_dask import OutputCheck
    from curator_dask.stages.export.verify import Verification

MAX_FAULTS_SHOWN = 10
REDONE_KINDS = ("missing", "changed", "damaged")
ORPHANED_KIND = "orphaned"


def verify(
    path: options.DatasetPath,
    duplicates_path: options.RemovedPath = None,
    clips_opened_per_shard: options.ClipsOpened = 1,
    keep_list: options.ListOfExport = None,
    quick: options.Quick = False,
    repair: options.Repair = False,
    storage_option: StorageOption = None,
    json: Json = False,
) -> None:
    """Compare an output with its records, every file of every stage. Prints the first ten faults; exits with 1 if there are any.

    In the folder of an export, every shard is read back and compared with the manifest.
    """
    storage_options = parse_storage_options(storage_option or [])
    if _is_output(path, storage_options) or quick or repair:
        from curator_dask import verify_output

        found = verify_output(path, quick=quick, repair=repair, storage_options=storage_options)
        faults = len(found.findings)
        print_document(_output_document(path, found, quick)) if json else _show_output(found, quick, repair)
    else:
        from curator_dask import verify_dataset

        read = verify_dataset(
            path,
            duplicates_path=duplicates_path,
            clips_opened_per_shard=clips_opened_per_shard,
            keep_list=keep_list,
            storage_options=storage_options,
        )
        faults = len(read.faults)
        print_document(_export_document(path, read)) if json else _show_export(read)
    if faults:
        raise typer.Exit(1)


def _is_output(path: str, storage_options: dict[str, Any]) -> bool:
    """Whether the path is that of an output, and not of an export alone. Raises InputError if it is neither."""
    from curator_dask.errors import InputError
    from curator_dask.files.folder import Folder
    from curator_dask.files.layout import MANIFEST_NAME
    from curator_dask.verify.verify_output import has_records

    if Folder(path, storage_options).exists(MANIFEST_NAME):
        return False
    if not has_records(path, storage_options):
        raise InputError(
            f"{path} holds no records of a stage, and no {MANIFEST_NAME} of an export: give the output folder of run, of "
            "one of its steps, or of export"
        )
    return True


def _show_export(found: Verification) -> None:
    clips = sum(shard.samples for shard in found.manifest.shards)
    said = ((len(found.manifest.shards), "shards"), (clips, "clips"), (len(found.faults), "faults"))
    typer.echo(", ".join(counted(*one) for one in said))
    for fault in found.faults[:MAX_FAULTS_SHOWN]:
        typer.echo(f"  {fault.shard} {fault.key}: {fault.what}".rstrip())


def _export_document(path: str, found: Verification) -> dict[str, Any]:
    clips = sum(shard.samples for shard in found.manifest.shards)
    return {
        "path": path,
        "checked": "export",
        "counts": {"shards": len(found.manifest.shards), "clips": clips},
        "faults": faults_document([asdict(fault) for fault in found.faults]),
    }


def _show_output(found: OutputCheck, quick: bool, repair: bool) -> None:
    compared = "sizes compared" if quick else "contents compared"
    typer.echo(
        f"{counted(found.num_stages, 'stages')}, {counted(found.num_files, 'files')}, {found.num_bytes / 1e6:.1f} MB, "
        f"{compared}, {counted(len(found.findings), 'faults')}"
    )
    if found.num_without_hash:
        typer.echo(
            f"  {counted(found.num_without_hash, 'files')} without a hash in the records: only the sizes were compared"
        )
    for finding in found.findings[:MAX_FAULTS_SHOWN]:
        typer.echo(f"  {finding.stage or 'no stage'}: {finding}")
    if found.findings:
        by_stage = (f"{name or 'no stage'} {count}" for name, count in found.by_stage().items())
        typer.echo(f"by stage: {', '.join(by_stage)}")
        typer.echo(_advice(found, repair))


def _output_document(path: str, found: OutputCheck, quick: bool) -> dict[str, Any]:
    counts = {"stages": found.num_stages, "files": found.num_files, "bytes": found.num_bytes}
    return {
        "path": path,
        "checked": "sizes" if quick else "contents",
        "counts": {**counts, "files_without_hash": found.num_without_hash, "marked": found.num_marked},
        "faults": faults_document([asdict(finding) for finding in found.findings]),
    }


def _advice(found: OutputCheck, repair: bool) -> str:
    """What to do about the faults."""
    if repair and found.num_marked:
        return f"{found.num_marked} are marked as not done: run the same command as before, and it redoes exactly these"
    kinds = {finding.kind for finding in found.findings}
    if not kinds.isdisjoint(REDONE_KINDS):
        return "--repair marks what is broken, so that the same command as before redoes exactly that"
    if ORPHANED_KIND in kinds:
        return "a stopped run goes on with the same command as before; what it left can be removed by prune --remove"
    return "extra files are never removed: remove them yourself if you do not need them"
