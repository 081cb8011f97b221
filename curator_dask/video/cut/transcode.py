"""Cut all planned spans of one video with one ffmpeg process that decodes it once, exact to the frame.

The segment muxer starts a file at forced key frames (see ``plan`` for spans that overlap or leave gaps). Frame
times pass through untouched, so variable rates stay as they are. ffmpeg ends well on damaged input too; what it says
counts for little, and the report rests on the frames that went into the encoder and the packets read. Every cut is
checked against those frames, and where the muxer cut elsewhere (an extra key frame behind a gap) the video is cut again
with the times spelled out.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from curator_dask.errors import MediaError, ParameterError, ToolError
from curator_dask.files.names import counted
from curator_dask.video.cut import command as cut_command
from curator_dask.video.cut import result as cut_result
from curator_dask.video.cut.accounting import (
    FrameAccount,
    Times,
    account_for_frames,
    read_clock,
    read_decoded_times,
    require_whole_lists,
)
from curator_dask.video.cut.copies import Copies, plan_copies, write_ticks
from curator_dask.video.cut.encoders import MP4_VIDEO_CODECS, TranscodeSettings, encoded_size
from curator_dask.video.cut.pictures import LogWatch, PictureSize, as_decoded, fitted_shape, picture_notes
from curator_dask.video.cut.plan import Lane, Part, has_gaps, lanes_of_part, plan_lanes
from curator_dask.video.cut.result import FrameGroup, LaneFrames, Summary, read_lane
from curator_dask.video.cut.sound import SoundLimit, trim_sound
from curator_dask.video.cut.tracks import plan_sound
from curator_dask.video.frames import pipe as frame_pipe
from curator_dask.video.frames.read import SpanFrames
from curator_dask.video.probe import VideoInfo
from curator_dask.video.process import ffmpeg, sandbox
from curator_dask.video.process.machine_faults import (
    EXIT_TOO_MANY_ERRORS,
    REASON_OF_EXIT,
    raise_if_machine_failed,
)
from curator_dask.video.spans import LATE_FRAMES_S, TOLERANCE_S

if TYPE_CHECKING:
    from curator_dask.video.frames.pipe import Frames
    from curator_dask.video.frames.sampling import FrameRule
    from curator_dask.video.spans import Span

_LONGEST_REST_S = 120.0
_READ_BYTES_PER_SECOND = 10_000_000
_HD_PIXELS = 1280 * 720


LONGEST_STEP_BACK_S = 1.0
"""Times of frames may step back a little in a damaged file. By more than this, the clock of the file itself went back."""


@dataclass(frozen=True, slots=True)
class CutClip:
    """One span's clip, or why there is none. Times are in seconds from the video's first frame."""

    span_index: int
    path: Path | None
    start_s: float
    """Time of the first frame; with ``copy`` that is a key frame at or after the span's start."""
    end_s: float
    """Time of the last frame and how long it is shown."""
    num_frames: int
    width: int
    height: int
    framerate: float
    codec: str
    num_bytes: int
    reason: str | None = None
    """``no-frames``: the source has none in the span. ``no-key-frame``: ``copy`` had nowhere to cut. None: all is
    well."""
    message: str | None = None
    num_held: int = 0
    """How many of the frames are copies of a picture that is held over a pause."""


@dataclass(frozen=True, slots=True)
class CutReport:
    """All clips of one video, one per span in order, and what was seen while cutting."""

    clips: tuple[CutClip, ...]
    warnings: tuple[str, ...]
    """Damage, lost audio, scaling: sentences for people."""
    notes: tuple[str, ...]
    """What was chosen or changed in a sound but unusual video: sentences for people."""
    num_packets: int | None
    """Video packets read; None where this ffmpeg does not say."""
    num_frames_decoded: int | None
    num_decode_errors: int
    account: FrameAccount | None
    """Where the decoded frames went; None with ``copy``, which decodes none."""
    ffmpeg_argv: tuple[str, ...]
    """The command that made the files, for the record."""

    def outlasts(self, info: VideoInfo) -> bool:
        """Whether there are frames more than a second behind the end that the plan was made for."""
        end_s = 0.0 if self.account is None else self.account.end_s
        return info.duration_s is not None and end_s > info.duration_s + LATE_FRAMES_S

    def correct(self, info: VideoInfo) -> VideoInfo:
        """The video with the duration that its decoded frames have, and a warning that says so."""
        end_s = 0.0 if self.account is None else self.account.end_s
        warning = f"the header says {info.duration_s:.2f} s, the frames last {end_s:.2f} s: all of them were cut"
        return dataclasses.replace(info, duration_s=end_s, warnings=(*info.warnings, warning))


class FrameTap(Protocol):
    """Takes the frames of every span out of the process that cuts them: one decoding serves both."""

    @property
    def rule(self) -> FrameRule:
        """Which frames, and their size."""

    def restart(self) -> None:
        """Forget what came so far: the video is decoded (again) from its start."""

    def take(self, span: Span, frames: Frames | MediaError) -> None:
        """The (T, H, W, 3) uint8 RGB frames of a span, as ``frames.read_source_frames`` gives them; in order."""


def cut_clips(
    info: VideoInfo,
    spans: Sequence[Span],
    settings: TranscodeSettings,
    work_dir: Path,
    tap: FrameTap | None = None,
    part: Part | None = None,
) -> CutReport:
    """Write a clip file per span into ``work_dir``, an existing private folder, and report on each.

    ``tap`` gets the frames of all spans meanwhile; it changes nothing about the clips. The encoder waits while it works.
    With ``part`` only its spans are cut, as they are cut with all others. `video.parts` says where a part may begin.

    Spans are seconds from the first frame, sorted by their starts. The
    files are not synced to disk. Raises MediaError if nothing can be cut (``damaged``, ``no-decodable-frame``,
    ``codec-not-in-mp4``, ``no-timestamps``, ``invalid-data``, ``cut-failed``, ``timeout``, those of
    ``process/machine_faults``), ToolError if the encoder does
    not work here, ParameterError for spans that cannot be meant.
    """
    if tap is not None and settings.encoder == "copy":
        raise ParameterError("transcode_encoder copy decodes no frames that could be tapped; choose another encoder")
    lanes = plan_lanes(spans, info.duration_s)
    _require_encoder(info, settings, lanes)
    if part is not None:
        lanes, spans = lanes_of_part(lanes, part), spans[part.first : part.after]
    sound = plan_sound(info, settings.audio)
    job = cut_command.CutJob(info, tuple(lanes), settings, sound.tracks, tap=tap.rule if tap else None)
    cut = _cut_as_planned(job, work_dir, _Pour(job, spans, tap) if tap else None)
    account = _account(cut)
    trim_sound(list(_sound_limits(cut, work_dir)))
    clips = sorted(_clips(cut, work_dir), key=lambda clip: clip.span_index)
    return CutReport(
        clips=tuple(clips),
        warnings=(*cut.warnings, *_warnings(cut), *_held_over_damage(cut, clips)),
        notes=(*info.notes, *picture_notes(info, settings, cut.sizes), *sound.notes, *_notes_on_held(clips)),
        num_packets=cut.summary.num_packets,
        num_frames_decoded=cut.summary.num_frames_decoded,
        num_decode_errors=cut.summary.num_decode_errors,
        account=account,
        ffmpeg_argv=tuple(cut_command.arguments(cut.job)),
    )


@dataclass(frozen=True, slots=True)
class _Cut:
    """A run that is over: the job as it was done in the end, and what came of it."""

    job: cut_command.CutJob
    summary: Summary
    frames: tuple[LaneFrames, ...]
    """Per lane."""
    times_s: Times
    """The times of all decoded frames, in seconds from the first; none with ``copy``."""
    sizes: tuple[PictureSize, ...] = ()
    """The different sizes of the decoded pictures, the first one first."""
    warnings: tuple[str, ...] = ()

    @property
    def is_as_planned(self) -> bool:
        return all(frames.is_cut_as_planned for frames in self.frames)


@dataclass(frozen=True, slots=True)
class _Pour:
    """Carries the frames of a running cut to the tap."""

    job: cut_command.CutJob
    spans: Sequence[Span]
    tap: FrameTap

    def pour(self, child: sandbox.Child, times_path: Path) -> None:
        self.tap.restart()
        gatherer = SpanFrames(self.job.info, self.spans, self.tap.rule, self.job.settings.max_hold_s)
        zero_s = None if self.job.start is None else self.job.start.zero_s
        for time_s, (frame,) in frame_pipe.read_frames(child, times_path, [self.tap.rule], zero_s):
            for span, frames in gatherer.offer(time_s, frame):
                self.tap.take(span, frames)
        for span, frames in gatherer.rest():
            self.tap.take(span, frames)


def _cut_as_planned(job: cut_command.CutJob, work_dir: Path, pour: _Pour | None) -> _Cut:
    """Run the job; run it once more if it turns out that pictures are others, are held, or that cuts fell elsewhere."""
    cut = _run_with_or_without_audio(job, work_dir, pour)
    if _stopped_in_pause(cut):
        cut = _run_with_or_without_audio(dataclasses.replace(job, reads_all=True), work_dir, pour)
    true_job = _with_true_pictures(cut, work_dir)
    if true_job != cut.job:
        cut = _run_again(cut, true_job, work_dir)
    if not cut.is_as_planned:
        cut_times = tuple(frames.cut_times_s for frames in cut.frames)
        cut = _run_again(cut, dataclasses.replace(cut.job, cut_times=cut_times), work_dir)
    if not cut.is_as_planned:
        raise MediaError("cut-failed", f"{str(job.info.path)!r}: ffmpeg did not cut where it was told to")
    return cut


def _with_true_pictures(cut: _Cut, work_dir: Path) -> cut_command.CutJob:
    """The job for pictures as they are: of another size or shape than expected, or held over a pause."""
    info, shape = as_decoded(cut.job.info, cut.sizes), fitted_shape(cut.sizes)
    return dataclasses.replace(cut.job, info=info, shape=shape, copies=_copies(cut, work_dir))


def _stopped_in_pause(cut: _Cut) -> bool:
    """Whether reading ended early, and before a frame came that ends the last span."""
    if len(cut.times_s) == 0 or cut_command.read_limit_s(cut.job) is None:
        return False
    return float(cut.times_s.max()) < cut_command.last_end_s(cut.job) - TOLERANCE_S


def _run_again(cut: _Cut, job: cut_command.CutJob, work_dir: Path) -> _Cut:
    """The same frames once more: the tap has them, with the held ones."""
    again = _run(dataclasses.replace(job, tap=None), work_dir, None)
    return dataclasses.replace(again, warnings=cut.warnings)


def _copies(cut: _Cut, work_dir: Path) -> Copies | None:
    if len(cut.times_s) == 0:
        return None
    start = cut.job.start
    clock = read_clock(work_dir / cut_command.DECODED_TIMES) if start is None else (start.zero_ticks, start.tick_s)
    return plan_copies(cut.times_s, clock, cut.job.lanes, cut.job.settings.max_hold_s)


def _account(cut: _Cut) -> FrameAccount | None:
    if cut.job.settings.encoder == "copy":
        return None
    num_held = [0] * len(cut.job.lanes) if cut.job.copies is None else [len(held) for held in cut.job.copies.times_s]
    return account_for_frames(cut.times_s, cut.job.lanes, cut.frames, num_held, repr(str(cut.job.info.path)))


def _sound_limits(cut: _Cut, work_dir: Path) -> Iterator[SoundLimit]:
    """Where the sound of each clip must end. With ``copy`` the pictures do not end with the span, and nor does the sound."""
    if not cut.job.sound or cut.job.settings.encoder == "copy":
        return
    for lane, frames in zip(cut.job.lanes, cut.frames, strict=True):
        for cell, group in frames.groups.items():
            yield SoundLimit(work_dir / group.file_name, lane.spans[cell].end_s - group.first_s)


def _require_encoder(info: VideoInfo, settings: TranscodeSettings, lanes: Sequence[Lane]) -> None:
    if settings.encoder != "copy":
        failure = ffmpeg.encoder_failure(settings.encoder)
        if failure is not None:
            raise ToolError(
                f"encoder {settings.encoder} does not work here ({failure}); libopenh264 works on every CPU"
            )
        return
    if len(lanes) > 1 or has_gaps(lanes[0]) or lanes[0].has_lead or not lanes[0].is_even:
        raise ParameterError(
            "transcode_encoder copy cuts at key frames and needs stride = length; choose another encoder"
        )
    if info.codec not in MP4_VIDEO_CODECS:
        raise MediaError("codec-not-in-mp4", f"{str(info.path)!r}: MP4 cannot hold {info.codec}; choose an encoder")
    if info.needs_generated_timestamps:
        raise MediaError("no-timestamps", f"{str(info.path)!r}: its frames have no times to copy; choose an encoder")


def _run_with_or_without_audio(job: cut_command.CutJob, work_dir: Path, pour: _Pour | None) -> _Cut:
    """Sound in an odd shape can fail the whole job; the pictures matter more."""
    try:
        return _run(job, work_dir, pour)
    except MediaError as error:
        if not job.sound or error.reason not in ("cut-failed", "invalid-data", "no-decodable-frame"):
            raise
        silent = _run(dataclasses.replace(job, sound=()), work_dir, pour)
        warning = f"the sound was left out, as the cut failed with it: {error}"
        return dataclasses.replace(silent, warnings=(warning,))


def _run(job: cut_command.CutJob, work_dir: Path, pour: _Pour | None) -> _Cut:
    """One ffmpeg process; raises MediaError unless frames came out."""
    for leftover in work_dir.glob("lane*"):
        leftover.unlink()
    times_path = work_dir / cut_command.TAP_TIMES
    times_path.write_bytes(b"")
    watch = LogWatch()
    if job.copies is not None:
        write_ticks(job.copies, work_dir)
    with sandbox.stream(
        ffmpeg.with_long_values_in_files(cut_command.arguments(job), work_dir),
        timeout_s=job.settings.timeout_s or _longest_rest_s(job.info),
        progress=None if job.settings.timeout_s else functools.partial(sandbox.bytes_below, work_dir),
        # CUDA reserves far more address space than memory.
        memory_limit_bytes=None if job.settings.encoder == "h264_nvenc" else sandbox.MEMORY_LIMIT_BYTES,
        cwd=work_dir,
        keep_line=watch.keep_line,
    ) as child:
        if pour is not None:
            pour.pour(child, times_path)
        finished = child.finish()
    summary = cut_result.read_summary(finished, job.info.video_stream)
    raise_if_machine_failed(finished, repr(str(job.info.path)))
    _raise_if_failed(job, finished.returncode, summary)
    is_all_listed = job.settings.encoder != "copy" and cut_command.read_limit_s(job) is None and job.start is None
    counted = {cut_command.DECODED_TIMES: summary.num_frames_decoded or 0} if is_all_listed else {}
    require_whole_lists(work_dir, counted, repr(str(job.info.path)))
    times_s = _decoded_times(job, work_dir)
    frames = tuple(read_lane(work_dir, number, lane, job.settings) for number, lane in enumerate(job.lanes))
    return _Cut(job, summary, frames, times_s, tuple(watch.sizes))


def _decoded_times(job: cut_command.CutJob, work_dir: Path) -> Times:
    """The times of all decoded frames. Raises MediaError("seek-missed") if a part does not begin where it was planned to."""
    path = work_dir / cut_command.DECODED_TIMES
    if job.start is None:
        return read_decoded_times(path)
    times_s = read_decoded_times(path, job.start.zero_s)
    if len(times_s) == 0 or abs(float(times_s[0]) - job.start.first_s) > job.start.tick_s / 2:
        raise MediaError(
            "seek-missed",
            f"{str(job.info.path)!r}: a part of it was to begin with the frame at {job.start.first_s:.3f} s, and began "
            "with another: run again",
        )
    return times_s


def _raise_if_failed(job: cut_command.CutJob, returncode: int, summary: Summary) -> None:
    name = repr(str(job.info.path))
    if returncode == EXIT_TOO_MANY_ERRORS:
        raise MediaError(
            "damaged",
            f"{name}: {summary.num_decode_errors} of {summary.num_packets} frames cannot be decoded; "
            f"raise max_error_rate ({job.settings.max_error_rate:g}) to keep the rest",
        )
    if summary.num_frames_decoded == 0 and job.settings.encoder != "copy":
        raise MediaError("no-decodable-frame", f"{name}: no frame could be decoded ({summary.last_error})")
    if returncode != 0:
        reason = REASON_OF_EXIT.get(returncode, "cut-failed")
        raise MediaError(reason, f"{name}: ffmpeg ended with code {returncode} ({summary.last_error})")


def _longest_rest_s(info: VideoInfo) -> float:
    """How long ffmpeg may take until the next frame of a video is decoded, on a slow and busy machine.

    It follows from the bytes, which may hold anything before the next frame, and not from the time that the header states.
    """
    size = max(1.0, info.width * info.height / _HD_PIXELS)
    return _LONGEST_REST_S * size + info.size_bytes / _READ_BYTES_PER_SECOND


def _clips(cut: _Cut, work_dir: Path) -> Iterator[CutClip]:
    copies = cut.job.copies
    for number, (lane, frames) in enumerate(zip(cut.job.lanes, cut.frames, strict=True)):
        for cell, span in enumerate(lane.spans):
            group = frames.groups.get(cell)
            num_held = 0 if copies is None else len(copies.of_cell(number, lane, cell))
            yield _absent(span, cut.job.settings) if group is None else _clip(cut.job, span, group, num_held, work_dir)


def _clip(job: cut_command.CutJob, span: Span, group: FrameGroup, num_held: int, work_dir: Path) -> CutClip:
    path = (work_dir / group.file_name).rename(work_dir / f"clip_{span.index:06d}.mp4")
    framerate = group.framerate(job.info.framerate)
    width, height = _clip_size(job)
    end_s = group.last_s + (1 / framerate if framerate else 0.0)
    return CutClip(
        span_index=span.index,
        path=path,
        start_s=group.first_s,
        end_s=min(end_s, span.end_s) if num_held else end_s,
        num_frames=group.num_frames,
        num_held=num_held,
        width=width,
        height=height,
        framerate=framerate,
        codec=job.info.codec if job.settings.encoder == "copy" else "h264",
        num_bytes=path.stat().st_size,
    )


def _notes_on_held(clips: Sequence[CutClip]) -> Iterator[str]:
    num_held = sum(clip.num_held for clip in clips)
    if num_held:
        num_clips = sum(clip.num_held > 0 for clip in clips)
        held = f"{counted(num_held, 'frames')} in {counted(num_clips, 'clips')} {'are copies' if num_held > 1 else 'is a copy'}"
        yield f"pictures were held over pauses without frames: {held}"


def _held_over_damage(cut: _Cut, clips: Sequence[CutClip]) -> Iterator[str]:
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


def _clip_size(job: cut_command.CutJob) -> tuple[int, int]:
    info, encoder = job.info, job.settings.encoder
    return (info.width, info.height) if encoder == "copy" else encoded_size(encoder, info.width, info.height)


def _absent(span: Span, settings: TranscodeSettings) -> CutClip:
    reason, message = "no-frames", f"the source has no frames from {span.start_s:g} s to {span.end_s:g} s"
    if settings.encoder == "copy":
        reason, message = "no-key-frame", f"no key frame to cut at from {span.start_s:g} s to {span.end_s:g} s"
    return CutClip(span.index, None, span.start_s, span.end_s, 0, 0, 0, 0.0, "", 0, reason, message)


def _steps_back(cut: _Cut) -> Iterator[str]:
    """FFmpeg repairs the clock of transport and program streams. Where others start anew, frames come too late to be shown."""
    late_s = np.maximum.accumulate(cut.times_s) - cut.times_s
    if (late_s > LONGEST_STEP_BACK_S).any():
        late = counted(int((late_s > 0).sum()), "frames")
        yield (
            f"the clock of the file goes back, so {late} behind that have no time of their own "
            "in the clips: were recordings joined byte for byte? FFmpeg's concat demuxer joins them rightly"
        )


def _warnings(cut: _Cut) -> Iterator[str]:
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
    width, height = _clip_size(cut.job)
    if width < info.width - 1 or height < info.height - 1:
        yield f"scaled from {info.width}x{info.height} down to {width}x{height}, {cut.job.settings.encoder}'s limit"
