"""Assign spans to the outputs of one ffmpeg process. Arithmetic and text only.

ffmpeg's segment muxer cuts one stream into files that follow each other. Spans that overlap therefore need several
streams, called lanes. Spans of length L at a stride of S need n = ceil(L / S) lanes, and each lane holds every n-th
span::

    S = 2.5, L = 5          0    2.5    5    7.5   10   12.5
    lane 0, period 5        |-- 0 --------|-- 2 --------|
    lane 1, period 5               |-- 1 --------|-- 3 --------|

    S = 10, L = 4           |- 0 -|......|- 1 -|......|      one lane of period 10; frames in the gaps are not encoded

>>> spans = [Span(0, 0.0, 5.0), Span(1, 2.5, 7.5), Span(2, 5.0, 10.0), Span(3, 7.5, 12.5)]
>>> [([span.index for span in lane.spans], lane.offset_s, lane.period_s) for lane in plan_lanes(spans)]
[([0, 2], 0.0, 5.0), ([1, 3], 2.5, 5.0)]

Spans of other lengths or at other distances (shots, spans of a user's own) go to as many lanes as overlap at a time, each
to the first lane that is free. Such a lane is uneven: it is cut at listed times.

A long video is cut in parts (see ``video.parts``), each by a process of its own. Lanes are planned for the whole video, and
a part takes the spans that are its own; so cells and boundaries are the same numbers as in one go.

All times are in seconds from the first video frame. A frame that starts less than ``TOLERANCE_S`` before a boundary
counts as after it, because containers round times to milliseconds.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from curator_dask.errors import ParameterError
from curator_dask.video.process.expressions import step_function
from curator_dask.video.spans import LATE_FRAMES_S, TOLERANCE_S, Span

PRIMING_S = 0.1
MAX_LANES = 16
"""Each lane needs an encoder of its own in the process."""


@dataclass(frozen=True, slots=True)
class PartStart:
    """Where the process begins to read that cuts a later part of a video."""

    seek_s: float
    """Frames before this time of the process's clock are not passed. It begins to decode at a key frame before it."""
    first_s: float
    """The first frame that is passed."""
    zero_ticks: int
    """The first frame of the video on the clock of the process."""
    tick_s: Fraction

    @property
    def zero_s(self) -> float:
        """The first frame of the video on the clock of the process, in seconds."""
        return float(self.zero_ticks * self.tick_s)

    @property
    def zero_t(self) -> float:
        """The same as ffmpeg computes its ``t``, to the last bit."""
        return self.zero_ticks * (self.tick_s.numerator / self.tick_s.denominator)


@dataclass(frozen=True, slots=True)
class Part:
    """Consecutive spans of a video that one process cuts: those with the indices [first, after)."""

    first: int
    after: int
    start: PartStart | None
    """None: the part begins with the video."""


@dataclass(frozen=True, slots=True)
class Lane:
    """One encoded stream: spans that follow each other without overlap, as a rule at equal distances."""

    spans: tuple[Span, ...]
    offset_s: float
    """Start of the first span."""
    period_s: float
    """Distance between the starts of its spans, >= length_s."""
    length_s: float
    end_s: float
    """Frames from this time on are not encoded."""
    is_even: bool = True
    """The spans are of one length, at equal distances. False: they are cut at listed times, and period and length are those
    of the longest span."""
    start: PartStart | None = None
    """Where the process begins, if it cuts a later part of the video."""
    num_before: int = 0
    """Cells of the lane that belong to earlier parts; an even lane's offset and cells are those of the whole video."""
    goes_on: bool = False
    """Whether a later part has more of the lane."""

    @property
    def has_lead(self) -> bool:
        """Whether the lane begins later than the first frame that the process passes. Then it also encodes that frame, as
        a mark of its time (see ``lead_shift_s``)."""
        return self.start is not None or self.offset_s > TOLERANCE_S

    @property
    def moves_lead(self) -> bool:
        """Whether the times of the lead and what follows are on a finer clock. In a later part they are not: cuts are listed."""
        return self.has_lead and self.start is None

    @property
    def lead_shift_s(self) -> float:
        """How far the video's first frame is moved back, so that periods counted from it begin where the spans do."""
        return self.period_s - self.offset_s if self.moves_lead and self.is_even else 0.0

    @property
    def first_s(self) -> float:
        """The first frame that the process passes."""
        return 0.0 if self.start is None else self.start.first_s

    @property
    def limit_s(self) -> float:
        """Frames from this time on are not the lane's: the end of the last span, or of its cell where a later part goes on."""
        return self.spans[0].start_s + len(self.spans) * self.period_s if self.goes_on and self.is_even else self.end_s

    @property
    def ends_s(self) -> tuple[float, ...]:
        """Where the frames of each span end; those of the last one may come late."""
        return (*(span.end_s for span in self.spans[:-1]), self.end_s)

    @property
    def cut_times_s(self) -> tuple[float, ...]:
        """Where to begin the files after the first, in seconds from the first frame of the lane, if they are listed."""
        return tuple(span.start_s - self.first_s for span in self.spans[0 if self.has_lead else 1 :])

    def cell(self, time_s: float) -> int:
        """Return the position in the lane of the span at a time; below 0 before the first span."""
        if not self.is_even:
            return bisect.bisect_right(self.spans, time_s + TOLERANCE_S, key=lambda span: span.start_s) - 1
        return math.floor((time_s + TOLERANCE_S - self.offset_s) / self.period_s) - self.num_before


def plan_lanes(spans: Sequence[Span], duration_s: float | None = None) -> list[Lane]:
    """Assign ``spans`` to lanes. They must be sorted by their starts.

    Raises ParameterError for spans that are empty or begin twice at one time, and for more than 16 lanes.
    """
    if not spans:
        raise ParameterError("no spans to cut: plan at least one")
    if any(not 0 <= span.start_s < span.end_s for span in spans):
        raise ParameterError("every span must have 0 <= start_s < end_s")
    length_s = max(span.end_s - span.start_s for span in spans)
    if not _are_even(spans, length_s):
        return _uneven_lanes(spans, length_s, duration_s)
    stride_s = _common_stride_s(spans, length_s)
    num_lanes = min(max(1, math.ceil(length_s / stride_s - 1e-9)), len(spans))
    if num_lanes > MAX_LANES:
        raise ParameterError(
            f"{num_lanes} spans overlap at a time (length {length_s:g} s, stride {stride_s:g} s); "
            f"the limit is {MAX_LANES}: use a stride of at least {length_s / MAX_LANES:g} s"
        )
    if len(spans) == 1:
        length_s = stride_s = _last_end_s(spans[0], math.inf, duration_s) - spans[0].start_s
    period_s = max(num_lanes * stride_s, length_s)
    return [_make_lane(tuple(spans[first::num_lanes]), period_s, length_s, duration_s) for first in range(num_lanes)]


def lanes_of_part(lanes: Sequence[Lane], part: Part) -> list[Lane]:
    """Return what one part takes of the lanes of a whole video."""
    return [lane for whole in lanes if (lane := _lane_of_part(whole, part)) is not None]


def _lane_of_part(lane: Lane, part: Part) -> Lane | None:
    cells = [cell for cell, span in enumerate(lane.spans) if part.first <= span.index < part.after]
    if not cells:
        return None
    spans = lane.spans[cells[0] : cells[-1] + 1]
    goes_on = cells[-1] + 1 < len(lane.spans)
    return replace(
        lane,
        spans=spans,
        offset_s=lane.offset_s if lane.is_even else spans[0].start_s,
        end_s=spans[-1].end_s if goes_on else lane.end_s,
        start=part.start,
        num_before=cells[0] if lane.is_even else 0,
        goes_on=goes_on,
    )


def select_expression(lane: Lane) -> str:
    """Return the condition of the ``select`` filter that passes the frames of the lane and its lead."""
    time = f"t-{'start_t' if lane.start is None else f'({lane.start.zero_t!r})'}+{TOLERANCE_S}"
    if not lane.is_even:
        inside = f"st(0,{time});{_inside_expression(lane, lane.offset_s, lane.end_s)}"
        return f"{inside}+eq(n,0)" if lane.has_lead else inside
    time = f"({time})"
    wanted = f"lt({time},{lane.limit_s:.9f})"
    if lane.has_lead:
        wanted += f"*gte({time},{_begin_s(lane):.9f})"
    if has_gaps(lane):
        wanted += f"*lt(mod({time}-{lane.offset_s:.9f},{lane.period_s:.9f}),{lane.length_s:.9f})"
    return f"{wanted}+eq(n,0)" if lane.has_lead else wanted


def audio_drop_expression(lane: Lane, first_frame_s: float) -> str:
    """Return the condition for the ``noise`` bitstream filter to drop an audio packet: it starts outside the spans.

    ``first_frame_s`` is the time of the first video frame on ffmpeg's clock. Sound may last longer than the pictures; it
    is cut at the end of the last span. Audio encoders add packets just before the start; only a lane that begins with
    the video keeps them.
    """
    time = f"(pts*tb-{first_frame_s:.9f})"
    begin_s = _begin_s(lane) if lane.has_lead else -PRIMING_S
    if not lane.is_even:
        return f"st(0,{time});not({_inside_expression(lane, begin_s, lane.spans[-1].end_s)})"
    unwanted = f"gte({time},{lane.spans[-1].end_s:.9f})+lt({time},{begin_s:.9f})"
    if has_gaps(lane):
        unwanted += f"+gte(mod({time}-{lane.offset_s:.9f},{lane.period_s:.9f}),{lane.length_s:.9f})"
    return unwanted


def key_frame_expression(lane: Lane) -> str:
    """Return the condition of ``-force_key_frames`` that is true at the first frame of every non-empty period.

    ``t`` counts from the first encoded frame. The condition compares periods, because a count of key frames would be
    wrong after a gap.
    """
    if not lane.is_even:
        return listed_key_frame_expression([span.start_s - lane.first_s for span in lane.spans])
    period = f"{lane.period_s:.9f}"
    later = f"{TOLERANCE_S}" if lane.start is None else f"({lane.first_s - _begin_s(lane) + TOLERANCE_S:.9f})"
    return f"expr:isnan(prev_forced_t)+gt(floor((t+{later})/{period}),floor((prev_forced_t+{later})/{period}))"


def listed_key_frame_expression(starts: Sequence[float]) -> str:
    """The same for cells that begin at these times, in seconds from the first encoded frame."""
    start = step_function("ld(0)", starts, ["-1", *(f"{start_s:.6f}" for start_s in starts)])
    return f"expr:st(0,t+{TOLERANCE_S});isnan(prev_forced_t)+lt(prev_forced_t+{TOLERANCE_S},{start})"


def left_expression(lane: Lane, since_start: str) -> str:
    """Return how many seconds of its span are left at a time, which an expression gives in seconds from the lane's first
    frame."""
    if lane.start is not None:
        since_start = f"({since_start}+({lane.first_s - (_begin_s(lane) if lane.is_even else 0.0):.9f}))"
    if lane.is_even:
        return f"({lane.length_s + TOLERANCE_S:.9f}-mod({since_start}+{TOLERANCE_S},{lane.period_s:.9f}))"
    starts = [span.start_s for span in lane.spans]
    ends = [f"{end_s:.6f}" for end_s in (lane.offset_s, *(span.end_s for span in lane.spans))]
    return f"({step_function(f'({since_start}+{TOLERANCE_S})', starts, ends)}-{since_start})"


def has_gaps(lane: Lane) -> bool:
    """Whether the lane leaves out frames between its spans."""
    if not lane.is_even:
        return any(next_.start_s - span.end_s > TOLERANCE_S for span, next_ in itertools.pairwise(lane.spans))
    is_one = len(lane.spans) == 1 and lane.start is None and not lane.goes_on
    return lane.period_s - lane.length_s > TOLERANCE_S and not is_one


def _begin_s(lane: Lane) -> float:
    """Where its first span begins; in a whole video that is its offset."""
    return lane.offset_s if lane.start is None else lane.spans[0].start_s


def _inside_expression(lane: Lane, begin_s: float, end_s: float) -> str:
    """1 where the time that is stored as number 0 lies in a span, else 0. The first begins and the last ends at these times."""
    bounds = [begin_s]
    for before, after in itertools.pairwise(lane.spans):
        if after.start_s > before.end_s:  # else they touch
            bounds += [before.end_s, after.start_s]
    return step_function("ld(0)", [*bounds, end_s], ["0", *["1", "0"] * (len(bounds) // 2 + 1)])


def _are_even(spans: Sequence[Span], length_s: float) -> bool:
    """Whether they begin at equal distances and are of one length, except where the video ends."""
    stride_s = (spans[-1].start_s - spans[0].start_s) / max(len(spans) - 1, 1)
    last_s = max(span.end_s for span in spans)
    return all(
        abs(span.start_s - (spans[0].start_s + number * stride_s)) <= TOLERANCE_S
        and abs(span.end_s - min(span.start_s + length_s, last_s)) <= TOLERANCE_S
        for number, span in enumerate(spans)
    )


def _common_stride_s(spans: Sequence[Span], length_s: float) -> float:
    if len(spans) == 1:
        return length_s
    stride_s = (spans[-1].start_s - spans[0].start_s) / (len(spans) - 1)
    if stride_s <= TOLERANCE_S:
        raise ParameterError(f"the spans' stride ({stride_s:g} s) must be > {TOLERANCE_S} s")
    return stride_s


def _uneven_lanes(spans: Sequence[Span], longest_s: float, duration_s: float | None) -> list[Lane]:
    """One lane per span that overlaps others at a time."""
    if any(after.start_s < before.start_s for before, after in itertools.pairwise(spans)):
        raise ParameterError("spans must be sorted by their starts")
    rows: list[list[Span]] = []
    for span in spans:
        free = next((row for row in rows if row[-1].end_s <= span.start_s), None)
        if free is None:
            rows.append([span])
        else:
            free.append(span)
    if len(rows) > MAX_LANES:
        raise ParameterError(f"{len(rows)} spans overlap at a time; the limit is {MAX_LANES}")
    return [_uneven_lane(tuple(row), longest_s, duration_s) for row in rows]


def _uneven_lane(spans: tuple[Span, ...], longest_s: float, duration_s: float | None) -> Lane:
    end_s = _last_end_s(spans[-1], spans[-1].start_s + longest_s, duration_s)
    return Lane(spans, spans[0].start_s, longest_s, longest_s, end_s, is_even=False)


def _make_lane(spans: tuple[Span, ...], period_s: float, length_s: float, duration_s: float | None) -> Lane:
    return Lane(
        spans=spans,
        offset_s=spans[0].start_s,
        period_s=period_s,
        length_s=length_s,
        end_s=_last_end_s(spans[-1], spans[-1].start_s + length_s, duration_s),
    )


def _last_end_s(last: Span, nominal_end_s: float, duration_s: float | None) -> float:
    if duration_s is None or last.end_s < duration_s - TOLERANCE_S:
        return last.end_s
    return min(last.end_s + LATE_FRAMES_S, nominal_end_s)
