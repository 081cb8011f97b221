"""One run at a time per stage and output folder."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from curator_dask.files.folder import Folder
from curator_dask.files.layout import LOCK, STATE
from curator_dask.files.local_disk.refusals import writing_to
from curator_dask.files.object_store.asking_once import holding_folder
from curator_dask.runtime.lock.lease import leased
from curator_dask.runtime.lock.local import LockUnsupportedError, locked_file

_READ_ONLY = {errno.EACCES, errno.EPERM, errno.EROFS}
"""Nobody can write there, so what a run left there is looked at without a lock."""


@contextlib.contextmanager
def locked_stages(stages: Iterable[tuple[Folder, str]], held: set[tuple[str, str]]) -> Iterator[None]:
    """Hold the locks of some stages' output folders during the block.

    Args:
        stages: the output folder and the name of each stage.
        held: the locks that this run holds already, which are not taken twice; this block's are added while it lasts.

    Raises FolderLockedError if another run works on one of them, and InputError where a folder cannot be made.
    """
    with contextlib.ExitStack() as stack:
        for folder, stage in stages:
            name = (folder.root, stage)
            if name not in held:
                folder.check_is_no_file()
                stack.enter_context(_locked(folder, f"{STATE}/{stage}/{LOCK}"))
                held.add(name)
                stack.callback(held.discard, name)
        yield


@contextlib.contextmanager
def _locked(folder: Folder, path: str) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        try:
            if not folder.is_local:
                raise LockUnsupportedError
            stack.enter_context(_locked_on_disk(folder, path))
        except LockUnsupportedError:
            stack.enter_context(leased(folder, path))
            stack.enter_context(holding_folder(folder.root))
        yield


@contextlib.contextmanager
def _locked_on_disk(folder: Folder, path: str) -> Iterator[None]:
    """The lock of a local folder; folders that were made for it alone are removed again."""
    target = folder.local_path(*path.split("/"))
    made = [parent for parent in target.parents if not parent.exists()]
    with contextlib.ExitStack() as stack:
        stack.callback(_remove_empty, made)
        with writing_to(folder.local_path(), refused=True):
            try:
                stack.enter_context(locked_file(target, folder.url))
            except OSError as error:
                if error.errno not in _READ_ONLY or not target.parent.is_dir():
                    raise
        yield


def _remove_empty(folders: Sequence[Path]) -> None:
    """Remove the folders, the innermost first, up to one that holds something."""
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:
            return
