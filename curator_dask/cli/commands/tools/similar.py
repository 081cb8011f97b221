"""``similar``: the clips most like a given one."""

from __future__ import annotations

from typing import Annotated

import typer

from curator_dask.cli.options.declare import option

Output = Annotated[str, typer.Argument(metavar="OUT", help="Output folder of run, on this machine.")]
ClipId = Annotated[str, typer.Argument(metavar="CLIP_ID", help="Id of a clip of this output.")]
Top = Annotated[int, option("--top", min=1, help="How many clips to list.")]


def similar(path: Output, clip_id: ClipId, top: Top = 10) -> None:
    """List the clips that are most like one of them.

    Prints the cosine of their vectors and the id of each, the most similar first.
    """
    import curator_dask as cd

    for other_id, score in cd.similar_clips(path, clip_id, top):
        typer.echo(f"{score:.6f}  {other_id}")
