"""What identify costs by the rule ``greedy`` after cross-cluster comparisons: CPU time of client and workers, and their memory.

Run: ``python -m benchmarks.decisions_across``. Rows are vectors of 32 numbers that are made up, a fifth of them near copies of
others; k-means (a cluster per 1,000 rows), pairwise and cross-cluster really run on them before. Two real workers do the
tasks, and the client's memory has libraries and the Dask scheduler in it. With ``--filters`` a fiftieth of the rows is
dropped before. ``--folder`` keeps what is made up for the next run. Linux only.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.decisions import _step, _tell_most_memory, print_heading
from benchmarks.measuring import apart, for_each_size
from benchmarks.whole_dedup import EPS, write_vectors
from curator_dask.data.clip_index import extent
from curator_dask.data.tables import parquet_bytes
from curator_dask.dedup.quality.measure import COLUMNS
from curator_dask.files.folder import Folder
from curator_dask.files.layout import clip_index_part
from curator_dask.runtime.cluster import LazyCluster
from curator_dask.runtime.cluster_settings import ClusterSettings
from curator_dask.stages.base import RunContext
from curator_dask.stages.cross_cluster.stage import CrossClusterStage
from curator_dask.stages.identify.output import publish
from curator_dask.stages.identify.stage import IdentifyDuplicatesStage
from curator_dask.stages.kmeans.stage import KMeansStage
from curator_dask.stages.pairwise.stage import PairwiseStage

DIM, CLUSTER_ROWS, INDEX_ROWS = 32, 1000, 65_536


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, nargs="+", default=[100_000, 300_000, 1_000_000])
    parser.add_argument("--filters", action="store_true")
    parser.add_argument("--folder", type=Path, help="for what is made up, which is kept; a folder per number of clips")
    given = parser.parse_args()
    print_heading()
    for_each_size(given.clips, _measure, given.filters, given.folder)


def _measure(num_clips: int, filters: bool, kept: Path | None) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) if kept is None else kept / str(num_clips)
        if not (root / "x" / ".curator" / "cross_cluster" / "summary.json").exists():
            apart(_prepare, num_clips, root)
        chosen: dict[str, Any] = {"clips_path": str(root / "index"), "min_motion": 0.02} if filters else {}
        publish.SINGLE_FILE_ROWS = 0  # `benchmarks.decisions` measures them
        stage = IdentifyDuplicatesStage(
            str(root / "x"), str(root / "k"), f"{scratch}/d", eps=EPS, rule="greedy", **chosen
        )
        with LazyCluster(_workers()) as cluster:
            context = RunContext(cluster)
            what = "decide with filters, join and write" if filters else "decide, join and write"
            _step(what, num_clips, cluster, lambda: stage.run(context=context))
            _tell_most_memory(cluster)


def _workers() -> ClusterSettings:
    return ClusterSettings(device="cpu", n_workers=2, dashboard=False)


def _prepare(num_clips: int, root: Path) -> None:
    write_vectors(root / "v", num_clips, DIM)
    for number, part in enumerate(_clip_index(num_clips)):
        Folder(str(root / "index")).write_bytes(clip_index_part(number), parquet_bytes(part))
    pairwise = PairwiseStage(input_path=f"{root}/k", output_path=f"{root}/p")
    kmeans = KMeansStage(num_clips // CLUSTER_ROWS, input_path=f"{root}/v", output_path=f"{root}/k", max_iter=3)
    with LazyCluster(_workers()) as cluster:
        for stage in (kmeans, pairwise, CrossClusterStage.after(pairwise, f"{root}/x", EPS)):
            stage.run(context=RunContext(cluster))


def _clip_index(num_clips: int) -> Iterator[pa.Table]:
    starts = range(0, num_clips, INDEX_ROWS)
    for first in starts:
        clip = np.arange(first, min(first + INDEX_ROWS, num_clips))
        columns = dict.fromkeys(COLUMNS, 0.0 * clip) | {"motion_mean": clip * 7919 % 1000 / 1000}
        spans = {"start_s": 10.0 * (clip % 20), "end_s": 10.0 * (clip % 20) + 10}
        names = {"id": [f"clip-{one:08d}" for one in clip], "source_video": [f"video-{one // 20:07d}" for one in clip]}
        table = pa.table({**names, **spans, **columns})
        yield table if first else table.replace_schema_metadata(extent(len(starts), num_clips))


if __name__ == "__main__":
    main()
