"""Pauses: parts of a video without frames, where the last picture stays on the screen. Arithmetic only.

A frame is shown until the next one. A screen recording stores a frame when something changes, so a span may begin in a
pause, end in one, or lie within one. The clip of such a span gets copies of the picture that is on the screen: one at
its start, and one just before its end, so that it lasts as long as its span::

    frames   # # #                           # # #
    spans    |---- 0 ----|---- 1 ----|---- 2 ----|
    copies              #|#         #|#

Only a pause that a later frame ends counts: of what comes after the last frame nothing is known.

>>> copy_times(np.array([0.0, 1.0, 25.0]), Span(1, 10.0, 20.0), 20.0, None)
[10.0, 19.96]
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from curator_dask.video.spans import TOLERANCE_S, Span

PAUSE_S = 0.1
"""Frames further apart than this leave a pause; below it, a clip just begins with its first frame. A frame before it ends
with its span in any case."""
LONG_PAUSE_S = 0.5
"""A pause at the end of a clip gets a copy if it is longer: readers that know only when frames begin see how long it is."""
LAST_COPY_S = 0.04
"""How long before the end of a span its last copy is shown: a frame of 25 per second."""


def starts_in_pause(span: Span, first_s: float, max_hold_s: float | None) -> bool:
    """Whether a span whose first frame comes at `first_s`, perhaps only after its end, gets a copy at its start.

    `max_hold_s` is the longest part of a clip that a copy may fill; None: the whole clip.
    """
    return _is_held(min(first_s, span.end_s) - span.start_s, PAUSE_S, span, max_hold_s)


def ends_in_pause(span: Span, last_s: float, max_hold_s: float | None) -> bool:
    """Whether a span whose last frame (or copy at its start) is at `last_s` gets a copy at its end."""
    return _is_held(span.end_s - last_s, LONG_PAUSE_S, span, max_hold_s)


def copy_times(
    times_s: npt.NDArray[np.float64], span: Span, kept_end_s: float, max_hold_s: float | None
) -> list[float]:
    """When the clip of a span shows copies: none, one or two times.

    `times_s` are those of all frames of the video, ascending; the span takes the frames before `kept_end_s`.
    """
    first, after = np.searchsorted(times_s, [span.start_s - TOLERANCE_S, kept_end_s - TOLERANCE_S]).tolist()
    copies = []
    if 0 < first < len(times_s) and starts_in_pause(span, float(times_s[first]), max_hold_s):
        copies.append(span.start_s)
    shown = [*copies, *times_s[first:after][-1:].tolist()]
    if shown and after < len(times_s) and ends_in_pause(span, shown[-1], max_hold_s):
        copies.append(span.end_s - LAST_COPY_S)
    return copies


def _is_held(pause_s: float, least_s: float, span: Span, max_hold_s: float | None) -> bool:
    longest_s = span.length_s if max_hold_s is None else max_hold_s
    return least_s < pause_s <= longest_s + TOLERANCE_S
