"""Choose the frames of a clip that a model sees. Arithmetic on frame times only.

Times are in seconds from the first frame of the clip. Three rules choose from a clip of 1 s at 10 frames per second::

    times      0  .1 .2 .3 .4 .5 .6 .7 .8 .9
    rate 5     #  #  #  #     #     #     #    5 per second, and up to two more at the start, as ffmpeg -r 5 does
    spread 2         #              #          nearest to .25 and .75, the middles of the two halves
    prefix 2   #              #                2 per second, then every (count // 2)-th of them: may miss the end

>>> times_s = np.arange(10) / 10
>>> select_frames(times_s, FrameRule.rate(5, width=8, height=8), 1.0).tolist()
[0, 1, 2, 3, 5, 7, 9]
>>> select_frames(times_s, FrameRule.spread(2, width=8, height=8), 1.0).tolist()
[2, 7]
>>> select_frames(times_s, FrameRule.prefix(2, width=8, height=8), 1.0).tolist()
[0, 5]
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from curator_dask.errors import MediaError, ParameterError

Times = npt.NDArray[np.floating]
Indices = npt.NDArray[np.int64]

PREFIX_RATE_FPS = 2.0
DRIFT_FRAMES = 1.1
MAX_FRAMES = 1_000_000
TIE_TOLERANCE_S = 1e-5
"""Differences below this are rounding: Decord returns times as float32."""


@dataclass(frozen=True, slots=True)
class FrameRule:
    """Which frames a model needs, and their size in pixels. Make one with :meth:`rate`, :meth:`spread` or
    :meth:`prefix`."""

    kind: Literal["rate", "spread", "prefix"]
    width: int
    height: int
    rate_fps: float = 0.0
    """Frames per second; only ``rate`` uses it."""
    num_frames: int = 0
    """Frames per clip; only ``spread`` and ``prefix`` use it."""

    def __post_init__(self) -> None:
        if min(self.width, self.height) < 1:
            raise ParameterError(f"a frame rule's size ({self.width}x{self.height}) must be at least 1x1")
        if self.kind == "rate" and not (self.rate_fps > 0 and math.isfinite(self.rate_fps)):
            raise ParameterError(f"rate_fps ({self.rate_fps}) must be > 0")
        if self.kind != "rate" and not 1 <= self.num_frames <= MAX_FRAMES:
            raise ParameterError(f"num_frames ({self.num_frames}) must be between 1 and {MAX_FRAMES}")

    @classmethod
    def rate(cls, rate_fps: float, *, width: int, height: int) -> FrameRule:
        """Take frames at an even rate over the whole clip, as ``ffmpeg -r {rate_fps}`` does."""
        return cls("rate", width, height, rate_fps=rate_fps)

    @classmethod
    def spread(cls, num_frames: int, *, width: int, height: int) -> FrameRule:
        """Take the frame nearest to the middle of each of ``num_frames`` equal parts of the clip."""
        return cls("spread", width, height, num_frames=num_frames)

    @classmethod
    def prefix(cls, num_frames: int, *, width: int, height: int) -> FrameRule:
        """Take frames at 2 per second, then ``frames[:: len // T][:T]`` of them, with T = ``num_frames``.

        Older embeddings were made this way. The rule may miss the end of the clip.
        """
        return cls("prefix", width, height, num_frames=num_frames)

    def describe(self) -> dict[str, str | int | float]:
        """Return the rule as plain JSON, for fingerprints and records."""
        amount: dict[str, str | int | float]
        amount = {"rate_fps": self.rate_fps} if self.kind == "rate" else {"num_frames": self.num_frames}
        return {"kind": self.kind, **amount, "width": self.width, "height": self.height}


def select_frames(times_s: Times, rule: FrameRule, duration_s: float) -> Indices:
    """Return the indices of the frames that ``rule`` takes, in order. They repeat if the clip has too few frames.

    ``times_s``: (n,) presentation times that never decrease, on any clock; the clip starts at the first. ``duration_s``
    is the length of the clip. ``spread`` divides it into parts; ``rate`` shows the last frame until its end.

    Raises MediaError("no-frames") for n = 0 and MediaError("too-many-frames") over a million.
    """
    if len(times_s) == 0:
        raise MediaError("no-frames", "the clip has no frames")
    times_s = np.asarray(times_s, dtype=np.float64)
    times_s = times_s - times_s[0]
    if rule.kind == "rate":
        return _frames_at_rate(times_s, rule.rate_fps, duration_s)
    if rule.kind == "spread":
        return _nearest_frames(times_s, _middles(rule.num_frames, duration_s))
    num_targets = _require_bounded(math.ceil(float(times_s[-1]) * PREFIX_RATE_FPS + 0.5))
    return _every_nth(np.unique(_nearest_frames(times_s, np.arange(num_targets) / PREFIX_RATE_FPS)), rule.num_frames)


class Sieve:
    """Tells a reader whether to keep a frame, as soon as the time of the next frame is known.

    It keeps every frame that :func:`select_frames` takes. With ``prefix`` it also keeps some others.
    """

    def __init__(self, rule: FrameRule, duration_s: float) -> None:
        self._rule = rule
        self._duration_s = duration_s
        self._num_given = 0

    def wants(self, before_s: float | None, time_s: float, after_s: float) -> bool:
        """Return whether the rule takes a frame, given its time and those of its neighbours.

        Times count from the clip's first frame, for which ``before_s`` is None. Call it for every frame but the last, in
        order.
        """
        if self._rule.kind == "rate":
            count = _num_outputs(after_s * self._rule.rate_fps - self._num_given)
            self._num_given += count
            return count > 0
        window_s = np.array([time_s if before_s is None else before_s, time_s, after_s])
        return bool((window_s[_nearest_frames(window_s, self._targets_s(window_s))] == time_s).any())

    def _targets_s(self, window_s: Times) -> Times:
        if self._rule.kind == "spread":
            return _middles(self._rule.num_frames, self._duration_s)
        first, last = math.floor(window_s[0] * PREFIX_RATE_FPS), math.ceil(window_s[-1] * PREFIX_RATE_FPS)
        return np.arange(first, first + _require_bounded(last - first) + 1) / PREFIX_RATE_FPS


def shown_duration_s(times_s: Times) -> float:
    """Return how long frames at these times are shown: from first to last, plus the median gap for the last frame.

    The duration in a container may include audio, edit lists or lost frames; frame times do not.
    """
    if len(times_s) < 2:
        return 0.0
    return float(times_s[-1] - times_s[0] + np.median(np.diff(times_s)))


def _frames_at_rate(times_s: Times, rate_fps: float, duration_s: float) -> Indices:
    """Repeat each frame as often as :func:`_num_outputs` says. A frame is shown until the next one, the last until the end."""
    ends_s = np.append(times_s[1:], max(duration_s, float(times_s[-1])))
    counts, num_given = [], 0
    for end in (ends_s * rate_fps).tolist():
        counts.append(_num_outputs(end - num_given))
        num_given = _require_bounded(num_given + counts[-1])
    return np.repeat(np.arange(len(times_s)), counts)


def _num_outputs(num_owed: float) -> int:
    """Return how often a frame is output if, at its end, ``num_owed`` outputs are missing (below 0: there are too many).

    This is FFmpeg's rule for a constant output rate: while output is at most 1.1 frames early or late, each frame is
    output once. Rounding to four digits removes the noise of times; without it, 50 frames per second, where output is
    early by exactly 1.1 frames, would depend on chance.
    """
    num_owed = round(num_owed, 4)
    if num_owed < -DRIFT_FRAMES:
        return 0
    return round(num_owed) if num_owed > DRIFT_FRAMES else 1


def _middles(num_parts: int, duration_s: float) -> Times:
    return (np.arange(num_parts) + 0.5) * (duration_s / num_parts)


def _nearest_frames(times_s: Times, targets_s: Times) -> Indices:
    """Return the index of the frame nearest to each target; of two equally near frames, the earlier."""
    right = np.clip(np.searchsorted(times_s, targets_s), 0, len(times_s) - 1)
    left = np.maximum(right - 1, 0)
    right_is_nearer = times_s[right] - targets_s < targets_s - times_s[left] - TIE_TOLERANCE_S
    return np.where(right_is_nearer, right, left)


def _every_nth(candidates: Indices, num_frames: int) -> Indices:
    """Return ``candidates[:: len // T][:T]``. If there are fewer than T, repeat them instead of returning none."""
    count = len(candidates)
    if count >= num_frames:
        return candidates[:: count // num_frames][:num_frames]
    return candidates[(np.arange(num_frames) * 2 + 1) * count // (2 * num_frames)]


def _require_bounded(num_frames: int) -> int:
    if num_frames > MAX_FRAMES:
        raise MediaError("too-many-frames", f"the clip would give {num_frames} frames; {MAX_FRAMES} is the most")
    return num_frames
