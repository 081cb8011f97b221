"""The driver of fsspec that opens a path or URL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curator_dask.errors import ParameterError


def filesystem(url: str, storage_options: Mapping[str, Any] | None = None) -> Any:
    """The fsspec file system of a path or URL.

    Raises ParameterError for a protocol that nothing installed can open.
    """
    import fsspec

    if is_local(url):
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


def is_local(url: str) -> bool:
    """Whether a path or URL is that of a local disk."""
    return "://" not in url or url.startswith("file://")
