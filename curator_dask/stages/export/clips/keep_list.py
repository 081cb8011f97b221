"""The list of the clips that an export is to hold, and no others."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from typing import Any

from curator_dask.errors import InputError
from curator_dask.files.folder import Folder
from curator_dask.files.id_lists import id_list_batches
from curator_dask.files.names import counted


def keep_list_batches(path: str, storage_options: Mapping[str, Any]) -> Iterator[list[str]]:
    """The ids in a text file, a bounded number at a time. Raises InputError where there is no file."""
    folder, name = Folder(posixpath.dirname(path) or ".", storage_options), posixpath.basename(path)
    try:
        with folder.open(name) as stream:
            yield from id_list_batches(stream)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise InputError(f"there is no file {path}: give a list of ids, such as sample/keep.txt") from error


def check_keep_list(path: str, storage_options: Mapping[str, Any]) -> None:
    """Raise InputError where there is no file, or no id in it."""
    check_numbers(path, len(next(keep_list_batches(path, storage_options), [])), 0)


def check_numbers(path: str, num_ids: int, num_twice: int) -> None:
    """Raise InputError if a list is empty, or if it names a clip more than once."""
    if not num_ids:
        raise InputError(f"{path} names no clip: give a list of ids, one per line")
    if num_twice:
        raise InputError(f"{path} names {counted(num_twice, 'clips')} more than once: write each id on one line")
