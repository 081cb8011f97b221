"""The split stage on a worker: probe a video, plan its spans, cut its clips, and write its records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from curator_dask.errors import MediaError
from curator_dask.files import layout
from curator_dask.files.names import printable
from curator_dask.runtime.records import Failure, UnitResult, dump_json
from curator_dask.runtime.state import StageState
from curator_dask.stages.embed.tap import VectorTap
from curator_dask.stages.split.clip_rows import clip_row
from curator_dask.stages.split.spec import SPLIT, SplitTask
from curator_dask.video.cut.transcode import CutClip, CutReport
from curator_dask.video.probe import VideoInfo
from curator_dask.video.spans import Span, SpanPlan, clip_id

TRANSIENT_REASONS = frozenset({"timeout", "no-space"})
"""Reasons that say more about the machine than about the file: the next run tries again."""


def split_video(task: SplitTask) -> UnitResult:
    """Probe, plan, cut, record: the unit of the split stage."""
    try:
        with task.folder.fetched(task.video.relative_path) as path:
            from curator_dask.video.probe import probe_video

            info = probe_video(path)
            plan = task.spec.splitter.plan(info.duration_s, info.framerate)
            if not task.spec.writes_clips:
                return _record_video(task, info, plan, report=None)
            with task.spec.output.scratch(*StageState(task.spec.output, SPLIT).scratch_parts()) as scratch:
                return _cut_and_record(task, info, plan, scratch)
    except MediaError as error:
        failure = Failure(SPLIT, printable(task.video.path), error.reason, str(error))
        return UnitResult(counts={"videos_failed": 1}, failures=(failure,), final=error.reason not in TRANSIENT_REASONS)


def _cut_and_record(task: SplitTask, info: VideoInfo, plan: SpanPlan, scratch: Path) -> UnitResult:
    from curator_dask.video.cut.transcode import cut_clips

    if not plan.spans:
        return _record_video(task, info, plan, report=None)
    tap = VectorTap(task.spec.embed) if task.spec.embed is not None else None
    report = cut_clips(info, plan.spans, task.spec.settings, scratch, tap)
    if report.outlasts(info):  # the header said less than there is: plan again on the frames themselves
        info = report.corrected(info)
        plan = task.spec.splitter.plan(info.duration_s, info.framerate)
        report = cut_clips(info, plan.spans, task.spec.settings, scratch, tap)
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
        Failure(SPLIT, printable(task.video.path), row["reason"], row["message"], row["id"])
        for row in rows
        if not row["valid"]
    )
    return UnitResult(outputs, counts, failures, {"clips": rows})


def _write_clip(
    task: SplitTask, info: VideoInfo, span: Span, cut: CutClip | None, outputs: dict[str, int]
) -> dict[str, Any]:
    identifier = clip_id(task.name_in_ids, span, info.framerate)
    out = task.spec.output
    location = layout.clip_path(identifier)
    if cut is not None and cut.path is not None:
        outputs[location] = out.put(cut.path, location)
    row = clip_row(identifier, task.video, info, span, cut, encoder=task.spec.settings.encoder)
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
    out = task.spec.output
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
