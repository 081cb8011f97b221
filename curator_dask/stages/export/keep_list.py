"""The list of the clips that an export is to hold, and no others."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any

from curator_dask.errors import InputError
from curator_dask.files.folder import Folder
from curator_dask.files.id_lists import read_id_list
from curator_dask.files.names import counted


def read_keep_list(path: str, storage_options: Mapping[str, Any]) -> list[str]:
    """The ids in a text file. Raises InputError where there is no file, no id in it, or an id twice."""
    folder, name = Folder(posixpath.dirname(path) or ".", storage_options), posixpath.basename(path)
    try:
        ids = read_id_list(folder.read_bytes(name))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise InputError(f"there is no file {path}: give a list of ids, such as sample/keep.txt") from error
    if not ids:
        raise InputError(f"{path} names no clip: give a list of ids, one per line")
    if twice := len(ids) - len(set(ids)):
        raise InputError(f"{path} names {counted(twice, 'clips')} more than once: write each id on one line")
    return ids
