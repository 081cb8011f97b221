"""The times from which the original workflow makes clip ids, for users whose tables hold its ids.

A clip id is made from the frame numbers of a span. This package computes the i-th start as i * stride, the original adds
the stride i times to 0.0. Where floats cannot hold the stride exactly, the two may differ by a frame. At 30 frames per
second and a stride of 3.3 s, clip 6 starts at frame 593 in one of them and at frame 594 in the other:

>>> 6 * 3.3, sum([3.3] * 6)
(19.799999999999997, 19.8)
>>> int(6 * 3.3 * 30), int(sum([3.3] * 6) * 30)
(593, 594)

The original also ends a video at a whole number of frames, which it computes from a duration in whole microseconds. So a
last clip that the end of the video cuts short may have one frame less in its id. 1,000 frames at 30 per second:

>>> int(1000 / 30 * 30), int(33.333333 * 30)
(1000, 999)

Only the ids follow these rules: clips are cut at the same times in both cases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, repeat

from curator_dask.errors import ParameterError
from curator_dask.video.spans import Span

IDS = ("exact", "original")
"""From which times clip ids are made: those at which clips are cut, or those of the original workflow."""


def check_ids(ids: str) -> None:
    """Raise ParameterError for a rule that does not exist."""
    if ids not in IDS:
        raise ParameterError(f"ids ({ids!r}) must be one of: {', '.join(IDS)}")


@dataclass(frozen=True, slots=True)
class OriginalTimes:
    """The original workflow's arithmetic for spans of equal length at equal distances."""

    length_s: float
    stride_s: float

    def spans(self, spans: Sequence[Span], duration_s: float, framerate: float) -> list[Span]:
        """The same spans with the times that the original computes for them.

        Args:
            spans: the planned spans; the i-th start of the original belongs to the span with index i.
            duration_s: duration of the video; the original reads it rounded to microseconds.
            framerate: mean frames per second.
        """
        last_s = int(round(duration_s, 6) * framerate) / framerate
        starts = list(accumulate(repeat(self.stride_s, max((span.index for span in spans), default=0)), initial=0.0))
        return [
            replace(span, start_s=starts[span.index], end_s=min(starts[span.index] + self.length_s, last_s))
            for span in spans
        ]
