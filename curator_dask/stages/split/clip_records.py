"""The records of a split video: rows of the clip index, and the JSON files that the original workflow has too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from curator_dask.files import layout
from curator_dask.files.names import printable
from curator_dask.files.video_listing import SourceVideo
from curator_dask.video.cut.cut_report import CutClip
from curator_dask.video.probe import VideoInfo
from curator_dask.video.spans import Span


def clip_row(
    identifier: str,
    video: SourceVideo,
    info: VideoInfo,
    span: Span,
    cut: CutClip | None,
    *,
    encoder: str,
    max_hold_s: float | None,
) -> dict[str, Any]:
    """The row of one clip. Without a cut (nothing was transcoded) there is no file, and its properties are unknown: -1."""
    written = cut is not None and cut.path is not None
    return {
        "id": identifier,
        "source_video": printable(video.path),
        "relative_path": video.relative_path,
        "span_index": span.index,
        "start_s": span.start_s,
        "end_s": span.end_s,
        "first_frame_s": cut.start_s if cut is not None and written else span.start_s,
        "num_frames": cut.num_frames if cut is not None else -1,
        "num_frames_held": cut.num_held if cut is not None else -1,
        "max_hold_s": None if max_hold_s is None else float(max_hold_s),
        "width": cut.width if cut is not None else -1,
        "height": cut.height if cut is not None else -1,
        "framerate": cut.framerate if cut is not None else info.framerate,
        "width_source": info.width,
        "height_source": info.height,
        "framerate_source": info.framerate,
        "video_codec": cut.codec if cut is not None else "",
        "encoder": encoder if written else "",
        "num_bytes": cut.num_bytes if cut is not None else 0,
        "clip_path": layout.clip_path(identifier) if written else "",
        "valid": written or cut is None,
        "reason": (cut.reason or "") if cut is not None else "",
        "message": (cut.message or "") if cut is not None else "",
    }


def clip_meta(row: dict[str, Any], clip_location: str) -> dict[str, Any]:
    """The JSON record of one clip, from its row. `clip_location` is the full path of its file, empty without one."""
    return {
        "span_uuid": row["id"],
        "source_video": row["source_video"],
        "duration_span": [row["start_s"], row["end_s"]],
        "width_source": row["width_source"],
        "height_source": row["height_source"],
        "framerate_source": row["framerate_source"],
        "clip_location": clip_location,
        "width": row["width"],
        "height": row["height"],
        "framerate": row["framerate"],
        "num_frames": row["num_frames"],
        "num_frames_held": row["num_frames_held"],
        "video_codec": row["video_codec"],
        "num_bytes": row["num_bytes"],
        "valid": row["valid"],
        "errors": [row["message"]] if row["message"] else [],
    }


def video_records(
    video: SourceVideo,
    facts: Mapping[str, Any],
    chunks: Sequence[Sequence[dict[str, Any]]],
    warnings: Sequence[str],
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The JSON records of one video and of its clips, with their paths in the output folder.

    `facts` are those of `file_facts`; `chunks` holds the rows of the clips that were cut together: of one part each.
    """
    name = layout.safe_relative(video.relative_path)
    yield layout.processed_video_path(name), _video_record(video, facts, chunks, warnings)
    for number, rows in enumerate(chunks):
        yield layout.processed_chunk_path(name, number), _chunk_record(video, rows, number)


def file_facts(info: VideoInfo) -> dict[str, Any]:
    """What the record of a video says of its file."""
    return {
        "height": info.height,
        "width": info.width,
        "framerate": info.framerate,
        "num_frames": info.num_frames,
        "duration": info.duration_s,
        "video_codec": info.codec,
        "pixel_format": info.pixel_format,
        "audio_format": info.audio_tracks[0].codec if info.audio_tracks else None,
        "color_transfer": info.color_transfer,
        "rotation": info.rotation_deg,
    }


def _video_record(
    video: SourceVideo, facts: Mapping[str, Any], chunks: Sequence[Sequence[dict[str, Any]]], warnings: Sequence[str]
) -> dict[str, Any]:
    return {
        "video": printable(video.path),
        **facts,
        "num_frames_held": sum(max(row["num_frames_held"], 0) for rows in chunks for row in rows),
        "num_total_clips": sum(map(len, chunks)),
        "num_clip_chunks": len(chunks),
        "warnings": list(warnings),
    }


def _chunk_record(video: SourceVideo, rows: Sequence[dict[str, Any]], number: int) -> dict[str, Any]:
    return {
        "video": printable(video.path),
        "clip_chunk_index": number,
        "clips": [row["id"] for row in rows if row["valid"]],
        "filtered_clips": [],
        "failed_clips": [row["id"] for row in rows if not row["valid"]],
    }
