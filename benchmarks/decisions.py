"""What identify costs in the client once the clusters are decided: CPU time and memory per clip of each step.

Run: ``python -m benchmarks.decisions``. The tables of the clusters and the clip index are made up, and written as real
files: clusters of 1,000 rows, 30 % of them removed, 2 % for a row of another cluster, 20 clips per video. There is no Dask:
what workers do runs in the same process, as a step of its own. Each size runs in a process of its own, and the peak of each
step is counted above the memory in use at its start. Linux only.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import pyarrow as pa

from benchmarks.measuring import apart, for_each_size, measure_step
from curator_dask.data.clip_index import extent
from curator_dask.data.decisions.read_decisions import decision_batches
from curator_dask.data.scored_clusters import Scores
from curator_dask.data.tables import arrow_bytes, parquet_bytes
from curator_dask.dedup.decide.rules import ClusterDecisions, Rule
from curator_dask.files.folder import Folder
from curator_dask.files.layout import SINGLE_FILE_ROWS, clip_index_part, decision_part
from curator_dask.runtime.records import UnitRecord
from curator_dask.runtime.state import StageState
from curator_dask.stages.identify.decisions.clip_facts import ClipFacts, clip_facts
from curator_dask.stages.identify.decisions.decision_table import decision_table, write_decisions_of_unit
from curator_dask.stages.identify.decisions.join_decisions import Decisions, join_decisions
from curator_dask.stages.identify.decisions.output_files import _publish_single_files, part_spans
from curator_dask.stages.identify.decisions.own_source import warn_of_emptied_sources
from curator_dask.stages.identify.decisions.part_files import PartTask, pack, write_part
from curator_dask.stages.identify.decisions.part_rows import PartsOfDecisions
from curator_dask.stages.identify.decisions.table_rows import UnitTables, key_of_cluster

Result = TypeVar("Result")
CLUSTER_ROWS, CLIPS_PER_VIDEO = 1000, 20
RULE = Rule("pairwise", 0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, nargs="+", default=[100_000, 1_000_000])
    print("| clips | step | CPU seconds | CPU µs per clip | peak bytes per clip | MB of the process |", flush=True)
    print("|---|---|---|---|---|---|", flush=True)
    for_each_size(parser.parse_args().clips, _measure)


def _measure(num_clips: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Folder(scratch)
        state = StageState(folder, "identify")
        apart(_write_input, state, num_clips)
        tables = UnitTables(state, "cluster", tuple(range(num_clips // CLUSTER_ROWS)))
        decisions = _step("join the clusters", num_clips, lambda: join_decisions(tables, RULE))
        facts = _step("find the clips in the clip index", num_clips, lambda: _facts(decisions, folder))
        _step("count", num_clips, lambda: (decisions.counts(), warn_of_emptied_sources(decisions, facts.sources)))
        parts = PartsOfDecisions(decisions, facts, with_groups=True)
        tasks = _step("send the parts", num_clips, lambda: _send(state, parts))
        _step("write the parts (workers)", num_clips, lambda: [write_part(task) for task in tasks])
        paths = [task.path for task in tasks]
        if num_clips <= SINGLE_FILE_ROWS:
            _step("single files", num_clips, lambda: _publish_single_files(state, paths, "", with_groups=True))
        _step("read all parts in batches", num_clips, lambda: _read(folder))


def _facts(decisions: Decisions, folder: Folder) -> ClipFacts:
    facts = clip_facts(decisions.rows, decisions.removed, folder)
    decisions.rows.forget_index()
    return facts


def _send(state: StageState, parts: PartsOfDecisions) -> list[PartTask]:
    rows, tasks = parts.decisions.rows, []
    spans = part_spans(rows.starts)
    for number, span in enumerate(spans):
        path = state.beside_marker(f"part-{number:06d}")
        state.folder.write_bytes(path, arrow_bytes(pack(parts.rows(*span).columns)))
        of_all = None if number else (len(spans), len(rows))
        tasks.append(PartTask(state.folder, decision_part(number), path, rows.tables, rows.id_type, RULE.eps, of_all))
    return tasks


def _read(folder: Folder) -> int:
    return sum(len(batch.filter(batch["removed"])) for batch in decision_batches(folder, ["id", "removed"]))


def _name(number: int) -> str:
    return f"{number:08x}-0000-5000-a000-{number:012x}"


def _write_input(state: StageState, num_clips: int) -> None:
    num_clusters = num_clips // CLUSTER_ROWS
    for cluster in range(num_clusters):
        _write_cluster(state, cluster, num_clusters)
    _write_clip_index(state.folder, num_clips)


def _write_cluster(state: StageState, cluster: int, num_clusters: int) -> None:
    """The clips of a video are in different clusters. Rows are removed for one a few places before them."""
    row = np.arange(CLUSTER_ROWS)
    removed = np.isin(row % 10, (3, 6, 9))
    elsewhere = (row % 50 == 3) & (cluster > 0)
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


def _step(name: str, num_clips: int, work: Callable[[], Result]) -> Result:
    step = measure_step(work)
    per_clip = f"{step.seconds / num_clips * 1e6:.2f} | {step.growth / num_clips:,.0f}"
    print(f"| {num_clips:,} | {name} | {step.seconds:.2f} | {per_clip} | {step.peak / 1e6:,.0f} |", flush=True)
    return step.result


if __name__ == "__main__":
    main()
