"""The application: all commands, and how an error of this package is shown on a terminal."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperGroup

from curator_dask._version import __version__
from curator_dask.cli.commands.before.doctor import doctor
from curator_dask.cli.commands.before.plan import plan
from curator_dask.cli.commands.before.samples import samples
from curator_dask.cli.commands.run import run
from curator_dask.cli.commands.steps.align import align
from curator_dask.cli.commands.steps.embed import embed
from curator_dask.cli.commands.steps.export import export
from curator_dask.cli.commands.steps.identify import identify
from curator_dask.cli.commands.steps.kmeans import kmeans
from curator_dask.cli.commands.steps.pairwise import pairwise
from curator_dask.cli.commands.steps.split import split
from curator_dask.cli.commands.tools.calibrate import calibrate
from curator_dask.cli.commands.tools.dedup_new import dedup_new
from curator_dask.cli.commands.tools.inspect import inspect
from curator_dask.cli.commands.tools.models import models
from curator_dask.cli.commands.tools.prune import prune
from curator_dask.cli.commands.tools.review import review
from curator_dask.cli.commands.tools.sample import sample
from curator_dask.cli.commands.tools.similar import similar
from curator_dask.cli.commands.tools.verify import verify
from curator_dask.cli.help.command_help import CommandWithPanels, with_help_all, write_examples, write_sections
from curator_dask.errors import CuratorError

COMMANDS: dict[str, Callable[..., None]] = {
    "run": run,
    "split": split,
    "embed": embed,
    "align": align,
    "kmeans": kmeans,
    "pairwise": pairwise,
    "identify": identify,
    "dedup-new": dedup_new,
    "export": export,
    "verify": verify,
    "prune": prune,
    "inspect": inspect,
    "review": review,
    "sample": sample,
    "similar": similar,
    "plan": plan,
    "samples": samples,
    "doctor": doctor,
    "calibrate": calibrate,
}

WIDEST_HELP = 100
"""The first sentence of a command's help, in letters; it is wrapped, not cut."""
PANELS_OF_COMMANDS = {
    "The whole job": ("run",),
    "Its steps": ("split", "embed", "kmeans", "pairwise", "align", "identify", "export"),
    "Look and decide": ("inspect", "review", "similar", "sample", "dedup-new", "calibrate"),
    "Tools": ("plan", "verify", "prune", "doctor", "samples", "models"),
}


class Group(TyperGroup):
    """Shows an error of this package as one line on stderr, and exits with the exit code of its class."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        self.format_commands(ctx, formatter)
        records = [one.get_help_record(ctx) for one in self.get_params(ctx)]
        write_sections(formatter, {"Options": [record for record in records if record]})

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        sections = {
            panel: [(name, self.commands[name].get_short_help_str(WIDEST_HELP)) for name in names]
            for panel, names in PANELS_OF_COMMANDS.items()
        }
        write_sections(formatter, sections)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        write_examples(formatter, "curator-dask")

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except CuratorError as error:
            typer.echo(f"curator-dask: {error}", err=True)
            raise SystemExit(error.exit_code) from None
        except KeyboardInterrupt:
            typer.echo("curator-dask: stopped; run the same command again to continue", err=True)
            raise SystemExit(130) from None


app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    help="From raw video to a de-duplicated training set: split, embed, kmeans, pairwise, align, identify, export.",
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
    # A batch system stops a job with SIGTERM: exit in order, so that workers and ffmpeg stop too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


for name, command in COMMANDS.items():
    app.command(name, cls=CommandWithPanels)(with_help_all(command))
app.add_typer(models, name="models")
