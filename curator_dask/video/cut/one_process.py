"""One ffmpeg process that cuts a video: run it, read what it left behind, and raise an error unless frames came out."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from pathlib import Path

from curator_dask.errors import MediaError
from curator_dask.video.cut import command as cut_command
from curator_dask.video.cut import result as cut_result
from curator_dask.video.cut.accounting import Times, read_decoded_times, require_whole_lists
from curator_dask.video.cut.copies import write_ticks
from curator_dask.video.cut.pictures import LogWatch, PictureSize
from curator_dask.video.cut.result import LaneFrames, Summary, read_lane
from curator_dask.video.frames.tap import Pour
from curator_dask.video.probe import VideoInfo
from curator_dask.video.process import ffmpeg, sandbox
from curator_dask.video.process.machine_faults import EXIT_TOO_MANY_ERRORS, REASON_OF_EXIT, raise_if_machine_failed

_LONGEST_REST_S = 120.0
_READ_BYTES_PER_SECOND = 10_000_000
_HD_PIXELS = 1280 * 720


@dataclass(frozen=True, slots=True)
class Cut:
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


def run_with_or_without_audio(job: cut_command.CutJob, work_dir: Path, pour: Pour | None) -> Cut:
    """Sound in an odd shape can fail the whole job; the pictures matter more."""
    try:
        return run(job, work_dir, pour)
    except MediaError as error:
        if not job.sound or error.reason not in ("cut-failed", "invalid-data", "no-decodable-frame"):
            raise
        silent = run(dataclasses.replace(job, sound=()), work_dir, pour)
        warning = f"the sound was left out, as the cut failed with it: {error}"
        return dataclasses.replace(silent, warnings=(warning,))


def run(job: cut_command.CutJob, work_dir: Path, pour: Pour | None) -> Cut:
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
    return Cut(job, summary, frames, times_s, tuple(watch.sizes))


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
