"""Identify decides from the lists of near pairs that the pairwise stage left, and from the vectors where there are none."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from curator_dask import PairwiseStage
from curator_dask.data import scored_clusters
from curator_dask.dedup.decide.rules import Rule
from curator_dask.errors import InputError
from curator_dask.files.folder import Folder
from curator_dask.runtime.state import StageState
from curator_dask.stages.identify import worker
from curator_dask.stages.identify.across.own_kept_rows import OwnKeptTask, own_kept_rows
from curator_dask.stages.identify.list_clusters import list_clusters, with_near_lists
from curator_dask.stages.identify.settling import settled_parts
from curator_dask.stages.identify.spec import DecideTask
from tests.stages.identify.test_greedy_across_clusters import decide
from tests.trees import results, times


@pytest.fixture
def compared(compared_rows) -> Path:
    return compared_rows(3, 900, 24)


def lists(out: Path) -> list[Path]:
    return sorted((out / "p" / ".curator" / "pairwise" / "units").glob("*.arrow"))


@pytest.mark.parametrize("rule", ["pairwise", "greedy"])
@pytest.mark.parametrize("tables", ["p", "x"])
def test_with_and_without_lists_the_decisions_are_the_same(compared, context, rule, tables):
    assert lists(compared)
    counts = decide(compared, context, tables=tables, rule=rule)
    assert counts["removed"] > 0
    for path in lists(compared):
        path.unlink()
    assert decide(compared, context, "e", tables=tables, rule=rule) == counts
    assert results(compared / "d") == results(compared / "e")


@pytest.mark.parametrize(("seed", "dim", "eps"), [(1, 6, 0.04), (3, 24, 0.1), (2, 16, 0.1)])
def test_a_row_whose_match_in_another_cluster_is_removed_gets_the_kept_row_of_its_own(
    compared_rows, context, monkeypatch, seed, dim, eps
):
    out = compared_rows(seed, 900, dim)
    asked: list[int] = []

    def counted(task: OwnKeptTask) -> object:
        asked.append(len(task.places))
        return own_kept_rows(task)

    monkeypatch.setattr(settled_parts, "own_kept_rows", counted)
    decide(out, context, rule="pairwise", eps=eps)
    assert sum(asked) > 0
    for path in lists(out):
        path.unlink()
    decide(out, context, "e", rule="pairwise", eps=eps)
    assert results(out / "d") == results(out / "e")
    removed = pq.read_table(out / "d" / "duplicates.parquet")
    assert removed["kept_id"].null_count < len(removed)


@pytest.mark.parametrize("damage", ["another list", "changed bytes"])
def test_a_list_that_is_not_that_of_the_cluster_is_passed_over(compared, context, damage):
    decide(compared, context, tables="p")
    first, second, *_ = lists(compared)
    data = bytearray(second.read_bytes() if damage == "another list" else first.read_bytes())
    data[len(data) // 2] ^= 1 if damage == "changed bytes" else 0
    first.write_bytes(data)
    decide(compared, context, "e", tables="p")
    assert results(compared / "d") == results(compared / "e")


def decided_here(compared: Path, tables: str, eps: float) -> int:
    """How many clusters are decided from their lists alone: their vectors are gone."""
    folder = Folder(str(compared / tables))
    clusters = with_near_lists(list_clusters(folder, Folder(str(compared / "k")), "id", "embedding"), folder)
    shutil.rmtree(compared / "k")
    num = 0
    for cluster in clusters:
        task = DecideTask(cluster, Rule("greedy", eps), None, Folder(str(compared / "here")), "one.arrow", "cpu")
        scores = scored_clusters.read_scores(cluster)
        if (scores.score >= 1 - eps).any():
            num += bool(worker.decide_cluster(task).outputs)
    return num


def test_the_vectors_of_clusters_with_a_list_are_not_read(compared):
    assert decided_here(compared, "p", 0.05) == len(lists(compared)) > 0


def test_the_vectors_are_read_where_eps_is_beyond_the_list(compared):
    with pytest.raises(InputError, match="No such file"):
        decided_here(compared, "p", 0.11)


def test_an_output_of_an_earlier_version_stays_finished(compared, context):
    """It has no lists, and its markers name none."""
    decide(compared, context, tables="p")
    state = StageState(Folder(str(compared / "p")), "pairwise")
    for record in list(state.records()):
        tables = {path: size for path, size in record.outputs.items() if path.endswith(".parquet")}
        state.write(replace(record, outputs=tables))
    assert not lists(compared)
    stage = PairwiseStage(input_path=str(compared / "k"), output_path=str(compared / "p"))
    assert stage.run(context=context).num_run == 0
    before = times(compared / "d")
    decide(compared, context, tables="p")
    assert times(compared / "d") == before
    decide(compared, context, "e", tables="p")
    assert results(compared / "d") == results(compared / "e")
