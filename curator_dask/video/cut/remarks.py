"""What a careful user wants to know of a cut, although clips were made: damage, scaling, held pictures. Sentences for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from curator_dask.files.names import counted
from curator_dask.video.cut import command as cut_command
from curator_dask.video.cut.cut_report import CutClip
from curator_dask.video.cut.one_process import Cut

LONGEST_STEP_BACK_S = 1.0
"""Times of frames may step back a little in a damaged file. By more than this, the clock of the file itself went back."""


def notes_on_held(clips: Sequence[CutClip]) -> Iterator[str]:
    num_held = sum(clip.num_held for clip in clips)
    if num_held:
        num_clips = sum(clip.num_held > 0 for clip in clips)
        held = f"{counted(num_held, 'frames')} in {counted(num_clips, 'clips')} {'are copies' if num_held > 1 else 'is a copy'}"
        yield f"pictures were held over pauses without frames: {held}"


def held_over_damage(cut: Cut, clips: Sequence[CutClip]) -> Iterator[str]:
    """A hole in the file looks like a pause. Packets that do not decode are damage; those that a file lost leave no trace."""
    if not any(clip.num_held for clip in clips):
        return
    if cut.summary.num_decode_errors:
        lost = counted(cut.summary.num_decode_errors, "packets")
        yield f"{lost} could not be decoded, so some pauses over which pictures were held may be damage"
    elif cut.summary.num_error_lines:
        yield (
            "the file has errors, but all pictures in it could be decoded: a pause over which a picture was held is damage "
            "only if the file has lost packets there"
        )


def _steps_back(cut: Cut) -> Iterator[str]:
    """FFmpeg repairs the clock of transport and program streams. Where others start anew, frames come too late to be shown."""
    late_s = np.maximum.accumulate(cut.times_s) - cut.times_s
    if (late_s > LONGEST_STEP_BACK_S).any():
        late = counted(int((late_s > 0).sum()), "frames")
        yield (
            f"the clock of the file goes back, so {late} behind that have no time of their own "
            "in the clips: were recordings joined byte for byte? FFmpeg's concat demuxer joins them rightly"
        )


def warnings_of(cut: Cut) -> Iterator[str]:
    """Facts about the source that a careful user wants to know, although clips were made."""
    info, summary = cut.job.info, cut.summary
    yield from info.warnings
    if summary.num_error_lines:
        yield f"{counted(summary.num_error_lines, 'errors')} in the source, the last: {summary.last_error}"
    reads_all = cut_command.read_limit_s(cut.job) is None and cut.job.start is None
    spare = int(info.container == "avi")  # it counts a frame without bytes
    if (
        reads_all
        and info.num_frames
        and summary.num_packets is not None
        and summary.num_packets + spare < info.num_frames
    ):
        yield f"the header promises {info.num_frames} frames, the file holds {summary.num_packets}: cut off?"
    last_s = max((group.last_s for frames in cut.frames for group in frames.groups.values()), default=0.0)
    planned_s = max(lane.spans[-1].end_s for lane in cut.job.lanes)
    yield from _steps_back(cut)
    longest_frame_s = 1.5 / info.framerate if info.framerate else 0.0
    if planned_s - last_s > max(1.0, planned_s / 20, longest_frame_s):
        yield f"frames were planned up to {planned_s:.2f} s, the last is at {last_s:.2f} s"
    width, height = cut_command.clip_size(cut.job)
    if width < info.width - 1 or height < info.height - 1:
        yield f"scaled from {info.width}x{info.height} down to {width}x{height}, {cut.job.settings.encoder}'s limit"
