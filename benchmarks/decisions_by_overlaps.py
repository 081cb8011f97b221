"""What identify by the rule ``overlap`` costs once the rows are listed: CPU time of client and workers, and the client's memory.

Run: ``python -m benchmarks.decisions_by_overlaps``. The listed rows, the output of align and the clip index are made up, and
written as real files: clusters of 1,000 rows, 20 clips of ten seconds per video. Every third video is a copy of the one
before it that begins four seconds later, so there are two overlaps for each three clips. Two real workers do the tasks. With
``--in-the-client`` all rows are decided on there, as with ``--also copies`` (and as the rule did before). With ``--joined``
overlaps join all videos with copies, so that one worker decides on them. Linux only.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.decisions import CLIPS_PER_VIDEO, CLUSTER_ROWS, _name, _step, _write_clip_index, print_heading
from benchmarks.measuring import apart, for_each_size, memory
from curator_dask.dedup.ranking.strategy import RankingStrategy
from curator_dask.files.folder import Folder
from curator_dask.runtime.cluster import LazyCluster
from curator_dask.runtime.cluster_settings import ClusterSettings
from curator_dask.runtime.progress import SilentReporter
from curator_dask.runtime.records import UnitRecord
from curator_dask.runtime.state import StageState
from curator_dask.stages.base import RunContext
from curator_dask.stages.identify.by_overlaps.decided_groups import ToDecide
from curator_dask.stages.identify.by_overlaps.join_overlaps import join_overlaps
from curator_dask.stages.identify.decisions import output_files
from curator_dask.stages.identify.decisions.clip_facts import clip_facts
from curator_dask.stages.identify.decisions.decision_table import with_digests, write_unit_table
from curator_dask.stages.identify.decisions.output_files import write_decisions
from curator_dask.stages.identify.decisions.table_rows import UnitTables, key_of_cluster
from curator_dask.stages.identify.overlap.decide_clips import OverlapRule
from curator_dask.stages.identify.overlap.decide_overlaps import decide_by_overlaps

ROWS_AT_ONCE = 65_536
LATER_S = 4.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--in-the-client", action="store_true")
    parser.add_argument("--joined", action="store_true")
    given = parser.parse_args()
    print_heading()
    for_each_size(given.clips, _measure, given.in_the_client, given.joined)


def _measure(num_clips: int, in_the_client: bool, joined: bool) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Folder(scratch)
        state = StageState(folder.below("d"), "identify")
        apart(_write_input, folder, state, num_clips, joined)
        output_files.SINGLE_FILE_ROWS = 0  # `benchmarks.decisions` measures them
        tables = UnitTables(state, "cluster", tuple(range(num_clips // CLUSTER_ROWS)))
        rule = OverlapRule(0.8, "all", None, RankingStrategy.of("hard"))
        what = ToDecide(tables, folder.below("overlaps"), rule, (), None, folder, None)
        with LazyCluster(ClusterSettings(device="cpu", n_workers=2, dashboard=False)) as cluster:
            context = RunContext(cluster, SilentReporter())
            step: Callable[[], object] = lambda: join_overlaps(context, state, what)  # noqa: E731
            if in_the_client:
                step = lambda: _decide_in_the_client(context, state, what)  # noqa: E731
            _step("decide, join and write the parts", num_clips, cluster, step)
            most = max(cluster.client.run(memory, "VmHWM").values())
            print(f"The worker that used most memory used {most / 1e6:,.0f} MB.", flush=True)


def _decide_in_the_client(context: RunContext, state: StageState, what: ToDecide) -> None:
    decisions = decide_by_overlaps(what.tables, what.overlaps, what.rule).decisions
    facts = clip_facts(decisions.rows, decisions.removed, what.clips)
    decisions.rows.forget_index()
    write_decisions(context, state, decisions, facts)


def _write_input(folder: Folder, state: StageState, num_clips: int, joined: bool) -> None:
    num_clusters = num_clips // CLUSTER_ROWS
    for cluster in range(num_clusters):
        _write_cluster(state, cluster, num_clusters)
    _write_clip_index(folder, num_clips)
    _write_table(folder, "overlaps/clips.parquet", map(_clips, _starts(num_clips)))
    _write_table(folder, "overlaps/overlaps.parquet", (_overlaps(clip, joined) for clip in _starts(num_clips)))


def _write_cluster(state: StageState, cluster: int, num_clusters: int) -> None:
    """The clips of a video are in different clusters."""
    row = np.arange(CLUSTER_ROWS)
    columns = {
        "id": pa.array([_name(cluster + num_clusters * one) for one in row.tolist()]),
        "max_row": np.maximum(row - 1, 0),
        "max_id": pa.nulls(len(row), pa.string()),
        "cosine_sim_score": np.full(len(row), 0.4, np.float32),
        "rank_0": np.random.default_rng(cluster).random(len(row)),
    }
    key = key_of_cluster("cluster", cluster)
    result = write_unit_table(state.folder, state.beside_marker(key), with_digests(columns), {"rows": len(row)})
    state.write(UnitRecord.of(key, "made up", result))


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


def _clips(clip: np.ndarray) -> pa.Table:
    start = 10.0 * (clip % CLIPS_PER_VIDEO)
    sources = [f"/videos/folder/video_{one:07d}.mp4" for one in (clip // CLIPS_PER_VIDEO).tolist()]
    return pa.table({"id": list(map(_name, clip.tolist())), "source": sources, "start_s": start, "end_s": start + 10})


def _overlaps(clip: np.ndarray, joined: bool) -> pa.Table:
    """Each clip of a copy shows the end of a clip of the film, and the begin of the next one.

    If they are joined, its first clip also shows the begin of a clip of the copy before it.
    """
    clip = clip[(clip // CLIPS_PER_VIDEO) % 3 == 2]
    film = clip - CLIPS_PER_VIDEO
    following = np.minimum(film + 1, film - film % CLIPS_PER_VIDEO + CLIPS_PER_VIDEO - 1)
    parts = [_table(clip, film, 0.0, 10 - LATER_S, -LATER_S), _table(clip, following, 10 - LATER_S, 10.0, 10 - LATER_S)]
    first = clip[(clip % CLIPS_PER_VIDEO == 0) & (clip >= 5 * CLIPS_PER_VIDEO)]
    parts += [_table(first, first - 3 * CLIPS_PER_VIDEO, 0.0, LATER_S, 0.0)] if joined else []
    return pa.concat_tables(parts)


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
