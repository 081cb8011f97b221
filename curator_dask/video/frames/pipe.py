"""Read frames from a running ffmpeg: small RGB pictures from its stdout, their exact times from a file.

A process that only decodes and one that also cuts clips use the same arguments and the same reader, so both give the
same frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from curator_dask.errors import MediaError
from curator_dask.video.frames.sampling import FrameRule
from curator_dask.video.probe import VideoInfo
from curator_dask.video.process import sandbox

Frames: TypeAlias = npt.NDArray[np.uint8]

TICKS_PER_SECOND = 90_000
"""Time base of counted or shifted frame times: the clock of MPEG, fine enough for every frame rate."""


def counts_frames(info: VideoInfo) -> bool:
    """Whether a frame's time is computed as its number / frame rate, because the file stores no times."""
    return info.needs_generated_timestamps and info.fps > 0


def counted_times(info: VideoInfo) -> list[str]:
    """Return the filters that compute the times of frames; none if the file stores times."""
    if not counts_frames(info):
        return []
    seconds = f"N*{info.fps.denominator}/{info.fps.numerator}"
    return [f"settb=1/{TICKS_PER_SECOND}", f"setpts='STARTPTS+{seconds}/TB'"]


def filters(info: VideoInfo, rule: FrameRule) -> str:
    """Return the filter chain that scales decoded frames to the rule's size."""
    scaled = f"scale={rule.width}:{rule.height}:flags=bicubic+accurate_rnd+bitexact"
    return ",".join([scaled, "format=rgb24", *counted_times(info)])


def output_args(info: VideoInfo, label: str, times_path: str) -> list[str]:
    """Return the options that write the frames of filter output ``label`` to stdout and their times to a file."""
    time_base = f"1/{TICKS_PER_SECOND}" if counts_frames(info) else "demux"
    return [
        *("-map", f"[{label}]", "-fps_mode:v", "passthrough", "-enc_time_base:v", time_base),
        *("-stats_enc_pre:v:0", f"file:{times_path}", "-stats_enc_pre_fmt:v:0", "{pts} {tb}"),
        *("-c:v", "rawvideo", "-f", "rawvideo", "pipe:1"),
    ]


def read_frames(child: sandbox.Child, times_path: Path, rule: FrameRule) -> Iterator[tuple[float, Frames]]:
    """Yield each frame as it comes: (seconds from the first frame, (H, W, 3) uint8 RGB).

    ``times_path`` must be an empty file before the process starts. Raises MediaError("timeout"), and
    MediaError("no-frame-time") if ffmpeg writes no time for a frame.
    """
    first_s: float | None = None
    with times_path.open("r", encoding="ascii") as times:
        while True:
            frame = np.empty((rule.height, rule.width, 3), np.uint8)
            if child.read_into(frame.data) < frame.nbytes:
                return
            time_s = _next_time_s(times)
            first_s = time_s if first_s is None else first_s
            yield time_s - first_s, frame


def _next_time_s(times: IO[Any]) -> float:
    """Read the time of the next frame. ffmpeg flushes the line of a frame before it sends the frame to the encoder."""
    line = times.readline()
    pts, _, time_base = line.partition(" ")
    try:
        return float(int(pts) * Fraction(time_base.strip()))
    except (ValueError, ZeroDivisionError) as error:
        raise MediaError("no-frame-time", f"ffmpeg gave {line!r} as the time of a frame") from error
