"""``similar``: the clips most like a given one."""

from __future__ import annotations

from typing import Annotated

import typer

from curator_dask.cli.options.declare import option, options_in
from curator_dask.cli.options.embed import ModelSettings, TrustRemoteCode
from curator_dask.cli.options.panels import EMBEDDING
from curator_dask.cli.options.run_options import Json
from curator_dask.cli.options.split import ModelDir
from curator_dask.cli.output.documents import print_document

Output = Annotated[str, typer.Argument(metavar="OUT", help="Output folder of run, on this machine.")]
Clip = Annotated[
    str, typer.Argument(metavar="CLIP", help="Id of a clip of this output, or a video or picture of yours.")
]
Top = Annotated[int, option("--top", min=1, help="How many clips to list.")]
Exact = Annotated[
    bool, option("--exact", help="Search all clusters, not only the nearest 15 of 100, which takes longer.")
]
Model = Annotated[
    str | None,
    options_in(EMBEDDING)(
        "--embedding-algorithm", metavar="MODEL", help="For a file: the model of OUT, where OUT does not say it."
    ),
]


def similar(
    path: Output,
    clip: Clip,
    top: Top = 10,
    exact: Exact = False,
    embedding_algorithm: Model = None,
    model_dir: ModelDir = "./models",
    trust_remote_code: TrustRemoteCode = False,
    model_settings: ModelSettings = None,
    json: Json = False,
) -> None:
    """List the clips that are most like one of them, or like a video or picture of yours.

    Prints the cosine of their vectors (1: the same, 0: nothing in common) and the id of each, the most similar first. A file
    is seen as one clip, by the model that made the vectors of OUT.
    """
    import curator_dask as cd

    found = cd.similar_clips(
        path,
        clip,
        top,
        exact=exact,
        embedding_algorithm=embedding_algorithm,
        model_dir=model_dir,
        trust_remote_code=trust_remote_code,
        model_settings=model_settings,
    )
    if json:
        rows = [{"id": other_id, "cosine": score} for other_id, score in found]
        print_document({"path": path, "clip": clip, "similar": rows})
        return
    for other_id, score in found:
        typer.echo(f"{score:.6f}  {other_id}")
