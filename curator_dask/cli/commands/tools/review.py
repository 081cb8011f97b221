"""``review``: look at the report and decide by hand."""

from __future__ import annotations

import signal
from typing import Annotated

import typer

from curator_dask.cli.options.declare import option
from curator_dask.cli.options.run_options import StorageOption, parse_storage_options

Output = Annotated[str, typer.Argument(metavar="OUT", help="Output folder of run.")]
Port = Annotated[int, option("--port", help="Port to listen on, on this machine only. Default: a free one.")]


def review(path: Output, port: Port = 0, storage_option: StorageOption = None) -> None:
    """Show the report with buttons that keep or remove clips. Decisions are saved in OUT/overrides.csv.

    The page is given out on 127.0.0.1 only, to whoever has the printed link. To apply the decisions, repeat the command
    that made OUT, with --overrides OUT/overrides.csv.
    """
    from curator_dask.files.folder import Folder
    from curator_dask.report.review.pages import read_pages
    from curator_dask.report.review.server import ReviewServer

    out = Folder(path, parse_storage_options(storage_option or []))
    with ReviewServer(read_pages(out), port) as server:
        typer.echo(f"Review: {server.url}")
        typer.echo(f"Decisions go to {out.join('overrides.csv')}. Ctrl-C ends the review.")
        # A shell lets commands in the background ignore Ctrl-C; this one ends by nothing else.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            typer.echo("Ended. To apply the decisions, repeat the command that made this folder, with")
            typer.echo(f"  --overrides {out.join('overrides.csv')}")
