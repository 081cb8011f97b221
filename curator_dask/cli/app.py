"""The commands, and what an error of this package looks like on a terminal."""

from __future__ import annotations

import signal
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from curator_dask._version import __version__
from curator_dask.cli.commands import (
    calibrate,
    dedup_commands,
    doctor,
    export_commands,
    models,
    run,
    samples,
    video_commands,
)
from curator_dask.errors import CuratorError


class Group(TyperGroup):
    """Ends with one line on stderr and the error's own exit code where this package says what is wrong."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except CuratorError as error:
            typer.echo(f"curator-dask: {error}", err=True)
            raise SystemExit(error.exit_code) from None
        except KeyboardInterrupt:
            typer.echo("curator-dask: stopped; run the same command again to go on where it stopped", err=True)
            raise SystemExit(130) from None


app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    help="From raw video to a de-duplicated training set: split, embed, kmeans, pairwise, identify, export.",
)


def show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"curator-dask {__version__}")
        raise typer.Exit


@app.callback()
def callback(
    version: bool = typer.Option(
        False, "--version", help="Print the version and exit.", is_eager=True, callback=show_version
    ),
) -> None:
    # A batch system ends a job with SIGTERM: leave in order, so that workers and ffmpeg go too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


app.command("run")(run.run)
app.command("split")(video_commands.split)
app.command("embed")(video_commands.embed)
app.command("kmeans")(dedup_commands.kmeans)
app.command("pairwise")(dedup_commands.pairwise)
app.command("identify")(dedup_commands.identify)
app.command("dedup-new")(dedup_commands.dedup_new)
app.command("export")(export_commands.export)
app.command("verify")(export_commands.verify)
app.command("samples")(samples.samples)
app.command("doctor")(doctor.doctor)
app.add_typer(models.models, name="models")
app.command("calibrate")(calibrate.calibrate)
