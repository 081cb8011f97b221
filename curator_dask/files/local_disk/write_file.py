"""Write a file whole, or not at all: under a temporary name that is flushed and renamed."""

from __future__ import annotations

import contextlib
import itertools
import os
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from curator_dask.files.local_disk.flushing import flush, flush_open
from curator_dask.files.local_disk.held_files import HOLDING
from curator_dask.files.local_disk.leftovers import TEMPORARY_PREFIX
from curator_dask.files.local_disk.refusals import writing_to

Made = TypeVar("Made")
PARTS_AT_ONCE = 512
"""Parts of a file that are written by one call; no system takes more than 1024. A call for each would begin within a page."""


def write_file(path: str, parts: Sequence[bytes | memoryview]) -> None:
    """Write a file whole: under a temporary name that is flushed and renamed, and flush its folder. It may hold another one.

    Many small files are written so, one for each unit of work at least: `pathlib` would take as long again as the disk.
    Within `HeldFiles.holding` it is not flushed and renamed yet.
    """
    target = Path(path)
    # Not derived from the target's name, which may be as long as the file system allows.
    temporary = os.path.join(os.path.dirname(path), f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}")  # noqa: PTH118, PTH120
    with writing_to(target, refused=True):
        descriptor = in_folder(
            target, lambda: os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        )
    held = HOLDING.get()
    try:
        with writing_to(target):
            _write_all(descriptor, parts, is_held=held is not None)
            if held is not None:
                held.add(descriptor, temporary, path)
                return
            os.replace(temporary, path)  # noqa: PTH105
            flush(target.parent)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)  # noqa: PTH108
        raise


def _write_all(descriptor: int, parts: Sequence[bytes | memoryview], *, is_held: bool) -> None:
    """Write the bytes. Unless the file is held, flush them and close it; and close it where that fails."""
    is_open = False
    try:
        left = deque(memoryview(part) for part in parts if len(part))
        while left:
            _drop(left, os.writev(descriptor, list(itertools.islice(left, PARTS_AT_ONCE))))
        is_open = is_held
        if not is_held:
            flush_open(descriptor)
    finally:
        if not is_open:
            os.close(descriptor)


def _drop(parts: deque[memoryview], num_bytes: int) -> None:
    """Leave out so many bytes from the beginning."""
    while parts and num_bytes >= len(parts[0]):
        num_bytes -= len(parts.popleft())
    if num_bytes:
        parts[0] = parts[0][num_bytes:]


@contextlib.contextmanager
def temporary_file(
    target: Path, place: Callable[[Path, Path], None] = os.replace, *, flushed: bool = True
) -> Iterator[Path]:
    """An empty file beside the target to write to. `place` gives it its name when the block ends well, else it vanishes."""
    # Not derived from the target's name, which may be as long as the file system allows.
    temporary = target.parent / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
    with writing_to(target, refused=True):
        in_folder(target, temporary.touch)
    try:
        with writing_to(target):
            yield temporary
            if flushed:
                flush(temporary)
            place(temporary, target)
            if flushed:
                flush(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def in_folder(target: Path, action: Callable[[], Made], attempts: int = 50) -> Made:
    """Do the action in the target's folder, which is made if need be, again if another process tidies it away in between."""
    while True:
        attempts -= 1
        try:
            return action()
        except (FileNotFoundError, FileExistsError):
            if not attempts:
                raise
        with contextlib.suppress(FileNotFoundError, FileExistsError):
            target.parent.mkdir(parents=True, exist_ok=True)


def link(temporary: Path, target: Path) -> bool:
    """Give a file its name only if nothing has that name."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        if target.exists():
            return False
        temporary.replace(target)
    return True
