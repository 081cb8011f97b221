"""A lock on a local folder that the operating system gives back when its holder ends, however it ends."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

from curator_dask.runtime.lock.holder import Holder, refuse

_UNSUPPORTED = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
MOST_ATTEMPTS = 1000
LONGEST_WAIT_S = 1.0
"""So long a refused run waits for the name of a holder, which is written just after the lock is taken."""


class LockUnsupportedError(Exception):
    """The file system knows no locks."""


@contextlib.contextmanager
def locked_file(path: Path, where: str) -> Iterator[None]:
    """Hold the lock of a file during the block; the file names the holder, and is removed at the end.

    Raises:
        FolderLockedError: another run holds it.
        LockUnsupportedError: the file system, or the operating system, knows no such locks.
    """
    descriptor = _open_locked(path, where)
    try:
        _name_holder(descriptor)
        yield
    finally:
        path.unlink(missing_ok=True)  # while it is locked, so that nobody holds a file that is gone
        os.close(descriptor)


def _open_locked(path: Path, where: str) -> int:
    attempts = 0
    while True:
        attempts += 1
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except (FileNotFoundError, FileExistsError):
            # The last holder removed the empty folder in between (`mkdir` meets it and then does not), or none can be made there.
            if attempts == MOST_ATTEMPTS:
                raise
            continue
        try:
            _take(descriptor, where)
            if _is_still(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # the last holder removed it between opening and locking


def _name_holder(descriptor: int) -> None:
    with contextlib.suppress(OSError):  # on a full disk the lock holds without a name
        os.ftruncate(descriptor, 0)
        os.write(descriptor, Holder.myself().to_bytes())


def _take(descriptor: int, where: str) -> None:
    try:
        import fcntl
    except ImportError as error:  # Windows
        raise LockUnsupportedError from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise refuse(where, _read_holder(descriptor)) from None
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            raise LockUnsupportedError from error
        raise


def _read_holder(descriptor: int) -> Holder | None:
    """The holder that a locked file names; None where no name comes, as on a full disk."""
    end = time.monotonic() + LONGEST_WAIT_S
    while True:
        holder = Holder.from_bytes(os.pread(descriptor, 10_000, 0))
        if holder is not None or time.monotonic() > end:
            return holder
        time.sleep(0.01)


def _is_still(descriptor: int, path: Path) -> bool:
    """Whether the open file is the one that lies at the path."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(descriptor), there)
