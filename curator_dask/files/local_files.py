"""Local disks: list all files, and write files so that they survive a power cut."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

import xxhash

from curator_dask.errors import InputError

Made = TypeVar("Made")

# Long enough that no other program's file begins with it: files that do are removed after a crash.
TEMPORARY_PREFIX = ".curator-tmp-"


HIDDEN = "hidden"
LINK_OUT = "link-out"


@dataclass(frozen=True, slots=True)
class Entry:
    """One file below a folder."""

    path: str
    """Relative to the folder, with forward slashes."""
    num_bytes: int
    version: str
    """Changes when the file is replaced: modification time in ns, or the store's etag."""
    passed_over: str = ""
    """Why a listing does not look at it: ``HIDDEN`` or ``LINK_OUT``. It may be a folder then, with a slash at its end."""


FINDS_DAMAGE = "xxh3_128"
"""The hash of new files in records. It finds every damage and every edit, but whoever tries can make two files that share it."""
NAMES_CONTENT = "blake2b"
"""The hash for digests that stand for a content: equal ones mean that work is done already. It is safe against such files."""
HASHES: dict[str, Callable[[], Any]] = {
    FINDS_DAMAGE: xxhash.xxh3_128,
    NAMES_CONTENT: lambda: hashlib.blake2b(digest_size=16),
    "sha256": hashlib.sha256,
}
"""The hashes of content that records may hold, by name. Earlier versions wrote blake2b for new files."""


class Written(int):
    """The number of bytes of a file, with the hash of its content as ``{name}:{hex digits}``; "" where it is not known."""

    content_hash: str

    def __new__(cls, num_bytes: int, content_hash: str = "") -> Written:
        written = super().__new__(cls, num_bytes)
        written.content_hash = content_hash
        return written


def hash_of(*parts: bytes | memoryview, like: str = FINDS_DAMAGE) -> str:
    """The hash of a content, which may be in parts, of the kind whose name `like` begins with.

    Raises ValueError for a name that this version does not know.
    """
    return _hash_of(parts, like)


def hash_of_stream(stream: IO[bytes], like: str = FINDS_DAMAGE) -> str:
    """As `hash_of`, of the rest of a stream."""
    return _hash_of(iter(lambda: stream.read(1 << 20), b""), like)


def _hash_of(parts: Iterable[bytes | memoryview], like: str) -> str:
    name = like.partition(":")[0]
    if name not in HASHES:
        raise ValueError(f"{like!r} is no hash that this version knows")
    digest = HASHES[name]()
    for part in parts:
        digest.update(part)
    return f"{name}:{digest.hexdigest()}"


UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""Errors that only writing causes, whatever the user's rights."""
REFUSED = frozenset(
    {errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG}
)
"""Errors of a folder that the user may not write to, or that cannot be made. /proc, for one, says "no such file"."""


def flush(path: Path) -> None:
    """Flush a file's bytes, or a folder's names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        _flush_open(descriptor)
    finally:
        os.close(descriptor)


def _flush_open(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # network file systems that cannot flush folders
            raise


class HeldFiles:
    """Files that `write_file` wrote within `holding`: under temporary names, and not flushed. `put_in_place` does the rest.

    To flush several files and their folder once takes less time than to flush the folder for each of them.
    """

    def __init__(self) -> None:
        self._files: list[tuple[int, str, str]] = []

    def __len__(self) -> int:
        return len(self._files)

    @contextlib.contextmanager
    def holding(self) -> Iterator[None]:
        """Files that this thread writes within the block are held; if it raises an exception, they are removed."""
        before = _HOLDING.set(self)
        try:
            yield
        except BaseException:
            self.drop()
            raise
        finally:
            _HOLDING.reset(before)

    def add(self, descriptor: int, temporary: str, path: str) -> None:
        """Hold a file: open, under its temporary name, and where it belongs."""
        self._files.append((descriptor, temporary, path))

    def name(self) -> set[str]:
        """Flush the files and give them their names; returns their folders, which are to be flushed then."""
        folders = {os.path.dirname(path) for _, _, path in self._files}  # noqa: PTH120
        try:
            while self._files:
                descriptor, temporary, path = self._files[0]
                with writing_to(Path(path)):
                    _flush_open(descriptor)
                    os.replace(temporary, path)  # noqa: PTH105
                os.close(descriptor)
                self._files.pop(0)
        finally:
            self.drop()
        return folders

    def drop(self) -> None:
        """Remove the files that have no name yet."""
        for descriptor, temporary, _ in self._files:
            os.close(descriptor)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)  # noqa: PTH108
        self._files.clear()


_HOLDING: ContextVar[HeldFiles | None] = ContextVar("_HOLDING", default=None)


def put_in_place(several: Sequence[HeldFiles]) -> list[Exception | None]:
    """Flush held files, give them their names and flush their folders, each once; returns what went wrong with each, or None."""
    wrong: list[Exception | None] = []
    folders: set[str] = set()
    for held in several:
        try:
            folders |= held.name()
            wrong.append(None)
        except (OSError, InputError) as error:
            wrong.append(error)
    try:
        for folder in sorted(folders):
            with writing_to(Path(folder)):
                flush(Path(folder))
    except (OSError, InputError) as error:
        return [one or error for one in wrong]
    return wrong


def write_file(path: str, parts: Sequence[bytes | memoryview]) -> None:
    """Write a file whole: under a temporary name that is flushed and renamed, and flush its folder. It may hold another one.

    Many small files are written so, one for each unit of work at least: `pathlib` would take as long again as the disk.
    Within `HeldFiles.holding` it is not flushed and renamed yet.
    """
    target = Path(path)
    # Not derived from the target's name, which may be as long as the file system allows.
    temporary = os.path.join(os.path.dirname(path), f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}")  # noqa: PTH118, PTH120
    with writing_to(target, refused=True):
        descriptor = in_folder(
            target, lambda: os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        )
    held = _HOLDING.get()
    try:
        with writing_to(target):
            _write_all(descriptor, parts, is_held=held is not None)
            if held is not None:
                held.add(descriptor, temporary, path)
                return
            os.replace(temporary, path)  # noqa: PTH105
            flush(target.parent)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)  # noqa: PTH108
        raise


def _write_all(descriptor: int, parts: Sequence[bytes | memoryview], *, is_held: bool) -> None:
    """Write the bytes. Unless the file is held, flush them and close it; and close it where that fails."""
    is_open = False
    try:
        for part in parts:
            left = memoryview(part)
            while left:
                left = left[os.write(descriptor, left) :]
        is_open = is_held
        if not is_held:
            _flush_open(descriptor)
    finally:
        if not is_open:
            os.close(descriptor)


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


def in_folder(target: Path, action: Callable[[], Made], attempts: int = 50) -> Made:
    """Do the action in the target's folder, which is made if need be, again if another process tidies it away in between."""
    while True:
        attempts -= 1
        try:
            return action()
        except (FileNotFoundError, FileExistsError):
            if not attempts:
                raise
        with contextlib.suppress(FileNotFoundError, FileExistsError):
            target.parent.mkdir(parents=True, exist_ok=True)


def link(temporary: Path, target: Path) -> bool:
    """Give a file its name only if nothing has that name."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        if target.exists():
            return False
        temporary.replace(target)
    return True


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
        info = Path(folder).stat()
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


def leftovers(root: Path, owned_by: str) -> Iterator[Path]:
    for parent, folders, names in os.walk(root):
        if owned_by in folders and Path(parent) != root:
            folders.clear()
            continue
        yield from (Path(parent, name) for name in (*folders, *names) if name.startswith(TEMPORARY_PREFIX))
        folders[:] = [name for name in folders if not name.startswith(TEMPORARY_PREFIX)]


def remove(path: Path) -> bool:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
    return True
