"""What identify by the rule ``overlap`` costs once the rows are listed: CPU time of client and workers, and the client's memory.

Run: ``python -m benchmarks.decisions_by_overlaps``. The listed rows, the output of align and the clip index are made up, and
written as real files: clusters of 1,000 rows, 20 clips of ten seconds per video. Every third video is a copy of the one
before it that begins four seconds later, so there are two overlaps for each three clips. Two real workers do the tasks. With
``--joined`` overlaps join all videos with copies, so that one worker decides on them. With ``--also-copies`` it is
``--also copies``: what the clusters decided without the copies is made up too, and a fifth of the other clips are near
neighbours. With ``--beside-a-run`` the rows are new ones, as `dedup-new` decides on them, beside a finished run of as many
clips that removed a fifth of these: the films are in that run, and their copies are new. Linux only.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.decisions import CLIPS_PER_VIDEO, CLUSTER_ROWS, _name, _step, _write_clip_index, print_heading
from benchmarks.measuring import apart, for_each_size, memory
from curator_dask.data.clusters import cluster_folders
from curator_dask.data.decisions.read_decisions import extent
from curator_dask.data.scored_clusters import Scores
from curator_dask.data.tables import parquet_bytes
from curator_dask.dedup.decide.rules import ClusterDecisions, Rule
from curator_dask.dedup.ranking.strategy import RankingStrategy
from curator_dask.files.folder import Folder
from curator_dask.files.layout import decision_part
from curator_dask.runtime.cluster import LazyCluster
from curator_dask.runtime.cluster_settings import ClusterSettings
from curator_dask.runtime.progress import SilentReporter
from curator_dask.runtime.records import UnitRecord
from curator_dask.runtime.state import StageState
from curator_dask.stages.base import RunContext
from curator_dask.stages.identify.by_overlaps.decided_groups import ToDecide, groups_to_decide
from curator_dask.stages.identify.by_overlaps.join_both import CopiesFirst
from curator_dask.stages.identify.by_overlaps.join_overlaps import join_overlaps
from curator_dask.stages.identify.decisions.decision_table import (
    decision_table,
    with_digests,
    write_decisions_of_unit,
    write_unit_table,
)
from curator_dask.stages.identify.decisions.join_record import Joined
from curator_dask.stages.identify.decisions.loaded_decisions import DecidedClusters
from curator_dask.stages.identify.decisions.table_rows import UnitTables, key_of_cluster
from curator_dask.stages.identify.output import publish
from curator_dask.stages.identify.overlap.decide_clips import OverlapRule
from curator_dask.stages.identify.source_groups.staying import StayingSet

ROWS_AT_ONCE = 65_536
LATER_S = 4.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--also-copies", action="store_true")
    parser.add_argument("--beside-a-run", action="store_true")
    parser.add_argument("--joined", action="store_true")
    given = parser.parse_args()
    print_heading()
    for_each_size(given.clips, _measure, given.also_copies, given.beside_a_run, given.joined)


def _measure(num_clips: int, also_copies: bool, beside_a_run: bool, joined: bool) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Folder(scratch)
        state = StageState(folder.below("d"), "identify")
        apart(_write_input, folder, state, num_clips, beside_a_run, joined)
        publish.SINGLE_FILE_ROWS = 0  # `benchmarks.decisions` measures them
        tables = UnitTables(state, "ranked", tuple(range(num_clips // CLUSTER_ROWS)))
        rule = OverlapRule(0.8, "all", None, RankingStrategy.of("hard"))
        staying = [_finished_run(folder)] if beside_a_run else []
        what = ToDecide(tables, folder.below("overlaps"), rule, staying, None, folder, None)
        with LazyCluster(ClusterSettings(device="cpu", n_workers=2, dashboard=False)) as cluster:
            context = RunContext(cluster, SilentReporter())
            decide = _decide_on_both if also_copies else join_overlaps
            _step("decide, join and write the parts", num_clips, cluster, lambda: decide(context, state, what))
            most = max(cluster.client.run(memory, "VmHWM").values())
            print(f"The worker that used most memory used {most / 1e6:,.0f} MB.", flush=True)


def _decide_on_both(context: RunContext, state: StageState, what: ToDecide) -> Joined:
    near = replace(what.tables, prefix="cluster")
    with groups_to_decide(context, state, what) as groups:
        copies = CopiesFirst(state, groups)
        if sum(int(rows.mask().sum()) for rows in copies.gone.values()) != _num_copies(
            len(near.numbers) * CLUSTER_ROWS
        ):
            raise SystemExit("the copies are not those that the clusters were decided on without")
        return copies.join(DecidedClusters(near, ("made up",), Rule("greedy", 0.05), None))


def _finished_run(folder: Folder) -> StayingSet:
    kmeans = folder.below("k")
    files = [entry for entries in cluster_folders(kmeans).values() for entry in entries]
    return StayingSet.of_run(0, 1, kmeans, files, "id", [folder.below("finished")])


def _write_input(folder: Folder, state: StageState, num_clips: int, beside_a_run: bool, joined: bool) -> None:
    num_clusters = num_clips // CLUSTER_ROWS
    for cluster in range(num_clusters):
        _write_cluster(state, cluster, num_clusters)
        _write_neighbours(state, cluster, num_clusters)
    _write_clip_index(folder, num_clips)
    if beside_a_run:
        _write_finished_run(folder, num_clips)
    finished = num_clips if beside_a_run else 0
    starts = _starts(num_clips + finished)
    _write_table(folder, "overlaps/clips.parquet", (_clips(clip, clip >= num_clips) for clip in starts))
    overlaps = (_overlaps(clip, finished, joined) for clip in _starts(num_clips))
    _write_table(folder, "overlaps/overlaps.parquet", overlaps)


def _write_finished_run(folder: Folder, num_clips: int) -> None:
    """Its clips have the numbers from `num_clips` on. A fifth of the films is removed."""
    for cluster in range(num_clips // CLUSTER_ROWS):
        clip = num_clips + cluster * CLUSTER_ROWS + np.arange(CLUSTER_ROWS)
        columns = {"id": pa.array(list(map(_name, clip.tolist()))), "embedding": np.zeros(CLUSTER_ROWS)}
        folder.write_bytes(f"k/centroid={cluster}/part.0.parquet", parquet_bytes(pa.table(columns)))
    for number, clip in enumerate(_starts(num_clips)):
        ids = pa.array(list(map(_name, (clip + num_clips).tolist())))
        part = pa.table({"id": ids, "removed": (clip // CLIPS_PER_VIDEO) % 15 == 1})
        part = part if number else part.replace_schema_metadata(extent(-(-num_clips // ROWS_AT_ONCE), num_clips))
        folder.write_bytes(f"finished/{decision_part(number)}", parquet_bytes(part))


def _write_cluster(state: StageState, cluster: int, num_clusters: int) -> None:
    """The clips of a video are in different clusters. Films are preferred to their copies."""
    row = np.arange(CLUSTER_ROWS)
    is_copy = _is_copy(cluster + num_clusters * row)
    columns = {
        "id": pa.array([_name(cluster + num_clusters * one) for one in row.tolist()]),
        "max_row": np.maximum(row - 1, 0),
        "max_id": pa.nulls(len(row), pa.string()),
        "cosine_sim_score": np.full(len(row), 0.4, np.float32),
        "rank_0": np.random.default_rng(cluster).random(len(row)) - is_copy,
    }
    key = key_of_cluster("ranked", cluster)
    result = write_unit_table(state.folder, state.beside_marker(key), with_digests(columns), {"rows": len(row)})
    state.write(UnitRecord.of(key, "made up", result))


def _write_neighbours(state: StageState, cluster: int, num_clusters: int) -> None:
    """What the cluster decided without its copies: two rows of ten go for one a few places before them, if that is no copy."""
    row = np.arange(CLUSTER_ROWS)
    is_copy = _is_copy(cluster + num_clusters * row)
    near = np.isin(row % 10, (3, 6)) & ~is_copy & ~is_copy[row - row % 10]
    kept_row = np.where(near, row - row % 10, row)
    ids = pa.array([_name(cluster + num_clusters * one) for one in row.tolist()])
    score = np.where(near, 0.97, 0.4).astype(np.float32)
    decided = ClusterDecisions(near | is_copy, kept_row, score, kept_row)
    key = key_of_cluster("cluster", cluster)
    table = decision_table(Scores(ids, ids.take(pa.array(kept_row)), score), decided)
    result = write_decisions_of_unit(state.folder, state.beside_marker(key), table, Rule("greedy", 0.05))
    state.write(UnitRecord.of(key, "made up", result))


def _is_copy(clip: np.ndarray) -> np.ndarray:
    return (clip // CLIPS_PER_VIDEO) % 3 == 2


def _num_copies(num_clips: int) -> int:
    return int(np.count_nonzero(_is_copy(np.arange(num_clips))))


def _starts(num_clips: int) -> Iterator[np.ndarray]:
    for first in range(0, num_clips, ROWS_AT_ONCE):
        yield np.arange(first, min(first + ROWS_AT_ONCE, num_clips))


def _write_table(folder: Folder, path: str, tables: Iterator[pa.Table]) -> None:
    (local := Path(folder.join(path))).parent.mkdir(exist_ok=True)
    first = next(tables)
    with pq.ParquetWriter(str(local), first.schema) as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)


def _clips(clip: np.ndarray, in_reference: np.ndarray) -> pa.Table:
    start = 10.0 * (clip % CLIPS_PER_VIDEO)
    sources = [f"/videos/folder/video_{one:07d}.mp4" for one in (clip // CLIPS_PER_VIDEO).tolist()]
    ids = list(map(_name, clip.tolist()))
    return pa.table({"id": ids, "source": sources, "start_s": start, "end_s": start + 10, "reference": in_reference})


def _overlaps(clip: np.ndarray, finished: int, joined: bool) -> pa.Table:
    """Each clip of a copy shows the end of a clip of the film, and the begin of the next one.

    If they are joined, its first clip also shows the begin of a clip of the copy before it.

    Args:
        finished: what is to be added to the numbers of films, which a finished run has; 0: there is none.
    """
    clip = clip[_is_copy(clip)]
    film = clip - CLIPS_PER_VIDEO
    following = np.minimum(film + 1, film - film % CLIPS_PER_VIDEO + CLIPS_PER_VIDEO - 1)
    parts = [
        _table(clip, film + finished, 0.0, 10 - LATER_S, -LATER_S),
        _table(clip, following + finished, 10 - LATER_S, 10.0, 10 - LATER_S),
    ]
    first = clip[(clip % CLIPS_PER_VIDEO == 0) & (clip >= 5 * CLIPS_PER_VIDEO)]
    parts += [_table(first, first - 3 * CLIPS_PER_VIDEO, 0.0, LATER_S, 0.0)] if joined else []
    table = pa.concat_tables(parts)
    return table.append_column("other_reference_number", pa.array(np.full(len(table), int(finished > 0))))


def _table(clip: np.ndarray, other: np.ndarray, start: float, end: float, offset: float) -> pa.Table:
    numbers = {"start_s": start, "end_s": end, "other_start_s": start - offset, "other_end_s": end - offset}
    same = {**numbers, "offset_s": offset, "picture": 0.96, "motion": 0.95, "energy": 0.2}
    columns = {name: np.full(len(clip), value) for name, value in same.items()}
    ids = {
        name: pa.array(list(map(_name, some.tolist())), pa.string())
        for name, some in (("id", clip), ("other_id", other))
    }
    return pa.table({**ids, **columns, "kind": pa.array(["shifted"] * len(clip), pa.string())})


if __name__ == "__main__":
    main()
