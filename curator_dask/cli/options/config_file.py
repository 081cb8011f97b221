"""``--config`` reads the parameters of a command from a YAML file; ``--print-config`` writes such a file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from curator_dask.cli.options.panels import GENERAL
from curator_dask.errors import ParameterError, without_secrets

NOT_PARAMETERS = ("config", "print_config", "help", "help_all")
SECRET = re.compile(r"key|secret|token|passw|pwd|sas|credential|signature|connection_string|account", re.IGNORECASE)
"""What the names of storage options with secrets hold."""


def load_config(ctx: typer.Context, path: Path | None) -> Path | None:
    """Make the values of the file the defaults of this command."""
    if path is None:
        return None
    values = _read_mapping(path)
    known = {parameter.name for parameter in ctx.command.params} - set(NOT_PARAMETERS)
    unknown = sorted(values.keys() - known)
    if unknown:
        raise ParameterError(f"--config: {path} sets {', '.join(unknown)}; {ctx.info_name} has no such parameter")
    several = {parameter.name for parameter in ctx.command.params if getattr(parameter, "multiple", False)}
    ctx.default_map = {
        name: [value] if name in several and not isinstance(value, list) else value
        for name, value in values.items()
        if value is not None
    }
    return path


def _read_mapping(path: Path) -> dict[str, Any]:
    """The values of a YAML file by parameter name; a dash in a name counts as an underscore."""
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParameterError(f"--config: cannot read {path}: {error}") from error
    if not isinstance(values, dict):
        raise ParameterError(f"--config: {path} must hold 'name: value' lines, not a {type(values).__name__}")
    return {str(name).replace("-", "_"): value for name, value in values.items()}


def print_config(ctx: typer.Context) -> None:
    """Print the parameters of this call as YAML that --config accepts, and exit. Secrets of storage options are left out."""
    import yaml

    shown: dict[str, Any] = {}
    for parameter in ctx.command.params:
        if parameter.name in ctx.params and parameter.name not in NOT_PARAMETERS:
            value = ctx.params[parameter.name]
            shown[parameter.name] = str(value) if isinstance(value, Path) else value
    left_out = [one.partition("=")[0] for one in shown.get("storage_option") or () if _is_secret(one)]
    if left_out:
        shown["storage_option"] = [one for one in shown["storage_option"] if not _is_secret(one)]
        typer.echo(f"# left out, as they may be secret: --storage-option {', '.join(left_out)}")
    typer.echo(without_secrets(yaml.safe_dump(shown, sort_keys=False)), nl=False)
    raise typer.Exit


def _is_secret(storage_option: str) -> bool:
    """Whether an option's name says so, or its value holds a secret, as a URL with a password does."""
    name, _, value = storage_option.partition("=")
    return SECRET.search(name) is not None or without_secrets(value) != value


Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        rich_help_panel=GENERAL,
        help="YAML file with parameters. Flags and environment variables win over it.",
        callback=load_config,
        is_eager=True,
    ),
]
PrintConfig = Annotated[
    bool,
    typer.Option(
        "--print-config",
        rich_help_panel=GENERAL,
        help="Print the parameters of this call as YAML for --config, and exit.",
    ),
]
