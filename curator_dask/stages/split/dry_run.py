"""What a split would do, found by probing alone: nothing is decoded, encoded or written."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from curator_dask.errors import MediaError
from curator_dask.files.names import printable
from curator_dask.files.video_listing import SourceVideo, VideoListing
from curator_dask.runtime.records import Failure, add_counts
from curator_dask.stages.base import RunContext, StageResult

if TYPE_CHECKING:
    from curator_dask.stages.split.stage import SplitStage


def plan_split(stage: SplitStage, listing: VideoListing, context: RunContext) -> StageResult:
    """Counts of the videos, clips, seconds and bytes that `stage` would work on."""
    context.reporter.start("plan", len(listing.videos), "videos")
    counts: list[dict[str, int]] = []
    failures: list[Failure] = []
    # Threads suffice: each probe waits for a child process of its own.
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for video, planned in zip(
            listing.videos, pool.map(lambda v: _planned(stage, listing, v), listing.videos), strict=True
        ):
            if isinstance(planned, MediaError):
                counts.append({"videos_failed": 1})
                failures.append(Failure("split", printable(video.path), planned.reason, str(planned)))
            else:
                counts.append(planned)
            context.reporter.advance()
    context.reporter.finish()
    total = add_counts(counts)
    names = ("videos_found", "videos_planned", "videos_failed", "videos_skipped", "clips_planned", "spans_too_short")
    total["videos_found"] = len(listing.videos) + listing.num_beyond_limit
    total["videos_skipped"] = listing.num_beyond_limit
    ordered = {name: total.get(name, 0) for name in (*names, "clip_milliseconds", "source_bytes")}
    return StageResult(stage.name, stage.output, ordered, tuple(failures))


def _planned(stage: SplitStage, listing: VideoListing, video: SourceVideo) -> dict[str, int] | MediaError:
    from curator_dask.video.probe import probe_video

    try:
        with listing.folder.fetched(video.relative_path) as path:
            info = probe_video(path)
            plan = stage.splitter().plan(info.duration_s, info.framerate)
    except MediaError as error:
        return error
    return {
        "videos_planned": 1,
        "clips_planned": len(plan.spans),
        "spans_too_short": plan.num_dropped_short,
        "clip_milliseconds": round(1000 * sum(span.length_s for span in plan.spans)),
        "source_bytes": video.num_bytes,
    }
