"""The whole job from videos to shards on a GPU machine: a timeline of the stages, with the GPU and without it.

    python -m benchmarks.gpu.workflow [--videos DIR] [--scenes 8] [--length 21]

Without --videos it takes rendered sample videos. They are too few to show the GPU's speed, but every stage runs. Decisions
and shards must be the CPU's, byte for byte.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.gpu.device import Peak
from benchmarks.gpu.records import tell
from curator_dask import SplitStage, Workflow, WorkflowResult
from curator_dask.runtime.cluster import LazyCluster
from curator_dask.runtime.cluster_settings import ClusterSettings
from curator_dask.runtime.progress import SilentReporter
from curator_dask.stages.base import RunContext
from curator_dask.video.samples import render_samples


@dataclass
class Timeline(SilentReporter):
    """Notes when each piece of work begins and ends, in seconds since the start."""

    begun: float = field(default_factory=time.perf_counter)
    entries: list[list[str | float]] = field(default_factory=list)

    def start(self, stage: str, total: int, unit: str) -> None:
        self.entries.append([f"{stage} ({total:,} {unit})", self.now(), self.now()])

    def finish(self) -> None:
        self.entries[-1][2] = self.now()

    def now(self) -> float:
        return time.perf_counter() - self.begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=Path)
    parser.add_argument("--scenes", type=int, default=8)
    parser.add_argument("--length", type=float, default=21.0, help="seconds of a scene")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        videos = options.videos or Path(scratch, "videos")
        if options.videos is None:
            render_samples(videos, num_scenes=options.scenes, length_s=options.length)
        results = {device: run(videos, Path(scratch, device), device) for device in ("cpu", "gpu")}
        kept = [(Path(scratch, device) / "duplicates" / "keep.txt").read_bytes() for device in results]
        shards = [digests(Path(scratch, device) / "dataset") for device in results]
    totals = [result.totals for result in results.values()]
    tell("result", str(totals[1]), agrees=totals[0] == totals[1])
    tell("keep.txt", f"{len(kept[1].splitlines())} clips", agrees=kept[0] == kept[1])
    tell("shards", f"{len(shards[1])} files", agrees=shards[0] == shards[1] and bool(shards[1]))


def run(videos: Path, out: Path, device: str) -> WorkflowResult:
    """Run the whole job, and tell its timeline."""
    timeline = Timeline()
    with LazyCluster(ClusterSettings(device=device, dashboard=False)) as cluster, Peak().watching() as peak:
        result = Workflow(SplitStage(str(videos), str(out))).run(RunContext(cluster, timeline))
        seconds = timeline.now()
    for name, start, end in timeline.entries:
        tell(f"{device}: {name}", f"{start:.1f} to {end:.1f} s")
    for stage in result.stages:
        tell(f"{device}: stage {stage.stage}", stage.seconds, "s")
    tell(f"{device}: the whole job", seconds, "s")
    if device == "gpu":
        tell("device memory, peak", str(peak))
    return result


def digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of each shard."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*.tar")
    }


if __name__ == "__main__":
    main()
