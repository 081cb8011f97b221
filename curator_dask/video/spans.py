"""Plan where a video is cut, as spans in seconds, and name the clips. Arithmetic only.

A span is ``[start_s, end_s)`` in seconds from the video's first frame. Length and stride 10, minimum 2::

    0        10        20        30    35
    |--- 0 ---|--- 1 ---|--- 2 ---|- 3 -|      the tail of 5 s is kept; a tail of 1.5 s would be dropped and counted

>>> [(span.start_s, span.end_s) for span in fixed_stride_spans(35.0, framerate=25.0).spans]
[(0.0, 10.0), (10.0, 20.0), (20.0, 30.0), (30.0, 35.0)]
>>> fixed_stride_spans(31.5, framerate=25.0).num_dropped_short
1
"""

from __future__ import annotations

import hashlib
import math
import uuid
from dataclasses import dataclass

from curator_dask.errors import MediaError, ParameterError

TOLERANCE_S = 0.001
"""A frame that starts less than this before a boundary counts as after it: containers round times to milliseconds."""
LATE_FRAMES_S = 1.0
"""The last span of a video also takes frames that come up to this much after its end: headers round durations."""
MAX_SPANS = 1_000_000
"""A damaged header may claim centuries; no real video has a million clips."""


@dataclass(frozen=True, slots=True)
class Span:
    """One part of a video. ``index`` numbers the kept spans of the video from 0."""

    index: int
    start_s: float  # [start, end)
    end_s: float

    @property
    def length_s(self) -> float:
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True)
class SpanPlan:
    """The spans of one video, and how many were left out and why."""

    spans: tuple[Span, ...]
    num_dropped_short: int
    """How many spans were shorter than the minimum length (tails)."""
    num_dropped_limit: int
    """How many spans were over the limit of clips per video."""
    num_beyond_end: int = 0
    """How many spans of a user begin behind the end of the video, and are left out."""
    num_shortened: int = 0
    """How many spans of a user end behind the end of the video, and are cut there."""
    notes: tuple[str, ...] = ()
    """What was left out or changed, for the record of the video: sentences for people."""


@dataclass(frozen=True, slots=True)
class FixedStride:
    """Plans spans of equal length at equal distances. Raises ParameterError for impossible values."""

    length_s: float = 10.0
    stride_s: float | None = None
    """Distance between starts. None means ``length_s``: spans touch. A smaller value makes them overlap, a larger one
    leaves gaps."""
    min_length_s: float = 2.0
    limit: int = 0
    """The most spans per video; 0 means no limit."""

    def __post_init__(self) -> None:
        _require_positive("fixed_stride_split_duration", self.length_s)
        if self.stride_s is not None:
            _require_positive("fixed_stride_stride", self.stride_s)
        if not 0 <= self.min_length_s <= self.length_s:
            raise ParameterError(
                f"fixed_stride_min_clip_length_s ({self.min_length_s}) must be between 0 and "
                f"fixed_stride_split_duration ({self.length_s}), or no clip would ever be kept"
            )
        if self.limit < 0:
            raise ParameterError(f"limit_clips ({self.limit}) must be >= 0 (0 for no limit)")

    def plan(self, duration_s: float | None, framerate: float) -> SpanPlan:
        """Plan the spans of a video that lasts ``duration_s`` (None: unknown); see :func:`fixed_stride_spans`."""
        stride_s = self.length_s if self.stride_s is None else self.stride_s
        duration_s = _plannable_duration_s(duration_s, framerate, stride_s)
        # A remainder below half a frame comes from rounding. It holds no frame, so it is neither kept nor counted.
        half_frame_s = 0.5 / framerate
        kept: list[tuple[float, float]] = []
        num_starts = _count_starts(duration_s - half_frame_s, stride_s)
        for i in range(num_starts):
            start_s, end_s = i * stride_s, min(i * stride_s + self.length_s, duration_s)
            if end_s - start_s >= self.min_length_s - half_frame_s:
                kept.append((start_s, end_s))
        within = kept[: self.limit] if self.limit else kept
        spans = tuple(Span(index, start_s, end_s) for index, (start_s, end_s) in enumerate(within))
        return SpanPlan(spans, num_starts - len(kept), len(kept) - len(within))


def fixed_stride_spans(
    duration_s: float,
    *,
    length_s: float = 10.0,
    stride_s: float | None = None,
    min_length_s: float = 2.0,
    framerate: float,
    limit: int = 0,
) -> SpanPlan:
    """Plan spans ``[i * stride, min(i * stride + length, duration))`` for i = 0, 1, … that start inside the video.

    A span is kept if it is at least ``min_length_s`` long, within half a frame; ``limit`` 0 means no limit. Each start
    is computed as i * stride, because a sum of floats drifts and would lose full clips.

    Raises ParameterError for impossible parameters, MediaError if the video has no usable duration or frame rate or the
    stride is below one frame, InputError for a plan of over a million spans.
    """
    return FixedStride(length_s, stride_s, min_length_s, limit).plan(duration_s, framerate)


def clip_id(video_name: str, span: Span, framerate: float) -> str:
    """Return the id of a clip: UUID 5 (namespace URL) of ``{video_name}_{first}_{last}``.

    ``first`` and ``last`` are frame numbers, int(seconds * framerate). A name that is not valid UTF-8 (surrogate escapes)
    is hashed by its bytes.

    >>> clip_id("a.mp4", Span(0, 0.0, 10.0), 25.0) == str(uuid.uuid5(uuid.NAMESPACE_URL, "a.mp4_0_250"))
    True
    """
    name = f"{video_name}_{int(span.start_s * framerate)}_{int(span.end_s * framerate)}"
    # uuid.uuid5 takes no bytes before Python 3.12, and it fails on escaped names.
    digest = hashlib.sha1(uuid.NAMESPACE_URL.bytes + name.encode("utf-8", "surrogateescape"), usedforsecurity=False)
    return str(uuid.UUID(bytes=digest.digest()[:16], version=5))


def _require_positive(name: str, value_s: float) -> None:
    if not (value_s > 0 and math.isfinite(value_s)):
        raise ParameterError(f"{name} ({value_s}) must be a number of seconds > 0")


def _plannable_duration_s(duration_s: float | None, framerate: float, stride_s: float) -> float:
    if duration_s is None or not (duration_s > 0 and math.isfinite(duration_s)):
        raise MediaError("no-duration", f"the video has no usable duration ({duration_s} s): no spans can be planned")
    if not (framerate > 0 and math.isfinite(framerate)):
        raise MediaError("no-framerate", f"the video has no usable frame rate ({framerate}): no spans can be planned")
    if stride_s * framerate < 1 - 1e-9:
        raise MediaError(
            "stride-below-frame",
            f"fixed_stride_stride ({stride_s} s) is shorter than one frame of this video ({1 / framerate:.6g} s), "
            "so clips would share their ids; use a longer stride",
        )
    if duration_s / stride_s > MAX_SPANS:
        raise MediaError(
            "too-many-spans",
            f"{duration_s} s of video at a stride of {stride_s} s make more than {MAX_SPANS} spans; "
            "use a longer stride, or check the video's duration",
        )
    return duration_s


def _count_starts(limit_s: float, stride_s: float) -> int:
    """Count the i >= 0 with ``i * stride_s < limit_s``; at least 1, because every video with a frame has a first span."""
    count = max(1, math.ceil(limit_s / stride_s))
    while count > 1 and (count - 1) * stride_s >= limit_s:
        count -= 1
    return count
