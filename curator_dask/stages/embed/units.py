"""Plan the units of the embed stage, from the clip index or from a folder of ready clips.

A unit of the index holds no clips, only the place of their rows: the client keeps a line per unit, and the worker reads the rows.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import PurePosixPath
from typing import Any

from curator_dask.data.clip_index import (
    VideoRows,
    clip_index_schema,
    clip_index_videos,
    forget_read_rows,
    has_clip_index,
    real_name,
    rows_of_video,
)
from curator_dask.errors import InputError
from curator_dask.files.names import printable
from curator_dask.files.video_listing import SourceVideo, VideoChoice, VideoListing, list_videos
from curator_dask.runtime.records import digest
from curator_dask.runtime.units import Unit
from curator_dask.stages.embed.cut_tracks import TracksOfCut, tracks_of_cut
from curator_dask.stages.embed.spec import ClipToEmbed, EmbedSpec, EmbedTask
from curator_dask.video.spans import Span

CLIPS_PER_UNIT = 32
_COLUMNS = (
    *("id", "relative_path", "span_index", "start_s", "end_s", "max_hold_s", "encoder", "num_bytes", "clip_path"),
    "valid",
)
"""What is read of the clip index; one of an earlier version does not have all."""
_CLIP_FIELDS = tuple(one.name for one in fields(ClipToEmbed))


@dataclass(frozen=True, slots=True)
class ListedTask:
    """The task of a unit of the clip index, without its clips."""

    spec: EmbedSpec
    key: str
    video: VideoRows
    number: int
    """Among the units of the video."""
    inputs: str
    """Digest of the clips, by which a change of the index since then is noticed."""
    num_clips: int
    from_source: bool
    columns: tuple[str, ...]
    aside: frozenset[str] = frozenset()
    """See `EmbedTask`."""

    @property
    def clips(self) -> tuple[ClipToEmbed, ...]:
        """The clips, which are read from the index."""
        return self.whole().clips

    def whole(self) -> EmbedTask:
        """The task with its clips. Raises InputError if the index has changed since the unit was planned."""
        unit = self._unit()
        if unit is None:  # what is kept in memory may be of an index before this one
            forget_read_rows()
            _units_of_rows.cache_clear()
            unit = self._unit()
        if unit is None:
            raise InputError(f"the clip index of {self.spec.input.url} has changed during the run: run again")
        return replace(unit.task, spec=self.spec, key=self.key, aside=self.aside)

    def _unit(self) -> Unit[EmbedTask] | None:
        units = _units_of_rows(self.spec, self.video, self.columns)
        return next((unit for unit in units[self.number : self.number + 1] if unit.inputs == self.inputs), None)

    def without(self, clips: frozenset[str]) -> ListedTask:
        """The same task with these clips set aside."""
        return replace(self, aside=clips)


@functools.lru_cache(maxsize=2)
def _units_of_rows(spec: EmbedSpec, video: VideoRows, columns: tuple[str, ...]) -> list[Unit[EmbedTask]]:
    return units_of_video(spec, rows_of_video(spec.input, video, columns))


@dataclass(frozen=True, slots=True)
class ClipSources(Mapping[str, str]):
    """Clip id → its source, of a unit of the clip index; read from there when somebody looks."""

    task: ListedTask

    def __len__(self) -> int:
        return self.task.num_clips

    def __iter__(self) -> Iterator[str]:
        return (clip.id for clip in self.task.clips)

    def __getitem__(self, name: str) -> str:
        return next(clip.source for clip in self.task.clips if clip.id == name)


Task = EmbedTask | ListedTask


def list_ready_clips(spec: EmbedSpec, choice: VideoChoice | None = None) -> VideoListing | None:
    """The videos of a folder of ready clips; None if the input folder is an output of the split stage."""
    return None if has_clip_index(spec.input) else list_videos(spec.input, choice)


def plan_units(spec: EmbedSpec, ready_clips: VideoListing | None = None) -> Sequence[Unit[Any]]:
    """The units of `ready_clips`, if given, else of all clips in the input folder.

    Raises InputError if two ready clips share an id.
    """
    found = ready_clips or list_ready_clips(spec)
    return _units_of_index(spec) if found is None else _units_of_ready_clips(spec, found.videos)


def num_clips(units: Sequence[Unit[Any]]) -> int:
    """The number of clips in all units together."""
    return sum(unit.task.num_clips for unit in units)


def each_unit(spec: EmbedSpec) -> Iterator[Unit[EmbedTask]]:
    """The units of `plan_units` with their clips, one after the other. Of a clip index none but these are held."""
    ready_clips = list_ready_clips(spec)
    if ready_clips is not None:
        yield from _units_of_ready_clips(spec, ready_clips.videos)
    else:
        yield from (unit for _, _, unit in _each_of_index(spec, _columns(spec)))


def _units_of_index(spec: EmbedSpec) -> list[Unit[ListedTask]]:
    columns = _columns(spec)
    return [_listed(unit, where, number, columns) for where, number, unit in _each_of_index(spec, columns)]


def _each_of_index(spec: EmbedSpec, columns: tuple[str, ...]) -> Iterator[tuple[VideoRows, int, Unit[EmbedTask]]]:
    """Each unit, with the place of its video and its number there."""
    for where, rows in clip_index_videos(spec.input, columns):
        yield from ((where, number, unit) for number, unit in enumerate(units_of_video(spec, rows)))


def _columns(spec: EmbedSpec) -> tuple[str, ...]:
    return tuple(name for name in clip_index_schema(spec.input).names if name in _COLUMNS)


def _listed(unit: Unit[EmbedTask], where: VideoRows, number: int, columns: tuple[str, ...]) -> Unit[ListedTask]:
    whole = unit.task
    task = ListedTask(whole.spec, unit.key, where, number, unit.inputs, whole.num_clips, whole.from_source, columns)
    return Unit(unit.key, unit.inputs, task, unit.source, unit.share, ClipSources(task), ListedTask.without)


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
    values = [{name: getattr(clip, name) for name in _CLIP_FIELDS} for clip in clips]
    return digest(values, [row["num_bytes"] for row in rows[: len(clips)]])
