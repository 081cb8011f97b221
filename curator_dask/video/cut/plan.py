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

All times are in seconds from the first video frame. A frame that starts less than ``TOLERANCE_S`` before a boundary
counts as after it, because containers round times to milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from curator_dask.errors import ParameterError
from curator_dask.video.spans import LATE_FRAMES_S, TOLERANCE_S, Span

PRIMING_S = 0.1
MAX_LANES = 16
"""Each lane needs an encoder of its own in the process."""


@dataclass(frozen=True, slots=True)
class Lane:
    """One encoded stream: spans that follow each other without overlap, at equal distances."""

    spans: tuple[Span, ...]
    offset_s: float
    """Start of the first span."""
    period_s: float
    """Distance between the starts of its spans, >= length_s."""
    length_s: float
    end_s: float
    """Frames from this time on are not encoded."""

    @property
    def has_lead(self) -> bool:
        """Whether the lane begins later than the video. Then it also encodes the video's first frame, as a mark of time
        zero (see ``lead_shift_s``)."""
        return self.offset_s > TOLERANCE_S

    @property
    def lead_shift_s(self) -> float:
        """How far the video's first frame is moved back, so that periods counted from it begin where the spans do."""
        return self.period_s - self.offset_s if self.has_lead else 0.0

    def cell(self, time_s: float) -> int:
        """Return the position in the lane of the span at a time; below 0 before the first span."""
        return math.floor((time_s + TOLERANCE_S - self.offset_s) / self.period_s)


def plan_lanes(spans: Sequence[Span], duration_s: float | None = None) -> list[Lane]:
    """Assign ``spans`` to lanes. They must be sorted, at equal distances and of one length (the last may be shorter).

    Raises ParameterError for other spans, and for more than 16 lanes.
    """
    if not spans:
        raise ParameterError("no spans to cut: plan at least one")
    if any(not 0 <= span.start_s < span.end_s for span in spans):
        raise ParameterError("every span must have 0 <= start_s < end_s")
    length_s = max(span.end_s - span.start_s for span in spans)
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


def select_expression(lane: Lane) -> str:
    """Return the condition of the ``select`` filter that passes the frames of the lane and its lead."""
    time = f"(t-start_t+{TOLERANCE_S})"
    wanted = f"lt({time},{lane.end_s:.9f})"
    if lane.has_lead:
        wanted += f"*gte({time},{lane.offset_s:.9f})"
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
    begin_s = lane.offset_s if lane.has_lead else -PRIMING_S
    unwanted = f"gte({time},{lane.spans[-1].end_s:.9f})+lt({time},{begin_s:.9f})"
    if has_gaps(lane):
        unwanted += f"+gte(mod({time}-{lane.offset_s:.9f},{lane.period_s:.9f}),{lane.length_s:.9f})"
    return unwanted


def key_frame_expression(lane: Lane) -> str:
    """Return the condition of ``-force_key_frames`` that is true at the first frame of every non-empty period.

    ``t`` counts from the first encoded frame. The condition compares periods, because a count of key frames would be
    wrong after a gap.
    """
    period = f"{lane.period_s:.9f}"
    return (
        f"expr:isnan(prev_forced_t)+gt(floor((t+{TOLERANCE_S})/{period}),floor((prev_forced_t+{TOLERANCE_S})/{period}))"
    )


def has_gaps(lane: Lane) -> bool:
    """Whether the lane leaves out frames between its spans."""
    return lane.period_s - lane.length_s > TOLERANCE_S and len(lane.spans) > 1


def _common_stride_s(spans: Sequence[Span], length_s: float) -> float:
    if len(spans) == 1:
        return length_s
    stride_s = (spans[-1].start_s - spans[0].start_s) / (len(spans) - 1)
    for number, span in enumerate(spans):
        expected_s = spans[0].start_s + number * stride_s
        if abs(span.start_s - expected_s) > TOLERANCE_S:
            raise ParameterError(f"spans must start at equal distances; number {number} is at {span.start_s:g} s")
    if stride_s <= TOLERANCE_S:
        raise ParameterError(f"the spans' stride ({stride_s:g} s) must be > {TOLERANCE_S} s")
    return stride_s


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
