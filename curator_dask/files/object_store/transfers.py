"""Whole files to and from an object store: small ones in one request, large ones in parts, several at a time.

The driver does the work. It is told how large a part is and how many travel at a time, as the defaults of s3fs (50 MiB,
ten at a time) take half a gigabyte of memory per file. A file that is sent in parts can be seen when all of them are there
and not before; after an error the store is told to drop those that came.

A driver that does not know these settings sends and fetches in its own way.
"""

from __future__ import annotations

import inspect
import math
from pathlib import Path
from typing import Any, cast

PART_BYTES = 16 << 20
"""A part of a large file. A file that is sent has at least two of them, else it goes in one request."""
PARTS_AT_ONCE = 8
"""Parts of one file that travel at a time; together with `PART_BYTES` the most memory that a transfer takes, 128 MiB."""
MOST_PARTS = 10_000
"""S3 takes no more parts of one file."""


def read_whole(fs: Any, path: str) -> bytes:
    """The content of a file: one request where it is shorter than a part, else the rest in parts."""
    if not _knows(fs, "_cat_file", "max_concurrency"):
        return cast(bytes, fs.cat_file(path))
    try:
        first = cast(bytes, fs.cat_file(path, start=0, end=PART_BYTES))
    except FileNotFoundError:
        raise
    except OSError:  # an empty file has no part
        return read_small(fs, path)
    if len(first) < PART_BYTES:
        return first
    starts = range(PART_BYTES, int(fs.size(path)), PART_BYTES)
    stops = [start + PART_BYTES for start in starts]
    rest = fs.cat_ranges([path] * len(stops), list(starts), stops, on_error="raise", batch_size=PARTS_AT_ONCE)
    return b"".join([first, *rest])


def read_small(fs: Any, path: str) -> bytes:
    """The content of a file that is known to be small, in one request."""
    # Without the option, the driver asks for the size of the file first.
    option = {"max_concurrency": 1} if _knows(fs, "_cat_file", "max_concurrency") else {}
    return cast(bytes, fs.cat_file(path, **option))


def fetch(fs: Any, path: str, local: Path) -> None:
    """Copy a file of the store to a local path."""
    fs.get_file(path, str(local), **_in_parts(fs, "_get_file", PART_BYTES))


def send(fs: Any, local: Path, path: str) -> None:
    """Copy a local file to the store, where it appears as a whole."""
    part_bytes = max(PART_BYTES, math.ceil(local.stat().st_size / MOST_PARTS))
    fs.put_file(str(local), path, **_in_parts(fs, "_put_file", part_bytes))


def send_bytes(fs: Any, data: bytes, path: str) -> None:
    """Write bytes as a file of the store, where it appears as a whole."""
    fs.pipe_file(path, data, **_in_parts(fs, "_pipe_file", max(PART_BYTES, math.ceil(len(data) / MOST_PARTS))))


def _in_parts(fs: Any, method: str, part_bytes: int) -> dict[str, int]:
    if not _knows(fs, method, "chunksize", "max_concurrency"):
        return {}
    return {"chunksize": part_bytes, "max_concurrency": PARTS_AT_ONCE}


def _knows(fs: Any, method: str, *options: str) -> bool:
    """Whether a method of the driver takes these options."""
    found = getattr(fs, method, None)
    return found is not None and set(options) <= inspect.signature(found).parameters.keys()
