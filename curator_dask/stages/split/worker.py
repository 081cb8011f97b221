"""The work of the split stage on a worker: probe a video, plan its spans, cut its clips, and record every clip.

A long video is only planned: its parts are units of their own, see `part_worker`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from curator_dask.errors import MediaError
from curator_dask.files.names import printable
from curator_dask.runtime.records import Failure, UnitResult, dump_json
from curator_dask.runtime.state import StageState
from curator_dask.stages.embed.part_results import QualityOfSpans
from curator_dask.stages.split.clip_files import (
    counts_of_clips,
    counts_of_video,
    failures_of,
    tap_of,
    write_clips,
)
from curator_dask.stages.split.clip_records import file_facts, video_records
from curator_dask.stages.split.part_worker import forget_other_parts, planned_in_parts
from curator_dask.stages.split.spec import SPLIT, SplitTask
from curator_dask.video.cut.cut_report import CutReport
from curator_dask.video.cut.transcode import cut_clips
from curator_dask.video.parts.plan import plan_parts
from curator_dask.video.probe import VideoInfo, probe_video, require_not_too_long
from curator_dask.video.spans import SpanPlan

NONE_KNOWN: QualityOfSpans = MappingProxyType({})


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
    plan = task.planner.plan(info)
    if not spec.writes_clips or not plan.spans:
        return _record_video(task, info, plan, report=None)
    parts = plan_parts(info, plan.spans, spec.settings, spec.part_s)
    forget_other_parts(task, plan, parts.parts)
    if parts.parts:
        return planned_in_parts(task, info, plan, parts.parts)
    with spec.output.scratch(*StageState(spec.output, SPLIT).scratch_parts()) as scratch:
        return _cut_and_record(task, info, plan, scratch, parts.why_whole)


def _cut_and_record(task: SplitTask, info: VideoInfo, plan: SpanPlan, scratch: Path, why_whole: str) -> UnitResult:
    tap = tap_of(task.spec)
    report = cut_clips(info, plan.spans, task.spec.settings, scratch, tap)
    if report.outlasts(info):  # the header said less than there is: plan again on the frames themselves
        info = report.correct(info)
        require_not_too_long(info, task.spec.max_video_hours)
        plan = task.planner.plan(info)
        report = cut_clips(info, plan.spans, task.spec.settings, scratch, tap)
    if why_whole:
        report = replace(report, notes=(*report.notes, f"it was cut in one go and not in parts: {why_whole}"))
    result = _record_video(task, info, plan, report, tap.quality() if tap is not None else {})
    written = tap.write(result.data["clips"]) if tap is not None else {}
    return replace(result, outputs={**result.outputs, **written})


def _record_video(
    task: SplitTask,
    info: VideoInfo,
    plan: SpanPlan,
    report: CutReport | None,
    quality: QualityOfSpans = NONE_KNOWN,
) -> UnitResult:
    """Write the files of all clips and the records of the video. `quality` is that of its clips, by the index of the span."""
    rows, outputs = write_clips(task, info, plan, plan.spans, report.clips if report else (), quality)
    warnings = report.warnings if report else ()
    notes = report.notes if report else info.notes  # they say nothing of damage, so they do not count as such
    for path, record in video_records(task.video, file_facts(info), [rows], [*warnings, *notes, *plan.notes]):
        outputs[path] = task.spec.output.write_bytes(path, dump_json(record))
    counts = {**counts_of_clips(rows), **counts_of_video(plan, is_damaged=bool(warnings))}
    return UnitResult(outputs, counts, failures_of(task, rows), {"clips": rows})
