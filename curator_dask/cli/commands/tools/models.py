"""``models list`` and ``models convert``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from curator_dask.cli.options.run_options import Json
from curator_dask.cli.output.documents import print_document

OTHERS = ("hf:FOLDER", "onnx:FILE", "python:MODULE:ATTRIBUTE")
"""Forms of names for models that are not built in."""

models = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The embedding models, and their files.")


@models.command("list")
def list_models(json: Json = False) -> None:
    """List the names of the embedding models, and the forms of other names: a Hugging Face folder, an ONNX file, Python code."""
    from curator_dask.models import model_names

    if json:
        print_document({"models": model_names(), "others": list(OTHERS)})
        return
    for name in (*model_names(), *OTHERS):
        typer.echo(name)


@models.command("convert")
def convert(
    source: Annotated[Path, typer.Argument(help="The released checkpoint of internvideo2: a .pt file.")],
    target: Annotated[
        Path | None, typer.Argument(help="The safetensors file to write. Default: beside the source.")
    ] = None,
    json: Json = False,
) -> None:
    """Write the tensors that internvideo2 needs to a safetensors file, which workers can map into memory."""
    from curator_dask.models.internvideo2.convert import convert as write

    target = target or source.with_suffix(".safetensors")
    done = write(source, target)
    if json:
        print_document({"path": str(target), "counts": {"tensors": done.num_tensors, "bytes": done.num_bytes}})
        return
    typer.echo(f"{done.num_tensors} tensors, {done.num_bytes / 1e9:.2f} GB in {target}")
