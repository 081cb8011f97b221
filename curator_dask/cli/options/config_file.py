"""``--config`` reads the parameters of a command from a YAML file; ``--print-config`` writes such a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from curator_dask.errors import ParameterError

NOT_PARAMETERS = ("config", "print_config", "help")


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
    """Print the parameters of this call as YAML that --config accepts, and exit."""
    import yaml

    shown = {}
    for parameter in ctx.command.params:
        if parameter.name in ctx.params and parameter.name not in NOT_PARAMETERS:
            value = ctx.params[parameter.name]
            shown[parameter.name] = str(value) if isinstance(value, Path) else value
    typer.echo(yaml.safe_dump(shown, sort_keys=False), nl=False)
    raise typer.Exit


Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="YAML file with parameters. Flags and environment variables win over it.",
        callback=load_config,
        is_eager=True,
    ),
]
PrintConfig = Annotated[
    bool, typer.Option("--print-config", help="Print the parameters of this call as YAML for --config, and exit.")
]
