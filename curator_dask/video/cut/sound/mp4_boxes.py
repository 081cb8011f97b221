"""What the header of an MP4 file says of its sound. The file may be hostile: its sizes are never believed.

An MP4 file is boxes within boxes, each with its size and its kind in front::

    ftyp | moov ( mvhd | trak ( tkhd | mdia ( mdhd | hdlr | minf ( stbl ( stsd )))) | trak (…)) | mdat
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_BOX = struct.Struct(">I4s")
_LARGE_BOX = 1
_LARGEST_HEADER_BYTES = 1 << 28


@dataclass(frozen=True, slots=True)
class SoundTrack:
    """One sound track of an MP4 file."""

    end_s: float
    """When its last packet ends, in seconds from the start of the file's clock."""
    sample_rate: int
    num_descriptions: int
    """How many configurations its packets use; more than one where they change."""


def sound_tracks(path: Path) -> list[SoundTrack]:
    """The sound tracks in the header of an MP4 or MOV file; none where the header cannot be read."""
    with path.open("rb") as file:
        movie = _read_movie(file)
    headers = [content for kind, content in movie if kind == b"mvhd"]
    tracks = [dict(_boxes(content)) for kind, content in movie if kind == b"trak"]
    found = (_sound_track(headers[0], track) for track in tracks if headers)
    return [track for track in found if track is not None]


def _sound_track(header: bytes, track: dict[bytes, bytes]) -> SoundTrack | None:
    """None for a track without sound, or one that is damaged."""
    media = dict(_boxes(track.get(b"mdia", b"")))
    if media.get(b"hdlr", b"")[8:12] != b"soun":
        return None
    samples = dict(_boxes(dict(_boxes(media.get(b"minf", b""))).get(b"stbl", b"")))
    sample_rate = _uint(media.get(b"mdhd", b""), 12, 20, size_1=4)
    ticks_per_second = _uint(header, 12, 20, size_1=4)
    if not sample_rate or not ticks_per_second:
        return None
    end_s = _uint(track.get(b"tkhd", b""), 20, 28) / ticks_per_second
    return SoundTrack(end_s, sample_rate, int.from_bytes(samples.get(b"stsd", b"")[4:8], "big"))


def _read_movie(file: BinaryIO) -> list[tuple[bytes, bytes]]:
    """The boxes of the header by their kind; none without a header."""
    while len(head := file.read(_BOX.size)) == _BOX.size:
        size, kind = _BOX.unpack(head)
        skipped = _BOX.size
        if size == _LARGE_BOX:
            size, skipped = int.from_bytes(file.read(8), "big"), skipped + 8
        if kind == b"moov" and size <= _LARGEST_HEADER_BYTES:
            return list(_boxes(file.read(max(size - skipped, 0))))
        if not skipped <= size < 1 << 62:
            return []
        file.seek(size - skipped, 1)
    return []


def _boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of the boxes that lie side by side in a box."""
    at = 0
    while at + _BOX.size <= len(content):
        size, kind = _BOX.unpack_from(content, at)
        yield kind, content[at + _BOX.size : at + size]
        at += max(size, _BOX.size)


def _uint(box: bytes, at_0: int, at_1: int, *, size_1: int = 8) -> int:
    """A number at its place in a box of version 0, where it has 4 bytes, or of version 1; 0 where the box ends before."""
    return int.from_bytes(box[at_1 : at_1 + size_1] if box[:1] == b"\1" else box[at_0 : at_0 + 4], "big")
