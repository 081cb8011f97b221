"""The work of the split stage on a worker: probe a video, plan its spans, cut its clips, and record every clip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from curator_dask.data.beside_vectors.quality_table import quality_columns
from curator_dask.dedup.quality.measure import Quality
from curator_dask.errors import MediaError
from curator_dask.files import layout
from curator_dask.files.names import printable
from curator_dask.runtime.records import Failure, UnitResult, dump_json
from curator_dask.runtime.state import StageState
from curator_dask.stages.embed.cut_tracks import TrackTap
from curator_dask.stages.embed.tap import VectorTap
from curator_dask.stages.split.clip_records import clip_meta, clip_row, video_records
from curator_dask.stages.split.spec import SPLIT, SplitSpec, SplitTask
from curator_dask.video.cut.transcode import CutClip, CutReport, cut_clips
from curator_dask.video.probe import VideoInfo, probe_video, require_not_too_long
from curator_dask.video.spans import Span, SpanPlan, clip_id

NONE_KNOWN: Mapping[int, Quality] = MappingProxyType({})


def split_video(task: SplitTask) -> UnitResult:
    """Probe, plan, cut and record one video."""
    try:
        with task.folder.local_copy(task.video.relative_path) as path:
            return _split_file(task, path)
    except MediaError as error:
        failure = Failure(SPLIT, printable(task.video.path), error.reason, str(error))
        return UnitResult(counts={"videos_failed": 1}, failures=(failure,))


def _split_file(task: SplitTask, path: Path) -> UnitResult:
    spec = task.spec
    info = probe_video(path)
    require_not_too_long(info, spec.max_video_hours)
    plan = spec.splitter.plan(info)
    if not spec.writes_clips:
        return _record_video(task, info, plan, report=None)
    with spec.output.scratch(*StageState(spec.output, SPLIT).scratch_parts()) as scratch:
        return _cut_and_record(task, info, plan, scratch)


def _cut_and_record(task: SplitTask, info: VideoInfo, plan: SpanPlan, scratch: Path) -> UnitResult:
    if not plan.spans:
        return _record_video(task, info, plan, report=None)
    tap = _tap(task.spec)
    report = cut_clips(info, plan.spans, task.spec.settings, scratch, tap)
    if report.outlasts(info):  # the header said less than there is: plan again on the frames themselves
        info = report.correct(info)
        require_not_too_long(info, task.spec.max_video_hours)
        plan = task.spec.splitter.plan(info)
        report = cut_clips(info, plan.spans, task.spec.settings, scratch, tap)
    result = _record_video(task, info, plan, report, tap.quality() if tap is not None else {})
    written = tap.write(result.data["clips"]) if tap is not None else {}
    return replace(result, outputs={**result.outputs, **written})


def _tap(spec: SplitSpec) -> VectorTap | TrackTap | None:
    """What takes frames out of the cutting process, if anything does."""
    if spec.embed is not None:
        return VectorTap(spec.embed)
    return TrackTap(spec.output) if spec.tracks else None


def _record_video(
    task: SplitTask,
    info: VideoInfo,
    plan: SpanPlan,
    report: CutReport | None,
    quality: Mapping[int, Quality] = NONE_KNOWN,
) -> UnitResult:
    """Write the files of all clips and the records of the video. `quality` is that of its clips, by the index of the span."""
    outputs: dict[str, int] = {}
    cuts: dict[int, CutClip] = {cut.span_index: cut for cut in report.clips} if report else {}
    ids = _clip_ids(task, info, plan)
    rows = [_write_clip(task, info, span, ids[span.index], cuts.get(span.index), outputs) for span in plan.spans]
    rows = [{**row, **quality_columns(quality.get(row["span_index"]) if row["valid"] else None)} for row in rows]
    warnings = report.warnings if report else ()
    notes = report.notes if report else info.notes  # they say nothing of damage, so they do not count as such
    for path, record in video_records(task.video, info, rows, [*warnings, *notes, *plan.notes]):
        outputs[path] = task.spec.output.write_bytes(path, dump_json(record))
    counts = {**_counts(rows, plan), "videos_damaged": int(bool(warnings))}
    return UnitResult(outputs, counts, _failures(task, rows), {"clips": rows})


def _clip_ids(task: SplitTask, info: VideoInfo, plan: SpanPlan) -> dict[int, str]:
    """The id of each span by its index. Raises MediaError if two spans would share an id."""
    times = task.spec.original_times
    spans = plan.spans if times is None else times.spans(plan.spans, info.duration_s or 0.0, info.framerate)
    ids = {span.index: clip_id(task.name_in_ids, span, info.framerate) for span in spans}
    if len(set(ids.values())) < len(ids):
        raise MediaError("shared-clip-ids", "clips of this video would share their ids: use a longer stride")
    return ids


def _write_clip(
    task: SplitTask, info: VideoInfo, span: Span, identifier: str, cut: CutClip | None, outputs: dict[str, int]
) -> dict[str, Any]:
    """Move one clip to the output, write its JSON record, and add both to `outputs`; returns its row."""
    output = task.spec.output
    clip, meta = layout.clip_path(identifier), layout.meta_path(identifier)
    if cut is not None and cut.path is not None:
        outputs[clip] = output.put(cut.path, clip)
    settings = task.spec.settings
    row = clip_row(identifier, task.video, info, span, cut, encoder=settings.encoder, max_hold_s=settings.max_hold_s)
    location = output.join(clip) if clip in outputs else ""
    outputs[meta] = output.write_bytes(meta, dump_json(clip_meta(row, location)))
    return row


def _counts(rows: list[dict[str, Any]], plan: SpanPlan) -> dict[str, int]:
    good = [row for row in rows if row["valid"]]
    return {
        "videos_processed": 1,
        "clips_planned": len(rows),
        "clips": len(good),
        "clips_failed": len(rows) - len(good),
        "spans_too_short": plan.num_dropped_short,
        "spans_over_limit": plan.num_dropped_limit,
        **{name: number for name, number in _counts_of_table(plan).items() if number},
        "frames_held": sum(max(row["num_frames_held"], 0) for row in rows),
        "clip_milliseconds": round(1000 * sum(row["end_s"] - row["start_s"] for row in good)),
        "clip_bytes": sum(row["num_bytes"] for row in good),
    }


def _counts_of_table(plan: SpanPlan) -> dict[str, int]:
    return {"spans_beyond_end": plan.num_beyond_end, "spans_shortened": plan.num_shortened}


def _failures(task: SplitTask, rows: list[dict[str, Any]]) -> tuple[Failure, ...]:
    source = printable(task.video.path)
    return tuple(Failure(SPLIT, source, row["reason"], row["message"], row["id"]) for row in rows if not row["valid"])
