"""What the clip index costs: writing it from the markers of videos, and planning the embed stage from it.

Run: ``python -m benchmarks.clip_index``. The markers are made up, one per video of twenty clips; there are no media files. Each
size runs in a process of its own. A step's peak is counted above the memory in use at its start, and the workers count for
themselves. Linux only.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pyarrow.parquet  # noqa: F401  so that its memory counts for no step

from benchmarks.measuring import for_each_size, measure_step
from curator_dask import EmbedStage
from curator_dask.dedup.quality.measure import COLUMNS
from curator_dask.files.folder import Folder
from curator_dask.files.layout import clip_path, meta_path
from curator_dask.models.pdqf.track import TRACK_VERSION  # noqa: F401  as above
from curator_dask.runtime.cluster import LazyCluster
from curator_dask.runtime.cluster_settings import ClusterSettings
from curator_dask.runtime.records import UnitRecord, digest
from curator_dask.runtime.state import StageState
from curator_dask.stages.base import RunContext
from curator_dask.stages.embed.units import plan_units
from curator_dask.stages.split.write_index import write_clip_index

CLIPS_PER_VIDEO = 20


def name_of(video: int) -> str:
    return f"folder_{video % 97:02d}/video_{video:07d}.mp4"


def write_markers(root: Path, num_clips: int) -> list[str]:
    """The markers of a split output, without the clips; returns the names of the videos."""
    state = StageState(Folder(str(root)), "split")
    (root / state.path("units")).mkdir(parents=True)
    names = [name_of(video) for video in range(num_clips // CLIPS_PER_VIDEO)]
    for video, name in enumerate(names):
        (root / state.path("units", f"{digest(name)}.json")).write_bytes(
            marker(video, name)
        )  # no flush: there are many
    return names


def marker(video: int, name: str) -> bytes:
    """The marker of a video. It is JSON without line breaks and without a seal, which takes less time to make."""
    rows = [row(video * CLIPS_PER_VIDEO + span, span, name) for span in range(CLIPS_PER_VIDEO)]
    outputs = {path: 2_000_000 for one in rows for path in (clip_path(one["id"]), meta_path(one["id"]))}
    record = UnitRecord(digest(name), digest(name, 1), outputs, {"clips": len(rows)}, (), {"clips": rows})
    return json.dumps(asdict(record)).encode("ascii")


def row(number: int, span: int, name: str) -> dict[str, object]:
    clip = f"{number * 2654435761 % 2**32:08x}-0000-5000-a000-{number:012x}"
    return {
        "id": clip, "source_video": f"/videos/{name}", "relative_path": name, "span_index": span,
        "start_s": span * 10.0, "end_s": span * 10.0 + 10.0, "first_frame_s": span * 10.0, "num_frames": 300,
        "num_frames_held": 0, "max_hold_s": None, "width": 1280, "height": 720, "framerate": 30.0, "width_source": 1280,
        "height_source": 720, "framerate_source": 30.0, "video_codec": "h264", "encoder": "libopenh264",
        "num_bytes": 2_000_000 + number % 1000, "clip_path": clip_path(clip), "valid": True, "reason": "", "message": "",
        **{column: (number * 7919 + place) % 100_003 / 100_003 for place, column in enumerate(COLUMNS)},
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument(
        "--markers", type=Path, help="a folder for the markers, which are kept; with one number of clips"
    )
    options = parser.parse_args()
    print("| clips | step | CPU seconds | CPU µs per clip | peak bytes per clip |\n|---|---|---|---|---|", flush=True)
    for_each_size(options.clips, _measure, options.markers)


def _measure(num_clips: int, kept: Path | None) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        root = kept or Path(scratch)
        state = StageState(Folder(str(root)), "split")
        if not (root / state.path("units")).exists():
            write_markers(root, num_clips)
        keys = {digest(name_of(video)) for video in range(num_clips // CLIPS_PER_VIDEO)}
        with LazyCluster(ClusterSettings(n_workers=2, dashboard=False)) as cluster:
            context = RunContext(cluster)
            assert cluster.client is not None  # the workers start before the first step
            _step("write the index, client", num_clips, lambda: write_clip_index(context, state, keys))
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        workers_s = used.ru_utime + used.ru_stime
        print(f"| {num_clips:,} | write the index, both workers, their start too | {workers_s:.2f} "
              f"| {workers_s / num_clips * 1e6:.1f} | |", flush=True)  # fmt: skip
        spec = EmbedStage(str(root)).resolved().spec()
        _step("plan embed, client", num_clips, lambda: plan_units(spec))


def _step(name: str, num_clips: int, work: Callable[[], object]) -> None:
    step = measure_step(work)
    per_clip = f"{step.seconds / num_clips * 1e6:.1f} | {step.growth / num_clips:,.0f}"
    print(f"| {num_clips:,} | {name} | {step.seconds:.2f} | {per_clip} |", flush=True)


if __name__ == "__main__":
    main()
