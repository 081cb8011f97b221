"""Options that several commands share are declared once, as a frozen dataclass: an option group.

A command takes a group as one parameter; the command line shows one option per field in its place::

    @dataclass(frozen=True)
    class RunOptions:                       def embed(ctx, input_path: InputPath, run_options: RunOptions): ...
        dry_run: DryRun = False
        overwrite: Overwrite = False        embed --input-path … --dry-run --overwrite
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields, is_dataclass
from typing import TYPE_CHECKING, Any, get_type_hints

if TYPE_CHECKING:
    import typer
    from _typeshed import DataclassInstance


def expand_groups(command: Callable[..., None]) -> Callable[..., None]:
    """`command` with every parameter that is an option group replaced by the fields of that group."""
    hints = get_type_hints(command, include_extras=True)
    groups = {name: hint for name, hint in hints.items() if is_dataclass(hint)}

    @functools.wraps(command)
    def take_groups(**values: Any) -> None:
        built = {name: _take(group, values) for name, group in groups.items()}
        command(**values, **built)

    parameters = [
        one
        for parameter in inspect.signature(command).parameters.values()
        for one in _expand(parameter.replace(annotation=hints[parameter.name]))
    ]
    take_groups.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    take_groups.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return take_groups


def _take(group: Any, values: dict[str, Any]) -> Any:
    """Build a group from its values, which are removed from `values`."""
    return group(**{field.name: values.pop(field.name) for field in fields(group)})


def _expand(parameter: inspect.Parameter) -> Iterator[inspect.Parameter]:
    """The parameters that the command line shows for one parameter of a command."""
    if not is_dataclass(parameter.annotation):
        yield parameter.replace(kind=parameter.KEYWORD_ONLY)
        return
    hints = get_type_hints(parameter.annotation, include_extras=True)
    for field in fields(parameter.annotation):
        default = inspect.Parameter.empty if field.default is MISSING else field.default
        yield inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints[field.name]
        )


def parameters_of(ctx: typer.Context, owner: type[DataclassInstance]) -> dict[str, Any]:
    """The options of a command that are parameters of `owner` (a stage, say): both have the same names."""
    return {field.name: ctx.params[field.name] for field in fields(owner) if field.name in ctx.params}
