"""Paths of a local disk: absolute and plain, and never out of their folder."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

from curator_dask.errors import InputError, ParameterError


def absolute_path(path: str) -> str:
    """A path in full, as seen from this process's working folder."""
    return _plain_path(path) if path.startswith("/") else _path_in(str(Path.cwd()), path)


def refuse_outside(folder: str, parts: Sequence[str]) -> None:
    """Raise InputError if the name that these parts make does not stay inside the folder."""
    path = "/".join(parts)
    if path.startswith("/") or ".." in path.split("/") or "\0" in path:
        raise InputError(f"the name {path!r} does not stay inside {folder}")


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
