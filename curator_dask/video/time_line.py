"""When the frames of a video are shown, as ffmpeg itself will time them: its packets are read, none is decoded.

The clock of a transport or program stream may restart or jump in mid-file (parts joined with ``cat``, a broadcast that
went on at midnight), so that first and last time stamp say nothing about its length. ffmpeg repairs such a clock while
it reads: after a jump it goes on where the clock stood. The process that cuts clips relies on the repaired clock, so
the plan is made on the same one::

    time stamps in the file    0 .04 .08   0 .04 .08      two parts of three frames, joined
    as ffmpeg repairs them     0 .04 .08 .12 .16 .20      first 0, last .20, end .24
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from curator_dask.errors import MediaError
from curator_dask.video.process import ffmpeg, sandbox
from curator_dask.video.process.machine_faults import raise_if_machine_failed

CLOCK_MAY_JUMP = frozenset({"mpegts", "mpeg", "mpegvideo"})
"""FFmpeg's demuxers of containers whose clock may restart in mid-file, or which have none (bare MPEG video)."""
_NO_TIME = -(2**63)
"""FFmpeg's number for no time. A frame without one, such as the last of a DVD's file, is shown as long after it is
decoded as the frame before it."""
_DISCARDED = 4
"""Packet flag: an edit list hides the frame."""
LONGEST_LAG_S = 10.0
"""No frame is shown so much later than it is decoded, or than the frame before it: a larger jump is one of the clock, and
ffmpeg repairs it. The first frame behind a jump may be decoded by the old clock and shown by the new one."""
_LONGEST_LAST_FRAME_S = 1.0
_READ_BYTES_PER_SECOND = 10_000_000
"""Slowest disk that the time limit allows for."""


@dataclass(frozen=True, slots=True)
class TimeLine:
    """Frames of one video stream in time. Seconds on ffmpeg's clock: it begins with the earliest stream that is
    read, which is this one."""

    num_frames: int
    first_s: float
    end_s: float
    """End of the last frame."""

    @property
    def duration_s(self) -> float:
        """Seconds from the first frame to the end of the last."""
        return self.end_s - self.first_s


def read_time_line(path: Path, video_stream: int, size_bytes: int, *, timeout_s: float = 60.0) -> TimeLine:
    """Read all packets of one stream. Raises MediaError: ``no-frames`` where none has a time, ``timeout``.

    The time limit is `timeout_s` and the time that a slow disk needs for `size_bytes`.
    """
    argv = [
        *ffmpeg.global_args(),
        *ffmpeg.input_args(path),
        *("-map", f"0:{video_stream}", "-c", "copy", "-avoid_negative_ts", "disabled", "-f", "framecrc", "pipe:1"),
    ]
    with sandbox.stream(argv, timeout_s=timeout_s + size_bytes / _READ_BYTES_PER_SECOND) as child:
        found = time_line_of(child.lines())
        finished = child.finish()
    raise_if_machine_failed(finished, repr(str(path)))  # other exits say nothing: a damaged file has a time line too
    if found is None:
        raise MediaError("no-frames", f"{str(path)!r}: its video stream has no frames that have a time")
    return found


def time_line_of(lines: Iterable[str]) -> TimeLine | None:
    """The time line in the output of ffmpeg's framecrc muxer; None where no packet has a time.

    A line is ``stream, dts, pts, duration, size, checksum[, F=flags]``; ``#tb 0: 1/90000`` gives the time base.
    """
    time_base = Fraction(1)
    num_frames, first, last, tail, lag = 0, 0, 0, 0, 0
    for line in lines:
        if line.startswith("#tb 0:"):
            time_base = Fraction(line.partition(":")[2].strip())
        packet = None if line.startswith("#") else _shown_packet(line)
        if packet is None:
            continue
        decoded, shown, duration = packet
        has_strayed = shown is not None and abs(shown - decoded) * time_base > LONGEST_LAG_S
        pts = decoded + lag if shown is None or has_strayed else shown
        lag = pts - decoded
        first = pts if num_frames == 0 else min(first, pts)
        if num_frames == 0 or pts >= last:
            last, tail = pts, duration
        num_frames += 1
    if num_frames == 0:
        return None
    mean_gap_s = float((last - first) * time_base) / max(num_frames - 1, 1)
    # A damaged packet may claim that its frame is shown for years.
    tail_s = min(float(tail * time_base) or mean_gap_s, max(mean_gap_s, _LONGEST_LAST_FRAME_S))
    return TimeLine(num_frames, float(first * time_base), float(last * time_base) + tail_s)


def _shown_packet(line: str) -> tuple[int, int | None, int] | None:
    """When a frame is decoded, when it is shown if its packet says so, and how long, in ticks.

    None for a packet without any time, for one that is hidden, and for a line that is cut short.
    """
    fields = [field.strip() for field in line.split(",")]
    flags = next((int(field[2:], 16) for field in fields if field.startswith("F=")), 0)
    if len(fields) < 6 or flags & _DISCARDED or not all(field.lstrip("-").isdigit() for field in fields[1:4]):
        return None
    dts, pts, duration = (int(field) for field in fields[1:4])
    if dts == pts == _NO_TIME:
        return None
    return pts if dts == _NO_TIME else dts, None if pts == _NO_TIME else pts, duration
