"""Temporary folders go with the process that made them, even where it is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from curator_dask.files.temporary import temporary_folders
from curator_dask.files.temporary.temporary_folders import PREFIX, lasting_folder, temporary_folder

HOLDER = """
import sys
from curator_dask.files.temporary.temporary_folders import temporary_folder
with temporary_folder() as folder:
    (folder / "half").write_bytes(b"x")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch) -> Path:
    """The system's folder for temporary files, in which nothing was swept."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    temporary_folders._sweep.cache_clear()
    return tmp_path


def holder(place: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process that holds a temporary folder, and the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "TMPDIR": str(place)},
    )  # fmt: skip
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_a_folder_goes_at_the_end_of_its_block(place):
    with temporary_folder() as folder:
        (folder / "file").write_bytes(b"x")
        assert folder.parent == place
        assert folder.stat().st_mode & 0o077 == 0
    assert list(place.iterdir()) == []


def test_those_of_killed_processes_are_removed_and_those_in_use_stay(place):
    (living, used), (dead, left) = holder(place), holder(place)
    dead.send_signal(signal.SIGKILL)
    dead.communicate()
    assert left.exists()
    with temporary_folder() as folder:
        assert {*place.iterdir()} == {used, folder}
    living.communicate("")
    assert list(place.iterdir()) == []


def test_nothing_else_is_removed(place):
    other = place / "somebody's"
    other.mkdir()
    (place / f"{PREFIX}link").symlink_to(other)
    (place / f"{PREFIX}file").write_bytes(b"x")
    kept = lasting_folder()
    temporary_folders._sweep.cache_clear()
    with temporary_folder():
        pass
    assert {*place.iterdir()} == {other, place / f"{PREFIX}link", place / f"{PREFIX}file", kept}
