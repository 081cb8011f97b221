"""From marks on frames to shots, and from shots to the spans that are cut. Arithmetic only.

A mark says that a frame belongs to the change from one shot to the next::

    frame    0  1  2  3  4  5  6  7  8  9
    mark              #        #  #
    shots    |-- 0 -----|-- 1 |     | 2  |        a single mark is the last frame of its shot: a hard cut
                                                  several are a fade or dissolve, and belong to no shot

Spans begin and end at frames, so that no clip holds a frame of another shot.

>>> shots_between(np.array([0, 0, 0, 1, 0, 0, 1, 1, 0, 0], bool))
[(0, 4), (4, 6), (8, 10)]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from curator_dask.errors import MediaError, ParameterError
from curator_dask.video.spans import MAX_SPANS, TOLERANCE_S, Span, SpanPlan

Marks = npt.NDArray[np.bool_]
Times = npt.NDArray[np.float64]
Shot = tuple[int, int]
"""The first frame, and the one after the last."""
MaxLengthMode = Literal["stride", "truncate"]


def shots_between(marks: Marks) -> list[Shot]:
    """The shots between marks (N,), in order. A run of two or more marks belongs to no shot."""
    edges = np.flatnonzero(np.diff(np.r_[False, marks, False].astype(np.int8)))
    shots, start = [], 0
    for first, after in edges.reshape(-1, 2).tolist():
        shots.append((start, first + 1 if after - first == 1 else first))
        start = after
    return [shot for shot in [*shots, (start, len(marks))] if shot[0] < shot[1]]


@dataclass(frozen=True, slots=True)
class ShotLengths:
    """How shots become spans. Raises ParameterError for impossible values."""

    max_length_s: float = 10.0
    stride_s: float | None = None
    """Seconds from one start to the next in a shot, from the shot's start on; None: ``max_length_s``."""
    min_length_s: float = 2.0
    max_length_mode: MaxLengthMode = "stride"
    """What becomes of shots over the longest length: ``stride`` makes several spans, ``truncate`` only the first."""
    crop_s: float = 0.0
    """Taken away from both ends of each span."""
    limit: int = 0
    """The most spans per video; 0 means no limit."""

    def __post_init__(self) -> None:
        if not 0 < self.max_length_s < np.inf or (self.stride_s is not None and not 0 < self.stride_s < np.inf):
            raise ParameterError(
                f"the longest clip ({self.max_length_s} s) and the stride ({self.stride_s} s) must be numbers > 0"
            )
        if not self.crop_s >= 0 or not 0 <= self.min_length_s <= self.max_length_s - 2 * self.crop_s:
            raise ParameterError(
                f"the shortest clip ({self.min_length_s} s) must be between 0 and the longest clip less both crops "
                f"({self.max_length_s} s - 2 * {self.crop_s} s), or no clip would ever be kept"
            )
        if self.max_length_mode not in ("stride", "truncate"):
            raise ParameterError(f"max_length_mode ({self.max_length_mode!r}) must be stride or truncate")
        if self.limit < 0:
            raise ParameterError(f"limit_clips ({self.limit}) must be >= 0 (0 for no limit)")

    def plan(self, shots: list[Shot], times_s: Times, framerate: float) -> SpanPlan:
        """The spans of a video. `times_s` (N,) are those of its frames, in seconds from the first."""
        clock = _Clock.of(times_s, framerate)
        parts = [part for shot in shots for part in self._parts(clock, *shot)]
        kept = [(start_s, end_s) for start_s, end_s in parts if self._is_long_enough(start_s, end_s, clock.frame_s)]
        within = kept[: self.limit] if self.limit else kept
        spans = tuple(Span(index, start_s, end_s) for index, (start_s, end_s) in enumerate(within))
        return SpanPlan(spans, len(parts) - len(kept), len(kept) - len(within))

    def _is_long_enough(self, start_s: float, end_s: float, frame_s: float) -> bool:
        return end_s - start_s >= max(self.min_length_s - frame_s / 2, TOLERANCE_S)

    def _parts(self, clock: _Clock, first: int, after: int) -> list[tuple[float, float]]:
        """The parts of one shot: where it is cut for its length, without the crops."""
        shot_s, end_s = clock.begins_s(first), clock.begins_s(after)
        stride_s = self.max_length_s if self.stride_s is None else self.stride_s
        if (end_s - shot_s) / stride_s > MAX_SPANS:
            raise MediaError("too-many-spans", f"a shot of {end_s - shot_s:.0f} s makes more than {MAX_SPANS} spans")
        count = int(np.ceil((end_s - shot_s - clock.frame_s / 2) / stride_s)) if self.max_length_mode == "stride" else 1
        starts = (shot_s + number * stride_s for number in range(max(count, 1)))
        return [self._cropped(clock, start_s, min(start_s + self.max_length_s, end_s)) for start_s in starts]

    def _cropped(self, clock: _Clock, start_s: float, end_s: float) -> tuple[float, float]:
        return clock.snapped_s(start_s + self.crop_s), clock.snapped_s(end_s - self.crop_s)


@dataclass(frozen=True, slots=True)
class _Clock:
    """When the frames of a video begin."""

    times_s: Times
    """Of all frames, and the end of the last one; they never step back."""
    frame_s: float

    @classmethod
    def of(cls, times_s: Times, framerate: float) -> _Clock:
        ordered_s = np.maximum.accumulate(times_s)
        gaps_s = np.diff(ordered_s)
        frame_s = 1 / framerate if framerate > 0 else float(np.median(gaps_s)) if len(gaps_s) else 1.0
        return cls(np.append(ordered_s, ordered_s[-1] + frame_s), frame_s)

    def begins_s(self, frame: int) -> float:
        return float(self.times_s[frame])

    def snapped_s(self, time_s: float) -> float:
        """The time of the first frame at or after a time; the end of the last one for all later times."""
        index = int(np.searchsorted(self.times_s, time_s - TOLERANCE_S))
        return float(self.times_s[min(index, len(self.times_s) - 1)])
