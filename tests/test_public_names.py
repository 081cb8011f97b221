"""What `from curator_dask import …` offers, and what importing the package costs."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import subprocess
import sys

import pytest

import curator_dask
from curator_dask import errors
from curator_dask.stages.base import Stage

HEAVY = (
    "torch",
    "dask",
    "distributed",
    "pyarrow",
    "pandas",
    "numpy",
    "av",
    "decord",
    "typer",
    "rich",
    "fsspec",
    "scipy",
)


@pytest.mark.parametrize("name", curator_dask.__all__)
def test_every_name_can_be_imported(name):
    assert getattr(curator_dask, name) is not None


def test_names_are_in_order_and_complete():
    names = curator_dask.__all__
    assert names == sorted(names)
    assert len(names) == len(set(names))
    assert dir(curator_dask) == sorted(names)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'KMeans'"):
        _ = curator_dask.KMeans


def test_every_error_is_public():
    tree = {
        name for name, value in vars(errors).items() if inspect.isclass(value) and value.__module__ == errors.__name__
    }
    assert tree <= set(curator_dask.__all__)
    assert all(issubclass(getattr(curator_dask, name), curator_dask.CuratorError) for name in tree)


def test_every_stage_and_its_function_are_public():
    stages = importlib.import_module("curator_dask.stages")
    modules = [
        importlib.import_module(one.name) for one in pkgutil.walk_packages(stages.__path__, "curator_dask.stages.")
    ]
    found = {
        name
        for module in modules
        for name, value in vars(module).items()
        if inspect.isclass(value)
        and issubclass(value, Stage)
        and value is not Stage
        and value.__module__ == module.__name__
    }
    assert found >= {
        "SplitStage",
        "EmbedStage",
        "KMeansStage",
        "PairwiseStage",
        "IdentifyDuplicatesStage",
        "ExportStage",
    }
    assert found <= set(curator_dask.__all__)


@pytest.mark.parametrize("name", [name for name in curator_dask.__all__ if not name.startswith("_")])
def test_every_public_name_is_explained(name):
    assert inspect.getdoc(getattr(curator_dask, name))


def test_exit_codes_tell_the_errors_apart():
    codes = {
        value.exit_code
        for value in vars(errors).values()
        if inspect.isclass(value) and issubclass(value, errors.CuratorError) and "exit_code" in vars(value)
    }
    assert codes == {1, 2, 3, 4, 5, 6, 7}


def test_importing_the_package_is_light():
    code = f"import sys, json, curator_dask; print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout) == []
