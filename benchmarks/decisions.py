"""What identify costs once the clusters are decided: CPU time of client and workers, and memory of the client, per clip.

Run: ``python -m benchmarks.decisions``. The tables of the clusters and the clip index are made up, and written as real
files: clusters of 1,000 rows, 30 % of them removed, 2 % for a row of another cluster, 20 clips per video. Two real workers
do the tasks. Each size runs in a process of its own, which is the client, and the peak of each step is counted above the
memory in use at its start. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa

from benchmarks.measuring import apart, for_each_size, measure_step, memory
from curator_dask.data.clip_index import extent
from curator_dask.data.decisions.read_decisions import decision_batches, decision_parts
from curator_dask.data.scored_clusters import Scores
from curator_dask.data.tables import parquet_bytes
from curator_dask.dedup.decide.rules import ClusterDecisions, Rule
from curator_dask.files.folder import Folder
from curator_dask.files.layout import SINGLE_FILE_ROWS, clip_index_part
from curator_dask.runtime.cluster import LazyCluster
from curator_dask.runtime.cluster_settings import ClusterSettings
from curator_dask.runtime.progress import SilentReporter
from curator_dask.runtime.records import UnitRecord
from curator_dask.runtime.state import StageState
from curator_dask.stages.base import RunContext
from curator_dask.stages.identify.decisions.decision_table import decision_table, write_decisions_of_unit
from curator_dask.stages.identify.decisions.loaded_decisions import DecidedClusters
from curator_dask.stages.identify.decisions.table_rows import UnitTables, key_of_cluster
from curator_dask.stages.identify.in_parts import join_in_parts as in_parts
from curator_dask.stages.identify.output import publish
from curator_dask.stages.incremental.joining.join_scores import join_scores
from curator_dask.stages.workplace import workplace

CLUSTER_ROWS, CLIPS_PER_VIDEO = 1000, 20
RULE = Rule("pairwise", 0.05)


def print_heading() -> None:
    columns = (
        "clips",
        "step",
        "client, CPU µs per clip",
        "workers, CPU µs per clip",
        "peak bytes per clip",
        "MB of the client",
    )
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument(
        "--crossing", type=float, default=0.02, help="the share of rows with a duplicate in another cluster"
    )
    parser.add_argument("--new", action="store_true", help="join the rows as `dedup-new` joins new ones; crossing is 0")
    given = parser.parse_args()
    print_heading()
    if given.new:
        for_each_size(given.clips, _measure_new)
    else:
        for_each_size(given.clips, _measure, given.crossing)


@contextlib.contextmanager
def _decided(stage: str, num_clips: int, crossing: float) -> Iterator[tuple[LazyCluster, StageState, UnitTables]]:
    """Two workers, and the made-up tables of a stage that are not joined yet."""
    publish.SINGLE_FILE_ROWS = 0  # they are a step of their own
    with tempfile.TemporaryDirectory() as scratch:
        state = StageState(Folder(scratch), stage)
        apart(_write_input, state, num_clips, crossing)
        tables = UnitTables(state, "cluster", tuple(range(num_clips // CLUSTER_ROWS)))
        with LazyCluster(ClusterSettings(device="cpu", n_workers=2, dashboard=False)) as cluster:
            yield cluster, state, tables


def _measure_new(num_clips: int) -> None:
    with _decided("incremental", num_clips, 0.0) as (cluster, state, tables):
        context = RunContext(cluster, SilentReporter())
        _step(
            "join and write the parts",
            num_clips,
            cluster,
            lambda: join_scores(context, state, tables, RULE, state.folder, ""),
        )


def _measure(num_clips: int, crossing: float) -> None:
    with _decided("identify", num_clips, crossing) as (cluster, state, tables):
        folder, context = state.folder, RunContext(cluster, SilentReporter())
        decided = DecidedClusters(tables, ("made up",), RULE, None)
        _step(
            "join and write the parts",
            num_clips,
            cluster,
            lambda: in_parts.join_in_parts(context, state, decided, folder, None),
        )
        _step(
            "the same again, all done",
            num_clips,
            cluster,
            lambda: in_parts.join_in_parts(context, state, decided, folder, None),
        )
        _tell_most_memory(cluster)
        if num_clips <= SINGLE_FILE_ROWS:
            _step(
                "single files",
                num_clips,
                cluster,
                lambda: _write_single_files(context, state),
            )
            _tell_most_memory(cluster)
        _step("read all parts in batches", num_clips, cluster, lambda: _read(folder))


def _tell_most_memory(cluster: LazyCluster) -> None:
    most = max(cluster.client.run(memory, "VmHWM").values())
    print(f"The worker that used most memory used {most / 1e6:,.0f} MB.", flush=True)


def _write_single_files(context: RunContext, state: StageState) -> None:
    with workplace(context, state, here=False) as place:
        publish.publish_single_files(place, state, decision_parts(state.folder), publish.SINGLE_FILES)


def _read(folder: Folder) -> int:
    return sum(len(batch.filter(batch["removed"])) for batch in decision_batches(folder, ["id", "removed"]))


def _name(number: int) -> str:
    return f"{number:08x}-0000-5000-a000-{number:012x}"


def _write_input(state: StageState, num_clips: int, crossing: float) -> None:
    num_clusters = num_clips // CLUSTER_ROWS
    for cluster in range(num_clusters):
        _write_cluster(state, cluster, num_clusters, crossing)
    _write_clip_index(state.folder, num_clips)


def _write_cluster(state: StageState, cluster: int, num_clusters: int, crossing: float) -> None:
    """The clips of a video are in different clusters. Rows are removed for one a few places before them."""
    row = np.arange(CLUSTER_ROWS)
    removed = np.isin(row % 10, (3, 6, 9))
    elsewhere = (row % 10 == 3) & (row < 10 * crossing * CLUSTER_ROWS) & (cluster > 0)
    kept_row = np.where(removed, row - row % 10, row)
    ids = [_name(cluster + num_clusters * one) for one in row.tolist()]
    others = [_name(cluster - 1 + num_clusters * one) if cluster else ids[one] for one in kept_row.tolist()]
    max_ids = [others[one] if elsewhere[one] else ids[kept_row[one]] for one in row.tolist()]
    score = np.where(removed, 0.97, 0.4).astype(np.float32)
    decided = ClusterDecisions(removed, kept_row, np.where(elsewhere, 0.9, score).astype(np.float32), kept_row)
    table = decision_table(Scores(pa.array(ids), pa.array(max_ids), score), decided, cross_cluster=elsewhere)
    key = key_of_cluster("cluster", cluster)
    result = write_decisions_of_unit(state.folder, state.beside_marker(key), table, RULE)
    state.write(UnitRecord.of(key, "made up", result))


def _write_clip_index(folder: Folder, num_clips: int, part_rows: int = 65_536) -> None:
    starts = range(0, num_clips, part_rows)
    for number, first in enumerate(starts):
        clip = np.arange(first, min(first + part_rows, num_clips))
        span = clip % CLIPS_PER_VIDEO
        videos = [f"/videos/folder/video_{one:07d}.mp4" for one in (clip // CLIPS_PER_VIDEO).tolist()]
        columns = {"id": list(map(_name, clip.tolist())), "source_video": videos, "start_s": 10.0 * span}
        table = pa.table({**columns, "end_s": 10.0 * span + 10})
        if not number:
            table = table.replace_schema_metadata(extent(len(starts), num_clips))
        folder.write_bytes(clip_index_part(number), parquet_bytes(table))


def _step(name: str, num_clips: int, cluster: LazyCluster, work: Callable[[], object]) -> None:
    before = _seconds_of_workers(cluster)
    step = measure_step(work)
    workers = _seconds_of_workers(cluster) - before
    micros = " | ".join(f"{seconds / num_clips * 1e6:.2f}" for seconds in (step.seconds, workers))
    print(
        f"| {num_clips:,} | {name} | {micros} | {step.growth / num_clips:,.0f} | {step.peak / 1e6:,.0f} |", flush=True
    )


def _seconds_of_workers(cluster: LazyCluster) -> float:
    return sum(cluster.client.run(time.process_time).values())


if __name__ == "__main__":
    main()
