"""Folders on any storage that fsspec reaches (local disk, ``s3://…``). A file is written completely or not at all.

A local file is written under a hidden temporary name, flushed to disk, renamed, and its folder flushed too. An object
store shows an object only after its upload has ended, in parts or in one go, so a plain upload is enough there.
How each is done lies in `local_disk/local_folder` and `object_store/store_folder`.
"""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import IO, Any

from curator_dask.errors import InputError, ParameterError
from curator_dask.files.content_hash import FINDS_DAMAGE, Written, hash_of, hash_of_stream
from curator_dask.files.drivers.filesystem import filesystem, is_local
from curator_dask.files.entries.entry import Entry
from curator_dask.files.local_disk.local_folder import LocalFolder
from curator_dask.files.object_store.store_folder import StoreFolder


@dataclass(frozen=True)
class Folder:
    """A folder by its path or URL; cheap to make, picklable, and nothing is touched until a method is called.

    Methods raise InputError where the storage cannot be reached, FileNotFoundError where one file is not there.
    """

    url: str
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", os.fspath(self.url))
        if not self.url:
            raise ParameterError("a folder path is empty: give a path or a URL such as s3://bucket/prefix")
        if "\0" in self.url:
            raise ParameterError(f"a folder path holds a null byte: {self.url!r}")

    def __getstate__(self) -> dict[str, Any]:
        """As it travels to workers: the folder that they run in need not be this process's."""
        return {"url": absolute(self.url), "storage_options": self.storage_options}

    @functools.cached_property
    def _place(self) -> LocalFolder | StoreFolder:
        """The folder where it lies. It travels to no worker: it is made anew there."""
        return LocalFolder(self.url) if self.is_local else StoreFolder(self.url, self.storage_options)

    @property
    def is_local(self) -> bool:
        return is_local(self.url)

    @property
    def root(self) -> str:
        """The path without its protocol; absolute on a local disk."""
        return self._place.root

    @property
    def fs(self) -> Any:
        return filesystem(self.url, self.storage_options)

    def join(self, *parts: str) -> str:
        """Full path of a file below the folder, in the form that `fs` takes."""
        return self._place.join(*parts)

    def below(self, *parts: str) -> Folder:
        return Folder("/".join((self.url.rstrip("/"), *parts)), self.storage_options)

    def local_path(self, *parts: str) -> Path:
        if not self.is_local:
            raise InputError(f"{self.url} is not on a local disk")
        return Path(self.join(*parts))

    def exists(self, path: str = "") -> bool:
        """Whether there is such a file; without a path, whether there is the folder itself, or a file in its place.

        An object store has no folders below: ask ``below(name).exists()`` whether it has objects there.
        """
        return self._place.exists(path)

    def is_file(self) -> bool:
        """Whether the path or URL is that of one file, not of a folder."""
        return self._place.is_file()

    def check_is_no_file(self) -> None:
        """Raise InputError if a file is where this local folder, or a folder above it, has to be made."""
        if not self.is_local:
            return
        place = Path(self.root)
        first = next(path for path in (place, *place.parents) if os.path.lexists(path))
        if not first.is_dir():
            raise InputError(
                f"{self.url} cannot be a folder: {str(first)!r} is a file or a broken link. Name another one"
            )

    def size(self, path: str) -> int | None:
        """Bytes of a file, or None where there is none."""
        try:
            return self._place.size(path)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def entries(
        self, path: str = "", *, hidden: bool = False, max_depth: int | None = None, ending: str = ""
    ) -> list[Entry]:
        """All files below, by path; hidden ones (``.name``, and all below a hidden folder) only when asked for.

        Links to folders are followed, but never in a circle. With `max_depth` 1, only the files of the folder itself. With an
        `ending`, only files whose names end so: a local disk is not asked about others.
        Raises InputError for a folder that cannot be read: leaving it out would lose its files without a word.
        """
        found = self.all_entries(path, hidden=hidden, max_depth=max_depth, ending=ending)
        return [entry for entry in found if not entry.passed_over]

    def all_entries(
        self, path: str = "", *, hidden: bool = False, max_depth: int | None = None, follow_links: bool = True,
        ending: str = "",
    ) -> list[Entry]:  # fmt: skip
        """As `entries`, and also what it leaves out, each with the reason in `Entry.passed_over`.

        A hidden folder is one entry. Without `follow_links`, links that lead out of the folder are passed over too.
        """
        found = self._place.entries(
            self._start(path), hidden=hidden, max_depth=max_depth, follow_links=follow_links, ending=ending
        )
        return sorted((_below(path, entry) for entry in found) if path else found, key=attrgetter("path"))

    def sizes(self, path: str = "", *, max_depth: int | None = None) -> dict[str, int]:
        """Path → bytes of the files that `entries` lists, with less work and memory for each."""
        prefix = f"{path}/" if path else ""
        found = self._place.sizes(self._start(path), max_depth=max_depth)
        return {prefix + name: num_bytes for name, num_bytes in found}

    def each_entry(self, path: str = "", *, hidden: bool = False) -> Iterator[Entry]:
        """As `entries`, one at a time and in any order: for folders of very many files.

        On a local disk nothing is kept. Object stores are listed whole, and what is told is let go on the way.
        """
        for entry in self._place.each_entry(self._start(path), hidden=hidden):
            yield _below(path, entry) if path else entry

    def _start(self, path: str) -> str:
        """Where a listing begins, in full."""
        return self.join(path) if path else self.root

    def subfolders(self) -> list[str]:
        """The names of the folders directly below, sorted, hidden ones left out; none where there is no folder."""
        try:
            found = self._place.subfolders()
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(name for name in found if not name.startswith("."))

    def entry(self, path: str) -> Entry | None:
        """One file, hidden or not; None where there is none."""
        return self._place.entry(path)

    def read_bytes(self, path: str) -> bytes:
        return self._place.read_bytes(path)

    def read_many(
        self, paths: Sequence[str], *, at_once: int = 256, missing_ok: bool = False
    ) -> Iterator[tuple[str, bytes]]:
        """The contents of many small files, in the order given; an object store is asked for many at a time.

        With `missing_ok`, files that are not there are left out.
        """
        for path, data in zip(paths, self._place.read_each(paths, at_once=at_once), strict=True):
            if data is not None:
                yield path, data
            elif not missing_ok:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.join(path))

    def read_listed(self, entries: Sequence[Entry], *, at_once: int = 256) -> Iterator[tuple[str, bytes]]:
        """As `read_many`, for files of a listing; those that are gone are left out, as far as they are asked for.

        What this process has read of an object store is not asked for again where its version is the same.
        """
        for entry, data in zip(entries, self._place.read_listed(entries, at_once=at_once), strict=True):
            if data is not None:
                yield entry.path, data

    def read_spans(self, path: str, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        """Parts of a file, none empty, as (first byte, byte after the last); an object store is asked for many at a time.

        Raises InputError where the file ends before a part does.
        """
        return self._place.read_spans(path, spans)

    def reading(
        self, path: str, spans: Sequence[tuple[int, int]]
    ) -> AbstractContextManager[Callable[[memoryview, int], int]]:
        """A function that fills a buffer from a place of a file on, in one of these spans; it returns the number of bytes.

        It reads a local file straight into the buffer; the spans of one in an object store are fetched together before.
        """
        return self._place.reading(path, spans)

    def read_ahead(self, paths: Iterable[str]) -> None:
        """Ask a local disk for files that are read soon. It is not waited for, and a file that is not there does not matter."""
        self._place.read_ahead(paths)

    def open(self, path: str) -> IO[bytes]:
        """A file as a stream; of an object store it fetches what is read, long reads in parts at a time."""
        return self._place.open(path)

    def content_hash(self, path: str, like: str = FINDS_DAMAGE) -> str:
        """The hash of a file's content, of the same kind as `like`; the file is read in pieces."""
        with self.open(path) as stream:
            return hash_of_stream(stream, like)

    def write_bytes(self, path: str, data: bytes) -> int:
        """Write a file whole; returns its size, as `Written` with its hash."""
        return self.write_parts(path, [data])

    def write_parts(self, path: str, parts: Sequence[bytes | memoryview]) -> int:
        """As `write_bytes`, a file that consists of these parts."""
        self._place.write_parts(path, parts)
        return Written(sum(map(len, parts)), hash_of(*parts))

    def create_bytes(self, path: str, data: bytes) -> bool:
        """Write a file whole unless there is one; False if there is. No two callers both get True, on a local disk and
        where the store knows conditional writes."""
        return self._place.create_bytes(path, data)

    def put(self, local: Path, path: str) -> int:
        """Move a finished local file to its place in the folder, whole; returns its size, as `Written` with its hash."""
        with local.open("rb") as stream:
            size = Written(local.stat().st_size, hash_of_stream(stream))
        self._place.put(local, path)
        return size

    def writing(self, path: str, *, for_this_run: bool = False) -> AbstractContextManager[Path]:
        """A local temporary path to write to; becomes the file when the block ends well, vanishes when it does not.

        A file for this run only, which a later run would make anew, is not flushed: it may never have to reach the disk.
        """
        return self._place.writing(path, for_this_run=for_this_run)

    def local_copy(self, path: str) -> AbstractContextManager[Path]:
        """A local path that holds the file: itself on a local disk, else a copy that lives as long as the block."""
        return self._place.local_copy(path)

    def scratch(self, *parts: str) -> AbstractContextManager[Path]:
        """A private empty local folder, on the folder's own disk where it has one, so that `put` is a rename."""
        return self._place.scratch(*parts)

    def remove(self, path: str) -> None:
        """Remove one file; a missing one is no error. Local folders left empty by it go too, but never the root."""
        self._place.remove(path)

    def remove_many(self, paths: Sequence[str]) -> None:
        """Remove many small files of one folder, which stays; an object store is asked for many at a time."""
        self._place.remove_many(paths)

    def sweep(self, *, owned_by: str) -> int:
        """Remove what killed writers left below (temporary files and scratch folders); returns how many.

        Folders that hold an entry named `owned_by` have an owner of their own and are left to it.
        """
        return self._place.sweep(owned_by=owned_by)

    def sweep_directly(self, paths: Iterable[str]) -> int:
        """Remove what killed writers left in these folders, but not further below; returns how many."""
        return self._place.sweep_directly(paths)


def _below(folder: str, entry: Entry) -> Entry:
    """An entry of a folder below, with the path from this one on."""
    return Entry(f"{folder}/{entry.path}", entry.num_bytes, entry.version, entry.passed_over)


def file_versions(entries: Iterable[Entry]) -> list[tuple[str, int, str]]:
    """(path, bytes, version) per file, for a digest that changes when a file is added, removed or replaced."""
    return [(entry.path, entry.num_bytes, entry.version) for entry in entries]


def absolute(path: str) -> str:
    """A local path in full; a URL of another kind as it is."""
    folder = Folder(path)
    return folder.root if folder.is_local else path
