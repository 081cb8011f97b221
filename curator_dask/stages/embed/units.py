"""Plan the units of the embed stage, from the clip index or from a folder of ready clips."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import PurePosixPath
from typing import Any

from curator_dask.data.clip_index import has_clip_index, read_clip_index, real_name
from curator_dask.errors import InputError
from curator_dask.files.names import printable
from curator_dask.files.video_listing import SourceVideo, VideoChoice, VideoListing, list_videos
from curator_dask.runtime.records import digest
from curator_dask.runtime.units import Unit
from curator_dask.stages.embed.cut_tracks import TracksOfCut, tracks_of_cut
from curator_dask.stages.embed.spec import ClipToEmbed, EmbedSpec, EmbedTask
from curator_dask.video.spans import Span

CLIPS_PER_UNIT = 32


def list_ready_clips(spec: EmbedSpec, choice: VideoChoice | None = None) -> VideoListing | None:
    """The videos of a folder of ready clips; None if the input folder is an output of the split stage."""
    return None if has_clip_index(spec.input) else list_videos(spec.input, choice)


def plan_units(spec: EmbedSpec, ready_clips: VideoListing | None = None) -> list[Unit[EmbedTask]]:
    """The units of `ready_clips`, if given, else of all clips in the input folder.

    Raises InputError if two ready clips share an id.
    """
    found = ready_clips or list_ready_clips(spec)
    return _units_of_index(spec) if found is None else _units_of_ready_clips(spec, found.videos)


def num_clips(units: Sequence[Unit[EmbedTask]]) -> int:
    """The number of clips in all units together."""
    return sum(len(unit.task.clips) for unit in units)


def _units_of_index(spec: EmbedSpec) -> list[Unit[EmbedTask]]:
    by_video: dict[str, list[dict[str, Any]]] = {}
    for row in read_clip_index(spec.input).to_pylist():
        by_video.setdefault(row["relative_path"], []).append(row)
    return [unit for _, rows in sorted(by_video.items()) for unit in units_of_video(spec, rows)]


def units_of_video(spec: EmbedSpec, rows: Sequence[Mapping[str, Any]]) -> list[Unit[EmbedTask]]:
    """The units of one video, from its rows of the clip index in the order of their spans."""
    valid = [row for row in rows if row["valid"]]
    if not valid:
        return []
    source, clips = valid[0]["relative_path"], [clip_of_row(row) for row in valid]
    of_cut = tracks_of_cut(spec.input, valid) if spec.tracks else None
    if spec.reads_source or not clips[0].path:
        # All spans come from one pass over the video: one unit, however long the video is.
        spans = tuple(clip_of_row(row).span for row in rows)
        max_hold_s = valid[0].get("max_hold_s")  # an index of an earlier version does not have it
        inputs = digest(_digest_of(clips, valid), max_hold_s)
        return [_unit(spec, f"{source}#0", tuple(clips), inputs, of_cut, spans, max_hold_s)]
    return [
        _unit(spec, f"{source}#{at // CLIPS_PER_UNIT}", tuple(group), _digest_of(group, valid[at:]), of_cut)
        for at in range(0, len(clips), CLIPS_PER_UNIT)
        for group in [clips[at : at + CLIPS_PER_UNIT]]
    ]


def _units_of_ready_clips(spec: EmbedSpec, videos: Sequence[SourceVideo]) -> list[Unit[EmbedTask]]:
    clips = [_ready_clip(video) for video in videos]
    doubled = [name for name, count in Counter(clip.id for clip in clips).items() if count > 1]
    if doubled:
        raise InputError(f"two clips share the id {doubled[0]!r}: file names without their ending must be unique")
    versions = {video.relative_path: (video.num_bytes, video.version) for video in videos}
    groups = [clips[at : at + CLIPS_PER_UNIT] for at in range(0, len(clips), CLIPS_PER_UNIT)]
    return [
        _unit(spec, group[0].path, tuple(group), digest([(clip.path, versions[clip.path]) for clip in group]))
        for group in groups
    ]


def _ready_clip(video: SourceVideo) -> ClipToEmbed:
    """A video file that is a clip itself: its id is its path without the ending."""
    identifier = str(PurePosixPath(video.relative_path).with_suffix(""))
    return ClipToEmbed(identifier, video.relative_path, False, "", 0, 0, 0)


def _unit(
    spec: EmbedSpec,
    name: str,
    clips: tuple[ClipToEmbed, ...],
    inputs: str,
    of_cut: TracksOfCut | None = None,
    source_spans: tuple[Span, ...] = (),
    max_hold_s: float | None = None,
) -> Unit[EmbedTask]:
    key = digest(printable(name))
    # Clips of several videos fill a task, and the model's batches; a pass over a source video is a task of its own.
    share = 1.0 if source_spans else len(clips) / CLIPS_PER_UNIT
    task = EmbedTask(spec, key, clips, source_spans, max_hold_s, of_cut)
    parts = {clip.id: clip.source or clip.path for clip in clips}
    return Unit(key, inputs, task, name, share, parts, EmbedTask.without)


def clip_of_row(row: Mapping[str, Any]) -> ClipToEmbed:
    """The clip in a row of the clip index."""
    return ClipToEmbed(
        id=row["id"],
        path=row["clip_path"],
        trusted=row["encoder"] not in ("", "copy"),
        source=real_name(row["relative_path"]),
        span_index=row["span_index"],
        start_s=row["start_s"],
        end_s=row["end_s"],
    )


def _digest_of(clips: Sequence[ClipToEmbed], rows: Sequence[Mapping[str, Any]]) -> str:
    """Digest of the clips and of the sizes of their files; `rows` begins with the rows of these clips."""
    return digest([asdict(clip) for clip in clips], [row["num_bytes"] for row in rows[: len(clips)]])
