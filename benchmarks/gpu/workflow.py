"""The whole job from videos to shards on a GPU machine: the seconds of each stage with the GPU and without it.

    python -m benchmarks.gpu.workflow [--videos DIR] [--out FILE]

Without --videos it takes rendered sample videos. They are too few to show the GPU's speed, but every stage runs.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.gpu.device import Peak, report
from curator_dask import SplitStage, Workflow
from curator_dask.runtime.cluster import LazyCluster
from curator_dask.runtime.cluster_settings import ClusterSettings
from curator_dask.stages.base import RunContext
from curator_dask.video.samples import render_samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        videos = options.videos or Path(scratch, "videos")
        if options.videos is None:
            render_samples(videos)
        columns = {}
        for device in ("cpu", "gpu"):
            with LazyCluster(ClusterSettings(device=device, dashboard=False)) as cluster, Peak().watching() as peak:
                result = Workflow(SplitStage(str(videos), str(Path(scratch, device)))).run(RunContext(cluster))
            columns[device] = (
                {stage.stage: f"{stage.seconds:.2f}" for stage in result.stages},
                result.totals,
                str(peak),
            )
    stages = list(columns["gpu"][0])
    table: list[list[object]] = [[name, columns["cpu"][0][name], columns["gpu"][0][name]] for name in stages]
    table += [["result", columns["cpu"][1], columns["gpu"][1]], ["device memory, peak", "", columns["gpu"][2]]]
    report(options.out, "Whole job, seconds per stage", ["stage", "cpu", "gpu"], table)
    if columns["cpu"][1] != columns["gpu"][1]:
        raise SystemExit("CPU and GPU disagree")


if __name__ == "__main__":
    main()
