"""The worked examples in docstrings come out as they are written there."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import numpy as np
import pytest

ROOMS = ("curator_dask.dedup", "curator_dask.data", "curator_dask.stages", "curator_dask.models", "curator_dask.video")
FINDER = doctest.DocTestFinder(exclude_empty=True)


def examples() -> list[doctest.DocTest]:
    """Every docstring with an example, of modules that nothing but this package's own dependencies are needed for."""
    found = []
    for room in ROOMS:
        package = importlib.import_module(room)
        for one in pkgutil.walk_packages(package.__path__, f"{room}."):
            if not one.name.rpartition(".")[2].startswith("_"):
                found += FINDER.find(importlib.import_module(one.name), one.name, extraglobs={"np": np})
    return [example for example in found if example.examples]


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.name)
def test_worked_example(example):
    told: list[str] = []
    doctest.DocTestRunner(verbose=False).run(example, out=told.append)
    assert not told, "".join(told)


def test_there_are_examples():
    assert len(examples()) >= 5
