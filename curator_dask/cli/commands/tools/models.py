"""``models list`` and ``models convert``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

models = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The embedding models, and their files.")


@models.command("list")
def list_models() -> None:
    """List the names of the embedding models."""
    from curator_dask.models import model_names

    for name in model_names():
        typer.echo(name)
    typer.echo("hf:FOLDER")


@models.command("convert")
def convert(
    source: Annotated[Path, typer.Argument(help="The released checkpoint of internvideo2: a .pt file.")],
    target: Annotated[
        Path | None, typer.Argument(help="The safetensors file to write. Default: beside the source.")
    ] = None,
) -> None:
    """Write the tensors that internvideo2 needs to a safetensors file, which workers can map into memory."""
    from curator_dask.models.internvideo2.convert import convert as write

    target = target or source.with_suffix(".safetensors")
    done = write(source, target)
    typer.echo(f"{done.num_tensors} tensors, {done.num_bytes / 1e9:.2f} GB in {target}")
