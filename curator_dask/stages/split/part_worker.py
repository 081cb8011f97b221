"""The work on a long video on a worker: note its parts, cut one of them, make one record of all."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from curator_dask.errors import InputError, MediaError
from curator_dask.files.names import counted
from curator_dask.runtime.records import Failure, UnitRecord, UnitResult, dump_json
from curator_dask.runtime.state import StageState
from curator_dask.stages.embed.part_results import read_results, write_results
from curator_dask.stages.split.clip_files import counts_of_clips, counts_of_video, failures_of, tap_of, write_clips
from curator_dask.stages.split.clip_records import file_facts, video_records
from curator_dask.stages.split.long_video import (
    PART_OF,
    PARTS,
    VIDEOS_IN_PARTS,
    LongVideo,
    key_of_part,
    key_of_video,
    key_of_whole,
    long_video_of,
)
from curator_dask.stages.split.spec import SPLIT, SplitTask
from curator_dask.video.cut.cut_report import CutClip, CutReport
from curator_dask.video.cut.plan import Part
from curator_dask.video.cut.transcode import cut_clips
from curator_dask.video.probe import VideoInfo, probe_video
from curator_dask.video.spans import Span, SpanPlan

logger = logging.getLogger(__name__)


def planned_in_parts(task: SplitTask, info: VideoInfo, plan: SpanPlan, parts: tuple[Part, ...]) -> UnitResult:
    """The result of the unit of a long video: nothing is cut yet."""
    video = LongVideo(task.video.relative_path, file_facts(info), info.duration_s, plan, parts)
    return UnitResult(counts={VIDEOS_IN_PARTS: 1}, data={PARTS: video.to_json()})


def forget_other_parts(task: SplitTask, plan: SpanPlan, parts: Sequence[Part]) -> None:
    """Remove what was cut by an earlier plan: one of its parts could remove a clip of another one when it is cut again."""
    name, state = task.video.relative_path, _state(task)
    before = long_video_of(state.record(key_of_video(name)))
    if before is not None and (before.parts, before.plan.spans) != (tuple(parts), plan.spans):
        state.forget([*(key_of_part(name, number) for number in range(len(before.parts))), key_of_whole(name)])


def cut_part(task: SplitTask) -> UnitResult:
    """Cut and record the clips of one part. Where the bytes are at fault, all its clips are failures; the other parts go on."""
    video = _video(task)
    with task.folder.local_copy(task.video.relative_path) as path:
        info = replace(probe_video(path), duration_s=video.duration_s)
        with task.spec.output.scratch(*_state(task).scratch_parts()) as scratch:
            return _cut_and_record(task, video, info, scratch)


def _cut_and_record(task: SplitTask, video: LongVideo, info: VideoInfo, scratch: Path) -> UnitResult:
    tap, spans = tap_of(task.spec), video.spans_of(task.part)
    part = video.parts[task.part]
    report: CutReport | None = None
    try:
        report = cut_clips(info, video.plan.spans, task.spec.settings, scratch, tap, part)
        clips: Sequence[CutClip] = report.clips
    except MediaError as error:
        if Failure(SPLIT, video.name, error.reason, str(error)).is_open:
            raise
        clips = [_failed(span, error) for span in spans]
    quality = tap.quality() if tap is not None and report is not None else {}
    rows, outputs = write_clips(task, info, video.plan, spans, clips, quality)
    if tap is not None and report is not None:
        outputs |= write_results(task.spec.output, _results_path(task, task.part), tap.results())
    data = {
        PART_OF: key_of_video(video.name),
        "clips": rows,
        "warnings": list(report.warnings) if report else [],
        "notes": list(report.notes) if report else [],
    }
    return UnitResult(outputs, counts_of_clips(rows), failures_of(task, rows), data)


def _failed(span: Span, error: MediaError) -> CutClip:
    return CutClip(span.index, None, span.start_s, span.end_s, 0, 0, 0, 0.0, "", 0, error.reason, str(error))


def join_parts(task: SplitTask) -> UnitResult:
    """Write the records of a video whose parts are all there, and the vectors or tracks that its frames gave."""
    video = _video(task)
    records = [_record_of_part(task, video, number) for number in range(len(video.parts))]
    chunks = [record.data["clips"] for record in records]
    warnings = list(_told_once(video, [record.data["warnings"] for record in records]))
    notes = [f"it was cut in {counted(len(records), 'parts')}"]
    notes += [*_told_once(video, [record.data["notes"] for record in records]), *video.plan.notes]
    outputs = {}
    for path, content in video_records(task.video, video.facts, chunks, [*warnings, *notes]):
        outputs[path] = task.spec.output.write_bytes(path, dump_json(content))
    outputs |= _write_taken(task, records)
    counts = counts_of_video(video.plan, is_damaged=bool(warnings))
    return UnitResult(outputs, counts, data={PART_OF: key_of_video(video.name)})


def _record_of_part(task: SplitTask, video: LongVideo, number: int) -> UnitRecord:
    record = _state(task).record(key_of_part(video.name, number))
    if record is None:
        raise MediaError("part-missing", f"part {number} of {video.name!r} is not there any more: run again")
    return record


def _told_once(video: LongVideo, told: Sequence[Iterable[str]]) -> Iterator[str]:
    """What was said of all parts, then what was said of some, with their times."""
    everywhere = [text for text in dict.fromkeys(told[0]) if all(text in others for others in told)]
    yield from everywhere
    for number, texts in enumerate(told):
        spans = video.spans_of(number)
        where = f"from {spans[0].start_s:.0f} s to {max(span.end_s for span in spans):.0f} s"
        yield from (f"{where}: {text}" for text in texts if text not in everywhere)


def _write_taken(task: SplitTask, records: Sequence[UnitRecord]) -> dict[str, int]:
    """Write what the frames of all parts gave, as for a video that is cut in one go; returns the files of this stage."""
    tap = tap_of(task.spec)
    if tap is None:
        return {}
    for number in range(len(records)):
        path = _results_path(task, number)
        try:
            tap.restore(read_results(task.spec.output, path))
        except (FileNotFoundError, NotADirectoryError):
            continue  # cut without a tap: the embed stage makes what is missing
        except InputError as error:
            logger.warning("the embed stage makes vectors and tracks anew: %s", error)
    return tap.write([row for record in records for row in record.data["clips"]])


def _video(task: SplitTask) -> LongVideo:
    video = long_video_of(_state(task).record(key_of_video(task.video.relative_path)))
    if video is None:
        raise MediaError("plan-missing", f"{task.video.relative_path!r}: the plan of its parts is gone: run again")
    return video


def _results_path(task: SplitTask, number: int) -> str:
    return _state(task).beside_marker(key_of_part(task.video.relative_path, number))


def _state(task: SplitTask) -> StageState:
    return StageState(task.spec.output, SPLIT)
