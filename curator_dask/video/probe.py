"""Find out about a video file: size, frame rate, duration, streams.

PyAV is asked in a child process, as the file may be hostile. The header is believed where its numbers fit together; the
first frame is decoded in any case, for the true size, rotation and start. Where the header cannot be believed, the
packets are read (not decoded) for the true duration.

Each rejection is a :class:`~curator_dask.errors.MediaError` with one of these reasons: ``missing``, ``not-a-file``,
``empty``, ``unreadable``, ``not-a-video``, ``format-not-allowed``, ``still-image``, ``no-video-stream``,
``unknown-codec``, ``too-small``, ``too-many-pixels``, ``no-decodable-frame``, ``no-frames``,
``no-believable-duration``, ``probe-crashed``, ``timeout``, and those of ``process/machine_faults``.
"""

from __future__ import annotations

import dataclasses
import json
import os
import stat
import sys
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from curator_dask.errors import MediaError
from curator_dask.video.process import ffmpeg, sandbox
from curator_dask.video.process.machine_faults import raise_if_machine_failed
from curator_dask.video.time_line import CLOCK_MAY_JUMP, read_time_line

MIN_SIDE = 16
"""Pictures below 16x16 cannot be encoded by openh264 and show nothing."""
LONGEST_MEAN_GAP_S = 60.0
CLOCK_JUMP_S = 1.0
"""Header and packets of a sound file agree within a second."""
_PROBE_CHILD = Path(__file__).with_name("_probe_child.py")
_TRANSFERS = {1: "bt709", 4: "gamma22", 5: "gamma28", 6: "smpte170m", 7: "smpte240m", 8: "linear", 11: "iec61966-2-4"}
_TRANSFERS |= {
    13: "iec61966-2-1",
    14: "bt2020-10",
    15: "bt2020-12",
    16: "smpte2084",
    17: "smpte428",
    18: "arib-std-b67",
}


@dataclass(frozen=True, slots=True)
class AudioTrack:
    """One sound track that ffmpeg can decode."""

    stream: int
    """Index among all streams of the file."""
    codec: str
    has_header: bool
    """The file states the track's configuration once, for all its packets. False: packets bring their own."""
    lead_s: float = 0.0
    """How much earlier than the pictures it starts, where ffmpeg's clock begins with the earliest of the streams that
    are read (containers of ``time_line.CLOCK_MAY_JUMP``). Else 0: the clock begins with the earliest of all streams."""


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """One video file as it will be decoded."""

    path: Path
    size_bytes: int
    container: str
    """FFmpeg's demuxer, such as ``mov,mp4,m4a,3gp,3g2,mj2``."""
    codec: str
    pixel_format: str
    width: int
    """Upright, after rotation, as ffmpeg decodes it."""
    height: int
    rotation_deg: int
    """How far the stored picture is turned counter-clockwise to stand upright: 0, 90, 180 or 270; already in width and
    height."""
    sample_aspect_ratio: Fraction
    """Width over height of one pixel, of the upright picture; 1 where the file does not say."""
    fps: Fraction
    """Mean frames per second, exact; 0 where nothing is known. Never compute a frame's time from it: rates vary."""
    duration_s: float | None
    """Duration of the video stream, or of the container if the stream has none; None if neither is known."""
    start_s: float
    """When the first frame is shown on the file's own clock; spans count from here."""
    container_start_s: float
    """The earliest time of any stream, which ffmpeg takes off all times."""
    num_frames: int
    """Frames by the header, edit lists not applied; 0 if it does not say. Counted from packets if ``is_scanned``."""
    bit_rate: int | None
    """Bits per second of the video stream, or of the whole file if the stream does not say."""
    video_stream: int
    """Index among all streams of the file, as in ffmpeg's ``-map 0:{index}``."""
    audio_tracks: tuple[AudioTrack, ...]
    """The sound tracks in the order of the file; where it holds several programmes, those of the pictures' programme."""
    color_transfer: str | None
    """FFmpeg's name (``smpte2084`` and ``arib-std-b67`` are HDR); None if unspecified."""
    is_rgb: bool
    """Pictures are stored as red, green and blue, or with a palette of such colours."""
    has_alpha: bool
    """Pictures may be transparent."""
    is_interlaced: bool
    """The first frame holds two fields, of two moments."""
    needs_generated_timestamps: bool
    """Frame times must be counted from the frame rate: AVI has none, and some files lack them."""
    is_scanned: bool
    """The header could not be believed, so duration and frame count come from reading all packets."""
    warnings: tuple[str, ...] = ()
    """Oddities of the time line that were repaired: sentences for people."""
    notes: tuple[str, ...] = ()
    """What was chosen where the file offers several things: sentences for people."""

    @property
    def framerate(self) -> float:
        """Mean frames per second."""
        return float(self.fps)


def probe_video(path: Path, *, timeout_s: float = 60.0) -> VideoInfo:
    """Examine one local file. Raises MediaError for anything that cannot be cut as a video (reasons: see the module).

    Costs about 0.2 s, most of it starting the child; a header that lies costs one read of the file besides.
    """
    size_bytes = _require_regular_file(path)
    facts = _ask_child(path, timeout_s)
    info = _video_info(path, size_bytes, facts)
    if info.container in CLOCK_MAY_JUMP:
        info = _on_repaired_clock(info, timeout_s)
    if min(info.width, info.height) < MIN_SIDE:
        raise MediaError("too-small", f"{_name(path)}: its pictures are {info.width}x{info.height}; 16x16 is the least")
    if info.is_scanned and (info.duration_s or 0) > LONGEST_MEAN_GAP_S * info.num_frames:
        raise MediaError(
            "no-believable-duration",
            f"{_name(path)}: {info.num_frames} frames are said to last {info.duration_s:.0f} s",
        )
    return info


def require_not_too_long(info: VideoInfo, max_hours: float | None) -> None:
    """Raise MediaError("too-long") for a video of more than `max_hours`; None allows any length."""
    hours = (info.duration_s or 0.0) / 3600
    if max_hours is not None and hours > max_hours:
        raise MediaError(
            "too-long", f"{_name(info.path)}: it lasts {hours:.2f} hours; max_video_hours is {max_hours:g}"
        )


def _on_repaired_clock(info: VideoInfo, timeout_s: float) -> VideoInfo:
    """The same video with start, duration and frame count as ffmpeg's repaired clock has them: see `time_line`."""
    line = read_time_line(info.path, info.video_stream, info.size_bytes, timeout_s=timeout_s)
    duration_s = line.duration_s
    if info.needs_generated_timestamps and info.fps > 0:  # frames without times are counted, and so is the duration
        duration_s = float(line.num_frames / info.fps)
    warnings: tuple[str, ...] = ()
    if info.duration_s is None or abs(info.duration_s - duration_s) > CLOCK_JUMP_S:
        stated = "says nothing" if info.duration_s is None else f"says {info.duration_s:.2f} s"
        warnings = (
            f"the clock of the file jumps or is wrong: its header {stated}, its {line.num_frames} frames last "
            f"{duration_s:.2f} s. Times were repaired as ffmpeg does",
        )
    return dataclasses.replace(
        info,
        start_s=info.container_start_s + line.first_s,
        duration_s=duration_s,
        num_frames=line.num_frames,
        is_scanned=True,
        warnings=warnings,
    )


def _require_regular_file(path: Path) -> int:
    """Its size in bytes. Opening a FIFO or a device could block for ever, so this asks first."""
    try:
        status = path.stat()
    except FileNotFoundError:
        what = (
            "it is a link to nothing"
            if path.is_symlink()
            else "there is no such file: it was removed, or a worker does not see this disk"
        )
        raise MediaError("missing", f"{_name(path)}: {what}") from None
    except (OSError, ValueError) as error:
        raise MediaError("unreadable", f"{_name(path)}: {error}") from error
    if not stat.S_ISREG(status.st_mode):
        raise MediaError("not-a-file", f"{_name(path)}: it is a folder, a pipe or a device, not a regular file")
    if status.st_size == 0:
        raise MediaError("empty", f"{_name(path)}: it has 0 bytes")
    if not os.access(path, os.R_OK):
        raise MediaError("unreadable", f"{_name(path)}: no permission to read it")
    return status.st_size


def _ask_child(path: Path, timeout_s: float) -> dict[str, Any]:
    request = {
        "url": ffmpeg.input_url(path),
        "formats": ffmpeg.FORMAT_WHITELIST,
        "protocols": ffmpeg.PROTOCOL_WHITELIST,
        "max_pixels": ffmpeg.MAX_PIXELS,
    }
    # -P keeps the current folder, which may hold a stranger's av.py, off the module path.
    finished = sandbox.run([sys.executable, "-P", str(_PROBE_CHILD), json.dumps(request)], timeout_s=timeout_s)
    raise_if_machine_failed(finished, _name(path))
    if finished.returncode != 0:
        raise MediaError("probe-crashed", f"{_name(path)}: the decoder ended with {_describe_end(finished)}")
    facts: dict[str, Any] = json.loads(finished.stdout)
    if "error" in facts:
        reason, message = facts["error"]
        raise MediaError(reason, f"{_name(path)}: {message}")
    return facts


def _describe_end(finished: sandbox.Finished) -> str:
    lines = finished.stderr_tail.strip().splitlines()
    return f"code {finished.returncode}{': ' + lines[-1] if lines else ''}"


def _video_info(path: Path, size_bytes: int, facts: dict[str, Any]) -> VideoInfo:
    rotation_deg = facts["rotation_ccw_deg"] % 360
    turned = rotation_deg in (90, 270)
    width, height = facts["coded_width"], facts["coded_height"]
    aspect = Fraction(*(facts["sample_aspect_ratio"] or (1, 1)))
    duration_s = facts["stream_duration_s"] or facts["container_duration_s"]
    return VideoInfo(
        path=path,
        size_bytes=size_bytes,
        container=facts["container"],
        codec=facts["codec"],
        pixel_format=facts["pixel_format"],
        width=height if turned else width,
        height=width if turned else height,
        rotation_deg=rotation_deg,
        sample_aspect_ratio=1 / aspect if turned else aspect,
        fps=Fraction(*(facts["fps"] or (0, 1))),
        duration_s=duration_s,
        start_s=facts["start_s"],
        container_start_s=facts["container_start_s"],
        num_frames=facts["num_frames"],
        bit_rate=facts["bit_rate"] or (int(size_bytes * 8 / duration_s) if duration_s else None),
        video_stream=facts["video_stream"],
        audio_tracks=tuple(_audio_track(facts, track) for track in facts["audio_tracks"]),
        color_transfer=_TRANSFERS.get(facts["color_transfer"]),
        is_rgb=facts["is_rgb"],
        has_alpha=facts["has_alpha"],
        is_interlaced=facts["is_interlaced"],
        needs_generated_timestamps=facts["container"] == "avi" or facts["packets_without_pts"] > 0,
        is_scanned=facts["scanned"],
        notes=tuple(facts["notes"]),
    )


def _audio_track(facts: dict[str, Any], track: dict[str, Any]) -> AudioTrack:
    video_s, sound_s = facts["stream_start_s"], track["start_s"]
    is_known = facts["container"] in CLOCK_MAY_JUMP and None not in (video_s, sound_s)
    lead_s = max(0.0, video_s - sound_s) if is_known else 0.0
    return AudioTrack(track["stream"], track["codec"], track["has_header"], lead_s)


def _name(path: Path) -> str:
    """The path as a Python literal: line breaks and bytes that are no UTF-8 cannot spoil a log."""
    return repr(str(path))
