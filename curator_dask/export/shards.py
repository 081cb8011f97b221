"""Write one shard: members in a fixed order, media as a stream, digests computed while writing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from curator_dask.errors import MediaError
from curator_dask.export.plan import ShardPlan, check_extras
from curator_dask.export.samples import ClipRecord, clip_json_bytes, member_key
from curator_dask.export.ustar import CHUNK_BYTES, write_end, write_header, write_member, write_padding

UNREADABLE = "media-unreadable"
"""The reason of an error of reading, which says nothing of the bytes."""
OpenMedia = Callable[[ClipRecord], BinaryIO]
ExtraMembers = Mapping[str, Callable[[ClipRecord], bytes]]


@dataclass(frozen=True, slots=True)
class ShardResult:
    """A shard that was written, as the manifest records it."""

    split: str
    name: str
    samples: int
    num_bytes: int
    sha256: str
    md5: str
    """Not for security: the wids index format asks for it."""
    keys_sha256: str
    """SHA-256 of the keys in order, one per line."""

    @property
    def path(self) -> str:
        """Relative to the root of the export."""
        return f"{self.split}/{self.name}"


class HashingWriter:
    """Passes bytes on to a stream; counts and digests them."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.num_bytes = 0
        self.sha256 = hashlib.sha256()
        self.md5 = hashlib.md5(usedforsecurity=False)

    def write(self, data: bytes) -> None:
        self._stream.write(data)
        self.num_bytes += len(data)
        self.sha256.update(data)
        self.md5.update(data)


def media_fault(record: ClipRecord, num_bytes: int | None) -> str | None:
    """The fault of a clip's media file, or None. ``num_bytes`` is the size of the file, None if there is no file."""
    if num_bytes is None:
        return f"clip {record.id}: its media file is missing; split its source again or leave the clip out"
    if num_bytes != record.num_bytes:
        return (
            f"clip {record.id}: its media file has {num_bytes} bytes, its record says {record.num_bytes}; "
            "it was truncated or replaced later; split its source again"
        )
    return None


def write_shard(
    plan: ShardPlan, target: Path | BinaryIO, open_media: OpenMedia, extras: ExtraMembers | None = None
) -> ShardResult:
    """Writes one shard; equal plans and equal media give equal bytes.

    A path should be a temporary one that the caller renames; it is removed on failure. ``open_media`` opens the MP4 of
    a clip; ``extras`` maps the extension of each further member ("npy", "webp") to a function that returns its bytes.
    Raises MediaError, which names the clip, with the reason "media-missing", "media-unreadable" or "media-size".
    """
    extras = extras or {}
    check_extras(extras)
    if not isinstance(target, Path):
        return _write(plan, target, open_media, extras)
    try:
        with target.open("wb") as stream:
            return _write(plan, stream, open_media, extras)
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def keys_digest(keys: list[str]) -> str:
    """The value of ``keys_sha256``."""
    return hashlib.sha256("".join(f"{key}\n" for key in keys).encode("ascii")).hexdigest()


def _write(plan: ShardPlan, stream: BinaryIO, open_media: OpenMedia, extras: ExtraMembers) -> ShardResult:
    writer = HashingWriter(stream)
    keys = [member_key(record.id) for record in plan.samples]
    for key, record in zip(keys, plan.samples, strict=True):
        # json < mp4 < npy < txt < webp: members in the order of their names, as sorting a folder would give them.
        write_member(writer, f"{key}.json", clip_json_bytes(record))
        _write_media(writer, f"{key}.mp4", record, open_media)
        for extension in sorted(extras):
            write_member(writer, f"{key}.{extension}", extras[extension](record))
    write_end(writer, writer.num_bytes)
    return ShardResult(
        split=plan.split,
        name=plan.name,
        samples=len(plan.samples),
        num_bytes=writer.num_bytes,
        sha256=writer.sha256.hexdigest(),
        md5=writer.md5.hexdigest(),
        keys_sha256=keys_digest(keys),
    )


def _write_media(writer: HashingWriter, name: str, record: ClipRecord, open_media: OpenMedia) -> None:
    try:
        media = open_media(record)
    except FileNotFoundError as error:
        raise MediaError("media-missing", str(media_fault(record, None))) from error
    except OSError as error:
        raise _unreadable(record, error) from error
    with media:
        write_header(writer, name, record.num_bytes)
        copied = 0
        while chunk := _read(media, record):
            copied += len(chunk)
            if copied > record.num_bytes:
                break
            writer.write(chunk)
    if fault := media_fault(record, copied):
        raise MediaError("media-size", fault)
    write_padding(writer, record.num_bytes)


def _read(media: BinaryIO, record: ClipRecord) -> bytes:
    try:
        return media.read(CHUNK_BYTES)
    except OSError as error:
        raise _unreadable(record, error) from error


def _unreadable(record: ClipRecord, error: OSError) -> MediaError:
    return MediaError(UNREADABLE, f"clip {record.id}: its media file cannot be read: {error}")
