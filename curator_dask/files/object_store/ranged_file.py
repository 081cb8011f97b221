"""A file of an object store as a stream: it asks for what is read, in parts and several at a time.

Streams of fsspec read one block after the other, 50 MiB of them for s3fs, wherever the next read may be. Readers of Parquet
ask for pieces here and there: this one fetches these pieces and not what follows. Who reads on gets more and more ahead.
A file that is no longer than what one request asks for at the least is fetched whole, once for each of its versions.
The driver's own stream does each request, so a file that is replaced meanwhile is an error and never a mixture.
"""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any, cast

from curator_dask.files.object_store.kept_contents import KEPT
from curator_dask.files.object_store.listing import version_of

PART_BYTES = 8 << 20
"""What one request asks for at the most."""
PARTS_AT_ONCE = 8
LEAST_BYTES = 256 << 10
"""What one request asks for at the least: a request takes as long as the transfer of some hundred KiB."""
MOST_AHEAD_BYTES = 32 << 20


def ranged(stream: Any) -> IO[bytes]:
    """The stream of a driver as one that reads in parts; as it is where the driver has no requests for parts."""
    from fsspec.spec import AbstractBufferedFile

    if isinstance(stream, AbstractBufferedFile) and stream.size is not None:
        return cast("IO[bytes]", RangedFile(stream))
    return cast("IO[bytes]", stream)


class RangedFile(io.RawIOBase):
    """Reads a stream of fsspec by its requests for ranges. One thread may use it at a time."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._size = int(stream.size)
        self._at = 0
        self._ahead = 0
        """Bytes to fetch beyond the next read: they double while reads follow each other."""
        self._held_from = 0
        self._held = memoryview(b"")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if at < 0:
            raise ValueError(f"a place before the start of the file: {at}")
        if at != self._at:
            self._ahead = 0
        self._at = at
        return at

    def read(self, size: int | None = -1, /) -> bytes:
        """Up to `size` bytes, fewer only at the end of the file; None or a negative number: all that is left."""
        left = max(0, self._size - self._at)
        data = self._between(self._at, self._at + (left if size is None or size < 0 else min(size, left)))
        self._at += len(data)
        return data

    def readall(self) -> bytes:
        return self.read()

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._held = memoryview(b"")
            self._stream.close()
        super().close()

    def _between(self, start: int, stop: int) -> bytes:
        if self.closed:
            raise ValueError("the file is closed")
        held = self._held_between(start, stop)
        if start + len(held) == stop:
            return bytes(held)
        if self._size <= LEAST_BYTES:
            self._held = memoryview(self._whole())
            return bytes(self._held[start:stop])
        fetched_from = start + len(held)
        wanted = max(stop + self._ahead, fetched_from + LEAST_BYTES)
        fetched = self._fetch(fetched_from, min(wanted, self._size))
        data = b"".join([held, memoryview(fetched)[: stop - fetched_from]])
        self._held_from, self._held = stop, memoryview(fetched[stop - fetched_from :])  # a copy: the rest is let go
        self._ahead = min(max(2 * self._ahead, LEAST_BYTES), MOST_AHEAD_BYTES)
        return data

    def _whole(self) -> bytes:
        """All bytes of a small file; those that this process has read before are not asked for again."""
        version = version_of(self._stream.details)
        data = KEPT.get(version, self._size)
        if data is None:
            data = self._fetch(0, self._size)
            KEPT.keep(version, data)
        return data

    def _held_between(self, start: int, stop: int) -> memoryview:
        """The first of these bytes, as far as they are here already."""
        if start < self._held_from:
            return memoryview(b"")
        return self._held[start - self._held_from : stop - self._held_from]

    def _fetch(self, start: int, stop: int) -> bytes:
        borders = [*range(start, stop, PART_BYTES), stop]
        if len(borders) == 2:
            return self._fetch_part(start, stop)
        with ThreadPoolExecutor(PARTS_AT_ONCE) as pool:
            return b"".join(pool.map(self._fetch_part, borders[:-1], borders[1:]))

    def _fetch_part(self, start: int, stop: int) -> bytes:
        data = cast(bytes, self._stream._fetch_range(start, stop))
        if len(data) != stop - start:
            raise OSError(f"{self._stream.path}: the store gave {len(data)} of the bytes from {start} to {stop}")
        return data
