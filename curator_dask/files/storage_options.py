"""``read_kwargs`` and ``write_kwargs``, as stages of the original workflow take them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

    def folders_to_read(self, paths: str | Sequence[str] | None) -> tuple[Folder, ...]:
        """The folders of one path, or of several, each once."""
        several = [paths] if isinstance(paths, str) else paths or ()
        return tuple({folder.root: folder for folder in map(self.folder_to_read, several)}.values())

    def folder_to_write(self, path: str) -> Folder:
        return Folder(path, storage_options(self.write_kwargs))


def one_or_all(roots: Sequence[str]) -> str | list[str]:
    """Paths as records name them: one by itself, several as a list."""
    return roots[0] if len(roots) == 1 else list(roots)


def storage_options(kwargs: Mapping[str, Any] | None) -> dict[str, Any]:
    """The ``storage_options`` of ``read_kwargs`` or ``write_kwargs``; anything else in them is refused, not ignored."""
    unknown = set(kwargs or {}) - {"storage_options"}
    if unknown:
        raise ParameterError(f"read_kwargs and write_kwargs take storage_options, not {', '.join(sorted(unknown))}")
    return dict((kwargs or {}).get("storage_options") or {})
