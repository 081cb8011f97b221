"""``read_kwargs`` and ``write_kwargs``, as stages of the original workflow take them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from curator_dask.errors import ParameterError
from curator_dask.files.folder import Folder


@dataclass(frozen=True, kw_only=True)
class StorageKwargs:
    """A base of stages that take ``read_kwargs`` and ``write_kwargs``: it opens folders with them."""

    read_kwargs: Mapping[str, Any] | None = field(default=None, repr=False)
    """``{"storage_options": {…}}`` of fsspec for the inputs."""
    write_kwargs: Mapping[str, Any] | None = field(default=None, repr=False)
    """``{"storage_options": {…}}`` of fsspec for the output."""

    def folder_to_read(self, path: str) -> Folder:
        return Folder(path, storage_options(self.read_kwargs))

    def folder_to_write(self, path: str) -> Folder:
        return Folder(path, storage_options(self.write_kwargs))


def storage_options(kwargs: Mapping[str, Any] | None) -> dict[str, Any]:
    """The ``storage_options`` of ``read_kwargs`` or ``write_kwargs``; anything else in them is refused, not ignored."""
    unknown = set(kwargs or {}) - {"storage_options"}
    if unknown:
        raise ParameterError(f"read_kwargs and write_kwargs take storage_options, not {', '.join(sorted(unknown))}")
    return dict((kwargs or {}).get("storage_options") or {})
