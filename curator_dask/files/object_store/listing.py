"""All objects below a folder of S3, from several places of the order at a time.

A page holds a thousand objects, and each has to wait for the one before it, as it begins where that one ends. So a long
listing is cut into ranges of keys, as many as turn out to hold something, and each goes on by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from curator_dask.files.object_store.asking import speaks_s3
from curator_dask.files.object_store.key_ranges import Range, cut
from curator_dask.files.object_store.page import NotUnderstoodError, Page, page_of

PAGES_ALONE = 8
"""A listing of no more pages is not cut."""
AT_ONCE = 16
"""Ranges that are listed at a time, at the most."""


def list_objects(fs: Any, path: str, max_depth: int | None = None) -> Iterator[tuple[str, int, str]]:
    """Path below the folder, bytes and version of each file of an object store, in any order.

    The driver lists where the store does not speak S3 or answers in a way of its own, and where some depth is asked for.
    Raises what the driver raises; FileNotFoundError for a bucket of S3 that is not there.
    """
    found = (
        _from_pages(fs, path, max_depth) if max_depth in (None, 1) and speaks_s3(fs) and not fs.version_aware else None
    )
    for relative, num_bytes, version in _from_driver(fs, path, max_depth) if found is None else found:
        if relative and not relative.endswith("/"):  # stores mark folders with empty objects
            yield relative, num_bytes, version


def whole_if_short(fs: Any, path: str) -> list[tuple[str, int, str]] | None:
    """All objects below a folder of S3, those that mark folders too, if one answer tells them; else None.

    None also where the store refuses to answer, as single objects may be read all the same.
    """
    from fsspec.asyn import sync

    bucket, prefix = _place(fs, path)
    try:
        page = sync(fs.loop, page_of, fs, bucket, prefix)
    except (NotUnderstoodError, OSError):
        return None
    return None if page.token else list(_objects([page], len(prefix)))


def _place(fs: Any, path: str) -> tuple[str, str]:
    """The bucket of a folder, and what the keys below it begin with."""
    bucket, key, _ = fs.split_path(path)
    return bucket, f"{key.lstrip('/')}/" if key else ""


def _from_driver(fs: Any, path: str, max_depth: int | None) -> Iterator[tuple[str, int, str]]:
    for name, info in fs.find(path, maxdepth=max_depth, detail=True).items():
        # A key may go on with a slash of its own, so only one is taken away.
        yield name[len(path) + 1 :], int(info.get("size") or 0), version_of(info)


def version_of(info: Mapping[str, Any]) -> str:
    """What a driver knows of an object that changes when it is replaced."""
    for name in ("ETag", "etag", "LastModified", "mtime", "created"):
        if info.get(name):
            return str(info[name])
    return ""


def _from_pages(fs: Any, path: str, max_depth: int | None) -> Iterator[tuple[str, int, str]] | None:
    """None where the driver is to list."""
    from fsspec.asyn import sync

    bucket, prefix = _place(fs, path)
    try:
        pages = sync(fs.loop, _pages if max_depth is None else _flat_pages, fs, bucket, prefix)
    except NotUnderstoodError:
        return None
    return _objects(pages, len(prefix))


def _objects(pages: list[Page], skip: int) -> Iterator[tuple[str, int, str]]:
    while pages:
        page = pages.pop()  # so that it is let go
        for key, num_bytes, version in zip(page.keys, page.num_bytes, page.versions, strict=True):
            yield key[skip:], num_bytes, version


async def _flat_pages(fs: Any, bucket: str, prefix: str) -> list[Page]:
    page = await page_of(fs, bucket, prefix, Delimiter="/")
    pages = [page]
    while page.token:
        page = await page_of(fs, bucket, prefix, Delimiter="/", ContinuationToken=page.token)
        pages.append(page)
    return pages


async def _pages(fs: Any, bucket: str, prefix: str) -> list[Page]:
    page = await page_of(fs, bucket, prefix)
    pages = [page]
    while page.token and len(pages) < PAGES_ALONE:
        page = await page_of(fs, bucket, prefix, ContinuationToken=page.token)
        pages.append(page)
    first = Range("", None, len(prefix)).rest(page)
    return pages + await _pages_of_ranges(fs, bucket, prefix, [first] if first else [])


async def _pages_of_ranges(fs: Any, bucket: str, prefix: str, ranges: Sequence[Range]) -> list[Page]:
    """The pages of all ranges. In each round, twice as many are asked for as held something in the last one."""
    pages: list[Page] = []
    num_wanted = 2
    while ranges:
        ranges = cut(ranges, num_wanted)
        asked = await asyncio.gather(*(page_of(fs, bucket, prefix, StartAfter=one.after) for one in ranges))
        found = [one.part_of(page) for one, page in zip(ranges, asked, strict=True)]
        pages += found
        num_wanted = min(AT_ONCE, 2 * sum(bool(page.keys) for page in found))
        ranges = [rest for one, page in zip(ranges, found, strict=True) if (rest := one.rest(page))]
    return pages
