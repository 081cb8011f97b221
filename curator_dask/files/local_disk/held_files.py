"""Files that are written one by one, and flushed and named together."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path

from curator_dask.errors import InputError
from curator_dask.files.local_disk.flushing import flush, flush_open
from curator_dask.files.local_disk.refusals import writing_to


class HeldFiles:
    """Files that `write_file` wrote within `holding`: under temporary names, and not flushed. `put_in_place` does the rest.

    To flush several files and their folder once takes less time than to flush the folder for each of them.
    """

    def __init__(self) -> None:
        self._files: list[tuple[int, str, str]] = []

    def __len__(self) -> int:
        return len(self._files)

    @contextlib.contextmanager
    def holding(self) -> Iterator[None]:
        """Files that this thread writes within the block are held; if it raises an exception, they are removed."""
        before = HOLDING.set(self)
        try:
            yield
        except BaseException:
            self.drop()
            raise
        finally:
            HOLDING.reset(before)

    def add(self, descriptor: int, temporary: str, path: str) -> None:
        """Hold a file: open, under its temporary name, and where it belongs."""
        self._files.append((descriptor, temporary, path))

    def name(self) -> set[str]:
        """Flush the files and give them their names; returns their folders, which are to be flushed then."""
        folders = {os.path.dirname(path) for _, _, path in self._files}  # noqa: PTH120
        try:
            while self._files:
                descriptor, temporary, path = self._files[0]
                with writing_to(Path(path)):
                    flush_open(descriptor)
                    os.replace(temporary, path)  # noqa: PTH105
                os.close(descriptor)
                self._files.pop(0)
        finally:
            self.drop()
        return folders

    def drop(self) -> None:
        """Remove the files that have no name yet."""
        for descriptor, temporary, _ in self._files:
            os.close(descriptor)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)  # noqa: PTH108
        self._files.clear()


HOLDING: ContextVar[HeldFiles | None] = ContextVar("HOLDING", default=None)
"""What holds the files that this thread writes, if anything does."""


def put_in_place(several: Sequence[HeldFiles]) -> list[Exception | None]:
    """Flush held files, give them their names and flush their folders, each once; returns what went wrong with each, or None."""
    wrong: list[Exception | None] = []
    folders: set[str] = set()
    for held in several:
        try:
            folders |= held.name()
            wrong.append(None)
        except (OSError, InputError) as error:
            wrong.append(error)
    try:
        for folder in sorted(folders):
            with writing_to(Path(folder)):
                flush(Path(folder))
    except (OSError, InputError) as error:
        return [one or error for one in wrong]
    return wrong
