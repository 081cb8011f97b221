"""Read and write plain USTAR archives as a stream, block by block.

webdataset's ``TarWriter`` gives reproducible bytes too, but needs each clip whole in memory. ``tarfile.open`` streams,
but its reader accepts extension headers of any size. So only single headers are left to ``tarfile.TarInfo``.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from curator_dask.errors import InputError

BLOCK_BYTES = 512
RECORD_BYTES = 20 * BLOCK_BYTES
CHUNK_BYTES = 1 << 20
_END = bytes(2 * BLOCK_BYTES)
_KINDS = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.DIRTYPE: "a folder",
    tarfile.FIFOTYPE: "a pipe",
}


class Readable(Protocol):
    """An object with `read`, which returns at most ``size`` bytes, and none at the end."""

    def read(self, size: int, /) -> bytes: ...


class Writable(Protocol):
    """An object with `write`, which takes bytes in order."""

    def write(self, data: bytes, /) -> object: ...


def _padding(num_bytes: int, unit: int) -> int:
    return -num_bytes % unit


def member_bytes(num_bytes: int) -> int:
    """The bytes that a member of ``num_bytes`` takes in the archive: header, body, padding."""
    return BLOCK_BYTES + num_bytes + _padding(num_bytes, BLOCK_BYTES)


def archive_bytes(members_bytes: int) -> int:
    """The size of an archive whose members take ``members_bytes``: two zero blocks are added, then filled up to a record."""
    total = members_bytes + len(_END)
    return total + _padding(total, RECORD_BYTES)


def most_members_bytes(num_bytes: int) -> int:
    """The most that members may take in an archive of at most ``num_bytes``: `archive_bytes`, backwards; below 0 if none fit."""
    return num_bytes // RECORD_BYTES * RECORD_BYTES - len(_END)


def write_header(target: Writable, name: str, num_bytes: int) -> None:
    """Write a header. Only name and size vary; mtime and owner are 0, the mode is 0644."""
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = num_bytes, 0, 0o644
    target.write(info.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict"))


def write_padding(target: Writable, num_bytes: int) -> None:
    """Write the zeros that follow a body of ``num_bytes``."""
    target.write(bytes(_padding(num_bytes, BLOCK_BYTES)))


def write_member(target: Writable, name: str, data: bytes) -> None:
    """Write a small member: header, body and padding."""
    write_header(target, name, len(data))
    target.write(data)
    write_padding(target, len(data))


def write_end(target: Writable, members_bytes: int) -> None:
    """Write the end of an archive whose members took ``members_bytes``."""
    target.write(bytes(archive_bytes(members_bytes) - members_bytes))


@dataclass(frozen=True, slots=True)
class Member:
    """A member that is being read. ``chunks`` gives its body once; `read_members` skips the rest of it."""

    name: str
    num_bytes: int
    kind: str
    """ "" for a plain file, else its type in words ("a symbolic link")."""
    chunks: Iterator[bytes]


def read_members(stream: Readable) -> Iterator[Member]:
    """The members of an archive, in order; no file is extracted and no link is followed.

    Raises InputError if the archive is broken: a bad header, a short body, no end, or data after the end.
    """
    while (header := _read_exactly(stream, BLOCK_BYTES, "the end of the archive")) != bytes(BLOCK_BYTES):
        info = _parse_header(header)
        body = _body(stream, info.size)
        yield Member(info.name, info.size, _kind(info), body)
        for _ in body:
            pass
        _read_exactly(stream, _padding(info.size, BLOCK_BYTES), "the padding of a member")
    while chunk := stream.read(CHUNK_BYTES):
        if chunk.strip(b"\0"):
            raise InputError("there is data after the end of the archive")


def _parse_header(header: bytes) -> tarfile.TarInfo:
    try:
        info = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        raise InputError(f"broken tar header: {error}") from error
    if header[257:265] != tarfile.POSIX_MAGIC or info.size < 0:
        raise InputError(f"the header of {info.name!r} is not plain USTAR")
    return info


def _kind(info: tarfile.TarInfo) -> str:
    return "" if info.type == tarfile.REGTYPE else _KINDS.get(info.type, f"a member of type {info.type!r}")


def _body(stream: Readable, num_bytes: int) -> Iterator[bytes]:
    while num_bytes > 0:
        chunk = stream.read(min(num_bytes, CHUNK_BYTES))
        if not chunk:
            raise InputError(f"the archive ends {num_bytes} bytes before the end of a member")
        num_bytes -= len(chunk)
        yield chunk


def _read_exactly(stream: Readable, num_bytes: int, what: str) -> bytes:
    data = b"".join(_body_or_short(stream, num_bytes))
    if len(data) != num_bytes:
        raise InputError(f"the archive ends before {what}")
    return data


def _body_or_short(stream: Readable, num_bytes: int) -> Iterator[bytes]:
    while num_bytes > 0 and (chunk := stream.read(num_bytes)):
        num_bytes -= len(chunk)
        yield chunk
