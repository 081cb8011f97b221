"""A folder in an object store: what `Folder` does there."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, cast

from curator_dask.files.drivers.filesystem import filesystem
from curator_dask.files.drivers.reach import reach
from curator_dask.files.entries.entry import Entry
from curator_dask.files.entries.hidden import is_hidden, with_hidden_as_one
from curator_dask.files.entries.spans import Spans, whole_parts
from curator_dask.files.object_store.asking import speaks_s3
from curator_dask.files.object_store.asking_once import note_change
from curator_dask.files.object_store.kept_contents import KEPT
from curator_dask.files.object_store.look import (
    content,
    expected,
    folders_in,
    has_folder,
    has_object,
    keep_content,
    kept_contents,
    object_at,
    objects_below,
    small_content,
)
from curator_dask.files.object_store.ranged_file import ranged
from curator_dask.files.object_store.transfers import fetch, read_small, send, send_bytes
from curator_dask.files.temporary.temporary_folders import temporary_folder

THREADS = 32
"""Small files that are asked for at a time."""


class StoreFolder:
    """Methods are those of `Folder`; `start` is a full path, and `path` one below the folder."""

    def __init__(self, url: str, storage_options: Mapping[str, Any]) -> None:
        self.url = url
        self.storage_options = storage_options

    @property
    def root(self) -> str:
        return cast(str, filesystem(self.url, self.storage_options)._strip_protocol(self.url)).rstrip("/")

    def join(self, *parts: str) -> str:
        return "/".join((self.root, *parts))

    def exists(self, path: str) -> bool:
        full = self.join(path) if path else self.root
        with self._reach() as fs:
            return has_object(fs, self.root, full) if path else has_folder(fs, full)

    def is_file(self) -> bool:
        with self._reach() as fs:
            return has_object(fs, self.root, self.root) if speaks_s3(fs) else bool(fs.isfile(self.root))

    def size(self, path: str) -> int | None:
        with self._reach() as fs:
            found = object_at(fs, self.root, self.join(path))
        return found[0] if found else None

    def entries(
        self, start: str, *, hidden: bool, max_depth: int | None, follow_links: bool, ending: str
    ) -> list[Entry]:
        with self._reach(needs_bucket=True) as fs:
            found = [Entry(*one) for one in objects_below(fs, self.root, start, max_depth) if one[0].endswith(ending)]
        return found if hidden else with_hidden_as_one(found)

    def sizes(self, start: str, *, max_depth: int | None) -> Iterator[tuple[str, int]]:
        with self._reach(needs_bucket=True) as fs:
            for name, num_bytes, _ in objects_below(fs, self.root, start, max_depth):
                if not is_hidden(name):
                    yield name, num_bytes

    def each_entry(self, start: str, *, hidden: bool) -> Iterator[Entry]:
        with self._reach(needs_bucket=True) as fs:
            for name, num_bytes, version in objects_below(fs, self.root, start):
                if hidden or not is_hidden(name):
                    yield Entry(name, num_bytes, version)

    def subfolders(self) -> list[str]:
        with self._reach() as fs:
            return folders_in(fs, self.root, self.root)

    def entry(self, path: str) -> Entry | None:
        with self._reach() as fs:
            found = object_at(fs, self.root, self.join(path), with_version=True)
        return Entry(path, *found) if found else None

    def read_bytes(self, path: str) -> bytes:
        with self._reach() as fs:
            return content(fs, self.root, self.join(path))

    def read_each(self, paths: Sequence[str], *, at_once: int) -> Iterator[bytes | None]:
        """The contents of small objects in the order given, None for one that is not there; many are asked for at a time."""
        with ThreadPoolExecutor(THREADS) as pool:
            for at in range(0, len(paths), at_once):
                yield from self._read_together(pool, paths[at : at + at_once])

    def _read_together(self, pool: ThreadPoolExecutor, paths: Sequence[str]) -> list[bytes | None]:
        """As `_read_small` of each. What need not be asked for is not."""
        full = {path: self.join(path) for path in paths}
        with self._reach() as fs:
            kept = kept_contents(fs, self.root, list(full.values()))
            unread = [path for path in paths if full[path] not in kept]
            for path, data in zip(unread, pool.map(self._read_small, unread), strict=True):
                kept[full[path]] = data
                if data is not None:
                    keep_content(fs, full[path], data)
        return [kept[full[path]] for path in paths]

    def _read_small(self, path: str) -> bytes | None:
        """The content of a small object; None where there is none."""
        try:
            # Not `fs.cat` of many paths: it takes a name with * ? or [ for a pattern.
            with self._reach() as fs, expected(self.join(path)):
                return read_small(fs, self.join(path))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def read_listed(self, entries: Sequence[Entry], *, at_once: int) -> Iterator[bytes | None]:
        for at in range(0, len(entries), at_once):
            some = entries[at : at + at_once]
            kept = {entry.path: KEPT.get(entry.version, entry.num_bytes) for entry in some}
            unread = [path for path, data in kept.items() if data is None]
            found = dict(zip(unread, self.read_each(unread, at_once=at_once), strict=True)) if unread else {}
            for entry in some:
                data = found.get(entry.path)
                if data is not None:
                    KEPT.keep(entry.version, data)
                yield kept[entry.path] if data is None else data

    def read_spans(self, path: str, spans: Spans) -> list[bytes]:
        starts, stops = [start for start, _ in spans], [stop for _, stop in spans]
        with self._reach() as fs, expected(self.join(path)):
            parts = fs.cat_ranges([self.join(path)] * len(spans), starts, stops, on_error="raise")
        return whole_parts(self.join(path), spans, parts)

    @contextlib.contextmanager
    def reading(self, path: str, spans: Spans) -> Iterator[Callable[[memoryview, int], int]]:
        parts = list(zip(spans, self.read_spans(path, spans), strict=True))

        def copy(buffer: memoryview, at: int) -> int:
            start, part = next((start, part) for (start, stop), part in parts if start <= at < stop)
            found = part[at - start : at - start + len(buffer)]
            buffer[: len(found)] = found
            return len(found)

        yield copy

    def read_ahead(self, paths: Iterable[str]) -> None:
        """A store is not asked twice."""

    def open(self, path: str) -> IO[bytes]:
        with self._reach() as fs, expected(self.join(path)):
            data = small_content(fs, self.root, self.join(path))
            if data is not None:
                return io.BytesIO(data)
            return ranged(fs.open(self.join(path), "rb", cache_type="none"))

    def write_parts(self, path: str, parts: Sequence[bytes | memoryview]) -> None:
        data = b"".join(parts)
        with self._writes(path) as fs:
            send_bytes(fs, data, self.join(path))
        note_change(self.join(path), data)

    def create_bytes(self, path: str, data: bytes) -> bool:
        with self._writes(path) as fs:
            try:
                fs.pipe_file(self.join(path), data, mode="create")
            except FileExistsError:
                return False
        return True

    def put(self, local: Path, path: str) -> None:
        with self._writes(path) as fs:
            send(fs, local, self.join(path))
        local.unlink()

    @contextlib.contextmanager
    def writing(self, path: str, *, for_this_run: bool) -> Iterator[Path]:
        with temporary_folder() as scratch:
            temporary = scratch / "file"
            yield temporary
            with self._writes(path) as fs:
                send(fs, temporary, self.join(path))

    @contextlib.contextmanager
    def local_copy(self, path: str) -> Iterator[Path]:
        with temporary_folder() as scratch:
            suffix = Path(path).suffix
            local = scratch / f"file{suffix if len(suffix) < 16 else ''}"
            with self._reach() as fs, expected(self.join(path)):
                fetch(fs, self.join(path), local)
            yield local

    def scratch(self, *parts: str) -> contextlib.AbstractContextManager[Path]:
        return temporary_folder()

    def remove(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError), self._writes(path, needs_bucket=False) as fs:
            fs.rm_file(self.join(path))

    def remove_many(self, paths: Sequence[str]) -> None:
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(self.remove, paths))

    def sweep(self, *, owned_by: str) -> int:
        """An upload that was cut short leaves no object."""
        return 0

    def sweep_directly(self, paths: Iterable[str]) -> int:
        return 0

    @contextlib.contextmanager
    def _writes(self, path: str, *, needs_bucket: bool = True) -> Iterator[Any]:
        """`_reach` for an operation that changes an object, also where it fails half way."""
        try:
            with self._reach(needs_bucket=needs_bucket) as fs:
                yield fs
        finally:
            note_change(self.join(path))

    def _reach(self, *, needs_bucket: bool = False) -> contextlib.AbstractContextManager[Any]:
        return reach(self.url, self.storage_options, needs_bucket=needs_bucket)
