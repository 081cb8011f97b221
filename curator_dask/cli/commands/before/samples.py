"""``samples``: render videos to try the tool with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def samples(
    folder: Annotated[Path, typer.Argument(help="Folder to write to; files that exist are kept.")],
    num_scenes: Annotated[int, typer.Option("--num-scenes", min=1, max=1000, help="Number of different scenes.")] = 8,
    length_s: Annotated[
        float, typer.Option("--length-s", min=1, max=3600, help="Length of a scene in seconds.")
    ] = 21.0,
    moments: Annotated[
        bool,
        typer.Option(
            "--moments/--no-moments",
            help="Also render still cameras, a copy that begins later, and slides: alike, and not the same moment.",
        ),
    ] = False,
) -> None:
    """Render sample videos, and edited copies of them. The copies are re-encoded, scaled, cropped, trimmed or grey."""
    from curator_dask.files.names import counted
    from curator_dask.video.samples import TRUTH, render_samples

    pairs = render_samples(folder, num_scenes=num_scenes, length_s=length_s, moments=moments)
    typer.echo(
        f"{counted(num_scenes, 'scenes')} and {counted(len(pairs), 'twins')} in {folder}; {folder / TRUTH} lists the twins"
    )
