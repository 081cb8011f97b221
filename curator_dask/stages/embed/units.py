"""Which clips share a unit: the work of the embed stage, planned from the clip index or from a folder of ready clips."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import PurePosixPath
from typing import Any

from curator_dask.data.clip_index import read_clip_index, real_name
from curator_dask.errors import InputError
from curator_dask.files import layout
from curator_dask.files.names import printable
from curator_dask.files.video_listing import list_videos
from curator_dask.runtime.records import digest
from curator_dask.runtime.units import Unit
from curator_dask.stages.embed.spec import ClipToEmbed, EmbedSpec, EmbedTask
from curator_dask.video.spans import Span

CLIPS_PER_UNIT = 32


def plan_units(spec: EmbedSpec) -> list[Unit[EmbedTask]]:
    """All units of the input. Raises InputError where two ready clips share an id."""
    if spec.input.exists(layout.CLIP_INDEX):
        return _units_of_index(spec)
    return _units_of_ready_clips(spec)


def num_clips(units: Sequence[Unit[EmbedTask]]) -> int:
    """Clips in all units together."""
    return sum(len(unit.task.clips) for unit in units)


def _units_of_index(spec: EmbedSpec) -> list[Unit[EmbedTask]]:
    by_video: dict[str, list[dict[str, Any]]] = {}
    for row in read_clip_index(spec.input).to_pylist():
        by_video.setdefault(row["relative_path"], []).append(row)
    return [unit for _, rows in sorted(by_video.items()) for unit in units_of_video(spec, rows)]


def units_of_video(spec: EmbedSpec, rows: Sequence[Mapping[str, Any]]) -> list[Unit[EmbedTask]]:
    """The units of one video. `rows` are its rows of the clip index, in order of their spans."""
    valid = [row for row in rows if row["valid"]]
    if not valid:
        return []
    source, clips = valid[0]["relative_path"], [clip_of_row(row) for row in valid]
    if spec.reads_source or not clips[0].path:
        # One pass over the video gives all spans, so it is one unit, however long it is.
        spans = tuple(clip_of_row(row).span for row in rows)
        return [_unit(spec, f"{source}#0", tuple(clips), digest(*_inputs(clips, valid)), spans)]
    return [
        _unit(spec, f"{source}#{at // CLIPS_PER_UNIT}", tuple(group), digest(*_inputs(group, valid[at:])))
        for at in range(0, len(clips), CLIPS_PER_UNIT)
        for group in [clips[at : at + CLIPS_PER_UNIT]]
    ]


def _units_of_ready_clips(spec: EmbedSpec) -> list[Unit[EmbedTask]]:
    listing = list_videos(spec.input)
    clips = [
        ClipToEmbed(str(PurePosixPath(video.relative_path).with_suffix("")), video.relative_path, False, "", 0, 0, 0)
        for video in listing.videos
    ]
    doubled = [name for name, count in Counter(clip.id for clip in clips).items() if count > 1]
    if doubled:
        raise InputError(f"two clips share the id {doubled[0]!r}: file names without their ending must be unique")
    versions = {video.relative_path: (video.num_bytes, video.version) for video in listing.videos}
    groups = [clips[at : at + CLIPS_PER_UNIT] for at in range(0, len(clips), CLIPS_PER_UNIT)]
    return [
        _unit(spec, group[0].path, tuple(group), digest([(clip.path, versions[clip.path]) for clip in group]))
        for group in groups
    ]


def _unit(
    spec: EmbedSpec, name: str, clips: tuple[ClipToEmbed, ...], inputs: str, source_spans: tuple[Span, ...] = ()
) -> Unit[EmbedTask]:
    key = digest(printable(name))
    # Clips of several videos share a task and the batches of the model. A pass over a source fills a task alone.
    share = 1.0 if source_spans else len(clips) / CLIPS_PER_UNIT
    return Unit(key, inputs, EmbedTask(spec, key, clips, source_spans), name, share)


def clip_of_row(row: Mapping[str, Any]) -> ClipToEmbed:
    """The clip of a row of the clip index."""
    return ClipToEmbed(
        id=row["id"],
        path=row["clip_path"],
        trusted=row["encoder"] not in ("", "copy"),
        source=real_name(row["relative_path"]),
        span_index=row["span_index"],
        start_s=row["start_s"],
        end_s=row["end_s"],
    )


def _inputs(clips: Sequence[ClipToEmbed], rows: Sequence[Mapping[str, Any]]) -> tuple[list[Any], list[int]]:
    return [asdict(clip) for clip in clips], [row["num_bytes"] for row in rows[: len(clips)]]
