"""How an option is declared: its flags, its help, and the environment variable that can set it.

A value comes from the flag, else from ``CURATOR_DASK_{NAME}``, else from the ``--config`` file, else from the default.
"""

from __future__ import annotations

from typing import Any

import typer

PREFIX = "CURATOR_DASK_"


def option(*flags: str, help: str, **more: Any) -> Any:
    """An option that the environment variable named after its first flag can set too."""
    variable = PREFIX + flags[0].removeprefix("--").split("/")[0].replace("-", "_").upper()
    return typer.Option(*flags, help=help, envvar=variable, show_envvar=False, **more)
