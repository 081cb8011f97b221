"""Look into one video with PyAV and print what is there as JSON: the script of the process that probe.py starts.

It imports nothing of the package, so it starts quickly; whitelists and limits come as JSON in its one argument::

    {"url": "file:/…", "formats": "mov,…", "protocols": "file", "max_pixels": 35389440}

The answer is ``{"error": [reason, message]}`` or the fields that probe.py reads. Times are in seconds, fractions are
``[n, d]``.
"""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import av.error
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

PACKETS_LOOKED_AT = 32
PACKETS_TRIED = 2000
SLOWEST_FPS, FASTEST_FPS = Fraction(1, 10), Fraction(1000)
LEAST_BITS_PER_SECOND = 2000
LAST_FRAME_S = 1.0
LATE_START_S = 0.1
"""Encoders prime sound with less than this; it is no late start."""
MACHINE_ERRORS = frozenset(
    {errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EACCES, errno.EPERM, errno.ENOENT, errno.ESTALE, errno.ETIMEDOUT}
)
"""Errors of opening and reading that say nothing of the bytes. Demuxers say EIO of damaged files too."""
STILL_IMAGE_BRANDS = ("heic", "heix", "heim", "heis", "mif1", "avif")


class Rejected(Exception):  # noqa: N818 - it is an answer, not a fault
    """``args`` are the reason code and the message."""


def main(request: dict[str, Any]) -> dict[str, Any]:
    try:
        return describe(request)
    except Rejected as rejected:
        return {"error": rejected.args}
    except av.error.ArgumentError:
        return {
            "error": (
                "format-not-allowed",
                "it is a playlist, an image, a sound file or another format that is not read as video; "
                "if it holds moving pictures (an animated WebP), make an MP4 of it with a program that reads it; "
                f"formats that are: {request['formats']}",
            )
        }
    except av.error.FFmpegError as error:
        log: Any = error.log  # (level, component, message) of FFmpeg's last complaint, or None
        detail = log[2].strip() if log else error.strerror
        if error.errno in MACHINE_ERRORS or (error.errno == errno.EIO and not can_be_read(request["url"])):
            return {"error": ("unreadable", f"it cannot be read here: {error.strerror}")}
        return {"error": ("not-a-video", f"it is no video, or its header is damaged or cut off ({detail})")}


def can_be_read(url: str) -> bool:
    """Whether all bytes of the file come when they are asked for: then an error of reading is one of the bytes."""
    try:
        with open(url.removeprefix("file:"), "rb", buffering=0) as file:  # noqa: PTH123 - the script starts quickly
            while file.read(1 << 20):
                pass
    except OSError:
        return False
    return True


def describe(request: dict[str, Any]) -> dict[str, Any]:
    """Header facts, one decoded frame, and a scan of the packets only where the header cannot be believed."""
    with open_container(request) as container:
        video = choose_video(container)
        facts = {**container_facts(container), **stream_facts(video), **audio_facts(container, video)}
        facts |= choice_facts(container, video)
        facts |= first_frame_facts(container, video, request["max_pixels"])
        facts |= without_late_start(facts)
        index = video.index
    facts["scanned"] = not is_believable(facts)
    if facts["scanned"]:
        with open_container(request) as container:
            facts |= scan(container, index, facts)
    return facts


def open_container(request: dict[str, Any]) -> InputContainer:
    options = {"protocol_whitelist": request["protocols"], "format_whitelist": request["formats"]}
    container: InputContainer = av.open(request["url"], options=options, metadata_errors="replace")
    return container


def choose_video(container: InputContainer) -> VideoStream:
    """The video stream with the largest pictures that is no cover picture; FFmpeg's best where several are as large.

    A stream with less than half the frames of another is none either: some phones add a few large stills.
    """
    if container.metadata.get("major_brand", "").strip() in STILL_IMAGE_BRANDS:
        raise Rejected("still-image", "it is a photo (HEIF or AVIF), not a video")
    videos = listed_videos(container)
    if not videos:
        covers = " but a cover picture" if container.streams.video else ""
        raise Rejected("no-video-stream", f"there is no video in it{covers}")
    most_frames = max(stream.frames for stream in videos)
    whole = [stream for stream in videos if not stream.frames or 2 * stream.frames >= most_frames]
    best = container.streams.best("video")
    chosen = max(whole, key=lambda stream: (area(stream), stream == best))
    if not isinstance(chosen, VideoStream) or chosen.codec_context is None:
        raise Rejected("unknown-codec", "FFmpeg has no decoder for its video")
    return chosen


def listed_videos(container: InputContainer) -> list[VideoStream]:
    return [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]


def choice_facts(container: InputContainer, chosen: VideoStream) -> dict[str, Any]:
    num_videos = len(listed_videos(container))
    note = f"it has {num_videos} video streams: stream {chosen.index} was taken ({chosen.width}x{chosen.height})"
    return {"notes": [note] if num_videos > 1 else []}


def area(stream: VideoStream) -> int:
    return stream.width * stream.height if stream.codec_context is not None else 0


def container_facts(container: InputContainer) -> dict[str, Any]:
    return {
        "container": container.format.name,
        "container_start_s": (container.start_time or 0) / 1_000_000,
        "container_duration_s": container.duration / 1_000_000 if container.duration else None,
        "size_bytes": container.size,
    }


def stream_facts(video: VideoStream) -> dict[str, Any]:
    context = video.codec_context
    duration_s = seconds(video.duration, video.time_base) or tagged_duration_s(video.metadata.get("DURATION", ""))
    fps = video.average_rate or video.guessed_rate or video.base_rate
    return {
        "video_stream": video.index,
        "codec": context.codec.canonical_name,
        "stream_start_s": seconds(video.start_time, video.time_base),
        "stream_duration_s": duration_s,
        "num_frames": video.frames,
        "fps": as_pair(fps),
        "bit_rate": video.bit_rate,
        "color_transfer": int(context.color_trc),
        "sample_aspect_ratio": as_pair(video.sample_aspect_ratio),
    }


def audio_facts(container: InputContainer, video: VideoStream) -> dict[str, Any]:
    """The sound tracks that have a decoder, a sample rate and channels; a nameless one would break the cut.

    Where the file holds several programmes (television channels), only those of the pictures' programme.
    """
    programme = container.streams.best("video", related=video)
    tracks = [
        {
            "stream": audio.index,
            "codec": audio.codec_context.codec.canonical_name,
            "has_header": bool(audio.codec_context.extradata),
            "start_s": seconds(audio.start_time, audio.time_base),
        }
        for audio in container.streams.audio
        if audio.codec_context is not None
        and audio.codec_context.sample_rate
        and container.streams.best("video", related=audio) == programme
    ]
    return {"audio_tracks": tracks}


def first_frame_facts(container: InputContainer, video: VideoStream, max_pixels: int) -> dict[str, Any]:
    """Decode until one frame comes out: size, rotation and time as they are, not as the header says.

    A few dozen packets are looked at besides, for time stamps that are missing.
    """
    reject_too_large(video.width, video.height, max_pixels)
    video.codec_context.thread_count = 1
    video.codec_context.options = {"max_pixels": str(max_pixels)}
    frame, num_packets, num_without_pts = None, 0, 0
    for packet in packets_of(container, video):
        if packet.size == 0 or num_packets >= (PACKETS_LOOKED_AT if frame else PACKETS_TRIED):
            break
        num_packets += 1
        num_without_pts += packet.pts is None
        frame = frame or decode_one(packet)
    frame = frame or flush(video)
    if frame is None:
        raise Rejected("no-decodable-frame", f"no frame could be decoded from its first {num_packets} packets")
    reject_too_large(frame.width, frame.height, max_pixels)
    return {
        "coded_width": frame.width,
        "coded_height": frame.height,
        "rotation_ccw_deg": frame.rotation,
        "pixel_format": frame.format.name,
        "is_rgb": frame.format.is_rgb or frame.format.has_palette,
        "has_alpha": has_alpha(frame.format) or video.metadata.get("alpha_mode") == "1",
        "is_interlaced": bool(frame.interlaced_frame),
        "start_s": seconds(frame.pts, frame.time_base) or 0.0,
        "packets_without_pts": num_without_pts,
    }


def packets_of(container: InputContainer, stream: Any) -> Iterator[av.Packet[Any]]:
    """All packets of a stream. A transport stream with a long part that is none (zeros) says EAGAIN there, and goes on."""
    while True:
        try:
            yield from container.demux(stream)
        except av.error.BlockingIOError:
            continue
        return


def has_alpha(pixel_format: av.VideoFormat) -> bool:
    return any(component.is_alpha for component in pixel_format.components)


def without_late_start(facts: dict[str, Any]) -> dict[str, Any]:
    """The durations, where they count from the start of the file's clock and the first frame comes later.

    Matroska states when its streams end, and so does every container whose duration stands in for the stream's.
    """
    is_end_time = facts["container"].startswith("matroska")
    late_s = facts["start_s"] if is_end_time else facts["start_s"] - facts["container_start_s"]
    if late_s <= LATE_START_S:
        return {}
    names = ("stream_duration_s", "container_duration_s") if is_end_time else ("container_duration_s",)
    return {name: facts[name] - late_s for name in names if facts[name] and facts[name] > late_s}


def decode_one(packet: av.Packet[Any]) -> Any:
    try:
        return next(iter(packet.decode()), None)
    except av.error.FFmpegError:
        return None


def flush(video: VideoStream) -> Any:
    try:
        return next(iter(video.codec_context.decode(None)), None)
    except av.error.FFmpegError:
        return None


def reject_too_large(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise Rejected("too-many-pixels", f"its pictures are {width}x{height}; the limit is {max_pixels} pixels")


def is_believable(facts: dict[str, Any]) -> bool:
    """Whether duration, frame count, frame rate and size fit together, so that the packets need not be read."""
    duration_s = facts["stream_duration_s"] or facts["container_duration_s"]
    if not duration_s or duration_s <= 0 or facts["fps"] is None:
        return False
    fps = Fraction(*facts["fps"])
    if not SLOWEST_FPS <= fps <= FASTEST_FPS:
        return False
    if facts["size_bytes"] * 8 < LEAST_BITS_PER_SECOND * duration_s:
        return False
    counted_s = float(facts["num_frames"] / fps)
    return not facts["num_frames"] or abs(counted_s - duration_s) <= 1 + duration_s / 10


def scan(container: InputContainer, index: int, facts: dict[str, Any]) -> dict[str, Any]:
    """Read all packets of the stream, decoding none: shown frames and the time they cover.

    Packets that an edit list hides do not count. The last frame lasts as long as its packet says, but at most a second
    or a mean gap, as a lying header can give it years.
    """
    first_s, last_s, tail_s, num_frames = 0.0, 0.0, 0.0, 0
    for packet in packets_of(container, container.streams[index]):
        stamp = packet.dts if packet.pts is None else packet.pts
        if packet.size == 0 or packet.is_discard or stamp is None or packet.time_base is None:
            continue
        time_s = float(stamp * packet.time_base)
        if num_frames == 0 or time_s < first_s:
            first_s = time_s
        if num_frames == 0 or time_s >= last_s:
            last_s, tail_s = time_s, float((packet.duration or 0) * packet.time_base)
        num_frames += 1
    if num_frames == 0:
        raise Rejected("no-frames", "its video stream has no frames that have a time")
    mean_gap_s = (last_s - first_s) / max(num_frames - 1, 1)
    duration_s = last_s - first_s + min(tail_s or mean_gap_s, max(mean_gap_s, LAST_FRAME_S))
    return {
        "num_frames": num_frames,
        "stream_duration_s": duration_s,
        "fps": measured_fps(facts, num_frames, duration_s),
    }


def measured_fps(facts: dict[str, Any], num_frames: int, duration_s: float) -> tuple[int, int] | None:
    """The header's rate if it is one that exists, else frames over time."""
    if facts["fps"] is not None and SLOWEST_FPS <= Fraction(*facts["fps"]) <= FASTEST_FPS:
        return facts["fps"]  # type: ignore[no-any-return]
    return as_pair(Fraction(num_frames / duration_s).limit_denominator(1001)) if duration_s > 0 else None


def seconds(stamp: int | None, time_base: Fraction | None) -> float | None:
    return float(stamp * time_base) if stamp is not None and time_base is not None else None


def tagged_duration_s(text: str) -> float | None:
    """Matroska muxers write a stream's own duration as a tag: ``00:00:10.333000000``."""
    try:
        hours, minutes, rest = text.split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(rest)
    except ValueError:
        return None


def as_pair(fraction: Fraction | None) -> tuple[int, int] | None:
    return (fraction.numerator, fraction.denominator) if fraction else None


if __name__ == "__main__":
    av.logging.set_level(av.logging.PANIC)
    sys.stdout.write(json.dumps(main(json.loads(sys.argv[1]))))
