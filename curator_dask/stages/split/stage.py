"""Videos → clips: a unit is one video, and one ffmpeg process decodes it once and cuts all its clips."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, cast

from curator_dask.data.clip_index import write_clip_index
from curator_dask.errors import ParameterError, ToolError
from curator_dask.files import layout
from curator_dask.files.folder import Folder
from curator_dask.files.video_listing import SourceVideo, VideoListing, list_videos
from curator_dask.runtime.records import digest
from curator_dask.runtime.state import StageState
from curator_dask.runtime.units import Unit, UnitsOutcome, run_units
from curator_dask.stages.base import RunContext, Stage, StageResult
from curator_dask.stages.embed.spec import EmbedSpec
from curator_dask.stages.embed.stage import EmbedStage
from curator_dask.stages.split.dry_run import planned_counts
from curator_dask.stages.split.spec import SPLIT, SplitSpec, SplitTask
from curator_dask.stages.split.worker import split_video
from curator_dask.video.cut.encoders import Encoder, TranscodeSettings
from curator_dask.video.process.ffmpeg import encoder_failure
from curator_dask.video.spans import Splitter, make_splitter


@dataclass(frozen=True)
class SplitStage(Stage):
    """Cut every video below `video_dir` into clips.

    The parameters are the flags of the original workflow, with its names and defaults.

    Args:
        video_dir: folder (with all folders below), file, glob or URL of the videos.
        output_path: folder or URL for clips and records.
        video_limit: take only the first N videos, in path order; None: all.
        splitting_algorithm: how videos are cut; ``fixed_stride`` makes clips of equal length at equal distances.
        fixed_stride_split_duration: length of a clip in seconds.
        fixed_stride_stride: seconds from the start of a clip to the start of the next; None: the length of a clip.
        fixed_stride_min_clip_length_s: shorter tails are dropped, and counted.
        limit_clips: take only the first N clips of each video; 0: all.
        transcode_encoder: ``libopenh264``, ``libx264``, ``h264_nvenc``, or ``copy`` (cuts at key frames, no encoding).
        transcode_encoder_threads: threads of the encoder in each ffmpeg process.
        transcode_use_input_video_bit_rate: encode at the bit rate of the source.
        transcode_bit_rate: encode at this bit rate, such as ``4M``; None: constant quality.
        upload_clips: False: plan and record the clips, but write no MP4 files and transcode nothing.
        relative_ids: name videos in clip ids by their path relative to `video_dir`, so that ids survive a move.
        input_storage_options: options of the file system of `video_dir`.
        output_storage_options: options of the file system of `output_path`.
        vectors: the embed stage that follows. Vectors that can be computed from the frames of the cutting process are
            computed there. The embed stage still has to run afterwards, for the rest and for the counts. It changes
            nothing about the clips.
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
    upload_clips: bool = True
    relative_ids: bool = False
    input_storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    output_storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    vectors: EmbedStage | None = None

    name: ClassVar[str] = SPLIT

    def __post_init__(self) -> None:
        self.splitter()
        self.transcode_settings()

    def splitter(self) -> Splitter:
        return make_splitter(
            self.splitting_algorithm,
            length_s=self.fixed_stride_split_duration,
            stride_s=self.fixed_stride_stride,
            min_length_s=self.fixed_stride_min_clip_length_s,
            limit=self.limit_clips,
        )

    def transcode_settings(self) -> TranscodeSettings:
        return TranscodeSettings(
            encoder=cast("Encoder", self.transcode_encoder),
            encoder_threads=self.transcode_encoder_threads,
            bit_rate=self.transcode_bit_rate,
            use_input_bit_rate=self.transcode_use_input_video_bit_rate,
        )

    @property
    def output(self) -> Folder:
        return Folder(self.output_path, self.output_storage_options)

    def identity(self) -> dict[str, Any]:
        # video_limit only chooses which videos come first, and threads leave libopenh264's bytes as they are.
        left_out = {"output_path", "video_limit", "input_storage_options", "output_storage_options", "vectors"}
        if self.transcode_encoder == "libopenh264":
            left_out.add("transcode_encoder_threads")
        params = {one.name: getattr(self, one.name) for one in fields(self) if one.name not in left_out}
        return {**params, "video_dir": Folder(self.video_dir, self.input_storage_options).root}

    def list_videos(self) -> VideoListing:
        return list_videos(Folder(self.video_dir, self.input_storage_options), limit=self.video_limit)

    def execute(self, context: RunContext) -> StageResult:
        state = StageState(self.output, self.name)
        listing = self.list_videos()
        if context.dry_run:
            state.check(self.identity())
            counts, failures = planned_counts(self.splitter(), listing, context.reporter)
            return StageResult(self.name, self.output, counts, failures)
        self._check_encoder()
        spec = self._claimed_spec(state, context)
        units = [_unit(spec, listing, video) for video in listing.videos]
        outcome = run_units(context.cluster, state, units, split_video, reporter=context.reporter, what="videos")
        counts = self._counts(listing, outcome)
        write_clip_index(state, {unit.key for unit in units})
        state.summarise(counts, failures=outcome.failures)
        return StageResult(
            self.name, self.output, counts, outcome.failures, outcome.num_run, outcome.num_skipped,
            tables=(layout.CLIP_INDEX,),
        )  # fmt: skip

    def _claimed_spec(self, state: StageState, context: RunContext) -> SplitSpec:
        """Take the folder of this stage, and that of the embed stage whose work is done beside the cut."""
        if self.vectors is None or not self.upload_clips or self.transcode_encoder == "copy":
            state.claim(self.identity(), overwrite=context.overwrite)
            return self.spec(None)
        vectors = self.vectors.resolved(has_exact_clips=True)
        if not context.overwrite:  # refuse before anything is taken
            StageState(vectors.output, vectors.name).check(vectors.identity())
        state.claim(self.identity(), overwrite=context.overwrite)
        vectors.claim(context)
        return self.spec(vectors.spec_beside_cut())

    def spec(self, embed: EmbedSpec | None) -> SplitSpec:
        """What workers are told; `embed` says how they compute vectors beside the cut."""
        return SplitSpec(
            self.output, self.splitter(), self.transcode_settings(), self.upload_clips, self.relative_ids, embed
        )

    def _check_encoder(self) -> None:
        if self.upload_clips and self.transcode_encoder != "copy":
            failure = encoder_failure(self.transcode_encoder)
            if failure is not None:
                raise ToolError(
                    f"transcode_encoder {self.transcode_encoder} does not work here ({failure}); "
                    "libopenh264 works on every CPU"
                )

    def _counts(self, listing: VideoListing, outcome: UnitsOutcome) -> dict[str, int]:
        got = outcome.counts
        videos_failed = got.get("videos_failed", 0) + got.get("units_failed", 0)
        return {
            "videos_found": len(listing.videos) + listing.num_beyond_limit,
            "videos_processed": got.get("videos_processed", 0),
            "videos_failed": videos_failed,
            "videos_skipped": listing.num_beyond_limit,
            "videos_damaged": got.get("videos_damaged", 0),
            "clips_planned": got.get("clips_planned", 0),
            "clips": got.get("clips", 0),
            "clips_failed": got.get("clips_failed", 0),
            "spans_too_short": got.get("spans_too_short", 0),
            "spans_over_limit": got.get("spans_over_limit", 0),
            "clip_milliseconds": got.get("clip_milliseconds", 0),
            "clip_bytes": got.get("clip_bytes", 0),
        }


def _unit(spec: SplitSpec, listing: VideoListing, video: SourceVideo) -> Unit[SplitTask]:
    inputs = digest(video.relative_path, video.num_bytes, video.version)
    return Unit(digest(video.relative_path), inputs, SplitTask(spec, listing.folder, video), video.path)


def split_videos(video_dir: str, output_path: str, **parameters: Any) -> StageResult:
    """Cut videos into clips; the parameters are those of `SplitStage`."""
    unknown = parameters.keys() - SplitStage.__dataclass_fields__.keys()
    if unknown:
        raise ParameterError(f"split_videos has no parameter {', '.join(sorted(unknown))}")
    return SplitStage(video_dir, output_path, **parameters).run()
