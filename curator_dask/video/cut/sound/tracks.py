"""Which sound tracks the clips get, and how: copied where one configuration serves a whole track, else encoded anew.

An MP4 file states the configuration of a track (AAC profile, sample rate, channels) once; a few have several for one
track, as Flash video may, and ffmpeg says at which packet the next one begins. In transport and program
streams each packet brings its own, in a header called ADTS, and it may change in mid-file. Copied into clips, the
packets after such a change could not be decoded. So the headers of all packets are read before a track is copied::

    bits of ADTS   12 sync | 1 MPEG-2 | 2 layer | 1 no checksum | 2 profile | 4 sample rate | 1 - | 3 channels | 4 - |
                   13 length of the frame with this header | 13 -
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from curator_dask.video.cut.sound.mp4_boxes import sound_tracks
from curator_dask.video.probe import AudioTrack, VideoInfo
from curator_dask.video.process import ffmpeg, sandbox
from curator_dask.video.process.machine_faults import raise_if_machine_failed

_COPIED_CODEC = "aac"
_NEW_HEADER = b"New Extradata"
_CHANGING = "changes its channels"
_CHANGING_RATE = "changes its sample rate or profile, and may be out of step with the pictures behind the change"
"""FFmpeg times the packets of a transport stream by the first sample rate."""
_BLOCK_BYTES = 1 << 20
_LEAST_TIMEOUT_S = 60.0
_READ_BYTES_PER_SECOND = 10_000_000
"""Slowest disk that the time limit allows for."""
_HEADER_BYTES, _CHECKSUM_BYTES = 7, 2
_PROGRAM_CONFIG = 5
"""The kind of the element that describes channels which have no code of their own."""
_ELEMENT_BYTES = 7
"""So much of that element shows the channels of at most 5.1 sound."""
_START_BYTES = _HEADER_BYTES + _CHECKSUM_BYTES + _ELEMENT_BYTES
_COPIED = (("c", "copy"),)
_ENCODED = (("c", "aac"), ("ac", "2"), ("ar", "48000"), ("b", "128k"))
"""AAC stereo at 128 kbit/s; other shapes of sound are mixed and resampled to it."""


Configuration: TypeAlias = tuple[int, int, bytes]
"""Profile and sample rate, channels, both as the header codes them; the element that describes channels without a code."""


@dataclass(frozen=True, slots=True)
class ClipTrack:
    """One sound track of the clips."""

    stream: int
    """Index among all streams of the source."""
    is_copied: bool


@dataclass(frozen=True, slots=True)
class Sound:
    """The sound tracks of the clips, in order, and what a user wants to know about them."""

    tracks: tuple[ClipTrack, ...] = ()
    notes: tuple[str, ...] = ()


def plan_sound(info: VideoInfo, audio: str) -> Sound:
    """Choose the tracks that `audio` (``all``, ``none`` or the number of one) names, and how each is taken.

    Reads the packets of tracks that could be copied and whose configuration stands in their packets. Raises
    MediaError("timeout").
    """
    if audio == "none" or not info.audio_tracks:
        return Sound()
    wanted = info.audio_tracks if audio == "all" else info.audio_tracks[int(audio) - 1 : int(audio)]
    if not wanted:
        return Sound(notes=(f"it has no sound track {audio}, only {len(info.audio_tracks)}: clips have no sound",))
    planned = [_plan_track(info, track) for track in wanted]
    return Sound(tuple(track for track, _ in planned), tuple(note for _, note in planned if note))


def sound_args(tracks: Sequence[ClipTrack]) -> list[str]:
    """Return the options that map the tracks and choose their encoders."""
    words: list[str] = []
    for number, track in enumerate(tracks):
        words += ["-map", f"0:{track.stream}"]
        for name, value in _COPIED if track.is_copied else _ENCODED:
            words += [f"-{name}:a:{number}", value]
    return words


def _plan_track(info: VideoInfo, track: AudioTrack) -> tuple[ClipTrack, str]:
    """The track, and a note if it is not taken as usual."""
    if track.codec != _COPIED_CODEC:
        return ClipTrack(track.stream, is_copied=False), ""
    oddity = _oddity(info, track)
    note = f"the sound (stream {track.stream}) {oddity}: it was encoded anew" if oddity else ""
    return ClipTrack(track.stream, is_copied=not oddity), note


def _oddity(info: VideoInfo, track: AudioTrack) -> str:
    """Why the track cannot be copied; empty if it can."""
    if track.has_header and not _header_may_change(info):
        return ""
    if track.has_header:
        return _CHANGING if _has_word(_blocks(info, track, "framecrc"), _NEW_HEADER) else ""
    configurations = adts_configurations(_blocks(info, track, "data"))
    if configurations is None:
        return "is damaged, or does not say its channels"
    if len({profile_and_rate for profile_and_rate, *_ in configurations}) > 1:
        return _CHANGING_RATE
    return _CHANGING if len(configurations) > 1 else ""


def _header_may_change(info: VideoInfo) -> bool:
    """Whether a track of the file may get another header in mid-file."""
    if info.container.startswith("mov"):
        return any(track.num_descriptions > 1 for track in sound_tracks(info.path))
    return info.container == "flv"


def _blocks(info: VideoInfo, track: AudioTrack, form: str) -> Iterator[bytes]:
    """What ffmpeg's muxer `form` writes of the packets of a track, in blocks."""
    argv = [
        *ffmpeg.global_args(),
        *ffmpeg.input_args(info.path),
        *("-map", f"0:{track.stream}", "-c", "copy", "-f", form, "pipe:1"),
    ]
    with sandbox.stream(argv, timeout_s=_LEAST_TIMEOUT_S + info.size_bytes / _READ_BYTES_PER_SECOND) as child:
        while block := child.read(_BLOCK_BYTES):
            yield block
        raise_if_machine_failed(child.finish(), repr(str(info.path)))


def _has_word(blocks: Iterable[bytes], word: bytes) -> bool:
    before = b""
    for block in blocks:
        if word in before + block:
            return True
        before = block[-len(word) :]
    return False


def adts_configurations(blocks: Iterable[bytes]) -> set[Configuration] | None:
    """The different configurations in the ADTS headers of a raw AAC stream.

    None where that cannot be told: a frame does not begin where the one before it ends, or there is no frame.
    """
    found: set[Configuration] = set()
    described = b""
    for start in _adts_frames(blocks):
        if start[0] != 0xFF or start[1] & 0xF6 != 0xF0 or _frame_bytes(start) < _HEADER_BYTES:
            return None
        channels = (start[2] & 1) << 2 | start[3] >> 6
        # Channels without a code are described in the first frame, and perhaps again later.
        described = b"" if channels else _description(start) or described
        if not channels and not described:
            return None
        found.add((start[2] >> 2, channels, described))
    return found or None


def _description(start: bytes) -> bytes:
    """The element that describes the channels; empty if the frame does not begin with one."""
    content = start[_HEADER_BYTES if start[1] & 1 else _HEADER_BYTES + _CHECKSUM_BYTES :][:_ELEMENT_BYTES]
    return content if content[0] >> 5 == _PROGRAM_CONFIG else b""


def _adts_frames(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The first bytes of each frame, each found by the length of the one before."""
    held, position = b"", 0
    for block in itertools.chain(blocks, [bytes(_START_BYTES - _HEADER_BYTES)]):
        position, held = max(0, position - len(held)), held[position:] + block
        while position + _START_BYTES <= len(held):
            start = held[position : position + _START_BYTES]
            yield start
            position += max(_HEADER_BYTES, _frame_bytes(start))


def _frame_bytes(start: bytes) -> int:
    return (start[3] & 0x03) << 11 | start[4] << 3 | start[5] >> 5
