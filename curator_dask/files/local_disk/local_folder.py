"""A folder on a local disk: what `Folder` does there."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

from curator_dask.files.drivers.filesystem import filesystem
from curator_dask.files.entries.entry import Entry
from curator_dask.files.entries.spans import Spans, whole_parts
from curator_dask.files.local_disk.flushing import flush
from curator_dask.files.local_disk.leftovers import TEMPORARY_PREFIX, leftovers, remove
from curator_dask.files.local_disk.listing import local_entries, local_entry, local_sizes
from curator_dask.files.local_disk.paths import absolute_path, refuse_outside
from curator_dask.files.local_disk.reading import ask_for, open_file, read_file, read_into
from curator_dask.files.local_disk.refusals import writing_to
from curator_dask.files.local_disk.write_file import in_folder, link, temporary_file, write_file


class LocalFolder:
    """Methods are those of `Folder`; `start` is a full path, and `path` one below the folder."""

    def __init__(self, url: str) -> None:
        self.url = url

    @property
    def root(self) -> str:
        return absolute_path(self.url.removeprefix("file://"))

    def join(self, *parts: str) -> str:
        if not parts:
            return self.root
        refuse_outside(self.url, parts)
        return "/".join((self.root, *parts))

    def path(self, *parts: str) -> Path:
        return Path(self.join(*parts))

    def exists(self, path: str) -> bool:
        return os.path.lexists(self.join(path) if path else self.root)

    def is_file(self) -> bool:
        return Path(self.root).is_file()

    def size(self, path: str) -> int | None:
        return int(filesystem(self.url).size(self.join(path)))

    def entries(
        self, start: str, *, hidden: bool, max_depth: int | None, follow_links: bool, ending: str
    ) -> list[Entry]:
        return list(local_entries(start, hidden=hidden, max_depth=max_depth, follow_links=follow_links, ending=ending))

    def sizes(self, start: str, *, max_depth: int | None) -> Iterator[tuple[str, int]]:
        return local_sizes(start, max_depth=max_depth)

    def each_entry(self, start: str, *, hidden: bool) -> Iterator[Entry]:
        return (entry for entry in local_entries(start, hidden=hidden) if not entry.passed_over)

    def subfolders(self) -> list[str]:
        return [path.name for path in Path(self.root).iterdir() if path.is_dir()]

    def entry(self, path: str) -> Entry | None:
        full = self.join(path)
        return local_entry(full, path) if os.path.lexists(full) else None

    def read_bytes(self, path: str) -> bytes:
        return read_file(self.join(path))

    def read_each(self, paths: Sequence[str], *, at_once: int) -> Iterator[bytes | None]:
        return map(self._read_if_there, paths)

    def _read_if_there(self, path: str) -> bytes | None:
        try:
            return self.read_bytes(path)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def read_listed(self, entries: Sequence[Entry], *, at_once: int) -> Iterator[bytes | None]:
        return self.read_each([entry.path for entry in entries], at_once=at_once)

    def read_spans(self, path: str, spans: Spans) -> list[bytes]:
        with self.open(path) as stream:
            parts = [os.pread(stream.fileno(), stop - start, start) for start, stop in spans]
        return whole_parts(self.join(path), spans, parts)

    @contextlib.contextmanager
    def reading(self, path: str, spans: Spans) -> Iterator[Callable[[memoryview, int], int]]:
        with self.open(path) as stream:
            yield functools.partial(read_into, stream.fileno())

    def read_ahead(self, paths: Iterable[str]) -> None:
        for path in paths:
            ask_for(self.join(path))

    def open(self, path: str) -> IO[bytes]:
        return open_file(self.join(path))

    def write_parts(self, path: str, parts: Sequence[bytes | memoryview]) -> None:
        write_file(self.join(path), parts)

    def create_bytes(self, path: str, data: bytes) -> bool:
        created = False

        def place(temporary: Path, target: Path) -> None:
            nonlocal created
            created = link(temporary, target)

        with temporary_file(self.path(path), place) as temporary, temporary.open("wb") as stream:
            stream.write(data)
        return created

    def put(self, local: Path, path: str) -> None:
        target = self.path(path)
        try:
            with writing_to(target):
                flush(local)
                in_folder(target, lambda: local.replace(target))
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            with temporary_file(target) as temporary:  # another file system: copy beside the target, then rename
                shutil.copyfile(local, temporary)
            local.unlink()
        else:
            flush(target.parent)

    def writing(self, path: str, *, for_this_run: bool) -> contextlib.AbstractContextManager[Path]:
        return temporary_file(self.path(path), flushed=not for_this_run)

    def local_copy(self, path: str) -> contextlib.AbstractContextManager[Path]:
        return contextlib.nullcontext(self.path(path))

    @contextlib.contextmanager
    def scratch(self, *parts: str) -> Iterator[Path]:
        parent = self.path(*parts)
        with writing_to(parent, refused=True):
            made = in_folder(parent / TEMPORARY_PREFIX, lambda: _private_folder(parent))
        with made as name, writing_to(Path(name)):
            yield Path(name)

    def remove(self, path: str) -> None:
        target = self.path(path)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            target.unlink()
        for folder in target.parents:
            if folder == Path(self.root):
                break
            try:
                folder.rmdir()
            except OSError:
                break

    def remove_many(self, paths: Sequence[str]) -> None:
        for path in paths:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                os.unlink(self.join(path))  # noqa: PTH108  pathlib costs more than the call

    def sweep(self, *, owned_by: str) -> int:
        return sum(map(remove, list(leftovers(Path(self.root), owned_by))))

    def sweep_directly(self, paths: Iterable[str]) -> int:
        return sum(remove(left) for path in paths for left in self.path(path).glob(f"{TEMPORARY_PREFIX}*"))


def _private_folder(parent: Path) -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=parent, ignore_cleanup_errors=True)
