"""Temporary folders in the system's folder for them (``TMPDIR``), which outlive no process for long.

A process that is killed cannot remove its folder. So the owner holds the folder locked (`flock`), the operating system
ends the lock with the process, and the next process that needs such a folder removes those that nobody holds.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

PREFIX = "curator_dask_tmp_"
FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A private empty folder, which is removed at the end of the block."""
    sweep_temporary_folders()
    folder, held = _make()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(held)


def lasting_folder() -> Path:
    """A private empty folder that lives as long as this process; a later process removes it."""
    sweep_temporary_folders()
    return _make()[0]


def sweep_temporary_folders() -> None:
    """Remove the temporary folders of processes that are dead; once per process, as only other processes leave some."""
    _sweep(tempfile.gettempdir())


def _make() -> tuple[Path, int]:
    """A new folder, and its open descriptor, which holds it locked where the file system knows locks."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        with contextlib.suppress(FileNotFoundError):  # another process may sweep it before it is locked
            held = os.open(folder, FLAGS)
            with contextlib.suppress(OSError):
                _lock(held, wait=True)
            if folder.exists():
                return folder, held
            os.close(held)


def _lock(descriptor: int, *, wait: bool) -> None:
    """Raises OSError where the file system knows no locks, or without `wait` where another process has it."""
    import fcntl

    fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


@functools.cache
def _sweep(parent: str) -> None:
    for folder in Path(parent).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if folder.lstat().st_uid == os.getuid():
                _remove_unheld(folder)


def _remove_unheld(folder: Path) -> None:
    descriptor = os.open(folder, FLAGS)
    try:
        _lock(descriptor, wait=False)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)
