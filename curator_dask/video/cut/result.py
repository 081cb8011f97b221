"""Read the results of ffmpeg: frames from its statistics, cuts from its segment lists, damage from its log."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from curator_dask.video.cut.encoders import TranscodeSettings
from curator_dask.video.cut.plan import Lane
from curator_dask.video.process import sandbox

_CUT_TOLERANCE_S = 0.002
_READ = r"\(video\): (\d+) packets read .*?;(?: (\d+) frames decoded;)?(?: (\d+) decode errors;)?"
_KEY, _DISCARD = 1, 4
_ERROR = re.compile(r"^(?:\[[^\]]* @ \w+\] )*\[(?:error|fatal|panic)\] (.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Summary:
    """The counts and errors that ffmpeg reports after a run."""

    num_packets: int | None
    num_frames_decoded: int | None
    num_decode_errors: int
    num_error_lines: int
    last_error: str


@dataclass(frozen=True, slots=True)
class FrameGroup:
    """The frames of one clip. Times are in seconds from the video's first frame."""

    first_s: float
    last_s: float
    num_frames: int
    file_name: str

    def framerate(self, nominal: float) -> float:
        """Return the clip's frames per second; ``nominal`` if it agrees within 1 %, because times are rounded."""
        if self.num_frames < 2 or self.last_s <= self.first_s:
            return nominal
        measured = (self.num_frames - 1) / (self.last_s - self.first_s)
        return nominal if abs(measured - nominal) <= nominal / 100 else measured


@dataclass(frozen=True, slots=True)
class LaneFrames:
    """The clips of one lane."""

    groups: dict[int, FrameGroup]
    """The frames per span, by its position in the lane. Spans without frames are missing."""
    cut_times_s: tuple[float, ...]
    """Expected start times of the files after the first, from the first frame of the lane."""
    is_cut_as_planned: bool


@dataclass(frozen=True, slots=True)
class _Frame:
    time_s: float
    is_key: bool = False
    is_shown: bool = True


def is_telling(line: bytes) -> bool:
    """Whether a line of ffmpeg's verbose log is an error or one of the counts at its end.

    What the output that keeps nothing says of the times it gets is no damage of the source.
    """
    if line.startswith(b"[null @ "):
        return False
    return b"[error]" in line or b"[fatal]" in line or b"[panic]" in line or b" packets read (" in line


def read_summary(finished: sandbox.Finished, video_stream: int) -> Summary:
    """Read the counts for one stream, and the errors. Counts come last, so a file's name cannot fake them."""
    counts = re.findall(rf"Input stream #0:{video_stream} {_READ}", finished.stderr_tail)
    packets, decoded, errors = counts[-1] if counts else ("", "", "")
    messages = _ERROR.findall(finished.stderr_tail)
    return Summary(
        num_packets=int(packets) if packets else None,
        num_frames_decoded=int(decoded) if decoded else None,
        num_decode_errors=int(errors or 0),
        num_error_lines=finished.stderr_lines - len(re.findall(r" packets read \(", finished.stderr_tail)),
        last_error=messages[-1].strip() if messages else "no error was named",
    )


def read_lane(work_dir: Path, number: int, lane: Lane, settings: TranscodeSettings) -> LaneFrames:
    """Sort the frames of lane ``number`` into its spans, and compare them with the files that ffmpeg wrote."""
    copied = settings.encoder == "copy"
    frames = (
        _read_packets(work_dir / f"lane{number}.packets") if copied else _read_frames(work_dir / f"lane{number}.stats")
    )
    files = _read_files(work_dir / f"lane{number}.csv")
    if not frames:
        return LaneFrames({}, (), not files)
    origin_s = min(frame.time_s for frame in frames if frame.is_shown) if copied else frames[0].time_s
    origin_s = origin_s if lane.start is None else lane.start.zero_s
    times_s = [frame.time_s - origin_s - lane.lead_shift_s for frame in frames]
    starts = _first_key_frames(frames, times_s, lane) if copied else _first_frames(times_s, lane)
    groups = {}
    for (cell, first), end, (name, _) in zip(starts.items(), _end_frames(starts, len(frames)), files, strict=False):
        shown_s = [
            time_s for frame, time_s in zip(frames[first:end], times_s[first:end], strict=True) if frame.is_shown
        ]
        if 0 <= cell < len(lane.spans) and shown_s:
            groups[cell] = FrameGroup(min(shown_s), max(shown_s), len(shown_s), name)
    cuts_s = [frames[first].time_s for first in starts.values()][1:]
    as_planned = len(files) == len(starts) and all(
        abs(cut_s - start_s) <= _CUT_TOLERANCE_S for cut_s, (_, start_s) in zip(cuts_s, files[1:], strict=True)
    )
    return LaneFrames(groups, tuple(cut_s - frames[0].time_s for cut_s in cuts_s), as_planned)


def _end_frames(starts: dict[int, int], num_frames: int) -> list[int]:
    return [*list(starts.values())[1:], num_frames]


def _first_frames(times_s: list[float], lane: Lane) -> dict[int, int]:
    """Map each cell (position of a span) to the number of its first frame. The lead, a file of its own, is cell -1."""
    starts: dict[int, int] = {}
    for number, time_s in enumerate(times_s):
        starts.setdefault(-1 if lane.has_lead and number == 0 else lane.cell(time_s), number)
    return starts


def _first_key_frames(frames: list[_Frame], times_s: list[float], lane: Lane) -> dict[int, int]:
    """Map each cell to the number of its first key frame, for copied packets in the order of the file."""
    starts = {0: 0}
    last = 0
    for number, (frame, time_s) in enumerate(zip(frames, times_s, strict=True)):
        cell = lane.cell(time_s)
        if frame.is_key and cell > last:
            starts[cell], last = number, cell
    return starts


def _read_frames(path: Path) -> list[_Frame]:
    """Read the encoder's statistics: lines of ``number pts time_base``."""
    if not path.exists():
        return []
    with path.open(encoding="ascii") as lines:
        fields = (line.split() for line in lines)
        return [_Frame(float(int(pts) * Fraction(time_base))) for _, pts, time_base in fields]


def _read_packets(path: Path) -> list[_Frame]:
    """Read the framecrc list: ``#`` lines, then ``stream, dts, pts, duration, size, checksum[, F=flags][, …]``."""
    if not path.exists():
        return []
    frames, time_base = [], Fraction(1)
    with path.open(encoding="ascii") as lines:
        for line in lines:
            if line.startswith("#tb 0:"):
                time_base = Fraction(line.partition(":")[2].strip())
            elif not line.startswith("#"):
                pts, *rest = [field.strip() for field in line.split(",")][2:]
                flags = next((int(field[2:], 16) for field in rest if field.startswith("F=")), _KEY)
                frames.append(_Frame(float(int(pts) * time_base), bool(flags & _KEY), not flags & _DISCARD))
    return frames


def _read_files(path: Path) -> list[tuple[str, float]]:
    """Read the name and start time of each file that the segment muxer wrote."""
    if not path.exists():
        return []
    with path.open(encoding="ascii", newline="") as lines:
        return [(name, float(start)) for name, start, _ in csv.reader(lines)]
