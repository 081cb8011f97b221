"""Read regular files of a local disk: whole, into a buffer, or ahead of their use."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import IO

from curator_dask.errors import InputError


def open_file(path: str) -> IO[bytes]:
    return os.fdopen(_descriptor(path)[0], "rb")


def read_file(path: str) -> bytes:
    """The content of a file. For a small one this takes half the time of `open_file`."""
    descriptor, num_bytes = _descriptor(path)
    try:
        parts = [os.read(descriptor, num_bytes + 1)]
        while len(parts[-1]):  # a file that is being written, or one of more bytes than one call gives
            parts.append(os.read(descriptor, 1 << 20))
        return b"".join(parts)
    finally:
        os.close(descriptor)


def read_into(descriptor: int, buffer: memoryview, at: int) -> int:
    """Fill a buffer with the bytes of an open file from byte `at` on; returns how many there were."""
    filled = 0
    while filled < len(buffer) and (num := os.preadv(descriptor, [buffer[filled:]], at + filled)):
        filled += num
    return filled


def ask_for(path: str) -> None:
    """Have the system read a file into memory, where it knows how to; it is not waited for."""
    if hasattr(os, "posix_fadvise"):
        with contextlib.suppress(OSError, InputError):
            descriptor, _ = _descriptor(path)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_WILLNEED)
            os.close(descriptor)


def _descriptor(path: str) -> tuple[int, int]:
    """A regular file opened for reading, and its size."""
    try:
        # Without O_NONBLOCK, opening a pipe that nobody writes to waits for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except NotADirectoryError as error:  # what should be a folder is a file, so nothing is in it
        raise FileNotFoundError(error.errno, error.strerror, path) from error
    info = os.fstat(descriptor)
    if not stat.S_ISREG(info.st_mode):
        os.close(descriptor)
        raise InputError(f"{path!r} is not a regular file")
    return descriptor, info.st_size
