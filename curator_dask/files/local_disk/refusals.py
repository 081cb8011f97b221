"""A disk that cannot be written to: which errors say so, and the error that the user gets."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from curator_dask.errors import InputError

UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""Errors that only writing causes, whatever the user's rights."""
REFUSED = frozenset(
    {errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG}
)
"""Errors of a folder that the user may not write to, or that cannot be made. /proc, for one, says "no such file"."""


@contextlib.contextmanager
def writing_to(path: Path, *, refused: bool = False) -> Iterator[None]:
    """A full or read-only disk becomes an InputError that says what to do; with `refused`, a folder that cannot be had too."""
    try:
        yield
    except OSError as error:
        if error.errno in UNWRITABLE or (refused and error.errno in REFUSED):
            raise InputError(
                f"cannot write {str(path)!r}: {os.strerror(error.errno or 0)}. Make room there or get the right to write, "
                "or choose another folder, and run again"
            ) from error
        raise
