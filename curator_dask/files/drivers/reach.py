"""An operation on a store: where the store itself fails, the error names the address and says what to check."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from curator_dask.errors import CuratorError, InputError
from curator_dask.files.drivers.filesystem import filesystem


@contextlib.contextmanager
def reach(url: str, storage_options: Mapping[str, Any], *, needs_bucket: bool = False) -> Iterator[Any]:
    """The file system of a URL, for one operation; a failure of the storage becomes an InputError that names it.

    Where the operation writes or lists, a bucket that is not there is such a failure too: a folder need not be there.
    """
    try:
        yield filesystem(url, storage_options)
    except CuratorError:
        raise
    except Exception as error:  # each driver brings exceptions of its own
        if isinstance(error, (FileNotFoundError, NotADirectoryError)) and not needs_bucket:
            raise
        raise InputError(
            f"cannot work with {url}: {type(error).__name__}: {error}. "
            "Check the address, the access rights and the storage options"
        ) from error
