"""The files of a stage as a whole (tables, lists), noted with their sizes and hashes in one file, ``files.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from curator_dask.files.content_hash import Written, hash_of, hash_of_stream
from curator_dask.files.folder import Folder
from curator_dask.runtime.records import hashes_of, seal, unseal, with_hashes


@dataclass(frozen=True)
class PublishedFiles:
    """Such files of one stage: path → bytes, as `Written` with the hash. Of a file with -1 bytes only the name is known.

    A file is noted before it is written: one that was noted and never written does no harm.
    """

    folder: Folder
    notes: str
    """Path of ``files.json``."""

    def write(self, path: str, data: bytes) -> None:
        """Note a file and write it. One that would not change is left alone."""
        self.note_contents({path: data})
        write_if_changed(self.folder, path, data)

    def put(self, path: str, local: Path) -> None:
        """As `write`, for a finished local file, which is moved to its place. It is never in memory as a whole."""
        with local.open("rb") as stream:
            size = Written(local.stat().st_size, hash_of_stream(stream))
        self.note({path: size})
        if self.folder.size(path) != size or not _same_bytes(self.folder, path, local):
            self.folder.put(local, path)

    def remove(self, path: str) -> None:
        """Remove a file and what is noted of it, if there is one."""
        before = self.listed()
        self.replace(before, {known: size for known, size in before.items() if known != path})
        if self.folder.exists(path):
            self.folder.remove(path)

    def note_contents(self, contents: Mapping[str, bytes]) -> None:
        """Note files with these contents beside those that are noted."""
        self.note({path: Written(len(data), hash_of(data)) for path, data in contents.items()})

    def note(self, files: Mapping[str, int]) -> None:
        """Note files beside those that are noted."""
        before = self.listed()
        self.replace(before, {**before, **files})

    def replace(self, before: Mapping[str, int], after: Mapping[str, int]) -> None:
        """Note other files in place of those that are noted."""
        if after != before or hashes_of(after) != hashes_of(before):
            self.folder.write_bytes(self.notes, seal({"files": after, "hashes": hashes_of(after)}))

    def listed(self) -> dict[str, int]:
        """What is noted. Empty where the list is missing or damaged."""
        try:
            return self.read()
        except ValueError:
            return {}

    def read(self) -> dict[str, int]:
        """As `listed`. Raises ValueError for a list that is damaged."""
        try:
            text = self.folder.read_bytes(self.notes)
        except (FileNotFoundError, NotADirectoryError):
            return {}
        return parse_published(text)


def parse_published(text: bytes) -> dict[str, int]:
    """The content of ``files.json``; earlier versions wrote a list of paths. Raises ValueError where it is damaged."""
    if text.lstrip().startswith(b"["):
        return {path: -1 for path in json.loads(text) if isinstance(path, str)}
    value = unseal(text)
    if value.keys() != {"files", "hashes"}:
        raise ValueError("it is no list of files")
    return with_hashes(value["files"], value["hashes"])


def write_if_changed(folder: Folder, path: str, data: bytes) -> None:
    """Write a file unless it holds these bytes already, so that a run that changes nothing leaves its time alone."""
    if bytes_of(folder, path) != data:
        folder.write_bytes(path, data)


def _same_bytes(folder: Folder, path: str, local: Path) -> bool:
    """Whether a file of a folder holds what a local file of the same size holds."""
    with folder.open(path) as there, local.open("rb") as here:
        while block := here.read(1 << 20):
            if there.read(len(block)) != block:
                return False
    return True


def bytes_of(folder: Folder, path: str) -> bytes | None:
    """The content of a file; None where there is none. To ask first whether there is one would take another request."""
    try:
        return folder.read_bytes(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
