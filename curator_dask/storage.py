"""Folders anywhere fsspec reaches (local disk, ``s3://…``), with writes that are whole or not there at all.

A local file is written under a hidden temporary name, flushed to disk and renamed. An object store shows an object
only when its upload has ended, so there a plain put has the same property.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from curator_dask.errors import InputError, ParameterError

TEMPORARY_PREFIX = ".tmp-"


@dataclass(frozen=True, slots=True)
class Entry:
    """One file below a folder."""

    path: str
    """Relative to the folder, with forward slashes."""
    num_bytes: int
    version: str
    """Changes when the file is replaced: modification time in ns, or the store's etag."""


@dataclass(frozen=True)
class Folder:
    """A folder by its path or URL; cheap to make, picklable, and nothing is touched until a method is called."""

    url: str
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not self.url:
            raise ParameterError("a folder path is empty: give a path or a URL such as s3://bucket/prefix")

    @property
    def is_local(self) -> bool:
        return "://" not in self.url or self.url.startswith("file://")

    @property
    def root(self) -> str:
        """The path without its protocol; absolute on a local disk."""
        if self.is_local:
            return str(Path(self.url.removeprefix("file://")).expanduser().absolute())
        return cast(str, self.fs._strip_protocol(self.url)).rstrip("/")

    @property
    def fs(self) -> Any:
        return filesystem(self.url, self.storage_options)

    def join(self, *parts: str) -> str:
        """Full path of a file below the folder, in the form that `fs` takes."""
        return "/".join((self.root, *parts)) if parts else self.root

    def below(self, *parts: str) -> Folder:
        return Folder("/".join((self.url.rstrip("/"), *parts)), self.storage_options)

    def local_path(self, *parts: str) -> Path:
        if not self.is_local:
            raise InputError(f"{self.url} is not on a local disk")
        return Path(self.root, *parts)

    def exists(self, path: str = "") -> bool:
        if self.is_local:
            return os.path.lexists(self.join(path) if path else self.root)
        return bool(self.fs.exists(self.join(path) if path else self.root))

    def size(self, path: str) -> int | None:
        """Bytes of a file, or None where there is none."""
        try:
            return int(self.fs.size(self.join(path)))
        except FileNotFoundError:
            return None

    def entries(self, path: str = "", *, hidden: bool = False) -> list[Entry]:
        """All files below, by path; hidden ones (``.name``, and all below a hidden folder) only when asked for."""
        start = self.join(path) if path else self.root
        found = _local_entries(Path(start)) if self.is_local else _remote_entries(self.fs, start)
        prefix = f"{path}/" if path else ""
        chosen = [
            Entry(prefix + entry.path, entry.num_bytes, entry.version)
            for entry in found
            if hidden or not any(part.startswith(".") for part in entry.path.split("/"))
        ]
        return sorted(chosen, key=lambda entry: entry.path)

    def read_bytes(self, path: str) -> bytes:
        if self.is_local:
            return self.local_path(path).read_bytes()
        return cast(bytes, self.fs.cat_file(self.join(path)))

    def open(self, path: str) -> IO[bytes]:
        return cast("IO[bytes]", self.fs.open(self.join(path), "rb"))

    def write_bytes(self, path: str, data: bytes) -> int:
        """Write a file whole; returns its size."""
        if not self.is_local:
            self.fs.pipe_file(self.join(path), data)
            return len(data)
        with self._temporary(path) as temporary, temporary.open("wb") as stream:
            stream.write(data)
            _flush(stream)
        return len(data)

    def put(self, local: Path, path: str) -> int:
        """Move a finished local file to its place in the folder, whole; returns its size."""
        size = local.stat().st_size
        if not self.is_local:
            self.fs.put_file(str(local), self.join(path))
            local.unlink()
            return size
        with local.open("rb") as stream:
            _flush(stream)
        target = self.local_path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            local.replace(target)
        except OSError:  # another file system: copy beside the target, then rename
            with self._temporary(path) as temporary:
                shutil.copyfile(local, temporary)
                with temporary.open("rb") as stream:
                    _flush(stream)
            local.unlink()
        return size

    @contextlib.contextmanager
    def writing(self, path: str) -> Iterator[Path]:
        """A local temporary path to write to; becomes the file when the block ends well, vanishes when it does not."""
        if self.is_local:
            with self._temporary(path) as temporary:
                yield temporary
                with temporary.open("rb") as stream:
                    _flush(stream)
            return
        with tempfile.TemporaryDirectory(prefix="curator-dask-") as scratch:
            temporary = Path(scratch, "file")
            yield temporary
            self.fs.put_file(str(temporary), self.join(path))

    @contextlib.contextmanager
    def fetched(self, path: str) -> Iterator[Path]:
        """A local path that holds the file: itself on a local disk, else a copy that lives as long as the block."""
        if self.is_local:
            yield self.local_path(path)
            return
        with tempfile.TemporaryDirectory(prefix="curator-dask-") as scratch:
            local = Path(scratch, "file" + Path(path).suffix)
            self.fs.get_file(self.join(path), str(local))
            yield local

    @contextlib.contextmanager
    def scratch(self, *parts: str) -> Iterator[Path]:
        """A private empty local folder, on the folder's own disk where it has one, so that `put` is a rename."""
        parent = None
        if self.is_local:
            parent = self.local_path(*parts)
            parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=parent, ignore_cleanup_errors=True) as scratch:
            yield Path(scratch)

    def remove(self, path: str) -> None:
        """Remove one file; a missing one is no error. Local folders left empty by it go too."""
        with contextlib.suppress(FileNotFoundError):
            self.fs.rm_file(self.join(path))
        if self.is_local:
            folder = self.local_path(path).parent
            while folder != Path(self.root):
                try:
                    folder.rmdir()
                except OSError:
                    break
                folder = folder.parent

    @contextlib.contextmanager
    def _temporary(self, path: str) -> Iterator[Path]:
        target = self.local_path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        # Not derived from the target's name, which may be as long as the file system allows.
        temporary = target.parent / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
        try:
            yield temporary
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)


def filesystem(url: str, storage_options: Mapping[str, Any] | None = None) -> Any:
    """The fsspec file system of a path or URL.

    Raises ParameterError for a protocol that nothing installed can open.
    """
    import fsspec

    protocol = url.split("://", 1)[0] if "://" in url else "file"
    options = {} if protocol == "file" else dict(storage_options or {})
    try:
        return fsspec.filesystem(protocol, **options)
    except (ImportError, ValueError) as error:
        hint = "pip install 'curator_dask[s3]'" if protocol == "s3" else f"install the fsspec driver for {protocol}://"
        raise ParameterError(f"cannot open {url!r}: {error}. To use it: {hint}") from error


def _flush(stream: IO[bytes]) -> None:
    stream.flush()
    os.fsync(stream.fileno())


def _local_entries(start: Path) -> Iterator[Entry]:
    for folder, _, names in os.walk(start):
        for name in names:
            path = Path(folder, name)
            try:
                info = path.stat()
            except OSError:  # a dangling link: listed, so that whoever reads it can say so
                yield Entry(path.relative_to(start).as_posix(), 0, "unreadable")
                continue
            size = info.st_size if stat.S_ISREG(info.st_mode) else 0
            yield Entry(path.relative_to(start).as_posix(), size, str(info.st_mtime_ns))


def _remote_entries(fs: Any, start: str) -> Iterator[Entry]:
    for path, info in fs.find(start, detail=True).items():
        relative = path[len(start) :].lstrip("/")
        if relative:
            version = str(info.get("ETag") or info.get("etag") or info.get("LastModified") or info.get("mtime") or "")
            yield Entry(relative, int(info.get("size") or 0), version)
