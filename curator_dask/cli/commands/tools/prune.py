"""``prune``: what an output keeps of videos that are gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from curator_dask.cli.options.declare import option
from curator_dask.cli.options.run_options import Json, StorageOption, parse_storage_options
from curator_dask.cli.output.documents import print_document
from curator_dask.files.names import counted, printable

if TYPE_CHECKING:
    from curator_dask import Leftovers

MAX_SHOWN = 10
Output = Annotated[str, typer.Argument(metavar="OUT", help="Output folder of run or split.")]
Remove = Annotated[bool, option("--remove", help="Remove these files; without it, they are only listed.")]


def prune(path: Output, remove: Remove = False, storage_option: StorageOption = None, json: Json = False) -> None:
    """List the clips, records and previews of videos that are gone, and what stopped runs left. Remove them with --remove.

    Clips that clips.parquet names are no leftovers: run the same command as before first. Your own files are never removed.
    """
    from curator_dask import prune_output

    found = prune_output(path, remove=remove, storage_options=parse_storage_options(storage_option or []))
    if json:
        print_document(_document(path, found))
    else:
        _show(found)


def _document(path: str, found: Leftovers) -> dict[str, Any]:
    counts = {"files": len(found.files), "bytes": found.num_bytes, "videos": len(found.videos)}
    return {
        "path": path,
        "removed": found.removed,
        "counts": {**counts, "videos_still_listed": found.num_still_listed},
        "videos": list(found.videos),
        "files": list(found.files),
    }


def _show(found: Leftovers) -> None:
    for name in found.videos[:MAX_SHOWN]:
        typer.echo(f"  gone: {printable(name)}")
    for name in found.files[:MAX_SHOWN]:
        typer.echo(f"  {printable(name)}")
    if len(found.files) > MAX_SHOWN:
        typer.echo(f"  and {len(found.files) - MAX_SHOWN} more")
    verb = "removed" if found.removed else "left over"
    size = f"{found.num_bytes / 1e6:.1f} MB"
    typer.echo(f"{counted(len(found.files), 'files')} {verb}, {size}, of {_gone(len(found.videos))}")
    if found.num_still_listed:
        videos = _gone(found.num_still_listed)
        typer.echo(f"clips.parquet still names clips of {videos}: run the same command as before, then prune")
    elif found.files and not found.removed:
        typer.echo("--remove removes them")


def _gone(number: int) -> str:
    """Videos that are gone, in words."""
    return f"{counted(number, 'videos')} that {'is' if number == 1 else 'are'} gone"
