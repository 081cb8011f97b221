"""``spans``: the spans that a table of the user names, and no others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from curator_dask.data.user_tables.spans import Pairs, UserSpans, read_spans, span_columns
from curator_dask.data.user_tables.table import UserTable
from curator_dask.errors import InputError, MediaError, ParameterError
from curator_dask.files.left_out import NO_SPANS, count_endings
from curator_dask.files.names import counted, printable
from curator_dask.files.video_listing import SourceVideo, VideoListing
from curator_dask.stages.split.splitters.base import SpanPlanner, Splitter, SplittingParameters
from curator_dask.video.cut.plan import plan_lanes
from curator_dask.video.probe import VideoInfo
from curator_dask.video.spans import Span, SpanPlan


@dataclass(frozen=True)
class SpansSplitter(Splitter):
    """The table. It does not travel; each video gets its own rows with it."""

    path: str
    storage_options: Mapping[str, Any] = field(repr=False, hash=False)
    limit: int
    found: UserSpans | None = None
    numbers: Mapping[str, int] = field(default_factory=dict, hash=False)
    """Relative path → the number of the video in `found`."""

    def check(self) -> None:
        span_columns(UserTable.at(self.path, self.storage_options))

    def for_videos(self, listing: VideoListing) -> tuple[Splitter, VideoListing]:
        table = UserTable.at(self.path, self.storage_options)
        found = read_spans(table, [(_text(video.relative_path), _text(video.path)) for video in listing.videos])
        numbers = {
            video.relative_path: number for number, video in enumerate(listing.videos) if number in found.of_video
        }
        named = tuple(video for video in listing.videos if video.relative_path in numbers)
        if not named:
            seen = " ".join(found.sentences) or f"{table.shown} has no rows"
            raise InputError(f"no video to cut: none of {counted(len(listing.videos), 'videos')} has a row. {seen}")
        without = [video.relative_path for video in listing.videos if video.relative_path not in numbers]
        left_out = {**listing.left_out, **({NO_SPANS: count_endings(without)} if without else {})}
        return replace(self, found=found, numbers=numbers), replace(listing, videos=named, left_out=left_out)

    def of(self, video: SourceVideo) -> SpanPlanner:
        spans = self.found.of_video[self.numbers[video.relative_path]] if self.found is not None else ()
        return VideoSpans(spans, self.limit)

    @property
    def counts(self) -> Mapping[str, int]:
        return self.found.counts if self.found is not None else {}

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(self.found.sentences) if self.found is not None else ()


@dataclass(frozen=True)
class VideoSpans(SpanPlanner):
    """The rows of one video."""

    spans: Pairs
    limit: int

    def inputs(self) -> list[Any]:
        return [list(span) for span in self.spans]

    def plan(self, info: VideoInfo) -> SpanPlan:
        if not info.framerate > 0:
            raise MediaError("no-framerate", f"the video has no usable frame rate ({info.framerate}): clips get no ids")
        half_frame_s = 0.5 / info.framerate
        end_s = float("inf") if info.duration_s is None else info.duration_s
        inside = [(start, min(end, end_s)) for start, end in self.spans if start < end_s - half_frame_s]
        num_beyond = len(self.spans) - len(inside)
        num_shortened = sum(end > end_s + half_frame_s for start, end in self.spans) - num_beyond
        kept = [(start, end) for start, end in inside if end - start >= half_frame_s]
        within = kept[: self.limit] if self.limit else kept
        spans = tuple(Span(index, start, end) for index, (start, end) in enumerate(within))
        _check_ids(spans, info.framerate)
        _check_lanes(spans)
        return SpanPlan(
            spans, len(inside) - len(kept), len(kept) - len(within), num_beyond, num_shortened,
            _notes(end_s, num_beyond, num_shortened),
        )  # fmt: skip


def _check_ids(spans: tuple[Span, ...], framerate: float) -> None:
    """Raise MediaError for two spans of the same frames, by which a clip gets its id."""
    seen: dict[tuple[int, int], Span] = {}
    for span in spans:
        other = seen.setdefault((int(span.start_s * framerate), int(span.end_s * framerate)), span)
        if other is not span:
            both = f"{other.start_s:g} to {other.end_s:g} s and {span.start_s:g} to {span.end_s:g} s"
            raise MediaError(
                "shared-clip-ids", f"two spans of the table are the same frames: {both}; leave one of them"
            )


def _check_lanes(spans: tuple[Span, ...]) -> None:
    if not spans:
        return
    try:
        plan_lanes(spans)
    except ParameterError as error:
        raise MediaError("too-many-overlaps", f"the spans of the table cannot be cut: {error}") from error


def _notes(end_s: float, num_beyond: int, num_shortened: int) -> tuple[str, ...]:
    told = (
        (num_beyond, "begin after the end of the video", "are left out"),
        (num_shortened, "end after the end of the video", "are cut there"),
    )
    return tuple(f"spans that {what} ({end_s:.3f} s) {become}: {number}" for number, what, become in told if number)


def _text(path: str) -> str:
    """A path as a table may hold it: one that is no valid text is named by its escapes."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return printable(path)
    return path


def make(parameters: SplittingParameters) -> Splitter:
    if not parameters.spans:
        raise ParameterError(
            "splitting_algorithm 'spans' needs a table: give spans, a CSV or Parquet file of path, start, end"
        )
    if parameters.limit_clips < 0:
        raise ParameterError(f"limit_clips ({parameters.limit_clips}) must be >= 0 (0 for no limit)")
    return SpansSplitter(parameters.spans, parameters.input_storage_options, parameters.limit_clips)
