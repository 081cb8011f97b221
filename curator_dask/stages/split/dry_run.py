"""The counts of a split without doing it, found by probing alone: nothing is decoded, encoded or written."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

from curator_dask.errors import MediaError
from curator_dask.files.names import printable
from curator_dask.files.video_listing import SourceVideo, VideoListing
from curator_dask.runtime.progress import Reporter
from curator_dask.runtime.records import Failure, add_counts
from curator_dask.stages.split.spec import SPLIT
from curator_dask.video.probe import probe_video
from curator_dask.video.spans import Splitter


def planned_counts(
    splitter: Splitter, listing: VideoListing, reporter: Reporter
) -> tuple[dict[str, int], tuple[Failure, ...]]:
    """Counts of the videos, clips, milliseconds and bytes that a run would work on, and the videos that would fail."""
    reporter.start("plan", len(listing.videos), "videos")
    counts: list[dict[str, int]] = []
    failures: list[Failure] = []
    # Threads suffice: each probe waits for a child process of its own.
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for video, planned in zip(
            listing.videos, pool.map(lambda v: _planned(splitter, listing, v), listing.videos), strict=True
        ):
            if isinstance(planned, MediaError):
                counts.append({"videos_failed": 1})
                failures.append(Failure(SPLIT, printable(video.path), planned.reason, str(planned)))
            else:
                counts.append(planned)
            reporter.advance()
    reporter.finish()
    total = add_counts(counts)
    names = ("videos_found", "videos_planned", "videos_failed", "videos_skipped", "clips_planned", "spans_too_short")
    total["videos_found"] = len(listing.videos) + listing.num_beyond_limit
    total["videos_skipped"] = listing.num_beyond_limit
    ordered = {name: total.get(name, 0) for name in (*names, "clip_milliseconds", "source_bytes")}
    return ordered, tuple(failures)


def _planned(splitter: Splitter, listing: VideoListing, video: SourceVideo) -> dict[str, int] | MediaError:
    try:
        with listing.folder.fetched(video.relative_path) as path:
            info = probe_video(path)
            plan = splitter.plan(info.duration_s, info.framerate)
    except MediaError as error:
        return error
    return {
        "videos_planned": 1,
        "clips_planned": len(plan.spans),
        "spans_too_short": plan.num_dropped_short,
        "clip_milliseconds": round(1000 * sum(span.length_s for span in plan.spans)),
        "source_bytes": video.num_bytes,
    }
