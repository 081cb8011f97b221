"""Read frames from a running ffmpeg: small RGB pictures from its stdout, their exact times from a file.

A process that only decodes and one that also cuts clips use the same arguments and the same reader, so both give the
same frames. Where several rules want pictures of one frame, they come together, one above the other: one decode is
enough, and each picture has the bytes that it would have alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from curator_dask.errors import MediaError, ParameterError
from curator_dask.video.frames.sampling import FrameRule
from curator_dask.video.probe import VideoInfo
from curator_dask.video.process import sandbox
from curator_dask.video.time_line import CLOCK_MAY_JUMP, LONGEST_LAG_S

Frames: TypeAlias = npt.NDArray[np.uint8]

EXACT_SCALING = "bicubic+accurate_rnd+bitexact"
"""Flags of ffmpeg's filter ``scale`` that give the same bytes on every machine."""
TICKS_PER_SECOND = 90_000
"""Time base of counted or shifted frame times: the clock of MPEG, fine enough for every frame rate."""


def counts_frames(info: VideoInfo) -> bool:
    """Whether a frame's time is computed as its number / frame rate, because the file stores no times."""
    return info.needs_generated_timestamps and info.fps > 0


def true_times(info: VideoInfo) -> list[str]:
    """Return the filters that mend the times of frames; none if those of the file are true.

    Times are counted where the file stores none. Where its clock may jump, they ascend: at a join the repaired clock may
    go back by a frame or two, and one frame may still have the time of another clock.
    """
    if counts_frames(info):
        seconds = f"N*{info.fps.denominator}/{info.fps.numerator}"
        return [f"settb=1/{TICKS_PER_SECOND}", f"setpts='STARTPTS+{seconds}/TB'"]
    if info.container not in CLOCK_MAY_JUMP:
        return []
    frame_s = float(1 / info.fps) if info.fps > 0 else 0.0
    strayed = f"gt((PTS-PREV_OUTPTS)*TB,{LONGEST_LAG_S})"
    usual = f"if({strayed},PREV_OUTPTS+max(1,{frame_s:.9f}/TB),max(PTS,PREV_OUTPTS+1))"
    return [f"setpts='if(isnan(PREV_OUTPTS),PTS,{usual})'"]


def filters(info: VideoInfo, rules: Sequence[FrameRule], scaling: str = EXACT_SCALING) -> str:
    """Return the filters that scale decoded frames to the size of one rule, or of two, with these flags.

    Raises ParameterError for more rules: ffmpeg lays two pictures over each other and leaves their times as they are.
    """
    if len(rules) > 2:
        raise ParameterError(f"one decode gives pictures of one or two sizes, not of {len(rules)}")
    scaled = [f"scale={rule.width}:{rule.height}:flags={scaling},format=rgb24" for rule in rules]
    return ",".join([scaled[0] if len(rules) == 1 else _both(scaled, _sheet_part(rules)), *true_times(info)])


def _both(scaled: Sequence[str], part: tuple[int, int]) -> str:
    width, height = part
    return (
        f"split=2[first][second];[first]{scaled[0]},pad={width}:{height}[upper];"
        f"[second]{scaled[1]},pad={width}:{height}[lower];[upper][lower]framepack=tab,format=rgb24"
    )


def _sheet_part(rules: Sequence[FrameRule]) -> tuple[int, int]:
    """Width and height of the part of the sheet that the picture of each rule has, in pixels."""
    return max(rule.width for rule in rules), max(rule.height for rule in rules)


def output_args(info: VideoInfo, label: str, times_path: str) -> list[str]:
    """Return the options that write the frames of filter output ``label`` to stdout and their times to a file."""
    time_base = f"1/{TICKS_PER_SECOND}" if counts_frames(info) else "demux"
    return [
        *("-map", f"[{label}]", "-fps_mode:v", "passthrough", "-enc_time_base:v", time_base),
        *("-stats_enc_pre:v:0", f"file:{times_path}", "-stats_enc_pre_fmt:v:0", "{pts} {tb}"),
        *("-c:v", "rawvideo", "-f", "rawvideo", "pipe:1"),
    ]


def read_frames(
    child: sandbox.Child, times_path: Path, rules: Sequence[FrameRule], first_s: float | None = None
) -> Iterator[tuple[float, tuple[Frames, ...]]]:
    """Yield each frame as it comes: (seconds from the first frame, an (H, W, 3) uint8 RGB picture for each rule).

    `first_s` is the time of the video's first frame where the process begins later; None: it is the first that comes.

    ``times_path`` must be an empty file before the process starts. Raises MediaError("timeout"), and
    MediaError("no-frame-time") if ffmpeg writes no time for a frame.
    """
    width, height = _sheet_part(rules)
    with times_path.open("r", encoding="ascii") as times:
        while True:
            sheet = np.empty((height * len(rules), width, 3), np.uint8)
            if child.read_into(sheet.data) < sheet.nbytes:
                return
            time_s = _next_time_s(times)
            first_s = time_s if first_s is None else first_s
            yield time_s - first_s, _pictures(sheet, rules, height)


def _pictures(sheet: Frames, rules: Sequence[FrameRule], height: int) -> tuple[Frames, ...]:
    if len(rules) == 1:
        return (sheet,)
    # Copies, as a small picture that is kept must not keep the whole sheet in memory.
    return tuple(sheet[at * height :][: rule.height, : rule.width].copy() for at, rule in enumerate(rules))


def _next_time_s(times: IO[Any]) -> float:
    """Read the time of the next frame. ffmpeg flushes the line of a frame before it sends the frame to the encoder."""
    line = times.readline()
    pts, _, time_base = line.partition(" ")
    try:
        return float(int(pts) * Fraction(time_base.strip()))
    except (ValueError, ZeroDivisionError) as error:
        raise MediaError("no-frame-time", f"ffmpeg gave {line!r} as the time of a frame") from error
