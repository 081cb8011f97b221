"""Copies of held pictures: put into the streams of a cut at given times (see `video.pauses`). A plan, a file and text.

FFmpeg has no filter that repeats frames at times of one's choice. ``streamselect`` comes near: whenever any of its inputs
has a new frame, it passes the newest frame of one of them. Its second input is a film of tiny black pictures that has a
frame at each of these times::

    the lane     #  #  #                    #  #
    the ticks    #              #  #              #       the first and the last only mark the ends
    selected     #  #  #        +  +        #  #
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from curator_dask.video.cut.accounting import Times
from curator_dask.video.cut.plan import Lane
from curator_dask.video.pauses import PAUSE_S, copy_times
from curator_dask.video.process import ffmpeg

_BEFORE_S, _AFTER_S = 10, 10
"""How far the first and the last tick lie before the first frame and after the last one."""
_COARSEST = Fraction(1, 1000)
_PICTURE = bytes(6)


@dataclass(frozen=True, slots=True)
class Copies:
    """When each lane shows copies, and the clock of the video."""

    times_s: tuple[tuple[float, ...], ...]
    """Per lane, in seconds from the first frame, ascending; empty for a lane without copies."""
    first_s: Fraction
    """The first frame on the clock of the process that cuts."""
    last_s: float
    """The last frame, in seconds from the first."""
    time_base: Fraction
    """The time base of the frames, or a finer one."""

    def of_cell(self, number: int, lane: Lane, cell: int) -> list[float]:
        """The times of the copies in one clip: of lane `number`, whose `cell` it is."""
        return [time_s for time_s in self.times_s[number] if lane.cell(time_s) == cell]

    def input_of(self, number: int) -> int:
        """The number of the input that holds the ticks of a lane; input 0 is the video."""
        return 1 + sum(bool(times) for times in self.times_s[:number])


def plan_copies(
    times_s: Times, clock: tuple[int, Fraction], lanes: Sequence[Lane], max_hold_s: float | None
) -> Copies | None:
    """Which copies the clips need; None where they need none. `clock`: the first frame in ticks, and the length of a tick."""
    ordered_s = np.maximum.accumulate(times_s)
    if len(ordered_s) < 2 or float(np.diff(ordered_s).max()) <= PAUSE_S:
        return None
    per_lane = tuple(_copies_of_lane(ordered_s, lane, max_hold_s) for lane in lanes)
    if not any(per_lane):
        return None
    first, tick_s = clock
    return Copies(per_lane, first * tick_s, float(ordered_s[-1]), tick_s / -(-tick_s // _COARSEST))


def _copies_of_lane(times_s: Times, lane: Lane, max_hold_s: float | None) -> tuple[float, ...]:
    return tuple(
        time_s
        for span, kept_end_s in zip(lane.spans, lane.ends_s, strict=True)
        for time_s in copy_times(times_s, span, kept_end_s, max_hold_s)
    )


def input_args(copies: Copies) -> list[str]:
    """The inputs that hold the ticks. FFmpeg moves the first frame of an input to the given time."""
    opened = ("-itsoffset", f"{-_BEFORE_S}", "-protocol_whitelist", ffmpeg.PROTOCOL_WHITELIST, "-f", "ivf", "-i")
    numbers = [number for number, times_s in enumerate(copies.times_s) if times_s]
    return [word for number in numbers for word in (*opened, f"file:{_ticks_name(number)}")]


def filters(copies: Copies, number: int, label: str) -> str:
    """The filters that add the copies to the frames of a lane, which they take from the label."""
    if not copies.times_s[number]:
        return f"[{label}]"
    base = f"settb={copies.time_base.numerator}/{copies.time_base.denominator}"
    return f"[{label}]{base}[{label}t];[{label}t][{copies.input_of(number)}:0]streamselect=inputs=2:map=0,"


def write_ticks(copies: Copies, work_dir: Path) -> None:
    """Write the ticks of every lane that shows copies."""
    for number, times_s in enumerate(copies.times_s):
        if times_s:
            (work_dir / _ticks_name(number)).write_bytes(_ticks(copies, times_s))


def _ticks_name(number: int) -> str:
    return f"ticks{number}.ivf"


def _ticks(copies: Copies, copy_times_s: Sequence[float]) -> bytes:
    """An IVF file: a header, then per frame its size, its time and its bytes."""
    times_s = [*copy_times_s, copies.last_s + _AFTER_S]
    ticks = [0, *(round((copies.first_s + Fraction(time_s) + _BEFORE_S) / copies.time_base) for time_s in times_s)]
    numerator, denominator = copies.time_base.as_integer_ratio()
    header = struct.pack("<4sHH4sHHIII4x", b"DKIF", 0, 32, b"I420", 2, 2, denominator, numerator, len(ticks))
    return header + b"".join(struct.pack("<IQ", len(_PICTURE), tick) + _PICTURE for tick in ticks)
