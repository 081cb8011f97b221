"""Write the clips of a video, or of a part of it: their files, their JSON records, their rows and counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from curator_dask.data.beside_vectors.quality_table import quality_columns
from curator_dask.errors import MediaError
from curator_dask.files import layout
from curator_dask.files.names import printable
from curator_dask.runtime.records import Failure, dump_json
from curator_dask.stages.embed.cut_tracks import TrackTap
from curator_dask.stages.embed.part_results import QualityOfSpans
from curator_dask.stages.embed.tap import VectorTap
from curator_dask.stages.split.clip_records import clip_meta, clip_row
from curator_dask.stages.split.spec import SPLIT, SplitSpec, SplitTask
from curator_dask.video.cut.cut_report import CutClip
from curator_dask.video.probe import VideoInfo
from curator_dask.video.spans import Span, SpanPlan, clip_id

Rows: TypeAlias = list[dict[str, Any]]


def tap_of(spec: SplitSpec) -> VectorTap | TrackTap | None:
    """What takes frames out of the cutting process, if anything does."""
    if spec.embed is not None:
        return VectorTap(spec.embed)
    return TrackTap(spec.output) if spec.tracks else None


def write_clips(
    task: SplitTask,
    info: VideoInfo,
    plan: SpanPlan,
    spans: Sequence[Span],
    clips: Sequence[CutClip],
    quality: QualityOfSpans,
) -> tuple[Rows, dict[str, int]]:
    """Write the files of the clips of some spans of a plan; returns their rows and the files with their sizes."""
    outputs: dict[str, int] = {}
    cuts = {cut.span_index: cut for cut in clips}
    ids = _clip_ids(task, info, plan)
    rows = [_write_clip(task, info, span, ids[span.index], cuts.get(span.index), outputs) for span in spans]
    rows = [{**row, **quality_columns(quality.get(row["span_index"]) if row["valid"] else None)} for row in rows]
    return rows, outputs


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


def counts_of_clips(rows: Rows) -> dict[str, int]:
    """What the clips count as."""
    good = [row for row in rows if row["valid"]]
    return {
        "clips_planned": len(rows),
        "clips": len(good),
        "clips_failed": len(rows) - len(good),
        "frames_held": sum(max(row["num_frames_held"], 0) for row in rows),
        "clip_milliseconds": round(1000 * sum(row["end_s"] - row["start_s"] for row in good)),
        "clip_bytes": sum(row["num_bytes"] for row in good),
    }


def counts_of_video(plan: SpanPlan, *, is_damaged: bool) -> dict[str, int]:
    """What the video counts as, beside its clips."""
    return {
        "videos_processed": 1,
        "videos_damaged": int(is_damaged),
        "spans_too_short": plan.num_dropped_short,
        "spans_over_limit": plan.num_dropped_limit,
        **{name: number for name, number in _counts_of_table(plan).items() if number},
    }


def _counts_of_table(plan: SpanPlan) -> dict[str, int]:
    return {"spans_beyond_end": plan.num_beyond_end, "spans_shortened": plan.num_shortened}


def failures_of(task: SplitTask, rows: Rows) -> tuple[Failure, ...]:
    """The clips that could not be cut."""
    source = printable(task.video.path)
    return tuple(Failure(SPLIT, source, row["reason"], row["message"], row["id"]) for row in rows if not row["valid"])
