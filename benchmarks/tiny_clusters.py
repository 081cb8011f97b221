"""Many small clusters: what the pairwise stage costs in addition to its arithmetic.

    python -m benchmarks.tiny_clusters [--clusters 1000] [--rows 100] [--dim 512] [--workers 2] [--rounds 3] [--phases]

Each round runs the same clusters twice: with one unit per Dask task, and with several units per task, as the package does
by itself. The disk is flushed before each run. Both must write the same bytes. ``--phases`` prints which functions of the
client take how much time.
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import os
import pstats
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.pairwise import cpu_s, machine, write_clusters
from curator_dask.runtime import units as execution
from curator_dask.runtime.cluster import LazyCluster
from curator_dask.runtime.cluster_settings import ClusterSettings
from curator_dask.stages.base import RunContext
from curator_dask.stages.pairwise.stage import PairwiseStage


def run(
    scratch: Path, cluster: LazyCluster, workers: list[int], name: str, most: int
) -> tuple[float, dict[str, bytes]]:
    """One run into a new folder: its wall seconds, and the tables."""
    shutil.rmtree(scratch / "out", ignore_errors=True)
    os.sync()
    execution.MOST_IN_TASK = most  # read where the units are shared out, which is here
    stage = PairwiseStage(input_path=f"{scratch}/k", output_path=f"{scratch}/out")
    wall, own, theirs = time.monotonic(), time.process_time(), cpu_s(workers)
    result = stage.run(context=RunContext(cluster))
    wall, own, theirs = time.monotonic() - wall, time.process_time() - own, cpu_s(workers) - theirs
    assert result.counts["clusters_failed"] == 0, result.failures
    each = 1e3 / result.counts["clusters"]
    print(f"{name:14}{wall:>8.1f}{wall * each:>16.1f}{theirs * each:>14.1f}{own * each:>14.1f}", flush=True)
    return wall, {path.name: path.read_bytes() for path in (scratch / "out").glob("*.parquet")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clusters", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--phases", action="store_true")
    options = parser.parse_args()
    sides = {"one per task": 1, "shared tasks": execution.MOST_IN_TASK}
    settings = ClusterSettings(device="cpu", n_workers=options.workers, dashboard=False)
    with tempfile.TemporaryDirectory() as scratch, LazyCluster(settings) as cluster:
        workers = list(cluster.client.run(os.getpid).values())
        write_clusters(Path(scratch, "few"), [options.rows] * 20, options.dim)
        warm = PairwiseStage(input_path=f"{scratch}/few", output_path=f"{scratch}/warm")
        warm.run(context=RunContext(cluster))  # the workers' imports
        write_clusters(Path(scratch, "k"), [options.rows] * options.clusters, options.dim)
        print(f"{options.clusters} clusters of {options.rows} rows of {options.dim}, {options.workers} workers")
        print(f"{machine()}\n")
        print(f"{'':14}{'wall s':>8}{'ms per cluster':>16}{'worker CPU ms':>14}{'client CPU ms':>14}")
        ratios = []
        with cProfile.Profile() if options.phases else contextlib.nullcontext() as profile:
            for _ in range(options.rounds):
                found = {name: run(Path(scratch), cluster, workers, name, most) for name, most in sides.items()}
                assert found["one per task"][1] == found["shared tasks"][1], "the tables differ"
                ratios.append(found["one per task"][0] / found["shared tasks"][0])
    print(f"\none per task / shared tasks: {statistics.median(ratios):.2f} (median of wall ratios)")
    if profile is not None:
        pstats.Stats(profile).sort_stats("cumulative").print_stats("curator_dask", 30)


if __name__ == "__main__":
    main()
