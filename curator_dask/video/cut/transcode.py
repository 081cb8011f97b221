"""Cut all planned spans of one video with one ffmpeg process that decodes it once, exact to the frame.

The segment muxer starts a file at forced key frames (see ``plan`` for spans that overlap or leave gaps). Frame
times pass through untouched, so variable rates stay as they are. ffmpeg ends well on damaged input too; what it says
counts for little, and the report rests on the frames that went into the encoder and the packets read. Every cut is
checked against those frames, and where the muxer cut elsewhere (an extra key frame behind a gap) the video is cut again
with the times spelled out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from curator_dask.errors import MediaError, ParameterError, ToolError
from curator_dask.video.cut import command as cut_command
from curator_dask.video.cut.accounting import (
    FrameAccount,
    account_for_frames,
    read_clock,
)
from curator_dask.video.cut.copies import Copies, plan_copies
from curator_dask.video.cut.cut_report import CutClip, CutReport
from curator_dask.video.cut.encoders import MP4_VIDEO_CODECS, TranscodeSettings
from curator_dask.video.cut.one_process import Cut, run, run_with_or_without_audio
from curator_dask.video.cut.pictures import as_decoded, fitted_shape, picture_notes
from curator_dask.video.cut.plan import Lane, Part, has_gaps, lanes_of_part, plan_lanes
from curator_dask.video.cut.remarks import held_over_damage, notes_on_held, warnings_of
from curator_dask.video.cut.result import FrameGroup
from curator_dask.video.cut.sound.tracks import plan_sound
from curator_dask.video.cut.sound.trim import SoundLimit, trim_sound
from curator_dask.video.frames.tap import FrameTap, Pour
from curator_dask.video.probe import VideoInfo
from curator_dask.video.process import ffmpeg
from curator_dask.video.spans import TOLERANCE_S

if TYPE_CHECKING:
    from curator_dask.video.spans import Span


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
    cut = _cut_as_planned(job, work_dir, _pour(job, spans, tap))
    account = _account(cut)
    trim_sound(list(_sound_limits(cut, work_dir)))
    clips = sorted(_clips(cut, work_dir), key=lambda clip: clip.span_index)
    return CutReport(
        clips=tuple(clips),
        warnings=(*cut.warnings, *warnings_of(cut), *held_over_damage(cut, clips)),
        notes=(*info.notes, *picture_notes(info, settings, cut.sizes), *sound.notes, *notes_on_held(clips)),
        num_packets=cut.summary.num_packets,
        num_frames_decoded=cut.summary.num_frames_decoded,
        num_decode_errors=cut.summary.num_decode_errors,
        account=account,
        ffmpeg_argv=tuple(cut_command.arguments(cut.job)),
    )


def _pour(job: cut_command.CutJob, spans: Sequence[Span], tap: FrameTap | None) -> Pour | None:
    if tap is None:
        return None
    return Pour(job.info, spans, tap, job.settings.max_hold_s, None if job.start is None else job.start.zero_s)


def _cut_as_planned(job: cut_command.CutJob, work_dir: Path, pour: Pour | None) -> Cut:
    """Run the job; run it once more if it turns out that pictures are others, are held, or that cuts fell elsewhere."""
    cut = run_with_or_without_audio(job, work_dir, pour)
    if _stopped_in_pause(cut):
        cut = run_with_or_without_audio(dataclasses.replace(job, reads_all=True), work_dir, pour)
    true_job = _with_true_pictures(cut, work_dir)
    if true_job != cut.job:
        cut = _run_again(cut, true_job, work_dir)
    if not cut.is_as_planned:
        cut_times = tuple(frames.cut_times_s for frames in cut.frames)
        cut = _run_again(cut, dataclasses.replace(cut.job, cut_times=cut_times), work_dir)
    if not cut.is_as_planned:
        raise MediaError("cut-failed", f"{str(job.info.path)!r}: ffmpeg did not cut where it was told to")
    return cut


def _with_true_pictures(cut: Cut, work_dir: Path) -> cut_command.CutJob:
    """The job for pictures as they are: of another size or shape than expected, or held over a pause."""
    info, shape = as_decoded(cut.job.info, cut.sizes), fitted_shape(cut.sizes)
    return dataclasses.replace(cut.job, info=info, shape=shape, copies=_copies(cut, work_dir))


def _stopped_in_pause(cut: Cut) -> bool:
    """Whether reading ended early, and before a frame came that ends the last span."""
    if len(cut.times_s) == 0 or cut_command.read_limit_s(cut.job) is None:
        return False
    return float(cut.times_s.max()) < cut_command.last_end_s(cut.job) - TOLERANCE_S


def _run_again(cut: Cut, job: cut_command.CutJob, work_dir: Path) -> Cut:
    """The same frames once more: the tap has them, with the held ones."""
    again = run(dataclasses.replace(job, tap=None), work_dir, None)
    return dataclasses.replace(again, warnings=cut.warnings)


def _copies(cut: Cut, work_dir: Path) -> Copies | None:
    if len(cut.times_s) == 0:
        return None
    start = cut.job.start
    clock = read_clock(work_dir / cut_command.DECODED_TIMES) if start is None else (start.zero_ticks, start.tick_s)
    return plan_copies(cut.times_s, clock, cut.job.lanes, cut.job.settings.max_hold_s)


def _account(cut: Cut) -> FrameAccount | None:
    if cut.job.settings.encoder == "copy":
        return None
    num_held = [0] * len(cut.job.lanes) if cut.job.copies is None else [len(held) for held in cut.job.copies.times_s]
    return account_for_frames(cut.times_s, cut.job.lanes, cut.frames, num_held, repr(str(cut.job.info.path)))


def _sound_limits(cut: Cut, work_dir: Path) -> Iterator[SoundLimit]:
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


def _clips(cut: Cut, work_dir: Path) -> Iterator[CutClip]:
    copies = cut.job.copies
    for number, (lane, frames) in enumerate(zip(cut.job.lanes, cut.frames, strict=True)):
        for cell, span in enumerate(lane.spans):
            group = frames.groups.get(cell)
            num_held = 0 if copies is None else len(copies.of_cell(number, lane, cell))
            yield _absent(span, cut.job.settings) if group is None else _clip(cut.job, span, group, num_held, work_dir)


def _clip(job: cut_command.CutJob, span: Span, group: FrameGroup, num_held: int, work_dir: Path) -> CutClip:
    path = (work_dir / group.file_name).rename(work_dir / f"clip_{span.index:06d}.mp4")
    framerate = group.framerate(job.info.framerate)
    width, height = cut_command.clip_size(job)
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


def _absent(span: Span, settings: TranscodeSettings) -> CutClip:
    reason, message = "no-frames", f"the source has no frames from {span.start_s:g} s to {span.end_s:g} s"
    if settings.encoder == "copy":
        reason, message = "no-key-frame", f"no key frame to cut at from {span.start_s:g} s to {span.end_s:g} s"
    return CutClip(span.index, None, span.start_s, span.end_s, 0, 0, 0, 0.0, "", 0, reason, message)
