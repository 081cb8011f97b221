"""The package as it is installed: seen by type checkers, as a wheel, and with what is shown meanwhile."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

from tools.install import follow
from tools.try_wheel import missing_files

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


def test_a_wheel_holds_every_file_of_the_package(tmp_path: Path) -> None:
    """`make dist` also does a whole run with it."""
    if int(version_of("setuptools").partition(".")[0]) < 77:
        pytest.skip("building a wheel needs setuptools 77 or newer")
    copy = tmp_path / "source"
    shutil.copytree(ROOT / "curator_dask", copy / "curator_dask", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", tmp_path, copy],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    assert missing_files(wheel) == []
    with zipfile.ZipFile(wheel) as archive:
        (points,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
        assert "curator-dask = curator_dask.cli:main" in archive.read(points).decode()


def version_of(package: str) -> str:
    try:
        return distribution(package).version
    except PackageNotFoundError:
        return "0"


def test_the_install_says_how_far_it_is() -> None:
    lines = [
        "Collecting torch==2.13.0 (from -c constraints.txt (line 40))\n",
        "  Downloading torch-2.13.0-cp311-none-any.whl (1.5 GB)\n",
        "Collecting av>=15\n",
        "  Using cached av-18.1.0-cp311-abi3-any.whl.metadata (500 kB)\n",
        "Installing collected packages: av, torch\n",
    ]
    shown: list[str] = []
    assert follow(lines, shown.append) == lines
    assert shown == [
        "1 packages found, 1500 MB fetched: torch",
        "2 packages found, 1500 MB fetched: av",
        "2 packages are being unpacked; this takes a minute or two",
    ]
