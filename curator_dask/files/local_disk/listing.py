"""List the files below a folder of a local disk: each once, links followed, and what is passed over with the reason."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from curator_dask.errors import InputError
from curator_dask.files.entries.entry import HIDDEN, LINK_OUT, Entry


def local_entries(
    start: str, *, hidden: bool = False, max_depth: int | None = None, follow_links: bool = True, ending: str = ""
) -> Iterator[Entry]:
    """Folders first by their own path, then those that only links lead to, each once: no circle, no file twice.

    What is passed over (hidden names; without `follow_links`, links that lead out of the folder) is named and not entered.
    Files without the `ending` are left out.
    """
    for path, item, reason in _walk(start, hidden, max_depth, follow_links):
        if reason:
            yield Entry(path, 0, "", reason)
        elif path.endswith(ending):
            yield _entry_of(item.stat, path)


def local_sizes(start: str, *, max_depth: int | None = None) -> Iterator[tuple[str, int]]:
    """Path and bytes of the files that `local_entries` lists, with less work for each."""
    for path, item, reason in _walk(start, False, max_depth, True):
        if not reason:
            try:
                info = item.stat()
            except OSError:  # a dangling link
                yield path, 0
            else:
                yield path, info.st_size if stat.S_ISREG(info.st_mode) else 0


def _walk(
    start: str, hidden: bool, max_depth: int | None, follow_links: bool
) -> Iterator[tuple[str, os.DirEntry[str], str]]:
    """Path, entry of its folder, and why it is passed over, of each file and of what is not entered."""
    seen: set[tuple[int, int]] = set()
    pending: list[tuple[str, str]] = [(start, "")]
    linked: list[tuple[str, str]] = []
    reason_for = _PassingOver(hidden, "" if follow_links else os.path.realpath(start))
    while pending or linked:
        if not pending:
            linked.sort(reverse=True)
            pending.append(linked.pop())
            if _identity(pending[0][0]) in seen:
                pending.clear()
                continue
        folder, prefix = pending.pop()
        seen.add(_identity(folder))
        for item in _scan(folder):
            name = item.name
            path, is_folder = prefix + name, _is_folder(item)
            if (name[0] == "." or reason_for.links_stay_in) and (reason := reason_for(item)):
                yield f"{path}/" if is_folder else path, item, reason
            elif not is_folder:
                yield path, item, ""
            elif max_depth is None or path.count("/") + 1 < max_depth:
                (linked if item.is_symlink() else pending).append((item.path, f"{path}/"))


@dataclass(frozen=True)
class _PassingOver:
    """Why a listing passes a name over; "" if it does not."""

    hidden: bool
    """Hidden names are listed."""
    links_stay_in: str
    """The real path of the folder that links must not leave; empty: they may lead anywhere."""

    def __call__(self, item: os.DirEntry[str]) -> str:
        if item.name.startswith(".") and not self.hidden:
            return HIDDEN
        if self.links_stay_in and item.is_symlink() and not is_below(os.path.realpath(item.path), self.links_stay_in):
            return LINK_OUT
        return ""


def is_below(path: str, folder: str) -> bool:
    """Whether a real path is that of the folder or of something in it."""
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")


def _scan(folder: str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            yield from found
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        # Every file system has one that only its owner may read, and it holds nothing of anybody's.
        if Path(folder).name == "lost+found":
            return
        raise InputError(
            f"cannot list the folder {folder!r}: {error.strerror}. Make it readable, or move it"
        ) from error


def _identity(folder: str) -> tuple[int, int]:
    try:
        info = os.stat(folder)  # noqa: PTH116  pathlib would cost more than the call
    except OSError:
        return (-1, -1)
    return (info.st_dev, info.st_ino)


def _is_folder(item: os.DirEntry[str]) -> bool:
    try:
        return item.is_dir()
    except OSError:  # a link to itself
        return False


def local_entry(full: str, path: str) -> Entry:
    return _entry_of(lambda: os.stat(full), path)  # noqa: PTH116  pathlib would cost more than the call


def _entry_of(look: Callable[[], os.stat_result], path: str) -> Entry:
    try:
        info = look()
    except OSError:  # a dangling link: listed, so that whoever reads it can say so
        return Entry(path, 0, "unreadable")
    return Entry(path, info.st_size if stat.S_ISREG(info.st_mode) else 0, str(info.st_mtime_ns))
