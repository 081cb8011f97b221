"""Options: a group's options stand where its parameter is; dots in the name of a storage option make nested options."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Annotated

import pytest
import typer

from curator_dask import ParameterError
from curator_dask.cli.app import COMMANDS
from curator_dask.cli.options.groups import expand_groups
from curator_dask.cli.options.run_options import RunOptions, parse_storage_options

Size = Annotated[int, typer.Option("--size")]


@dataclass(frozen=True)
class Box:
    name: str
    size: Size = 3


def test_a_group_is_expanded_in_its_place():
    seen = {}

    def pack(first: bool = False, *, box: Box, last: str = "z") -> None:
        seen.update(first=first, box=box, last=last)

    command = expand_groups(pack)
    parameters = inspect.signature(command).parameters
    assert list(parameters) == ["first", "name", "size", "last"]
    assert parameters["size"].annotation is Size
    assert (parameters["name"].default, parameters["size"].default) == (inspect.Parameter.empty, 3)
    command(first=True, name="a", size=4, last="y")
    assert seen == {"first": True, "box": Box("a", 4), "last": "y"}


@pytest.mark.parametrize(
    "name", ["run", "split", "embed", "kmeans", "pairwise", "identify", "dedup-new", "export", "calibrate"]
)
def test_every_command_that_runs_a_stage_ends_with_the_shared_options(name):
    shared = list(inspect.signature(RunOptions).parameters)
    assert list(inspect.signature(COMMANDS[name]).parameters)[-len(shared) :] == shared


@pytest.mark.parametrize(
    ("pairs", "options"),
    [
        ([], {}),
        (["key=a=b"], {"key": "a=b"}),
        (["anon=True", "use_ssl=false"], {"anon": True, "use_ssl": False}),
        (["client_kwargs.endpoint_url=u", "client_kwargs.region=r"], {"client_kwargs": {"endpoint_url": "u", "region": "r"}}),
    ],
    ids=["none", "first equals sign", "booleans", "nested"],
)  # fmt: skip
def test_storage_options(pairs, options):
    assert parse_storage_options(pairs) == options


@pytest.mark.parametrize("pair", ["key", "=value"])
def test_a_storage_option_needs_a_key_and_a_value(pair):
    with pytest.raises(ParameterError, match="is not KEY=VALUE"):
        parse_storage_options([pair])
