"""How an option is declared: its flags, its help, its panel, and the environment variable that can set it.

A value comes from the flag, else from ``CURATOR_DASK_{NAME}``, else from the ``--config`` file, else from the default.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import typer

PREFIX = "CURATOR_DASK_"


def option(*flags: str, help: str, **more: Any) -> Any:
    """An option that the environment variable named after its first flag can set too."""
    variable = PREFIX + flags[0].removeprefix("--").split("/")[0].replace("-", "_").upper()
    return typer.Option(*flags, help=help, envvar=variable, show_envvar=False, **more)


def options_in(panel: str) -> Callable[..., Any]:
    """`option`, for options in this panel of ``--help``. ``values`` are shown as the choices, and complete in shells.

    Whether a value is one of them says the stage, in the same words on the command line and in Python.
    """
    return partial(_option_in, panel)


def _option_in(panel: str, *flags: str, help: str, values: Sequence[str] = (), **more: Any) -> Any:
    choices = {"metavar": f"[{'|'.join(values)}]", "autocompletion": completion_of(values)} if values else {}
    return option(*flags, help=help, rich_help_panel=panel, **choices, **more)


def completion_of(values: Iterable[str]) -> Callable[[str], list[str]]:
    """What a shell offers for the beginning of a value."""

    def complete(incomplete: str) -> list[str]:
        return [value for value in values if value.startswith(incomplete)]

    return complete
