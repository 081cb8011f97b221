"""When the frames of a video are shown, and which are key frames: its packets are read from first to last, none is decoded.

The times are on the clock of the process that cuts (`video.cut.command.begin_args`), in ticks.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from curator_dask.video.probe import VideoInfo
from curator_dask.video.process import ffmpeg, sandbox
from curator_dask.video.process.machine_faults import raise_if_machine_failed

Ticks = npt.NDArray[np.int64]

_KEY, _DISCARDED = 1, 4
_LEAST_TIMEOUT_S = 60.0
_READ_BYTES_PER_SECOND = 10_000_000
"""Slowest disk that the time limit allows for."""


@dataclass(frozen=True, slots=True)
class PacketTimes:
    """The shown frames of one video stream."""

    tick_s: Fraction
    shown: Ticks
    """(n,) in ascending order, whatever the order of the file is."""
    keys: Ticks
    """(k,) those of key frames, ascending."""

    def seconds(self, ticks: Ticks) -> npt.NDArray[np.float64]:
        """Seconds from the first frame."""
        since: npt.NDArray[np.float64] = (ticks - self.shown[0]) * float(self.tick_s)
        return since


def read_packet_times(info: VideoInfo, begin_args: Sequence[str]) -> PacketTimes | None:
    """Read all packets of the video. None where a packet has no time, or no packet is there. Raises MediaError("timeout")."""
    argv = [
        *(*ffmpeg.global_args(), *begin_args, *ffmpeg.input_args(info.path)),
        *("-map", f"0:{info.video_stream}", "-c", "copy", "-avoid_negative_ts", "disabled", "-f", "framecrc", "pipe:1"),
    ]
    with sandbox.stream(argv, timeout_s=_LEAST_TIMEOUT_S + info.size_bytes / _READ_BYTES_PER_SECOND) as child:
        found = packet_times_of(child.lines())
        raise_if_machine_failed(child.finish(), repr(str(info.path)))
    return found


def packet_times_of(lines: Iterable[str]) -> PacketTimes | None:
    """The times in the output of ffmpeg's framecrc muxer: ``stream, dts, pts, duration, size, checksum[, F=flags][, …]``."""
    tick_s = Fraction(1)
    shown, keys = array("q"), array("q")
    for line in lines:
        if line.startswith("#tb 0:"):
            tick_s = Fraction(line.partition(":")[2].strip())
        if line.startswith("#"):
            continue
        fields = [field.strip() for field in line.split(",")]
        flags = next((int(field[2:], 16) for field in fields[6:] if field.startswith("F=")), _KEY)
        if flags & _DISCARDED:
            continue
        if len(fields) < 6 or not fields[2].lstrip("-").isdigit() or abs(int(fields[2])) >= 1 << 62:
            return None
        shown.append(int(fields[2]))
        if flags & _KEY:
            keys.append(int(fields[2]))
    return PacketTimes(tick_s, _sorted(shown), _sorted(keys)) if shown else None


def _sorted(ticks: array[int]) -> Ticks:
    return np.sort(np.frombuffer(ticks, dtype=np.int64)) if ticks else np.empty(0, np.int64)
