"""Folders on any storage that fsspec reaches (local disk, ``s3://…``). A file is written completely or not at all.

A local file is written under a hidden temporary name, flushed to disk, renamed, and its folder flushed too. An object
store shows an object only after its upload has ended, in parts or in one go, so a plain upload is enough there.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import IO, Any, cast

from curator_dask.errors import CuratorError, InputError, ParameterError
from curator_dask.files.content_hash import FINDS_DAMAGE, Written, hash_of, hash_of_stream
from curator_dask.files.entries.entry import HIDDEN, Entry
from curator_dask.files.local_disk.flushing import flush
from curator_dask.files.local_disk.leftovers import TEMPORARY_PREFIX, leftovers, remove
from curator_dask.files.local_disk.listing import local_entries, local_entry, local_sizes
from curator_dask.files.local_disk.reading import ask_for, open_file, read_file, read_into
from curator_dask.files.local_disk.refusals import writing_to
from curator_dask.files.local_disk.write_file import in_folder, link, write_file
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

__all__ = ["Entry", "Folder", "absolute", "file_versions", "filesystem"]

THREADS = 32
"""Small files that are asked for at a time in an object store."""


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
        return {**self.__dict__, "url": absolute(self.url)}

    @property
    def is_local(self) -> bool:
        return "://" not in self.url or self.url.startswith("file://")

    @property
    def root(self) -> str:
        """The path without its protocol; absolute on a local disk."""
        if not self.is_local:
            return cast(str, self.fs._strip_protocol(self.url)).rstrip("/")
        path = self.url.removeprefix("file://")
        if path.startswith("/"):
            return _plain_path(path)
        return _path_in(str(Path.cwd()), path)

    @property
    def fs(self) -> Any:
        return filesystem(self.url, self.storage_options)

    def join(self, *parts: str) -> str:
        """Full path of a file below the folder, in the form that `fs` takes."""
        if not parts:
            return self.root
        if self.is_local:
            _refuse_outside(self.url, parts)
        return "/".join((self.root, *parts))

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
        full = self.join(path) if path else self.root
        if self.is_local:
            return os.path.lexists(full)
        with self._reach() as fs:
            return has_object(fs, self.root, full) if path else has_folder(fs, full)

    def is_file(self) -> bool:
        """Whether the path or URL is that of one file, not of a folder."""
        if self.is_local:
            return Path(self.root).is_file()
        with self._reach() as fs:
            return has_object(fs, self.root, self.root) if speaks_s3(fs) else bool(fs.isfile(self.root))

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
            with self._reach() as fs:
                if self.is_local:
                    return int(fs.size(self.join(path)))
                found = object_at(fs, self.root, self.join(path))
        except (FileNotFoundError, NotADirectoryError):
            return None
        return found[0] if found else None

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
        start = self.join(path) if path else self.root
        if self.is_local:
            found = list(
                local_entries(start, hidden=hidden, max_depth=max_depth, follow_links=follow_links, ending=ending)
            )
        else:
            with self._reach(needs_bucket=True) as fs:
                found = [
                    Entry(*one) for one in objects_below(fs, self.root, start, max_depth) if one[0].endswith(ending)
                ]
            found = found if hidden else _with_hidden_as_one(found)
        if path:
            found = [Entry(f"{path}/{one.path}", one.num_bytes, one.version, one.passed_over) for one in found]
        return sorted(found, key=attrgetter("path"))

    def sizes(self, path: str = "", *, max_depth: int | None = None) -> dict[str, int]:
        """Path → bytes of the files that `entries` lists, with less work and memory for each."""
        prefix, start = f"{path}/" if path else "", self.join(path) if path else self.root
        if self.is_local:
            return {prefix + name: num_bytes for name, num_bytes in local_sizes(start, max_depth=max_depth)}
        with self._reach(needs_bucket=True) as fs:
            found = objects_below(fs, self.root, start, max_depth)
            return {prefix + name: num_bytes for name, num_bytes, _ in found if not _is_hidden(name)}

    def each_entry(self, path: str = "", *, hidden: bool = False) -> Iterator[Entry]:
        """As `entries`, one at a time and in any order: for folders of very many files.

        On a local disk nothing is kept. Object stores are listed whole, and what is told is let go on the way.
        """
        prefix, start = f"{path}/" if path else "", self.join(path) if path else self.root
        if not self.is_local:
            with self._reach(needs_bucket=True) as fs:
                for name, num_bytes, version in objects_below(fs, self.root, start):
                    if hidden or not _is_hidden(name):
                        yield Entry(prefix + name, num_bytes, version)
            return
        for entry in local_entries(start, hidden=hidden):
            if not entry.passed_over:
                yield Entry(prefix + entry.path, entry.num_bytes, entry.version)

    def subfolders(self) -> list[str]:
        """The names of the folders directly below, sorted, hidden ones left out; none where there is no folder."""
        try:
            if self.is_local:
                found = [path.name for path in Path(self.root).iterdir() if path.is_dir()]
            else:
                with self._reach() as fs:
                    found = folders_in(fs, self.root, self.root)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(name for name in found if not name.startswith("."))

    def entry(self, path: str) -> Entry | None:
        """One file, hidden or not; None where there is none."""
        if self.is_local:
            full = self.join(path)
            return local_entry(full, path) if os.path.lexists(full) else None
        with self._reach() as fs:
            found = object_at(fs, self.root, self.join(path), with_version=True)
        return Entry(path, *found) if found else None

    def read_bytes(self, path: str) -> bytes:
        if self.is_local:
            return read_file(self.join(path))
        with self._reach() as fs:
            return content(fs, self.root, self.join(path))

    def read_many(
        self, paths: Sequence[str], *, at_once: int = 256, missing_ok: bool = False
    ) -> Iterator[tuple[str, bytes]]:
        """The contents of many small files, in the order given; an object store is asked for many at a time.

        With `missing_ok`, files that are not there are left out.
        """

        with ThreadPoolExecutor(THREADS) if not self.is_local else contextlib.nullcontext() as pool:
            for at in range(0, len(paths), at_once):
                some = paths[at : at + at_once]
                found = map(self._read_small, some) if pool is None else self._read_together(pool, some)
                for path, data in zip(some, found, strict=True):
                    if data is not None:
                        yield path, data
                    elif not missing_ok:
                        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.join(path))

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

    def read_listed(self, entries: Sequence[Entry], *, at_once: int = 256) -> Iterator[tuple[str, bytes]]:
        """As `read_many`, for files of a listing; those that are gone are left out, as far as they are asked for.

        What this process has read of an object store is not asked for again where its version is the same.
        """
        if self.is_local:
            yield from self.read_many([entry.path for entry in entries], missing_ok=True)
            return
        for at in range(0, len(entries), at_once):
            some = entries[at : at + at_once]
            kept = {entry.path: KEPT.get(entry.version, entry.num_bytes) for entry in some}
            unread = [path for path, data in kept.items() if data is None]
            found = dict(self.read_many(unread, missing_ok=True)) if unread else {}
            for entry in some:
                if entry.path in found:
                    KEPT.keep(entry.version, found[entry.path])
                data = found.get(entry.path, kept[entry.path])
                if data is not None:
                    yield entry.path, data

    def _read_small(self, path: str) -> bytes | None:
        """The content of a small file; None where there is none."""
        try:
            if self.is_local:
                return self.read_bytes(path)
            # Not `fs.cat` of many paths: it takes a name with * ? or [ for a pattern.
            with self._reach() as fs, expected(self.join(path)):
                return read_small(fs, self.join(path))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def read_spans(self, path: str, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        """Parts of a file, none empty, as (first byte, byte after the last); an object store is asked for many at a time.

        Raises InputError where the file ends before a part does.
        """
        if self.is_local:
            with self.open(path) as stream:
                parts = [os.pread(stream.fileno(), stop - start, start) for start, stop in spans]
        else:
            starts, stops = [start for start, _ in spans], [stop for _, stop in spans]
            with self._reach() as fs, expected(self.join(path)):
                parts = fs.cat_ranges([self.join(path)] * len(spans), starts, stops, on_error="raise")
        if any(len(part) != stop - start for part, (start, stop) in zip(parts, spans, strict=True)):
            raise InputError(
                f"{self.join(path)} has been cut short: it ends before byte {max(stop for _, stop in spans)}"
            )
        return parts

    @contextlib.contextmanager
    def reading(self, path: str, spans: Sequence[tuple[int, int]]) -> Iterator[Callable[[memoryview, int], int]]:
        """A function that fills a buffer from a place of a file on, in one of these spans; it returns the number of bytes.

        It reads a local file straight into the buffer; the spans of one in an object store are fetched together before.
        """
        if self.is_local:
            with self.open(path) as stream:
                yield functools.partial(read_into, stream.fileno())
            return
        parts = list(zip(spans, self.read_spans(path, spans), strict=True))

        def copy(buffer: memoryview, at: int) -> int:
            start, part = next((start, part) for (start, stop), part in parts if start <= at < stop)
            found = part[at - start : at - start + len(buffer)]
            buffer[: len(found)] = found
            return len(found)

        yield copy

    def read_ahead(self, paths: Iterable[str]) -> None:
        """Ask a local disk for files that are read soon. It is not waited for, and a file that is not there does not matter."""
        if self.is_local:
            for path in paths:
                ask_for(self.join(path))

    def open(self, path: str) -> IO[bytes]:
        """A file as a stream; of an object store it fetches what is read, long reads in parts at a time."""
        if self.is_local:
            return open_file(self.join(path))
        with self._reach() as fs, expected(self.join(path)):
            data = small_content(fs, self.root, self.join(path))
            if data is not None:
                return io.BytesIO(data)
            return ranged(fs.open(self.join(path), "rb", cache_type="none"))

    def content_hash(self, path: str, like: str = FINDS_DAMAGE) -> str:
        """The hash of a file's content, of the same kind as `like`; the file is read in pieces."""
        with self.open(path) as stream:
            return hash_of_stream(stream, like)

    def write_bytes(self, path: str, data: bytes) -> int:
        """Write a file whole; returns its size, as `Written` with its hash."""
        return self.write_parts(path, [data])

    def write_parts(self, path: str, parts: Sequence[bytes | memoryview]) -> int:
        """As `write_bytes`, a file that consists of these parts."""
        if not self.is_local:
            data = b"".join(parts)
            with self._writes(path) as fs:
                send_bytes(fs, data, self.join(path))
            note_change(self.join(path), data)
        else:
            write_file(self.join(path), parts)
        return Written(sum(map(len, parts)), hash_of(*parts))

    def create_bytes(self, path: str, data: bytes) -> bool:
        """Write a file whole unless there is one; False if there is. No two callers both get True, on a local disk and
        where the store knows conditional writes."""
        if not self.is_local:
            with self._writes(path) as fs:
                return _pipe_new(fs, self.join(path), data)
        created = False

        def place(temporary: Path, target: Path) -> None:
            nonlocal created
            created = link(temporary, target)

        with self._temporary(path, place) as temporary, temporary.open("wb") as stream:
            stream.write(data)
        return created

    def put(self, local: Path, path: str) -> int:
        """Move a finished local file to its place in the folder, whole; returns its size, as `Written` with its hash."""
        with local.open("rb") as stream:
            size = Written(local.stat().st_size, hash_of_stream(stream))
        if not self.is_local:
            with self._writes(path) as fs:
                send(fs, local, self.join(path))
            local.unlink()
            return size
        target = self.local_path(path)
        try:
            with writing_to(target):
                flush(local)
                in_folder(target, lambda: local.replace(target))
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            with self._temporary(path) as temporary:  # another file system: copy beside the target, then rename
                shutil.copyfile(local, temporary)
            local.unlink()
        else:
            flush(target.parent)
        return size

    @contextlib.contextmanager
    def writing(self, path: str, *, for_this_run: bool = False) -> Iterator[Path]:
        """A local temporary path to write to; becomes the file when the block ends well, vanishes when it does not.

        A file for this run only, which a later run would make anew, is not flushed: it may never have to reach the disk.
        """
        if self.is_local:
            with self._temporary(path, flushed=not for_this_run) as temporary:
                yield temporary
            return
        with temporary_folder() as scratch:
            temporary = scratch / "file"
            yield temporary
            with self._writes(path) as fs:
                send(fs, temporary, self.join(path))

    @contextlib.contextmanager
    def local_copy(self, path: str) -> Iterator[Path]:
        """A local path that holds the file: itself on a local disk, else a copy that lives as long as the block."""
        if self.is_local:
            yield self.local_path(path)
            return
        with temporary_folder() as scratch:
            suffix = Path(path).suffix
            local = scratch / f"file{suffix if len(suffix) < 16 else ''}"
            with self._reach() as fs, expected(self.join(path)):
                fetch(fs, self.join(path), local)
            yield local

    @contextlib.contextmanager
    def scratch(self, *parts: str) -> Iterator[Path]:
        """A private empty local folder, on the folder's own disk where it has one, so that `put` is a rename."""
        if not self.is_local:
            with temporary_folder() as scratch:
                yield scratch
            return
        parent = self.local_path(*parts) if parts else Path(self.root)
        with writing_to(parent, refused=True):
            made = in_folder(parent / TEMPORARY_PREFIX, lambda: _private_folder(parent))
        with made as name, writing_to(Path(name)):
            yield Path(name)

    def remove(self, path: str) -> None:
        """Remove one file; a missing one is no error. Local folders left empty by it go too, but never the root."""
        if not self.is_local:
            with contextlib.suppress(FileNotFoundError), self._writes(path, needs_bucket=False) as fs:
                fs.rm_file(self.join(path))
            return
        target = self.local_path(path)
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
        """Remove many small files of one folder, which stays; an object store is asked for many at a time."""
        if self.is_local:
            for path in paths:
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    os.unlink(self.join(path))  # noqa: PTH108  pathlib costs more than the call
            return
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(self.remove, paths))

    def sweep(self, *, owned_by: str) -> int:
        """Remove what killed writers left below (temporary files and scratch folders); returns how many.

        Folders that hold an entry named `owned_by` have an owner of their own and are left to it.
        """
        return sum(map(remove, list(leftovers(Path(self.root), owned_by)))) if self.is_local else 0

    def sweep_directly(self, paths: Iterable[str]) -> int:
        """Remove what killed writers left in these folders, but not further below; returns how many."""
        if not self.is_local:
            return 0
        return sum(remove(left) for path in paths for left in self.local_path(path).glob(f"{TEMPORARY_PREFIX}*"))

    @contextlib.contextmanager
    def _temporary(
        self, path: str, place: Callable[[Path, Path], None] = os.replace, *, flushed: bool = True
    ) -> Iterator[Path]:
        target = self.local_path(path)
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

    @contextlib.contextmanager
    def _writes(self, path: str, *, needs_bucket: bool = True) -> Iterator[Any]:
        """`_reach` for an operation that changes a file of an object store, also where it fails half way."""
        try:
            with self._reach(needs_bucket=needs_bucket) as fs:
                yield fs
        finally:
            note_change(self.join(path))

    @contextlib.contextmanager
    def _reach(self, *, needs_bucket: bool = False) -> Iterator[Any]:
        """The file system, for one operation; a failure of the storage itself becomes an InputError that names it.

        Where the operation writes or lists, a bucket that is not there is such a failure too: a folder need not be there.
        """
        try:
            yield self.fs
        except CuratorError:
            raise
        except Exception as error:  # each driver brings exceptions of its own
            is_missing = isinstance(error, (FileNotFoundError, NotADirectoryError)) and not needs_bucket
            if self.is_local or is_missing:
                raise
            raise InputError(
                f"cannot work with {self.url}: {type(error).__name__}: {error}. "
                "Check the address, the access rights and the storage options"
            ) from error


@functools.lru_cache(maxsize=256)
def _plain_path(path: str) -> str:
    """An absolute path without doubled slashes and the like. Kept, as every operation on a file asks for that of its folder."""
    return str(Path(path))


@functools.lru_cache(maxsize=256)
def _path_in(working_folder: str, path: str) -> str:
    """A path as seen from a folder, absolute. Kept too."""
    try:
        return str(Path(working_folder, Path(path).expanduser()))
    except RuntimeError as error:
        raise ParameterError(f"{path}: {error}. Write ./~name for a folder whose name begins so") from error


def _pipe_new(fs: Any, path: str, data: bytes) -> bool:
    """Write a file unless there is one; False if there is."""
    try:
        fs.pipe_file(path, data, mode="create")
    except FileExistsError:
        return False
    return True


def file_versions(entries: Iterable[Entry]) -> list[tuple[str, int, str]]:
    """(path, bytes, version) per file, for a digest that changes when a file is added, removed or replaced."""
    return [(entry.path, entry.num_bytes, entry.version) for entry in entries]


def absolute(path: str) -> str:
    """A local path in full; a URL of another kind as it is."""
    folder = Folder(path)
    return folder.root if folder.is_local else path


def filesystem(url: str, storage_options: Mapping[str, Any] | None = None) -> Any:
    """The fsspec file system of a path or URL.

    Raises ParameterError for a protocol that nothing installed can open.
    """
    import fsspec

    if "://" not in url or url.startswith("file://"):
        return fsspec.filesystem("file")
    protocol = url.split("://", 1)[0]
    try:
        of_url = fsspec.get_filesystem_class(protocol)._get_kwargs_from_urls(url)  # a host, a user
        fs = fsspec.filesystem(protocol, **{**of_url, **(storage_options or {})})
    except (ImportError, TypeError, ValueError) as error:
        hint = "pip install 'curator_dask[s3]'" if protocol == "s3" else f"install the fsspec driver for {protocol}://"
        raise ParameterError(f"cannot open {url!r}: {error}. To use it: {hint}") from error
    # Other processes write to the same folders, so a listing kept from before may lack files that are there.
    fs.invalidate_cache()
    return fs


def _refuse_outside(url: str, parts: Sequence[str]) -> None:
    path = "/".join(parts)
    if path.startswith("/") or ".." in path.split("/") or "\0" in path:
        raise InputError(f"the name {path!r} does not stay inside {url}")


def _private_folder(parent: Path) -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=parent, ignore_cleanup_errors=True)


def _with_hidden_as_one(entries: Iterable[Entry]) -> list[Entry]:
    """The entries, with one in place of each hidden file and of all that lies below a hidden folder."""
    return list({entry.path: entry for entry in map(_hidden_or_itself, entries)}.values())


def _is_hidden(path: str) -> bool:
    return path[0] == "." or "/." in path


def _hidden_or_itself(entry: Entry) -> Entry:
    parts = entry.path.split("/")
    first = next((number for number, part in enumerate(parts) if part.startswith(".")), None)
    if first is None:
        return entry
    is_folder = first + 1 < len(parts)
    return Entry("/".join(parts[: first + 1]) + ("/" if is_folder else ""), 0, "", HIDDEN)
