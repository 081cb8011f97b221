"""Rows that kept rows of other clusters remove, in files; runs that were stopped while these were looked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curator_dask.data import scored_clusters
from curator_dask.data.scored_clusters import ClusterInput, RowSet
from curator_dask.files.folder import Folder
from curator_dask.runtime.units import MOST_IN_TASK
from curator_dask.stages.cross_cluster import stage as cross_cluster
from curator_dask.stages.cross_cluster.near_rows import NearRows
from curator_dask.stages.identify.across.find_taken import Rounds
from curator_dask.stages.identify.across.row_sets import read_row_sets, write_row_sets
from curator_dask.stages.identify.across.standing import (
    NewTask,
    StandTask,
    read_pairs,
    write_new,
    write_pairs,
    write_taken,
)
from curator_dask.stages.identify.across.taken_rows import among_left
from curator_dask.stages.identify.across.worker import in_tasks
from curator_dask.stages.identify.decisions import parts
from tests.stages.identify.test_filters_across_clusters import filtered, index_with_quality
from tests.stages.identify.test_greedy_across_clusters import crowded, decide
from tests.trees import results, times


def rows(*chosen: int) -> RowSet:
    return RowSet.of(np.array(chosen, bool))


def masks(folder: Folder, *paths: str) -> dict[int, list[int]]:
    return {one: found.mask().astype(int).tolist() for one, found in read_row_sets(folder, paths).items()}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "files"))


def test_the_last_file_that_tells_of_a_cluster_counts(folder):
    write_row_sets(folder, "a", {3: rows(1, 0, 1), 12: rows(*[1] * 9), 5: rows()})
    write_row_sets(folder, "b", {3: rows(0, 0, 1)})
    assert masks(folder, "a", "b") == {3: [0, 0, 1], 12: [1] * 9, 5: []}
    assert masks(folder, "b", "a") == masks(folder, "a")


def test_new_rows_are_those_that_no_earlier_round_kept(folder):
    write_row_sets(folder, "first", {0: rows(1, 1, 0), 1: rows(1, 0)})
    write_row_sets(folder, "second", {0: rows(0, 1, 0)})
    write_row_sets(folder, "third", {0: rows(1, 1, 1)})
    assert write_new(NewTask(folder, ["third"], ["first", "second"], "new"))
    assert masks(folder, "new") == {0: [0, 0, 1], 1: [0, 0]}
    assert not write_new(NewTask(folder, ["second"], ["first"], "new"))
    assert masks(folder, "new") == {0: [0, 0, 0], 1: [0, 0]}


def pairs(*found: tuple[int, int, int, int]) -> NearRows:
    columns = np.array(found, np.int64).reshape(-1, 4).T
    return NearRows(*columns, np.full(len(found), 0.95, np.float32))


def test_pairs_of_kept_rows_take_rows_and_changed_clusters_are_told(folder):
    """A and D take rows at first: B and E. In the second round D is gone, so only B is taken."""
    write_row_sets(folder, "kept", {0: rows(1), 2: rows(1, 1), 7: rows(1, 0)})
    write_pairs(folder, "near-0", pairs((0, 0, 2, 0), (2, 1, 7, 1)))
    write_pairs(folder, "near-1", pairs())
    found = read_pairs(folder, ["near-0", "near-1"])
    assert (found.kept_cluster.tolist(), found.place.tolist(), found.cosine.dtype) == ([0, 2], [0, 1], np.float32)
    first = StandTask(folder, ("kept",), ("near-0", "near-1"), None, "taken-0")
    assert write_taken(first) == [2, 7]
    assert masks(folder, "taken-0") == {0: [0], 2: [1, 0], 7: [0, 1]}
    write_row_sets(folder, "again", {2: rows(0, 0), 7: rows(1, 0)})
    second = StandTask(folder, ("kept", "again"), ("near-0",), "taken-0", "taken-1")
    assert write_taken(second) == [7]
    assert masks(folder, "taken-1") == {0: [0], 2: [1, 0], 7: [0, 0]}


def test_places_among_the_rows_left():
    """The example of `taken_rows`: rows 0, 1 and 3 are left of cluster 4, all of cluster 2."""
    stay = {4: rows(1, 1, 0, 1, 0), 2: rows(1, 1)}
    taken = pa.table({"cluster": [2, 4, 4], "place": [1, 2, 3], "kept_cluster": [4, 2, 2], "kept_place": [3, 0, 1],
                      "cosine": [0.9, 0.8, 0.7]})  # fmt: skip
    moved = [{"cluster": 2, "place": 1, "kept_cluster": 4, "kept_place": 2, "cosine": 0.9},
             {"cluster": 4, "place": 2, "kept_cluster": 2, "kept_place": 1, "cosine": 0.7}]  # fmt: skip
    assert among_left(taken, stay).to_pylist() == moved
    assert among_left(taken.slice(0, 0), stay).to_pylist() == []


def test_clusters_that_fill_a_task_together(folder, monkeypatch):
    monkeypatch.setattr(scored_clusters, "TASK_BYTES", 100)
    sizes = (60, 40, 10, 500, 90, 20)
    clusters = [ClusterInput(one, folder, "", folder, (), "", "", num_bytes=size) for one, size in enumerate(sizes)]
    assert [[one.number for one in some] for some in in_tasks(clusters)] == [[0, 1], [2], [3], [4], [5]]
    assert list(in_tasks([])) == []
    many = [ClusterInput(one, folder, "", folder, (), "", "") for one in range(MOST_IN_TASK + 1)]
    assert list(map(len, in_tasks(many))) == [MOST_IN_TASK, 1]


@pytest.fixture(params=["all rows", "filters"])
def run(request, compared_rows, context):
    """(folder, the stage's run to a folder of this name), of rows in crowds in several parts and tasks."""
    out = compared_rows(2, 900, 16)
    if request.param == "all rows":
        return out, lambda name, where=context: decide(out, where, name)
    index_with_quality(out, crowded(2, 900, 16)[0], 5)
    return out, lambda name, where=context: filtered(out, where, name)


def test_tasks_and_parts_leave_no_trace(run, one_worker, monkeypatch):
    out, work = run
    work("d")
    single = {path: digest for path, digest in results(out / "d").items() if "/" not in path}
    monkeypatch.setattr(parts, "PART_ROWS", 100)
    monkeypatch.setattr(scored_clusters, "TASK_BYTES", 1)
    monkeypatch.setattr(cross_cluster, "GROUP_BYTES", 1)
    work("e")
    assert len(list((out / "e" / "decisions").iterdir())) > 3
    assert single.items() <= results(out / "e").items()
    work("f", one_worker)
    assert results(out / "f") == results(out / "e")
    assert not (out / "e" / ".curator" / "identify" / "buckets").exists()


def test_what_is_settled_serves_clusters_that_are_decided_again(run):
    out, work = run
    work("d")
    before, units = results(out / "d"), out / "d" / ".curator" / "identify" / "units"
    settled = {path: time for path, time in times(out / "d").items() if "across" in str(path)}
    for path in sorted(units.glob("cluster-*.json"))[::2]:
        path.unlink()
    work("d")
    assert results(out / "d") == before
    assert settled == {path: time for path, time in times(out / "d").items() if "across" in str(path)} != {}


def test_a_run_that_was_stopped_between_rounds_starts_them_again(run, monkeypatch):
    out, work = run
    work("d")
    compare = Rounds._compare

    def stop(rounds: Rounds, number: int, new: str) -> None:
        if number:
            raise KeyboardInterrupt
        compare(rounds, number, new)

    with monkeypatch.context() as patch:
        patch.setattr(Rounds, "_compare", stop)
        with pytest.raises(KeyboardInterrupt):
            work("e")
    below = out / "e" / ".curator" / "identify"
    assert list((below / "units").glob("borders-*"))
    assert not (below / "buckets").exists()
    work("e")
    assert results(out / "e") == results(out / "d")


@pytest.mark.parametrize("lost", ["nothing", "cluster-*.json", "across.json"])
def test_what_a_killed_run_left_is_removed(run, lost):
    out, work = run
    work("d")
    before, below = results(out / "d"), out / "d" / ".curator" / "identify"
    for path in sorted((below / "units").glob(lost)):
        path.unlink()
    left = below / "buckets" / "across" / "taken-000007.arrow"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half of a file")
    work("d")
    assert results(out / "d") == before
    assert not (below / "buckets").exists()


def test_what_a_task_of_a_killed_run_writes_late_is_not_taken_for_a_file_of_the_next_run(run, monkeypatch):
    """Workers of a running scheduler outlive a client that is killed, and what they were doing goes on."""
    out, work = run
    work("d")
    used: list[dict[str, bytes]] = []
    compare = Rounds._compare

    def late(rounds: Rounds, number: int, new: str) -> None:
        root = out / "ef"[len(used) - 1]
        for path, content in used[0].items() if len(used) > 1 else ():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(content[: len(content) // 2])
        compare(rounds, number, new)
        written = root.glob(f"{rounds.place.below}/*.arrow")
        used[-1] |= {path.relative_to(root).as_posix(): path.read_bytes() for path in written}

    monkeypatch.setattr(Rounds, "_compare", late)
    for name in ("e", "f"):
        used.append({})
        work(name)
    assert used[0]
    assert not used[0].keys() & used[1].keys()
    assert results(out / "f") == results(out / "d")
    assert not (out / "f" / ".curator" / "identify" / "buckets").exists()
