"""Videos → clips: one video per unit, or one part of a long video. One ffmpeg process decodes it once and cuts all its clips."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, cast

from curator_dask.errors import ParameterError, ToolError
from curator_dask.files.folder import Folder
from curator_dask.files.video_listing import SourceVideo, VideoChoice, VideoListing, list_videos, refuse_missing_videos
from curator_dask.keywords import with_suggestions
from curator_dask.runtime.records import JSON, digest
from curator_dask.runtime.state import StageState
from curator_dask.runtime.units import Unit, UnitsOutcome, run_units
from curator_dask.stages.base import RunContext, Stage, StageResult
from curator_dask.stages.embed.spec import EmbedSpec
from curator_dask.stages.embed.stage import EmbedStage
from curator_dask.stages.split.dry_run import planned_counts
from curator_dask.stages.split.long_video import key_of_video
from curator_dask.stages.split.parts import cut_long_videos, known_parts
from curator_dask.stages.split.spec import SPLIT, SplitSpec, SplitTask
from curator_dask.stages.split.splitters.base import Splitter, SplittingParameters
from curator_dask.stages.split.splitters.registry import make_splitter
from curator_dask.stages.split.worker import split_video
from curator_dask.stages.split.write_index import write_clip_index
from curator_dask.video.cut.encoders import Encoder, TranscodeSettings
from curator_dask.video.original_ids import OriginalTimes, check_ids
from curator_dask.video.process.ffmpeg import encoder_failure

COUNTS = (
    "videos_processed", "videos_damaged", "clips_planned", "clips", "clips_failed", "spans_too_short",
    "spans_over_limit", "frames_held", "clip_milliseconds", "clip_bytes",
)  # fmt: skip
"""The counts that are sums over all videos."""
COUNTS_OF_TABLE = ("spans_beyond_end", "spans_shortened")
"""Counts of spans that a user's table names; only where there are some."""
_LATER_PARAMETERS = {
    "ids": "exact", "audio": "1", "deinterlace": False, "max_hold_s": None, "max_video_hours": None,
    "part_minutes": 120.0,
    "content_threshold": 3.0, "transnetv2_threshold": 0.4, "transnetv2_min_length_s": 2.0,
    "transnetv2_max_length_s": 10.0, "transnetv2_max_length_mode": "stride", "transnetv2_crop_s": 0.5,
    "transnetv2_refine": False,
}  # fmt: skip
"""Parameters that the first version did not have, with the values that do what it did."""
CHOOSE_VIDEOS = ("video_limit", "include", "exclude", "follow_links")
"""Parameters that say which videos are cut, and change nothing in how."""


@with_suggestions
@dataclass(frozen=True)
class SplitStage(Stage):
    """Cut every video below `video_dir` into clips, with the parameters and defaults of the original workflow.

    Writes ``clips/{id}.mp4`` and ``metas/v0/{id}.json`` per clip, records per video, and the clip index
    ``clip_index/*.parquet`` with one row per planned clip; up to a million rows ``clips.parquet`` has it in one file.

    Args:
        video_dir: the videos: a folder (searched recursively), file, glob or URL.
        output_path: the output root, a folder or a URL.
        video_limit: only the first N videos in path order; None or 0: all.
        splitting_algorithm: how videos are cut: ``fixed_stride`` (clips of one length, whatever they show), ``transnetv2``
            or ``content`` (no clip goes beyond its shot, as found by a network or by comparing frames).
        fixed_stride_split_duration: clip length in seconds; with ``content``, of clips from one shot.
        fixed_stride_stride: seconds from one clip's start to the next; None: the clip length.
        fixed_stride_min_clip_length_s: shortest clip in seconds; shorter ends are dropped and counted.
        limit_clips: only the first N clips of each video; 0: all.
        transcode_encoder: ``libopenh264``, ``libx264``, ``h264_nvenc``, or ``copy`` (no encoding, cuts at key frames).
        transcode_encoder_threads: encoder threads per ffmpeg process.
        transcode_use_input_video_bit_rate: encode at the bit rate of the source video, if it is known.
        transcode_bit_rate: encode at this bit rate, such as ``4M``; None: constant quality.
        audio: sound of the clips: the number of one track (``1`` is the first), ``all`` or ``none``. AAC is copied where
            its configuration never changes; other sound is encoded as AAC.
        deinterlace: make interlaced pictures whole; frames and times stay the same. False: keep both fields in each.
        max_hold_s: a picture stays on the screen until the next one comes. Where a clip begins or ends in such a pause,
            the picture is repeated there if the pause fills at most this many seconds of the clip; None: any part of it.
        max_video_hours: longer videos are not cut: each is a failure with the reason ``too-long``; None: no limit.
        part_minutes: videos that last longer are cut in parts of about this many minutes, each a unit of its own: several
            workers can cut one video, and a run that is killed goes on with the parts that are missing. 0: never.
        upload_clips: write the clips as MP4 files; False: plan and record them, and transcode nothing.
        relative_ids: make clip ids from paths relative to `video_dir`, so that ids stay when the videos are moved.
        ids: how clip ids follow from the times of a clip: ``exact``, or ``original`` (as the original workflow rounds
            them), so that ids equal those of output that it has made.
        input_storage_options: fsspec options for `video_dir`.
        output_storage_options: fsspec options for `output_path`.
        include: globs; only files that one of them chooses are read. Without a slash, a glob stands for names of files and
            folders at any depth (``*.mp4``, ``day1``); with one, for paths below `video_dir` (``day1/*.mp4``).
        exclude: globs; files that one of them chooses are left out.
        follow_links: also read what symbolic links out of `video_dir` lead to; otherwise these are left out.
        vectors: the embed stage that follows. Vectors that it can compute from the frames of the cutting process are
            computed there. It still has to run afterwards, for the other vectors and for the counts. The clips do not
            depend on it. For a model that sees other frames, the tracks are kept beside the records of the videos.
        content_threshold: how many times as much the two sides of a cut differ as neighbouring frames do, at least.
        transnetv2_threshold: probability above which a frame belongs to a change of shots.
        transnetv2_min_length_s: shortest clip in seconds; shorter ones are dropped and counted.
        transnetv2_max_length_s: longest clip in seconds, before it is cropped.
        transnetv2_max_length_mode: what becomes of longer shots: ``stride`` (several clips) or ``truncate`` (only the first).
        transnetv2_crop_s: seconds taken away from both ends of each clip.
        transnetv2_refine: whether the pictures have a say beside the network: a flash is no cut, and a clear cut that the
            network misses is one. False: the network alone.
        model_dir: the folder with the weights of ``transnetv2``.
        torch_device: where ``transnetv2`` runs: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        spans: a table of your own, a CSV or Parquet file or URL with the columns ``path``, ``start`` and ``end`` (seconds from
            the first frame): these spans are cut, and no others. A path is relative to `video_dir`, full, or a file name that
            occurs once. A video is cut anew if its rows change.
    """

    video_dir: str
    output_path: str
    video_limit: int | None = None
    splitting_algorithm: str = "fixed_stride"
    fixed_stride_split_duration: float = 10.0
    fixed_stride_stride: float | None = None
    fixed_stride_min_clip_length_s: float = 2.0
    limit_clips: int = 0
    transcode_encoder: str = "libopenh264"
    transcode_encoder_threads: int = 1
    transcode_use_input_video_bit_rate: bool = False
    transcode_bit_rate: str | None = None
    audio: str = "1"
    deinterlace: bool = False
    max_hold_s: float | None = None
    max_video_hours: float | None = None
    part_minutes: float = 120.0
    upload_clips: bool = True
    relative_ids: bool = False
    ids: str = "exact"
    input_storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    output_storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    vectors: EmbedStage | None = None
    include: str | Sequence[str] | None = ()
    exclude: str | Sequence[str] | None = ()
    follow_links: bool = False
    content_threshold: float = 3.0
    transnetv2_threshold: float = 0.4
    transnetv2_min_length_s: float = 2.0
    transnetv2_max_length_s: float = 10.0
    transnetv2_max_length_mode: Literal["stride", "truncate"] = "stride"
    transnetv2_crop_s: float = 0.5
    transnetv2_refine: bool = True
    model_dir: str = "./models"
    torch_device: str = "auto"
    spans: str | None = None

    name: ClassVar[str] = SPLIT
    unrecorded: ClassVar[Mapping[str, JSON]] = _LATER_PARAMETERS

    def __post_init__(self) -> None:
        check_ids(self.ids)
        if self.max_video_hours is not None and not self.max_video_hours > 0:
            raise ParameterError(f"max_video_hours ({self.max_video_hours}) must be > 0; leave it out for no limit")
        if not 0 <= self.part_minutes < math.inf:
            raise ParameterError(f"part_minutes ({self.part_minutes}) must be >= 0 (0 to cut no video in parts)")
        self._check_splitting()
        self.splitter()
        self.transcode_settings()
        self.choice()

    @property
    def _algorithm(self) -> str:
        """The splitting algorithm; a table of spans is one."""
        return "spans" if self.spans is not None else self.splitting_algorithm

    def _check_splitting(self) -> None:
        if self.spans is not None and self.splitting_algorithm not in ("fixed_stride", "spans"):
            raise ParameterError(
                f"spans ({self.spans!r}) and splitting_algorithm {self.splitting_algorithm} exclude each other: give one"
            )
        if self._algorithm == "fixed_stride":
            return
        if self.transcode_encoder == "copy":
            raise ParameterError(
                "transcode_encoder copy cuts at key frames, and shots and spans begin elsewhere; choose an encoder"
            )
        if self.ids == "original":
            raise ParameterError("ids original needs splitting_algorithm fixed_stride, whose arithmetic it follows")

    def choice(self) -> VideoChoice:
        return VideoChoice(self.include, self.exclude, self.video_limit, self.follow_links, self.output)

    def splitter(self) -> Splitter:
        return make_splitter(self._algorithm, self._splitting())

    def _splitting(self) -> SplittingParameters:
        values = {one.name: getattr(self, one.name) for one in fields(SplittingParameters)}
        return SplittingParameters(**values)

    def transcode_settings(self) -> TranscodeSettings:
        return TranscodeSettings(
            encoder=cast("Encoder", self.transcode_encoder),
            encoder_threads=self.transcode_encoder_threads,
            bit_rate=self.transcode_bit_rate,
            use_input_bit_rate=self.transcode_use_input_video_bit_rate,
            audio=self.audio,
            deinterlace=self.deinterlace,
            max_hold_s=self.max_hold_s,
        )

    def original_times(self) -> OriginalTimes | None:
        """The arithmetic of the original workflow if clip ids are to follow it."""
        length_s, stride_s = self.fixed_stride_split_duration, self.fixed_stride_stride
        return OriginalTimes(length_s, length_s if stride_s is None else stride_s) if self.ids == "original" else None

    @property
    def output(self) -> Folder:
        return Folder(self.output_path, self.output_storage_options)

    def identity(self) -> dict[str, Any]:
        # Some only choose videos, and the bytes of libopenh264 do not depend on its threads.
        names = {
            "output_path",
            "input_storage_options",
            "output_storage_options",
            "vectors",
            "model_dir",
            "torch_device",
            "spans",  # what it says of a video is an input of that video
        }
        names |= set(CHOOSE_VIDEOS)
        if self.transcode_encoder == "libopenh264":
            names.add("transcode_encoder_threads")
        if self._algorithm != "transnetv2":
            names.add("transnetv2_refine")
        # At their defaults, later parameters are left out, so that folders of earlier versions go on.
        names |= {name for name, usual in _LATER_PARAMETERS.items() if getattr(self, name) == usual}
        params = {one.name: getattr(self, one.name) for one in fields(self) if one.name not in names}
        root = Folder(self.video_dir, self.input_storage_options).root
        return {**params, "splitting_algorithm": self._algorithm, "video_dir": root}

    def list_videos(self) -> VideoListing:
        return list_videos(Folder(self.video_dir, self.input_storage_options), self.choice())

    def check_input(self) -> None:
        refuse_missing_videos(Folder(self.video_dir, self.input_storage_options))
        self.splitter().check()
        self._check_encoder()

    def execute(self, context: RunContext) -> StageResult:
        state = StageState(self.output, self.name, self.unrecorded)
        splitter, listing = self.splitter().for_videos(self.list_videos())
        if context.dry_run:
            self.check(context)
            counts, failures = planned_counts(splitter, self.max_video_hours, listing, context.reporter)
            units = [_unit(self.spec(None), splitter, listing, video) for video in listing.videos]
            work = self.count_planned([*units, *known_parts(state, units)], context.again(state))
            return StageResult(
                self.name, self.output, {**counts, **splitter.counts}, failures, *work,
                left_out=listing.left_out, warnings=splitter.warnings,
            )  # fmt: skip
        spec = self._claimed_spec(state, context)
        units = [_unit(spec, splitter, listing, video) for video in listing.videos]
        again = context.again(state)
        outcome = run_units(
            *(context.cluster, state, units, split_video), reporter=context.reporter, what="videos", again=again
        )
        outcome, keys = cut_long_videos(context, state, units, outcome, again)
        counts = {**_counts(listing, outcome), **splitter.counts}
        parts = write_clip_index(context, state, keys)
        state.summarise(counts, failures=outcome.failures)
        return StageResult(
            self.name, self.output, counts, outcome.failures, outcome.num_run, outcome.num_skipped,
            tables=parts, left_out=listing.left_out, warnings=splitter.warnings,
        )  # fmt: skip

    def _claimed_spec(self, state: StageState, context: RunContext) -> SplitSpec:
        """Take the output folder, and the folder of vectors if workers embed beside the cut; returns the spec for workers."""
        if self.vectors is None or not self.upload_clips or self.transcode_encoder == "copy":
            state.claim(self.identity(), overwrite=context.overwrite)
            return self.spec(None)
        vectors = self.vectors.resolved(has_exact_clips=True)
        if not context.overwrite:  # refuse before any folder is taken
            StageState(vectors.output, vectors.name).check(vectors.identity())
        state.claim(self.identity(), overwrite=context.overwrite)
        vectors.claim(context)
        return self.spec(vectors.spec_beside_cut(), tracks=vectors.needs_tracks_of_cut())

    def spec(self, embed: EmbedSpec | None, *, tracks: bool = False) -> SplitSpec:
        """What workers are told; `embed`: how to embed the frames of the cutting process; `tracks`: keep tracks of them."""
        return SplitSpec(
            self.output, self.transcode_settings(), self.upload_clips, self.relative_ids,
            self.original_times(), self.max_video_hours, embed, tracks, 60 * self.part_minutes,
        )  # fmt: skip

    def _check_encoder(self) -> None:
        if self.upload_clips and self.transcode_encoder != "copy":
            failure = encoder_failure(self.transcode_encoder)
            if failure is not None:
                raise ToolError(
                    f"transcode_encoder {self.transcode_encoder} does not work here ({failure}); "
                    "libopenh264 works on every CPU"
                )


def _counts(listing: VideoListing, outcome: UnitsOutcome) -> dict[str, int]:
    sums = {name: outcome.counts.get(name, 0) for name in COUNTS}
    of_table = {name: outcome.counts[name] for name in COUNTS_OF_TABLE if name in outcome.counts}
    num_failed = outcome.counts.get("videos_failed", 0) + outcome.counts.get("units_failed", 0)
    num_open = sum(failure.is_open and not failure.clip_id for failure in outcome.failures)
    return {
        **listing.counts,
        "videos_processed": sums.pop("videos_processed"),
        "videos_failed": num_failed - num_open,
        **({"videos_open": num_open} if num_open else {}),
        **sums,
        **of_table,
    }


def _unit(spec: SplitSpec, splitter: Splitter, listing: VideoListing, video: SourceVideo) -> Unit[SplitTask]:
    planner = splitter.of(video)
    inputs = digest(video.relative_path, video.num_bytes, video.version, *planner.inputs())
    task = SplitTask(spec, listing.folder, video, planner)
    # If workers die of a video, it may be the model: the embed stage can make its vectors and tracks later.
    taps = spec.embed is not None or spec.tracks
    careful = task.without_taps() if taps else None
    return Unit(key_of_video(video.relative_path), inputs, task, video.path, careful=careful)


def split_videos(video_dir: str, output_path: str, **parameters: Any) -> StageResult:
    """Cut videos into clips; the parameters are those of `SplitStage`."""
    return SplitStage(video_dir, output_path, **parameters).run()
