"""``--help`` of a command: the options that most people set, in panels, and examples. ``--help-all`` shows every option.

The text is made without rich, whose import takes as long as all the rest.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from curator_dask.cli.help.examples import EXAMPLES
from curator_dask.cli.help.first_screen import FIRST_SCREEN, MOST_OPTIONS
from curator_dask.cli.options.groups import expand_groups
from curator_dask.cli.options.panels import GENERAL, PANELS

ARGUMENTS = "Arguments"
OTHER_PANEL = "Options"
"""Of options without a panel, in commands with few of them."""
SHOW_ALL = "curator_dask.show_all_options"
NAME_COLUMN = 30
"""Widest name of an option with its help on the same line."""
HELP_OPTIONS = ("help", "help_all")


def show_all(ctx: typer.Context, wanted: bool) -> None:
    """Print the help with every option, and exit."""
    if wanted and not ctx.resilient_parsing:
        ctx.meta[SHOW_ALL] = True
        typer.echo(ctx.get_help())
        raise typer.Exit


HelpAll = Annotated[
    bool,
    typer.Option(
        "--help-all",
        help="Show all options and exit.",
        rich_help_panel=GENERAL,
        is_eager=True,
        callback=show_all,
    ),
]


def with_help_all(command: Callable[..., None]) -> Callable[..., None]:
    """`command` with the flag ``--help-all``."""
    expanded = expand_groups(command)
    signature = inspect.signature(expanded)
    flag = inspect.Parameter("help_all", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=HelpAll)

    @wraps(expanded)
    def take_flag(**values: Any) -> None:
        expanded(**{name: value for name, value in values.items() if name != flag.name})

    take_flag.__signature__ = signature.replace(parameters=[*signature.parameters.values(), flag])  # type: ignore[attr-defined]
    take_flag.__annotations__ = {**expanded.__annotations__, "help_all": HelpAll}
    return take_flag


class CommandWithPanels(TyperCommand):
    """A command whose help has panels, a first screen and examples."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        parameters = [one for one in self.get_params(ctx) if one.get_help_record(ctx)]
        own = [one for one in parameters if one.name not in HELP_OPTIONS]
        shown = parameters if ctx.meta.get(SHOW_ALL) else _everyday(str(self.name), own)
        write_sections(formatter, _by_panel(ctx, shown))
        if len(shown) < len(own):
            formatter.write_paragraph()
            formatter.write_text(f"{len(own) - len(shown)} more options: {ctx.command_path} --help-all")

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        write_examples(formatter, str(self.name))


def write_examples(formatter: Any, name: str) -> None:
    """The examples of a command, unbroken, as they are copied from here."""
    if name in EXAMPLES:
        with formatter.section(heading("Examples")):
            for purpose, command in EXAMPLES[name]:
                formatter.write(f"  # {purpose}\n  {command}\n" if purpose else f"  {command}\n")


def write_sections(formatter: Any, sections: Mapping[str, list[tuple[str, str]]]) -> None:
    """Lists of names and help, one per panel, with all help in one column."""
    lengths = [len(name) for records in sections.values() for name, _ in records]
    width = max((length for length in lengths if length <= NAME_COLUMN), default=NAME_COLUMN)
    for panel, records in sections.items():
        with formatter.section(heading(panel)):
            formatter.write_dl([(f"{name:<{width}}", text) for name, text in records], col_max=width)


def heading(text: str) -> str:
    """Bold; where the output is no terminal, `typer.echo` takes that away again."""
    return text if os.environ.get("NO_COLOR") else typer.style(text, bold=True)


def _everyday(name: str, parameters: list[Any]) -> list[Any]:
    """The parameters on the first screen."""
    if len(parameters) <= MOST_OPTIONS:
        return parameters
    first = FIRST_SCREEN[name].split()
    return sorted((one for one in parameters if one.name in first), key=lambda one: first.index(one.name))


def _by_panel(ctx: Any, parameters: list[Any]) -> Mapping[str, list[tuple[str, str]]]:
    """Names and help of the parameters, by panel, in the order of the panels."""
    panels: dict[str, list[tuple[str, str]]] = {panel: [] for panel in (ARGUMENTS, OTHER_PANEL, *PANELS)}
    for one in parameters:
        panels[_panel_of(one)].append(one.get_help_record(ctx))
    return {panel: records for panel, records in panels.items() if records}


def _panel_of(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return ARGUMENTS
    return GENERAL if parameter.name in HELP_OPTIONS else parameter.rich_help_panel or OTHER_PANEL
