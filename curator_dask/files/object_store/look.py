"""Questions to an object store: what lies below a folder, what is at a path, and what a small object holds.

Within `asking_once`, none is asked twice, and a folder that one answer can tell (a thousand objects) is asked for whole: so
the one listing answers what is asked of its folders and objects too. Each longer folder costs such an answer once.
Drivers of other stores than S3 are asked each time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from curator_dask.files.object_store.asking import head, speaks_s3
from curator_dask.files.object_store.asking_once import current, note_missing
from curator_dask.files.object_store.kept_contents import KEPT, LARGEST_BYTES
from curator_dask.files.object_store.listing import list_objects, version_of, whole_if_short
from curator_dask.files.object_store.seen import MOST_OBJECTS, Found, Listing, Seen, named
from curator_dask.files.object_store.transfers import read_whole


def objects_below(fs: Any, top: str, path: str, max_depth: int | None = None) -> Iterator[tuple[str, int, str]]:
    """As `list_objects`. `top`: the outermost folder that may be asked for in place of this one."""
    seen = _seen(fs)
    if seen is None or max_depth not in (None, 1):
        yield from list_objects(fs, path, max_depth)
        return
    deep = max_depth is None
    found = seen.listing(fs._fs_token, path, deep=deep)
    if found is None:
        _look_from(fs, seen, top, path if not deep else path.rpartition("/")[0])
        found = seen.listing(fs._fs_token, path, deep=deep)
    if found is None:
        yield from _noting(fs, seen, path, max_depth)
        return
    for name, one in found.items():
        if not name.endswith("/"):
            yield name, *one


def folders_in(fs: Any, top: str, path: str) -> list[str]:
    """The names of the folders directly below a folder. Raises FileNotFoundError where a store tells that it is not there."""
    seen = _seen(fs)
    found = None
    if seen is not None:
        _look_from(fs, seen, top, path)
        found = seen.listing(fs._fs_token, path, deep=True)
    if found is not None:
        return sorted({name.partition("/")[0] for name in found if "/" in name})
    listed = fs.ls(path, detail=True)
    return [one["name"].rstrip("/").rpartition("/")[2] for one in listed if one["type"] == "directory"]


def has_object(fs: Any, top: str, path: str) -> bool:
    """Whether an object has this name; where the store does not speak S3, also whether a folder has it."""
    return object_at(fs, top, path) is not None if speaks_s3(fs) else bool(fs.exists(path))


def has_folder(fs: Any, path: str) -> bool:
    """Whether there are objects below a path, or one at it."""
    seen = _seen(fs)
    if seen is not None:
        _look_from(fs, seen, path, path)
        if seen.listing(fs._fs_token, path, deep=True):
            return True
    return bool(fs.exists(path))


def object_at(fs: Any, top: str, path: str, *, with_version: bool = False) -> Found | None:
    """Bytes and version of an object; None where there is none. Without `with_version`, the version may be ""."""
    if not speaks_s3(fs):
        return _told_by_driver(fs, path)
    seen = _seen(fs)
    if seen is None:
        return head(fs, path)
    is_known, found = _known(fs, seen, top, path)
    if not is_known or (with_version and found and not found[1]):
        moment = seen.moment
        found = head(fs, path)
        seen.keep_object(moment, fs._fs_token, path, found)
    return found


def content(fs: Any, top: str, path: str) -> bytes:
    """The content of an object. Raises FileNotFoundError."""
    data = kept_content(fs, top, path)
    if data is None:
        with expected(path):
            data = read_whole(fs, path)
        keep_content(fs, path, data)
    return data


def kept_content(fs: Any, top: str, path: str) -> bytes | None:
    """The content of an object as far as it need not be asked for, else None. Raises FileNotFoundError if there is none."""
    seen = _seen(fs)
    if seen is None:
        return None
    data = seen.written(path)
    if data is not None:
        return data
    is_known, found = _known(fs, seen, top, path)
    if is_known and found is None:
        raise FileNotFoundError(path)
    if found is None or not found[0]:
        return None if found is None else b""
    return KEPT.get(found[1], found[0])


def kept_contents(fs: Any, top: str, paths: Sequence[str]) -> dict[str, bytes | None]:
    """`kept_content` of those of many objects that need not be asked for; None stands for one that is not there."""
    found: dict[str, bytes | None] = {}
    for path in paths if _seen(fs) is not None else ():
        try:
            if (data := kept_content(fs, top, path)) is not None:
                found[path] = data
        except FileNotFoundError:
            found[path] = None
    return found


def keep_content(fs: Any, path: str, data: bytes) -> None:
    """Keep what was read of an object, if it still is what was seen."""
    seen = _seen(fs)
    found = seen.object(fs._fs_token, path)[1] if seen is not None else None
    if found is not None:
        KEPT.keep(found[1], data)


def small_content(fs: Any, top: str, path: str) -> bytes | None:
    """The content of an object that is known to be small; None where it is not known to be. Raises FileNotFoundError."""
    seen = _seen(fs)
    if seen is None:
        return None
    is_known, found = _known(fs, seen, top, path)
    if is_known and (found is None or 0 < found[0] <= LARGEST_BYTES):
        return content(fs, top, path)
    return None


@contextlib.contextmanager
def expected(path: str) -> Iterator[None]:
    """Where an object that was seen turns out to be gone within the block, what was seen is forgotten."""
    try:
        yield
    except FileNotFoundError:
        note_missing(path)
        raise


def _told_by_driver(fs: Any, path: str) -> Found | None:
    try:
        info = fs.info(path)
    except FileNotFoundError:
        return None
    return int(info.get("size") or 0), version_of(info)


def _seen(fs: Any) -> Seen | None:
    seen = current()
    return seen if seen is not None and speaks_s3(fs) and not fs.version_aware else None


def _known(fs: Any, seen: Seen, top: str, path: str) -> tuple[bool, Found | None]:
    """What `Seen.object` tells, after a look at the folders around it."""
    is_known, found = seen.object(fs._fs_token, path)
    if not is_known:
        _look_from(fs, seen, top, path.rpartition("/")[0])
        is_known, found = seen.object(fs._fs_token, path)
    return is_known, found


def _look_from(fs: Any, seen: Seen, top: str, last: str) -> None:
    """List the outermost of these folders that one answer can tell: `top`, and those on the way to `last`."""
    for folder in _on_the_way(top, last):
        if seen.is_long(fs._fs_token, folder):
            continue
        if seen.listing(fs._fs_token, folder, deep=True) is not None:
            return
        moment = seen.moment
        objects = whole_if_short(fs, folder)
        if objects is not None:
            seen.keep(moment, Listing(fs._fs_token, folder, True, named(objects)))
            return
        seen.note_long(fs._fs_token, folder)


def _on_the_way(top: str, last: str) -> Iterator[str]:
    if last != top and not last.startswith(f"{top}/"):
        return
    yield top
    for at, letter in enumerate(last):
        if letter == "/" and at > len(top):
            yield last[:at]
    if last != top:
        yield last


def _noting(fs: Any, seen: Seen, path: str, max_depth: int | None) -> Iterator[tuple[str, int, str]]:
    """The objects, and keep the listing if it is not too long."""
    moment, found = seen.moment, dict[str, Found]()
    for name, num_bytes, version in list_objects(fs, path, max_depth):
        if len(found) <= MOST_OBJECTS:
            found[name] = num_bytes, version
        yield name, num_bytes, version
    seen.keep(moment, Listing(fs._fs_token, path, max_depth is None, found))
