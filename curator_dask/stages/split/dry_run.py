"""Count what a split would do by probing the videos: nothing is encoded or written, and only a search for shots decodes."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

from curator_dask.errors import MediaError
from curator_dask.files.names import printable
from curator_dask.files.video_listing import SourceVideo, VideoListing
from curator_dask.runtime.progress import Reporter
from curator_dask.runtime.records import Failure, add_counts
from curator_dask.stages.split.spec import SPLIT
from curator_dask.stages.split.splitters.base import Splitter
from curator_dask.video.probe import probe_video, require_not_too_long

COUNTS = (
    "files_found", "files_left_out", "videos_found", "videos_planned", "videos_failed", "videos_skipped",
    "clips_planned", "spans_too_short", "clip_milliseconds", "source_bytes",
)  # fmt: skip
"""The counts in the order in which they are shown."""


def planned_counts(
    splitter: Splitter, max_video_hours: float | None, listing: VideoListing, reporter: Reporter
) -> tuple[dict[str, int], tuple[Failure, ...]]:
    """Counts of the videos, clips, seconds and bytes, and the videos that cannot be read."""
    reporter.start("plan", len(listing.videos), "videos")
    counts: list[dict[str, int]] = []
    failures: list[Failure] = []
    # Threads suffice: each probe waits for a child process.
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        planned = pool.map(lambda video: _plan_video(splitter, max_video_hours, listing, video), listing.videos)
        for video, found in zip(listing.videos, planned, strict=True):
            if isinstance(found, MediaError):
                failures.append(Failure(SPLIT, printable(video.path), found.reason, str(found)))
            counts.append({"videos_failed": 1} if isinstance(found, MediaError) else found)
            reporter.advance()
    reporter.finish()
    return _all_counts(listing, add_counts(counts)), tuple(failures)


def _all_counts(listing: VideoListing, total: dict[str, int]) -> dict[str, int]:
    return {name: {**total, **listing.counts}.get(name, 0) for name in COUNTS}


def _plan_video(
    splitter: Splitter, max_video_hours: float | None, listing: VideoListing, video: SourceVideo
) -> dict[str, int] | MediaError:
    """The counts of one video, or the error that its probe met."""
    try:
        with listing.folder.local_copy(video.relative_path) as path:
            info = probe_video(path)
            require_not_too_long(info, max_video_hours)
            plan = splitter.of(video).plan(info)
    except MediaError as error:
        return error
    return {
        "videos_planned": 1,
        "clips_planned": len(plan.spans),
        "spans_too_short": plan.num_dropped_short,
        "clip_milliseconds": round(1000 * sum(span.length_s for span in plan.spans)),
        "source_bytes": video.num_bytes,
    }
