"""The installed package, seen by type checkers."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_type_checkers_find_the_editable_install() -> None:
    """They follow a path in a `.pth` file, but not the import hook that setuptools may install instead."""
    try:
        installed = distribution("curator_dask")
        origin = json.loads(installed.read_text("direct_url.json") or "{}")
    except PackageNotFoundError:
        origin = {}
    if origin.get("url") != ROOT.as_uri():
        pytest.skip("this checkout is not what is installed")
    paths = [str(file.locate()) for file in installed.files or () if file.suffix == ".pth"]
    assert [line for path in paths for line in Path(path).read_text().split()] == [str(ROOT)]
    assert (ROOT / "curator_dask" / "py.typed").exists()
