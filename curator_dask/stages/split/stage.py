"""Videos → clips: one unit a video, one ffmpeg process a unit, which decodes once and cuts every clip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, cast

from curator_dask.data.clip_index import write_clip_index
from curator_dask.errors import MediaError, ParameterError, ToolError
from curator_dask.files import layout
from curator_dask.files.folder import Folder
from curator_dask.files.names import printable
from curator_dask.files.video_listing import SourceVideo, VideoListing, list_videos
from curator_dask.runtime.records import Failure, UnitResult, digest, dump_json
from curator_dask.runtime.state import StageState
from curator_dask.runtime.units import Unit, UnitsOutcome, run_units
from curator_dask.stages.base import RunContext, Stage, StageResult
from curator_dask.stages.split.clip_rows import clip_row
from curator_dask.video.spans import Span, SpanPlan, Splitter, clip_id, make_splitter

if TYPE_CHECKING:
    from curator_dask.stages.embed.stage import EmbedStage
    from curator_dask.video.cut.encoders import Encoder, TranscodeSettings
    from curator_dask.video.cut.transcode import CutClip, CutReport
    from curator_dask.video.probe import VideoInfo

# They say more of the machine than of the file: the next run tries again.
TRANSIENT_REASONS = frozenset({"timeout", "no-space"})


@dataclass(frozen=True)
class SplitStage(Stage):
    """Cut every video below `video_dir` into clips.

    The parameters are the flags of the original workflow, with its names and defaults.
    """

    video_dir: str
    output_path: str
    video_limit: int | None = None
    splitting_algorithm: str = "fixed_stride"
    fixed_stride_split_duration: float = 10.0
    """Clip length in seconds."""
    fixed_stride_stride: float | None = None
    """Seconds from one clip's start to the next; None means the clip length."""
    fixed_stride_min_clip_length_s: float = 2.0
    limit_clips: int = 0
    """First N clips of each video; 0 means all."""
    transcode_encoder: str = "libopenh264"
    transcode_encoder_threads: int = 1
    transcode_use_input_video_bit_rate: bool = False
    transcode_bit_rate: str | None = None
    upload_clips: bool = True
    """False: plan and record the clips, but write no MP4 files and transcode nothing."""
    relative_ids: bool = False
    """Name videos in clip ids by their path relative to `video_dir`, so that ids survive a move."""
    input_storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    output_storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    vectors: EmbedStage | None = None
    """The embed stage that follows: what it can compute from the frames of the cutting process is computed there. It
    still has to run afterwards, for the rest and for the counts. Changes nothing about the clips."""

    name: ClassVar[str] = "split"

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
        from curator_dask.video.cut.encoders import TranscodeSettings

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
            from curator_dask.stages.split.dry_run import plan_split

            state.check(self.identity())
            return plan_split(self, listing, context)
        self._check_encoder()
        ready = self._claimed(state, context)
        units = [ready._unit(listing, video) for video in listing.videos]
        outcome = run_units(context.cluster, state, units, split_video, reporter=context.reporter, what="videos")
        counts = self._counts(listing, outcome)
        write_clip_index(state, {unit.key for unit in units})
        state.summarise(counts, failures=outcome.failures)
        return StageResult(
            self.name, self.output, counts, outcome.failures, outcome.num_run, outcome.num_skipped,
            tables=(layout.CLIP_INDEX,),
        )  # fmt: skip

    def _claimed(self, state: StageState, context: RunContext) -> SplitStage:
        """Take the folders of this stage and of the one whose work it does beside; that one settled."""
        if self.vectors is None or not self.upload_clips or self.transcode_encoder == "copy":
            state.claim(self.identity(), overwrite=context.overwrite)
            return replace(self, vectors=None)
        vectors = self.vectors.resolved(has_exact_clips=True)
        if not context.overwrite:  # refuse before anything is taken
            StageState(vectors.output, vectors.name).check(vectors.identity())
        state.claim(self.identity(), overwrite=context.overwrite)
        vectors.claim(context)
        return replace(self, vectors=vectors)

    def _check_encoder(self) -> None:
        if self.upload_clips and self.transcode_encoder != "copy":
            from curator_dask.video.process.ffmpeg import encoder_failure

            failure = encoder_failure(self.transcode_encoder)
            if failure is not None:
                raise ToolError(
                    f"transcode_encoder {self.transcode_encoder} does not work here ({failure}); "
                    "libopenh264 works on every CPU"
                )

    def _unit(self, listing: VideoListing, video: SourceVideo) -> Unit[SplitTask]:
        task = SplitTask(self, listing.folder, video)
        inputs = digest(video.relative_path, video.num_bytes, video.version)
        return Unit(digest(video.relative_path), inputs, task, video.path)

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


@dataclass(frozen=True)
class SplitTask:
    """One video to split, as it travels to a worker."""

    stage: SplitStage
    folder: Folder
    video: SourceVideo

    @property
    def name_in_ids(self) -> str:
        return self.video.relative_path if self.stage.relative_ids else self.video.path

    @property
    def relative_name(self) -> str:
        return layout.safe_relative(self.video.relative_path)


def split_video(task: SplitTask) -> UnitResult:
    """Probe, plan, cut, record: the unit of `SplitStage`, run on a worker."""
    try:
        with task.folder.fetched(task.video.relative_path) as path:
            from curator_dask.video.probe import probe_video

            info = probe_video(path)
            plan = task.stage.splitter().plan(info.duration_s, info.framerate)
            if not task.stage.upload_clips:
                return _record_video(task, info, plan, report=None)
            with task.stage.output.scratch(*StageState(task.stage.output, task.stage.name).scratch_parts()) as scratch:
                return _cut_and_record(task, info, plan, scratch)
    except MediaError as error:
        failure = Failure(task.stage.name, printable(task.video.path), error.reason, str(error))
        return UnitResult(counts={"videos_failed": 1}, failures=(failure,), final=error.reason not in TRANSIENT_REASONS)


def _cut_and_record(task: SplitTask, info: VideoInfo, plan: SpanPlan, scratch: Any) -> UnitResult:
    from curator_dask.video.cut.transcode import cut_clips

    if not plan.spans:
        return _record_video(task, info, plan, report=None)
    tap = task.stage.vectors.tap() if task.stage.vectors is not None else None
    report = cut_clips(info, plan.spans, task.stage.transcode_settings(), scratch, tap)
    record = _record_video(task, info, plan, report)
    if tap is not None:
        tap.write(record.data["clips"])
    return record


def _record_video(task: SplitTask, info: VideoInfo, plan: SpanPlan, report: CutReport | None) -> UnitResult:
    outputs: dict[str, int] = {}
    rows = []
    cuts: dict[int, CutClip] = {cut.span_index: cut for cut in report.clips} if report else {}
    for span in plan.spans:
        row = _write_clip(task, info, span, cuts.get(span.index), outputs)
        rows.append(row)
    warnings = list(report.warnings) if report else []
    _write_video_records(task, info, rows, warnings, outputs)
    good = [row for row in rows if row["valid"]]
    counts = {
        "videos_processed": 1,
        "videos_damaged": int(bool(warnings)),
        "clips_planned": len(rows),
        "clips": len(good),
        "clips_failed": len(rows) - len(good),
        "spans_too_short": plan.num_dropped_short,
        "spans_over_limit": plan.num_dropped_limit,
        "clip_milliseconds": round(1000 * sum(row["end_s"] - row["start_s"] for row in good)),
        "clip_bytes": sum(row["num_bytes"] for row in good),
    }
    failures = tuple(
        Failure(task.stage.name, printable(task.video.path), row["reason"], row["message"], row["id"])
        for row in rows
        if not row["valid"]
    )
    return UnitResult(outputs, counts, failures, {"clips": rows})


def _write_clip(
    task: SplitTask, info: VideoInfo, span: Span, cut: CutClip | None, outputs: dict[str, int]
) -> dict[str, Any]:
    identifier = clip_id(task.name_in_ids, span, info.framerate)
    out = task.stage.output
    location = layout.clip_path(identifier)
    if cut is not None and cut.path is not None:
        outputs[location] = out.put(cut.path, location)
    row = clip_row(identifier, task.video, info, span, cut, encoder=task.stage.transcode_encoder)
    meta = {
        "span_uuid": identifier,
        "source_video": row["source_video"],
        "duration_span": [span.start_s, span.end_s],
        "width_source": info.width,
        "height_source": info.height,
        "framerate_source": info.framerate,
        "clip_location": out.join(location) if location in outputs else "",
        "width": row["width"],
        "height": row["height"],
        "framerate": row["framerate"],
        "num_frames": row["num_frames"],
        "video_codec": row["video_codec"],
        "num_bytes": row["num_bytes"],
        "valid": row["valid"],
        "errors": [row["message"]] if row["message"] else [],
    }
    path = layout.meta_path(identifier)
    outputs[path] = out.write_bytes(path, dump_json(meta))
    return row


def _write_video_records(
    task: SplitTask, info: VideoInfo, rows: list[dict[str, Any]], warnings: list[str], outputs: dict[str, int]
) -> None:
    out = task.stage.output
    video = {
        "video": printable(task.video.path),
        "height": info.height,
        "width": info.width,
        "framerate": info.framerate,
        "num_frames": info.num_frames,
        "duration": info.duration_s,
        "video_codec": info.codec,
        "pixel_format": info.pixel_format,
        "audio_format": info.audio_codec,
        "color_transfer": info.color_transfer,
        "rotation": info.rotation_deg,
        "num_total_clips": len(rows),
        "num_clip_chunks": 1,
        "warnings": warnings,
    }
    chunk = {
        "video": printable(task.video.path),
        "clip_chunk_index": 0,
        "clips": [row["id"] for row in rows if row["valid"]],
        "filtered_clips": [],
        "failed_clips": [row["id"] for row in rows if not row["valid"]],
    }
    for path, value in (
        (layout.processed_video_path(task.relative_name), video),
        (layout.processed_chunk_path(task.relative_name, 0), chunk),
    ):
        outputs[path] = out.write_bytes(path, dump_json(value))


def split_videos(video_dir: str, output_path: str, **parameters: Any) -> StageResult:
    """Cut videos into clips; the parameters are those of `SplitStage`."""
    unknown = parameters.keys() - SplitStage.__dataclass_fields__.keys()
    if unknown:
        raise ParameterError(f"split_videos has no parameter {', '.join(sorted(unknown))}")
    return SplitStage(video_dir, output_path, **parameters).run()
