"""A lock where there is none: a small file that its holder writes anew every few seconds.

For object stores and for file systems without locks. A holder that dies stops writing, and its lease ends a minute later.
The age of a lease is measured by the clock of the store, as clocks of machines differ.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from curator_dask.files.folder import Folder
from curator_dask.files.object_store.asking_once import asking_afresh
from curator_dask.runtime.lock.holder import Holder, refuse

RENEW_S = 15.0
EXPIRES_S = 60.0
SETTLE_S = 1.0
"""Two runs may find an expired lease at the same time: the one whose file is still there after this time has it."""


@contextlib.contextmanager
def leased(folder: Folder, path: str) -> Iterator[None]:
    """Hold a lease during the block.

    Raises FolderLockedError if another run holds it, also at the end if another run took it meanwhile, because this one
    could not renew it in time.
    """
    holder = Holder.myself()
    with asking_afresh():
        _take(folder, path, holder)
    lease = _Renewal(folder, path, holder)
    lease.start()
    try:
        yield
    finally:
        with asking_afresh():
            lease.stop()
    if lease.lost is not None:
        raise refuse(folder.url, lease.lost)


def _take(folder: Folder, path: str, holder: Holder) -> None:
    if folder.create_bytes(path, holder.to_bytes()):
        return _confirm(folder, path, holder)
    if _age_s(folder, path, holder) < EXPIRES_S:
        raise refuse(folder.url, _read(folder, path))
    folder.write_bytes(path, holder.to_bytes())
    time.sleep(SETTLE_S)
    return _confirm(folder, path, holder)


def _confirm(folder: Folder, path: str, holder: Holder) -> None:
    """Some stores cannot refuse the second of two who write at once; the last one then has the lease."""
    found = _read(folder, path)
    if found is None or found.token != holder.token:
        raise refuse(folder.url, found)


def _read(folder: Folder, path: str) -> Holder | None:
    try:
        return Holder.from_bytes(folder.read_bytes(path))
    except FileNotFoundError:
        return None


def _age_s(folder: Folder, path: str, holder: Holder) -> float:
    """Seconds since the lease was renewed, by the store's clock: a file written now is compared with it."""
    probe = f"{path}-{holder.token}"
    folder.write_bytes(probe, b"")
    try:
        now, then = (_modified(folder, name) for name in (probe, path))
    finally:
        folder.remove(probe)
    return (now - then).total_seconds() if now is not None and then is not None else 0.0


def _modified(folder: Folder, path: str) -> Any:
    """When a file was written; None where it is gone or the store does not say."""
    try:
        folder.fs.invalidate_cache()
        value = folder.fs.modified(folder.join(path))
    except (FileNotFoundError, NotImplementedError):
        return None
    return value if isinstance(value, datetime) else None


class _Renewal(threading.Thread):
    """Writes the lease anew until it is stopped, or until another run has taken it."""

    def __init__(self, folder: Folder, path: str, holder: Holder) -> None:
        super().__init__(daemon=True, name="curator-dask-lease")
        self._folder, self._path, self._holder = folder, path, holder
        self._ended = threading.Event()
        self.lost: Holder | None = None

    def run(self) -> None:
        while not self._ended.wait(RENEW_S):
            with contextlib.suppress(Exception):  # a store that cannot be reached now is tried again
                if not self._renew():
                    return

    def stop(self) -> None:
        self._ended.set()
        self.join()
        if self.lost is None and self._holds():
            self._folder.remove(self._path)

    def _renew(self) -> bool:
        found = _read(self._folder, self._path)
        if found is not None and found.token != self._holder.token:
            self.lost = found
            return False
        self._folder.write_bytes(self._path, self._holder.to_bytes())
        return True

    def _holds(self) -> bool:
        found = _read(self._folder, self._path)
        return found is not None and found.token == self._holder.token
