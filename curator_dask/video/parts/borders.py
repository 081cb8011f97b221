"""Where a part of a long video may begin. Arithmetic only.

A part begins with a span. The process that cuts it passes a few frames more than it needs, and decodes from a key frame
before these, so that what it decodes does not depend on where it began::

    key frames     K                 K                 K
    frames         # # # # # # # # # # # # # # # # # # # #
    decoded                          |-----------------....
    passed                                   |- - -----....
    first span                                     |---....

The frames around the border must not make it a matter of rounding to which part one belongs, and a picture that stays on
the screen for long there would have to be known from the part before.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curator_dask.video.spans import TOLERANCE_S, Span

Times = npt.NDArray[np.float64]

NUM_LEADING = 3
"""Frames that are passed before the first span."""
LEAD_S = 0.5
"""They take at least so long."""
LONGEST_STILL_S = 4.0
"""No picture may stay longer on the screen around a border: a part is read for five seconds beyond its last span."""
LONGEST_RUN_UP_S = 120.0
"""How far before the border the key frame before the last may lie."""
MARGIN_S = 1e-5
"""No frame may lie so near to where frames are told apart."""
MOST_TRIES = 64
"""Spans that are tried for one border."""


@dataclass(frozen=True, slots=True)
class Border:
    """A span with which a part may begin. Times are in seconds from the first frame."""

    span: int
    begin_s: float
    seek_s: float
    """Between two frames: the later one is the first that is passed."""
    first: int
    """The number of that frame, in the order in which they are shown."""
    earlier_seek_s: float | None
    """Another place to begin at, with one key frame more before the border; None: the start of the video."""


def planned_borders(spans: Sequence[Span], num_parts: int) -> list[int]:
    """The spans with which the parts after the first should begin, so that all parts are about as long."""
    starts_s = [span.start_s for span in spans]
    length_s = max(span.end_s for span in spans) / num_parts
    return [bisect.bisect_left(starts_s, number * length_s - TOLERANCE_S) for number in range(1, num_parts)]


def borders_from(
    first: int, spans: Sequence[Span], times_s: Times, keys_s: Times, num_lanes: int = 1
) -> Iterator[Border]:
    """The borders that may be taken, from a span on, the nearest first. Times ascend.

    So many lanes change from one part to the next, each where its next span begins.
    """
    ends_s = list(itertools.accumulate((span.end_s for span in spans), max))
    for span in range(max(first, 1), min(first + MOST_TRIES, len(spans) - 1)):
        border = _border_at(span, spans[span].start_s, times_s, keys_s)
        near = [spans[other].start_s for other in range(span, min(span + num_lanes, len(spans)))]
        if border is None or any(_is_doubtful(time_s, times_s) for time_s in near):
            continue
        if not _is_still(ends_s[span - 1], times_s):
            yield border


def _border_at(span: int, begin_s: float, times_s: Times, keys_s: Times) -> Border | None:
    after = int(np.searchsorted(times_s, begin_s - TOLERANCE_S))
    first = min(after - NUM_LEADING, int(np.searchsorted(times_s, begin_s - LEAD_S)))
    if first < 1 or begin_s - times_s[first - 1] > LONGEST_RUN_UP_S or _is_still(begin_s, times_s):
        return None
    seek_s = float(times_s[first - 1] + times_s[first]) / 2
    before = int(np.searchsorted(keys_s, seek_s))
    if before < 1:
        return None
    earlier_s = float(keys_s[before - 2]) if before > 1 else 0.0
    if begin_s - earlier_s > LONGEST_RUN_UP_S:
        return None
    return Border(span, begin_s, seek_s, first, earlier_s + TOLERANCE_S if before > 2 else None)


def _is_still(time_s: float, times_s: Times) -> bool:
    """Whether no frame comes for long before or after a time."""
    after = int(np.searchsorted(times_s, time_s - TOLERANCE_S))
    if not 0 < after < len(times_s):
        return True
    return bool(times_s[after] - time_s > LONGEST_STILL_S or time_s - times_s[after - 1] > LONGEST_STILL_S)


def _is_doubtful(time_s: float, times_s: Times) -> bool:
    """Whether a frame lies so near to where frames are told apart that rounding may decide."""
    border_s = time_s - TOLERANCE_S
    low, high = np.searchsorted(times_s, [border_s - MARGIN_S, border_s + MARGIN_S])
    return bool(high > low)
