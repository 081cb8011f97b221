"""The ffmpeg command that cuts one video. Text only.

Each lane is one output of the process, cut by the segment muxer into ``lane{j}_000000.mp4`` and so on in the current
folder; beside them ``lane{j}.csv`` lists the files and ``lane{j}.stats`` the time of every frame that went into the
encoder (``lane{j}.packets`` where the stream is copied). A tap, where there is one, is one more output: every frame of
the video, small, on stdout, and ``tap.times``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from curator_dask.errors import MediaError
from curator_dask.video.cut.copies import Copies
from curator_dask.video.cut.copies import filters as copy_filters
from curator_dask.video.cut.copies import input_args as tick_inputs
from curator_dask.video.cut.encoders import TranscodeSettings, encoded_size, encoder_args
from curator_dask.video.cut.pictures import picture_filters
from curator_dask.video.cut.plan import (
    PRIMING_S,
    Lane,
    PartStart,
    audio_drop_expression,
    key_frame_expression,
    left_expression,
    listed_key_frame_expression,
    select_expression,
)
from curator_dask.video.cut.sound.tracks import ClipTrack, sound_args
from curator_dask.video.cut.sound.trim import REPRODUCIBLE
from curator_dask.video.frames import pipe as frame_pipe
from curator_dask.video.frames.pipe import TICKS_PER_SECOND, counts_frames
from curator_dask.video.frames.sampling import FrameRule
from curator_dask.video.pauses import PAUSE_S
from curator_dask.video.probe import VideoInfo
from curator_dask.video.process import ffmpeg
from curator_dask.video.spans import TOLERANCE_S

READ_BEYOND_S = 5.0
"""How far the source is read past the last frame wanted: files are interleaved loosely, and frames are stored out of
order."""
TAP_TIMES = "tap.times"
DECODED_TIMES = "decoded.stats"


@dataclass(frozen=True, slots=True)
class CutJob:
    """One run of ffmpeg."""

    info: VideoInfo
    lanes: tuple[Lane, ...]
    settings: TranscodeSettings
    sound: tuple[ClipTrack, ...] = ()
    cut_times: tuple[tuple[float, ...], ...] | None = None
    """Per lane, where to cut, in seconds from its first frame; None for every period."""
    shape: float | None = None
    """Width over height, as shown, that pictures of other shapes are fitted to between bars. None: all are stretched."""
    tap: FrameRule | None = None
    """Hand out every frame at this rule's size as well; not with ``copy``, which decodes nothing."""
    reads_all: bool = False
    """Read the source to its end, although the last frame wanted comes long before it."""
    copies: Copies | None = None
    """Pictures to show once more where a span begins or ends in a pause."""

    @property
    def start(self) -> PartStart | None:
        """Where the process begins; None: with the video."""
        return self.lanes[0].start


def arguments(job: CutJob) -> list[str]:
    """The whole command; it is to run in the folder that gets the files."""
    copied = job.settings.encoder == "copy"
    limit_s = read_limit_s(job)
    limit = [] if limit_s is None else ["-t", f"{limit_s:.6f}"]
    # A new frame size in mid-stream must not restart the filters, which count from the first frame; scale copes with
    # it. Sound whose channels change needs a restart of its own filters.
    steady = [] if copied else ["-reinit_filter:v", "0"]
    source = [*begin_args(job), *ffmpeg.input_args(job.info.path, max_error_rate=job.settings.max_error_rate)]
    ticks = [] if job.copies is None else tick_inputs(job.copies)
    filters = [] if copied else ["-filter_complex", filter_graph(job)]
    outputs = [word for number in range(len(job.lanes)) for word in _output(job, number)]
    if not copied:
        outputs += _decoded_times(job)
    if job.tap is not None:
        outputs += frame_pipe.output_args(job.info, "tap", TAP_TIMES)
    return [*ffmpeg.global_args("level+verbose"), *steady, *limit, *source, *ticks, *filters, *outputs]


def begin_args(job: CutJob) -> list[str]:
    """Options of the source that say where its clock begins, and where reading does."""
    shift = ["-itsoffset", f"{-late_start_s(job):.6f}"] if late_start_s(job) else []
    # A part keeps the clock of the whole video, so that the times of its frames are the same numbers.
    seek = [] if job.start is None else ["-copyts", "-start_at_zero", "-ss", f"{job.start.seek_s:.6f}"]
    return [*shift, *seek]


def last_end_s(job: CutJob) -> float:
    """Where the last frame wanted ends, in seconds from the first."""
    return max(lane.end_s for lane in job.lanes)


def read_limit_s(job: CutJob) -> float | None:
    """How much of the source to read, from where reading begins; None for all."""
    end_s = last_end_s(job) + READ_BEYOND_S
    if job.reads_all:
        return None
    if job.info.duration_s is not None and end_s >= job.info.duration_s:
        return None
    return end_s + first_frame_s(job) - (0.0 if job.start is None else job.start.seek_s)


def first_frame_s(job: CutJob) -> float:
    """The first video frame on ffmpeg's clock, which begins with the earliest stream, or the earliest that is read."""
    read = {track.stream for track in job.sound}
    lead_s = max((track.lead_s for track in job.info.audio_tracks if track.stream in read), default=0.0)
    return job.info.start_s - job.info.container_start_s + lead_s


def late_start_s(job: CutJob) -> float:
    """How much later than the file's clock the pictures start; 0 below a tenth of a second.

    All times are moved back by it, as the segment muxer would begin the first clip where the clock begins.
    """
    late_s = first_frame_s(job)
    return late_s if late_s > PRIMING_S else 0.0


def filter_graph(job: CutJob) -> str:
    """Size, pixel format and times once for all, then one branch per lane that passes its frames."""
    decoded, tapped = f"[0:{job.info.video_stream}]", []
    if job.tap is not None:
        tapped = [f"{decoded}split[in][small]", f"[small]{frame_pipe.filters(job.info, [job.tap])}[tap]"]
        decoded = "[in]"
    pictures = picture_filters(job.info, job.settings, job.shape)
    shared = decoded + ",".join([*pictures, *frame_pipe.true_times(job.info)])
    names = range(len(job.lanes))
    split = f"{shared},split={len(job.lanes) + 1}[all]" + "".join(f"[s{number}]" for number in names)
    return ";".join([*tapped, split, *(f"{_branch(job, number)}[v{number}]" for number in names)])


def _branch(job: CutJob, number: int) -> str:
    lane, label = job.lanes[number], f"s{number}"
    shown = f"[{label}]" if job.copies is None else copy_filters(job.copies, number, label)
    branch = f"{shown}select='{select_expression(lane)}'"
    if lane.moves_lead:
        branch += f",settb=1/{TICKS_PER_SECOND},setpts='PTS-if(eq(N,0),{lane.lead_shift_s:.9f}/TB,0)'"
    return branch


def _decoded_times(job: CutJob) -> list[str]:
    """The output that keeps nothing of the decoded frames but their times."""
    time_base = f"1/{TICKS_PER_SECOND}" if counts_frames(job.info) else "demux"
    return [
        *("-map", "[all]", "-fps_mode:v", "passthrough", "-enc_time_base:v", time_base, "-c:v", "wrapped_avframe"),
        *("-stats_enc_pre:v", DECODED_TIMES, "-stats_enc_pre_fmt:v", "{pts} {tb}", "-f", "null", "-"),
    ]


def _output(job: CutJob, number: int) -> list[str]:
    lane = job.lanes[number]
    copied = ["-map", f"0:{job.info.video_stream}", "-c:v", "copy"]
    video = copied if job.settings.encoder == "copy" else _encoded_video(job, number)
    clips = [*video, *_audio(job, lane), *REPRODUCIBLE, *_segments(job, number), f"lane{number}_%06d.mp4"]
    if job.settings.encoder != "copy":
        return clips
    # No encoder, no statistics of one: a list of all packets takes their place.
    return [*clips, *copied, "-avoid_negative_ts", "disabled", "-f", "framecrc", f"lane{number}.packets"]


def _encoded_video(job: CutJob, number: int) -> list[str]:
    lane = job.lanes[number]
    return [
        *("-map", f"[v{number}]", "-fps_mode:v", "passthrough", "-enc_time_base:v", _time_base(job, number)),
        *encoder_args(job.settings, job.info.bit_rate),
        *("-force_key_frames:v", _key_frames(job, number)),
        *("-stats_enc_pre:v", f"lane{number}.stats", "-stats_enc_pre_fmt:v", "{n} {pts} {tb}"),
        *("-bsf:v", f"setts=duration='{_duration_expression(job, lane)}'"),
    ]


def _key_frames(job: CutJob, number: int) -> str:
    """Where cuts are listed, they are the frames that begin clips: ffmpeg's own arithmetic may choose the frame before one."""
    if job.cut_times is None or not job.cut_times[number]:
        return key_frame_expression(job.lanes[number])
    # Half a tolerance later than usual: a frame that lies a whole one before the time belongs to the clip before.
    return listed_key_frame_expression([time_s + TOLERANCE_S / 2 for time_s in job.cut_times[number]])


def _time_base(job: CutJob, number: int) -> str:
    if job.lanes[number].moves_lead or counts_frames(job.info):
        return f"1/{TICKS_PER_SECOND}"
    return "demux" if job.copies is None or not job.copies.times_s[number] else "filter"


def _duration_expression(job: CutJob, lane: Lane) -> str:
    """How long a frame is shown: until the next one, but never beyond its span by a pause."""
    until_next = "if(gt(NEXT_PTS,PTS),NEXT_PTS-PTS,DURATION)"
    within = f"min({until_next},{left_expression(lane, '(PTS-STARTPTS)*TB')}/TB)"
    return f"if(gt(max(DURATION,{until_next})*TB,{0 if job.copies else PAUSE_S}),{within},DURATION)"


def _audio(job: CutJob, lane: Lane) -> list[str]:
    if not job.sound:
        return ["-an"]
    trim = f"noise=amount=0:drop='{audio_drop_expression(lane, first_frame_s(job) - late_start_s(job))}'"
    return [*sound_args(job.sound), "-bsf:a", trim]


def _listed_times(times_s: Sequence[float]) -> str:
    """The one value of the command that ffmpeg does not read from a file."""
    value = ",".join(f"{time_s:.6f}" for time_s in times_s)
    if len(value) > ffmpeg.LONGEST_VALUE:
        raise MediaError(
            "too-many-spans",
            f"{len(times_s):,} clips at uneven distances are too many for one command of ffmpeg, which takes about "
            f"{ffmpeg.LONGEST_VALUE // 13:,}: cut the video in shorter parts (--part-minutes)",
        )
    return value


def _segments(job: CutJob, number: int) -> list[str]:
    # Rounded down: a boundary that is early is met by the forced key frame all the same, one that is late misses it.
    lane = job.lanes[number]
    times = ["-segment_time", f"{math.floor(lane.period_s * 1e6 + 1e-3)}us"]
    if job.cut_times is not None or not lane.is_even or lane.start is not None:
        listed = lane.cut_times_s if job.cut_times is None else job.cut_times[number]
        times = ["-segment_times", _listed_times(listed or (lane.end_s + 1e6,))]
    return [
        *("-f", "segment", *times, "-segment_time_delta", f"{TOLERANCE_S}"),
        *("-segment_format", "mp4", "-segment_format_options", "movflags=+faststart"),
        # In a long pause, sound must wait for the next picture: it may open a file.
        *("-reset_timestamps", "1", "-avoid_negative_ts", "disabled", "-max_interleave_delta", "0"),
        *("-segment_list", f"lane{number}.csv", "-segment_list_type", "csv"),
    ]


def clip_size(job: CutJob) -> tuple[int, int]:
    """Width and height of the clips' pictures."""
    info, encoder = job.info, job.settings.encoder
    return (info.width, info.height) if encoder == "copy" else encoded_size(encoder, info.width, info.height)
