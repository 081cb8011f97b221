"""What it costs to write one file per cluster, compared with writing the same rows in their order of arrival.

    python -m benchmarks.clusters [--rows 100000] [--dim 512] [--clusters 1000] [--workers 2] [--rounds 3]

Every round times three ways of writing, one after the other, on the same Dask workers. Each way reads the vectors,
checks and normalises them, and finds the nearest centroid of every row and the distances to it. Then it writes

* clusters: the files that the k-means stage writes for users, by way of its buckets (one file per cluster);
* as they come: the same columns in one file per chunk that was read, with the same encoding, flushed to the disk as well;
* nothing: no files at all.

Each round gives two ratios of *clusters* to *as they come*: of all seconds, and of the seconds of writing alone, which
are all seconds minus those of *nothing*.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.kmeans import mixture
from benchmarks.transcode import timed
from curator_dask.data.tables import write_parquet
from curator_dask.data.vector_source import plan_chunks
from curator_dask.data.vectors import matrix_column
from curator_dask.files.folder import Folder
from curator_dask.runtime.cluster import LazyCluster
from curator_dask.runtime.cluster_settings import ClusterSettings
from curator_dask.runtime.state import StageState
from curator_dask.stages.base import RunContext
from curator_dask.stages.kmeans.spec import AssignTask, WriteClustersSpec
from curator_dask.stages.kmeans.stage import KMeansStage
from curator_dask.stages.kmeans.worker import LABEL, assign_rows

LIMIT = 1.5
ROWS_PER_FILE = 10_000


def write_vectors(folder: Path, num_rows: int, dim: int) -> None:
    folder.mkdir()
    for number, start in enumerate(range(0, num_rows, ROWS_PER_FILE)):
        X = mixture(min(ROWS_PER_FILE, num_rows - start), dim, 3000, seed=number)
        table = pa.table(
            {"id": [f"clip-{row:08d}" for row in range(start, start + len(X))], "embedding": matrix_column(X)}
        )
        write_parquet(Folder(str(folder)), f"part-{number:05d}.parquet", table, vectors=["embedding"])


def clusters(stage: KMeansStage, context: RunContext) -> None:
    """Run the second half of the stage: the fit has its marker already, the clusters have none."""
    result = stage.run(context=context)
    assert result.num_skipped == 0, result.num_skipped


def forget_clusters(stage: KMeansStage) -> None:
    state = StageState(stage.output, stage.name)
    state.forget([record.key for record in state.records() if record.key != "fit"])


def as_they_come(task: AssignTask, out: str | None) -> int:
    table, X, order = assign_rows(task)
    if out is not None:
        rows = table.drop_columns([LABEL]).add_column(1, "embedding", matrix_column(X[order]))
        write_parquet(Folder(out), f"part-{task.number}.parquet", rows, vectors=["embedding"])
    return table.num_rows


def all_chunks(tasks: list[AssignTask], context: RunContext, out: Path | None, num_rows: int) -> None:
    client = context.cluster.client
    done = client.gather(client.map(as_they_come, tasks, out=str(out) if out else None, pure=False))
    assert sum(done) == num_rows, sum(done)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--clusters", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    settings = ClusterSettings(device="cpu", n_workers=options.workers, dashboard=False)
    with tempfile.TemporaryDirectory() as scratch, LazyCluster(settings) as cluster:
        write_vectors(Path(scratch, "vectors"), options.rows, options.dim)
        stage = KMeansStage(
            options.clusters, input_path=f"{scratch}/vectors", output_path=f"{scratch}/k", init="random", max_iter=1
        )
        context = RunContext(cluster)
        stage.run(context=context)
        state = StageState(stage.output, stage.name)
        entries = stage.files.entries()
        source = stage.source(options.dim, entries)
        chunks = plan_chunks(source, entries)
        spec = WriteClustersSpec(
            source, stage.output, state, n_buckets=1, max_rows=stage.max_samples_per_batch, device="cpu"
        )
        tasks = [AssignTask(spec, number, chunk) for number, chunk in enumerate(chunks)]
        rounds = []
        for _ in range(options.rounds):
            forget_clusters(stage)
            rounds.append(
                {
                    "clusters": timed(lambda _: clusters(stage, context)),
                    "as they come": timed(lambda out: all_chunks(tasks, context, out, options.rows)),
                    "nothing": timed(lambda _: all_chunks(tasks, context, None, options.rows)),
                }
            )
        files = [entry for entry in stage.output.entries() if entry.path.startswith("centroid=")]
        assert sum(pq.read_metadata(f"{scratch}/k/{file.path}").num_rows for file in files) == options.rows
    report(rounds, len(files), options)


def report(rounds: list[dict[str, tuple[float, float]]], num_files: int, options: argparse.Namespace) -> None:
    print(
        f"{options.rows} rows of {options.dim}, {options.clusters} clusters in {num_files} files, {options.workers} workers"
    )
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores\n")
    print(f"{'':16}{'wall s':>10}{'CPU s':>10}")
    figures: dict[str, Any] = {}
    for name in rounds[0]:
        wall, cpu = (statistics.median(one[name][i] for one in rounds) for i in (0, 1))
        print(f"{name:16}{wall:>10.2f}{cpu:>10.2f}")
        figures[name] = {"wall_s": wall, "cpu_s": cpu}
    print(f"\n{'ratio':16}{'wall':>10}{'CPU':>10}{'limit':>8}")
    for name, less in (("of the whole", 0.0), ("of the writing", 1.0)):
        ratios = [
            statistics.median(
                (one["clusters"][i] - less * one["nothing"][i]) / (one["as they come"][i] - less * one["nothing"][i])
                for one in rounds
            )
            for i in (0, 1)
        ]
        print(f"{name:16}{ratios[0]:>10.3f}{ratios[1]:>10.3f}{LIMIT:>8.2f}")
        figures[name] = {"wall_ratio": ratios[0], "cpu_ratio": ratios[1]}
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
