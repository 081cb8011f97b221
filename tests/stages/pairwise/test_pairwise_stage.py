"""Clusters too large for one worker: cut into parts, the table is the same byte for byte."""

from __future__ import annotations

import io
from pathlib import Path
from typing import IO, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curator_dask import PairwiseStage, RankingStrategy
from curator_dask.data import clusters as clusters_module
from curator_dask.data.vectors import matrix_column
from curator_dask.dedup.ranking.keep_rules import parse_keep
from curator_dask.dedup.similarity.pairwise import runs_of_equal_work
from curator_dask.errors import InputError
from curator_dask.files.folder import Folder
from curator_dask.runtime.state import StageState
from curator_dask.runtime.units import run_unit
from curator_dask.stages.base import RunContext
from curator_dask.stages.pairwise import cut_clusters
from curator_dask.stages.pairwise.cut_clusters import PairwisePlan, plan_units, scored_clusters
from curator_dask.stages.pairwise.stage import cluster_unit
from curator_dask.stages.pairwise.worker import join_parts, score
from tests.dedup.reference import earlier, random_unit
from tests.stages import builders
from tests.trees import results, tree


def write_cluster(folder: Path, cluster: int, X: np.ndarray, *, files: int = 1, group_rows: int = 1000) -> None:
    """A cluster as k-means writes it, in one file or, as other tools do, in several."""
    target = folder / f"centroid={cluster}"
    distance = np.random.default_rng(cluster).permutation(len(X)).astype(np.float32)
    for number, rows in enumerate(np.array_split(np.arange(len(X)), files)):
        builders.write_vectors(
            target / f"part-{number}.parquet",
            [f"c{cluster}-{row:05d}" for row in rows],
            X[rows],
            row_group_size=group_rows,
            cosine_dist_to_cent=distance[rows],
        )


def stage_of(folder: Path, name: str, **parameters: object) -> PairwiseStage:
    return PairwiseStage(input_path=str(folder / "k"), output_path=str(folder / name), **parameters)


@pytest.fixture
def skewed(tmp_path: Path) -> Path:
    """Clusters of 900, 40, 1 and 300 rows with near copies in all of them, some of them equal."""
    for cluster, (num_rows, files) in enumerate([(900, 3), (40, 1), (1, 1), (300, 1)]):
        X = random_unit(num_rows, 16, cluster, copies=0.6, noise=[0.0, 1e-7, 1e-3, 1e-5][cluster])
        write_cluster(tmp_path / "k", cluster, X, files=files, group_rows=130)
    return tmp_path


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cut_clusters, "CUT_ROWS", 100)
    monkeypatch.setattr(cut_clusters, "PART_ROWS", 64)


@pytest.mark.parametrize("which", ["hard", "easy", "random"])
def test_cut_clusters_leave_the_bytes_of_whole_ones(skewed, context, small_parts, monkeypatch, which):
    cut = stage_of(skewed, "cut", which_to_keep=which).run(context=context)
    monkeypatch.setattr(cut_clusters, "CUT_ROWS", 10**6)
    whole = stage_of(skewed, "whole", which_to_keep=which).run(context=context)
    assert results(skewed / "cut") == results(skewed / "whole")  # only whole ones have lists of near pairs
    assert cut.counts == whole.counts == {"clusters": 4, "rows": 1241, "clusters_failed": 0}
    num_parts = len(runs_of_equal_work(900, 64)) + len(runs_of_equal_work(300, 64))
    assert (cut.num_run, whole.num_run) == (2 + num_parts + 2, 4)
    assert sorted(cut.tables) == sorted(whole.tables)


def test_a_cut_cluster_has_the_scores_of_brute_force(skewed, context, small_parts):
    stage_of(skewed, "p").run(context=context)
    table = pq.read_table(skewed / "p" / "cluster_0.parquet").to_pydict()
    given_rows = pq.read_table(skewed / "k" / "centroid=0").to_pydict()
    place = {identifier: row for row, identifier in enumerate(given_rows["id"])}
    order = [place[identifier] for identifier in table["id"]]
    distance = np.array(given_rows["cosine_dist_to_cent"])
    assert order == np.argsort(-distance).tolist()
    expected_score, expected_index = earlier(np.array(given_rows["embedding"], np.float32)[order])
    assert table["cosine_sim_score"] == expected_score.tolist()
    assert table["max_id"] == [table["id"][index] for index in expected_index]


@given(
    st.integers(0, 2**32), st.integers(1, 60), st.integers(1, 40), st.integers(1, 30), st.integers(1, 3),
    st.sampled_from([0.0, 1e-7, 1e-2]),
)  # fmt: skip
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_cut_of_any_files(tmp_path_factory, seed, num_rows, part_rows, batch_rows, files, noise):
    """The units run in this process, with batches and parts of any size."""
    folder = tmp_path_factory.mktemp("cut")
    X = random_unit(num_rows, 5, seed, copies=0.5, noise=noise)
    write_cluster(folder / "k", 0, X, files=min(files, num_rows), group_rows=7)
    written = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clusters_module, "BATCH_ROWS", batch_rows)
        patch.setattr(cut_clusters, "PART_ROWS", part_rows)
        for cut_rows in (0, num_rows):
            patch.setattr(cut_clusters, "CUT_ROWS", cut_rows)
            stage = stage_of(folder, f"out{cut_rows}", pairwise_batch_size=1 + seed % 50)
            written.append(run_here(stage))
    assert written[0] == written[1]


def plan_of(stage: PairwiseStage) -> PairwisePlan:
    spec, state = stage.spec("cpu"), StageState(stage.output, stage.name)
    clusters = clusters_module.cluster_folders(stage.input)
    return plan_units(state, [cluster_unit(spec, number, entries) for number, entries in clusters.items()])


def test_rows_are_counted_where_they_may_be_too_many_and_judged_by_bytes_elsewhere(skewed, monkeypatch):
    asked = []

    def count(folder, paths):
        asked.append(paths)
        return clusters_module.count_rows(folder, paths)

    monkeypatch.setattr(cut_clusters, "count_rows", count)
    small = plan_of(stage_of(skewed, "none_is_large"))
    assert len(asked) == 1  # the largest one tells how many bytes a row has
    assert [unit.task.cluster for unit in small.first] == [0, 3, 1, 2]
    assert all(0 < unit.task.num_rows <= 900 and 0 < unit.share < 1 for unit in small.first)
    asked.clear()
    monkeypatch.setattr(cut_clusters, "CUT_ROWS", 100)
    large = {one.join.task.cluster: one.join.task.num_rows for one in plan_of(stage_of(skewed, "two_are")).large}
    assert large == {0: 900, 3: 300}
    assert len(asked) < 1 + 4


def run_here(stage: PairwiseStage) -> bytes:
    state, plan = StageState(stage.output, stage.name), plan_of(stage)
    for unit in plan.first:
        assert run_unit(state, unit, score).final
    for large in scored_clusters(state, plan):
        join_parts(large.join.task)
    return stage.output.read_bytes("cluster_0.parquet")


def test_a_run_goes_on_with_the_parts_that_are_missing(skewed, context, small_parts):
    first = stage_of(skewed, "first")
    first.run(context=context)
    # What a run leaves that was stopped: some parts done, no table.
    stage = stage_of(skewed, "second")
    state = StageState(stage.output, stage.name)
    state.claim(stage.identity())
    plan = plan_of(stage)
    for unit in plan.first[3:9]:
        assert run_unit(state, unit, score).final
    result = stage.run(context=context)
    assert result.num_skipped == 6
    assert tree(skewed / "first") == tree(skewed / "second")


def test_a_part_leaves_no_file_of_its_own(skewed, context, small_parts):
    stage = stage_of(skewed, "p")
    stage.run(context=context)
    state = StageState(stage.output, stage.name)
    assert stage.output.entries(state.path("tmp"), hidden=True) == []
    left = [entry.path for entry in stage.output.entries(state.path("units"))]
    names = [f"cluster-{number:06d}.json" for number in range(4)]
    assert left == [
        state.path("units", name) for name in sorted([*names, "cluster-000001.arrow"])
    ]  # near pairs of 40 rows


def test_a_part_that_vanished_is_an_error(skewed, small_parts):
    stage = stage_of(skewed, "p")
    state, plan = StageState(stage.output, stage.name), plan_of(stage)
    for unit in plan.first:
        assert run_unit(state, unit, score).final
    [first, *_] = scored_clusters(state, plan)
    stage.output.remove(first.join.task.parts[1])
    with pytest.raises(InputError, match="is not there any more: run again"):
        join_parts(first.join.task)


def test_small_clusters_share_tasks_and_large_ones_have_their_own(skewed, monkeypatch):
    monkeypatch.setattr(cut_clusters, "TASK_ROWS", 600)
    stage = stage_of(skewed, "p")
    plan = plan_of(stage)
    assert [unit.task.cluster for unit in plan.first] == [0, 3, 1, 2]
    assert [unit.share for unit in plan.first] == [min(1, (unit.task.num_rows / 600) ** 2) for unit in plan.first]
    assert [unit.task.num_rows for unit in plan.first[:2]] == [900, pytest.approx(300, rel=0.1)]


class Watched(Folder):
    """A folder that records how many bytes are read from its files at a time."""

    asked: ClassVar[list[int]] = []

    def open(self, path: str) -> IO[bytes]:
        asked = self.asked

        class Stream(io.FileIO):
            def read(self, size: int | None = -1, /) -> bytes:
                asked.append(size if size is not None and size >= 0 else 1 << 60)
                return super().read(size)

        return Stream(self.local_path(path))


def test_a_large_row_group_is_read_bit_by_bit(tmp_path, monkeypatch):
    """One row group of 3.3 MB is read 64 KiB at a time. Pages may be larger, but not by much."""
    monkeypatch.setattr(clusters_module, "READ_BYTES", 1 << 16)
    X = random_unit(13_000, 64, 0)
    table = pa.table({"embedding": matrix_column(X)})
    pq.write_table(table, tmp_path / "one.parquet", use_dictionary=False, data_page_size=1 << 16)
    assert pq.ParquetFile(tmp_path / "one.parquet").num_row_groups == 1
    Watched.asked.clear()
    batches = list(clusters_module.vector_batches(Watched(str(tmp_path)), ["one.parquet"], "embedding", None, "one"))
    assert [(first, len(rows)) for first, rows in batches] == [(0, 8192), (8192, 13_000 - 8192)]
    np.testing.assert_array_equal(np.concatenate([rows for _, rows in batches]), X)
    assert 1 << 12 <= max(Watched.asked) <= 1 << 19


def test_a_second_run_reads_no_cluster_again(skewed, context, small_parts, monkeypatch):
    stage_of(skewed, "p").run(context=context)
    before = tree(skewed / "p")
    monkeypatch.setattr(cut_clusters, "count_rows", lambda *_: pytest.fail("a done cluster was opened"))
    result = stage_of(skewed, "p").run(context=context)
    assert (result.num_run, result.num_skipped) == (0, 4)
    assert tree(skewed / "p") == before


@pytest.mark.parametrize("damage", ["short", "nan", "infinite"])
def test_a_bad_part_fails_its_cluster_and_no_other(skewed, context, small_parts, damage):
    stage_of(skewed, "p").run(context=context)
    path = skewed / "k" / "centroid=0" / "part-2.parquet"
    table = pq.read_table(path)
    vectors = table["embedding"].to_pylist()
    number = {"short": [], "nan": [float("nan")], "infinite": [float("-inf")]}[damage]
    vectors[7] = vectors[7][:-1] + number
    pq.write_table(table.set_column(1, "embedding", pa.array(vectors)), path, row_group_size=130)
    result = stage_of(skewed, "p").run(context=RunContext(context.cluster))
    assert result.counts == {"clusters": 3, "rows": 341, "clusters_failed": 1}
    assert all("cluster 0" in failure.source and "run k-means again" in failure.message for failure in result.failures)
    assert not (skewed / "p" / "cluster_0.parquet").exists()
    assert (skewed / "p" / "cluster_3.parquet").exists()


def test_ranking_columns_travel_with_the_parts(skewed, context, small_parts, monkeypatch):
    strategy = RankingStrategy.metadata_based(["cosine_dist_to_cent"], ascending=True)
    stage_of(skewed, "cut", ranking_strategy=strategy).run(context=context)
    monkeypatch.setattr(cut_clusters, "CUT_ROWS", 10**6)
    stage_of(skewed, "whole", ranking_strategy=strategy).run(context=context)
    assert results(skewed / "cut") == results(skewed / "whole")


def test_columns_of_the_clip_index_can_rank(tmp_path, context):
    X = random_unit(6, 5, 3)
    write_cluster(tmp_path / "k", 0, X)
    ids = pq.read_table(tmp_path / "k" / "centroid=0")["id"].to_pylist()
    widths = [640, 1920, 320, 1280, 64, 100]
    index = [{"id": i, "width": w, "height": 100} for i, w in zip(ids, widths, strict=True)]
    clips = builders.write_clip_index(tmp_path / "split", index)
    stage = stage_of(tmp_path, "out", ranking_strategy=parse_keep("largest"), clips_path=clips)
    stage.run(context=context)
    ranked = pq.read_table(tmp_path / "out" / "cluster_0.parquet")["id"].to_pylist()
    assert ranked == [i for _, i in sorted(zip(widths, ids, strict=True), reverse=True)]
