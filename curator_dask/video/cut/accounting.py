"""Every decoded frame of a video is in a clip or outside the kept spans; anything else is a loss, and is refused.

ffmpeg writes down the time of each frame as it leaves the decoder (``decoded.stats``) and of each that enters an
encoder (``lane{j}.stats``). Which frames belong to the spans of a lane follows from the first list; the second must hold
as many::

    decoded      0  .5   1  1.5   2  2.5   3        spans [0, 1) and [2, 3)
    expected     #   #            #   #             4 in clips, 3 outside
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

from curator_dask.errors import MediaError
from curator_dask.video.cut.plan import Lane, has_gaps
from curator_dask.video.cut.result import LaneFrames
from curator_dask.video.spans import TOLERANCE_S

Times = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FrameAccount:
    """Where the decoded frames of one video went. Times are seconds from the first frame."""

    num_decoded: int
    num_in_clips: int
    """Frames in at least one clip: with overlapping spans a frame may be in several."""
    num_held: int
    """Copies of held pictures in all clips; no decoded frame is counted here."""
    end_s: float
    """Time of the last decoded frame, and the median time that a frame is shown."""

    @property
    def num_outside(self) -> int:
        """Frames that no kept span holds: gaps between spans, tails that are too short, clips over the limit."""
        return self.num_decoded - self.num_in_clips


def read_clock(path: Path) -> tuple[int, Fraction]:
    """The time of the first decoded frame, in ticks, and the seconds of a tick. There must be one."""
    with path.open(encoding="ascii") as lines:
        ticks, _, time_base = lines.readline().partition(" ")
    return int(ticks), Fraction(time_base.strip())


def read_decoded_times(path: Path, zero_s: float | None = None) -> Times:
    """(n,) float64 seconds from the first decoded frame, in the order of decoding; lines are ``pts numerator/denominator``.

    They count from `zero_s` where the first frame of the video is at that time, and was not decoded.
    """
    if not path.exists():
        return np.empty(0)
    rows = [line.replace("/", " ").split() for line in path.read_text(encoding="ascii").splitlines()]
    ticks, numerator, denominator = np.array(rows, dtype=np.int64).reshape(-1, 3).T
    times_s: Times = ticks * numerator / np.maximum(denominator, 1)
    return times_s - (times_s[:1] if zero_s is None else zero_s)


def require_whole_lists(work_dir: Path, least_lines: Mapping[str, int], name: str) -> None:
    """Raise MediaError("list-cut-short") where ffmpeg could not write its lists of frames to their end: a full disk, say.

    `least_lines` says of a list, by its name, how many frames ffmpeg counted itself.
    """
    for path in sorted((*work_dir.glob("*.stats"), *work_dir.glob("*.packets"))):
        text = path.read_bytes()
        if (text and not text.endswith(b"\n")) or text.count(b"\n") < least_lines.get(path.name, 0):
            raise MediaError("list-cut-short", f"{name}: ffmpeg did not write {path.name} to its end")


def account_for_frames(
    times_s: Times, lanes: Sequence[Lane], frames: Sequence[LaneFrames], num_held: Sequence[int], name: str
) -> FrameAccount:
    """Hold the frames of the clips of each lane against the decoded frames and the copies of held pictures.

    Raises MediaError("frames-lost") where a lane has other frames than its spans should have.
    """
    in_clips = np.zeros(len(times_s), dtype=bool)
    for lane, found, held in zip(lanes, frames, num_held, strict=True):
        expected = frames_of_lane(times_s, lane)
        in_clips |= expected
        num_found = sum(group.num_frames for group in found.groups.values()) - held
        if num_found != expected.sum():
            raise MediaError(
                "frames-lost",
                f"{name}: {expected.sum()} decoded frames belong to spans of this video, and {num_found} are in its "
                "clips: its time stamps cannot be trusted",
            )
    return FrameAccount(len(times_s), int(in_clips.sum()), sum(num_held), _end_s(times_s))


def frames_of_lane(times_s: Times, lane: Lane) -> npt.NDArray[np.bool_]:
    """(n,) bool: which frames the spans of a lane hold, by the same comparisons as `plan.select_expression`."""
    shifted_s = times_s + TOLERANCE_S
    wanted = (shifted_s < lane.limit_s) & (shifted_s >= lane.offset_s)
    if not lane.is_even:
        cell = np.searchsorted([span.start_s for span in lane.spans], shifted_s, side="right") - 1
        return wanted & (shifted_s < np.asarray(lane.ends_s)[np.maximum(cell, 0)])
    if has_gaps(lane):
        wanted &= np.mod(shifted_s - lane.offset_s, lane.period_s) < lane.length_s
    cell = np.floor((shifted_s - lane.offset_s) / lane.period_s) - lane.num_before
    return wanted & (cell >= 0) & (cell < len(lane.spans))


def _end_s(times_s: Times) -> float:
    if len(times_s) == 0:
        return 0.0
    gaps_s = np.diff(np.sort(times_s))
    shown_s = float(np.median(gaps_s)) if len(gaps_s) else 0.0
    return float(times_s.max()) + (shown_s if math.isfinite(shown_s) else 0.0)
