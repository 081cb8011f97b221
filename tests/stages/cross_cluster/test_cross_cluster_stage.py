"""Scores across clusters, through files and a real Dask cluster."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from curator_dask import IdentifyDuplicatesStage, InputError, KMeansStage, PairwiseStage, ParameterError
from curator_dask.data.clusters import cluster_folders
from curator_dask.dedup.arrays.priority import sample_priority
from curator_dask.dedup.ranking.keep_rules import parse_keep
from curator_dask.files.folder import Folder
from curator_dask.runtime.records import UnitRecord
from curator_dask.runtime.state import StageState
from curator_dask.stages.base import RunContext
from curator_dask.stages.cross_cluster import border_files
from curator_dask.stages.cross_cluster import stage as cross_cluster
from curator_dask.stages.cross_cluster.spec import GroupTask
from curator_dask.stages.cross_cluster.stage import CrossClusterStage, group_clusters, score_across_clusters
from curator_dask.stages.cross_cluster.worker import compare_group, find_group_borders, merge_group
from tests.dedup.reference import cosines
from tests.stages import builders
from tests.trees import results, times

EPS = 0.1


def tables(folder: Path) -> dict[str, str]:
    return {name: digest for name, digest in results(folder).items() if name.startswith("cluster_")}


def stage(out: Path, name: str = "x", **parameters: object) -> CrossClusterStage:
    paths = {"input_path": str(out / "k"), "pairwise_path": str(out / "p"), "output_path": str(out / name)}
    return CrossClusterStage(**{**paths, "eps": EPS, "budget": 1e9, **parameters})


@pytest.fixture
def planted() -> tuple[list[str], np.ndarray]:
    """300 random directions in 24 dimensions and a twin near each of 200 of them."""
    rng = np.random.default_rng(7)
    X = rng.standard_normal((500, 24))
    X[300:] = X[:200] + 0.35 * rng.standard_normal((200, 24))
    return [f"clip-{number:03d}" for number in rng.permutation(500)], X.astype(np.float32)


@pytest.fixture
def parted(tmp_path, context, write_vectors, planted) -> Path:
    """The k-means (``k``) and pairwise (``p``) output of the rows of `planted`."""
    ids, X = planted
    source = write_vectors(ids, X, parts=3)
    return builders.score_vectors(source, tmp_path, context, 7)


def all_rows(out: Path) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """(ids, vectors, distances) of the k-means output, in the global order of ``hard``."""
    found = [pq.read_table(path) for path in (out / "k").glob("centroid=*/*.parquet")]
    ids = np.concatenate([table["id"].to_numpy() for table in found])
    X = np.array([row for table in found for row in table["embedding"].to_pylist()])
    distances = {
        name: np.concatenate([table[name].to_numpy() for table in found])
        for name in ("cosine_dist_to_cent", "l2_dist_to_cent")
    }
    return ids, X, distances


def width_px(identifier: str) -> int:
    return 16 * (int(identifier.removeprefix("clip-")) % 7 + 1)


def clip_index(folder: Path, ids: np.ndarray) -> str:
    rows = [{"id": identifier, "width": width_px(identifier), "height": 90} for identifier in ids.tolist()]
    return builders.write_clip_index(folder, rows)


@pytest.mark.parametrize(
    ("ranking", "key"),
    [
        ({"which_to_keep": "hard"}, lambda ids, far: sorted(range(500), key=lambda i: (far[i], ids[i]), reverse=True)),
        ({"which_to_keep": "easy"}, lambda ids, far: sorted(range(500), key=lambda i: (far[i], ids[i]))),
        ({"which_to_keep": "random"}, None),
        (
            {"ranking_strategy": parse_keep("largest"), "clips_path": "split"},
            lambda ids, far: sorted(range(500), key=lambda i: (-width_px(ids[i]), ids[i])),
        ),
    ],
    ids=["hard", "easy", "random", "clip index"],
)
def test_scores_are_those_of_brute_force_over_all_rows(parted, context, ranking, key):
    if "clips_path" in ranking:
        ranking = {**ranking, "clips_path": clip_index(parted / "split", all_rows(parted)[0])}
    PairwiseStage(input_path=str(parted / "k"), output_path=str(parted / "q"), **ranking).run(context=context)
    made = stage(parted, pairwise_path=str(parted / "q"), **ranking)
    result = made.run(context=context)
    ids, X, distances = all_rows(parted)
    order = made.strategy.rank({}, ids) if key is None else np.array(key(ids, distances["cosine_dist_to_cent"]))
    ids, X = ids[order], X[order]
    cosine = np.tril(X @ X.T, -1)
    place = {identifier: row for row, identifier in enumerate(ids)}
    raised = 0
    for name in tables(parted / "q"):
        before, after = (pq.read_table(parted / folder / name) for folder in ("q", "x"))
        assert after.schema == before.schema
        assert after["id"].to_pylist() == before["id"].to_pylist()
        ranks = [place[identifier] for identifier in after["id"].to_pylist()]
        assert ranks == sorted(ranks)  # the order within a cluster is the order of all rows, the others left out
        for identifier, max_id, score, within in zip(
            *(after[column].to_pylist() for column in ("id", "max_id", "cosine_sim_score")),
            before["cosine_sim_score"].to_pylist(),
            strict=True,
        ):
            row = place[identifier]
            best = cosine[row].max()
            assert score == pytest.approx(max(within, best if best >= 1 - EPS else 0.0), abs=1e-6)
            if score > 0:
                assert place[max_id] < row
                assert cosine[row, place[max_id]] == pytest.approx(score, abs=1e-6)
            raised += score > within
    assert raised == result.counts["rows_raised"] > 10
    assert result.counts["rows"] == 500
    assert result.counts["borders_left_out"] == 0


def test_a_run_warns_where_pairs_are_thought_to_be_missed(parted, context):
    made = stage(parted, budget=0.0)
    (warning,) = made.run(context=context).warnings
    assert "may be missed" in warning
    assert made.run(context=context).warnings == (warning,)  # another run, which has nothing to do, says it too
    assert stage(parted, "all").run(context=context).warnings == ()


def test_a_wanted_recall_finds_what_the_budget_does_not(parted, context):
    few, all_of_them = (
        stage(parted, name, budget=0.0, **more) for name, more in (("few", {}), ("all", {"recall": 1.0}))
    )
    assert few.run(context=context).counts["rows_raised"] == 0
    result = all_of_them.run(context=context)
    assert (result.warnings, result.counts["borders_left_out"]) == ((), 0)
    assert tables(parted / "all") == tables(stage_output(parted, context))
    assert "recall" not in few.identity()


def stage_output(out: Path, context: RunContext) -> Path:
    """What an unlimited budget finds."""
    stage(out, "unlimited").run(context=context)
    return out / "unlimited"


def test_long_vectors_are_told_apart_by_sketches_with_the_same_result(tmp_path, context, write_vectors, monkeypatch):
    rng = np.random.default_rng(8)
    X = rng.standard_normal((400, 160))
    X[250:] = X[:150] + 0.4 * rng.standard_normal((150, 160))
    source = write_vectors([f"clip-{number:03d}" for number in range(400)], X.astype(np.float32))
    KMeansStage(20, input_path=str(source), output_path=str(tmp_path / "k")).run(context=context)
    PairwiseStage(input_path=str(tmp_path / "k"), output_path=str(tmp_path / "p")).run(context=context)
    monkeypatch.setattr(cross_cluster, "GROUP_BYTES", 1)
    result = stage(tmp_path).run(context=context)
    assert result.counts["pairs_measured"] < 0.05 * result.counts["pairs_compared"]
    ids, X, distances = all_rows(tmp_path)
    order = np.array(sorted(range(400), key=lambda i: (distances["cosine_dist_to_cent"][i], ids[i]), reverse=True))
    best = np.tril(X[order] @ X[order].T, -1).max(axis=1)
    after = [pq.read_table(path) for path in sorted((tmp_path / "x").glob("cluster_*.parquet"))]
    score = {
        identifier: value
        for table in after
        for identifier, value in zip(table["id"].to_pylist(), table["cosine_sim_score"].to_pylist(), strict=True)
    }
    expected = {identifier: value for identifier, value in zip(ids[order], best, strict=True) if value >= 1 - EPS}
    found = {identifier: value for identifier, value in score.items() if value >= 1 - EPS}
    assert len(expected) > 100
    assert result.counts["rows_raised"] > 5
    assert found == pytest.approx(expected, abs=1e-6)


def test_identify_removes_more_than_within_clusters(parted, context):
    stage(parted).run(context=context)
    removed = {}
    for name in ("p", "x"):
        decide = IdentifyDuplicatesStage(str(parted / name), str(parted / "k"), str(parted / f"d{name}"), eps=EPS)
        removed[name] = decide.run(context=context).counts["removed"]
    assert removed["x"] > removed["p"]


def test_groups_and_workers_leave_no_trace(parted, context, one_worker, monkeypatch):
    stage(parted, "one", budget=0.5).run(context=context)
    monkeypatch.setattr(cross_cluster, "GROUP_BYTES", 1)
    result = stage(parted, "many", budget=0.5).run(context=one_worker)
    assert result.num_run == len(tables(parted / "p"))
    assert tables(parted / "one") == tables(parted / "many") != tables(parted / "p")


def test_what_raises_nothing_writes_the_same_bytes(parted, context):
    result = stage(parted, budget=0.0).run(context=context)
    assert result.counts["rows_raised"] == result.counts["pairs_compared"] == 0
    assert tables(parted / "x") == tables(parted / "p")


def test_one_cluster_has_no_other(tmp_path, context, write_vectors):
    source = write_vectors([1, 2, 3], np.array([[1, 0], [1, 0.01], [0, 1]], np.float32))
    KMeansStage(1, input_path=str(source), output_path=str(tmp_path / "k")).run(context=context)
    PairwiseStage(input_path=str(tmp_path / "k"), output_path=str(tmp_path / "p")).run(context=context)
    stage(tmp_path).run(context=context)
    assert tables(tmp_path / "x") == tables(tmp_path / "p")


def test_rows_that_come_by_and_by_leave_no_trace(parted, context, one_worker, monkeypatch):
    monkeypatch.setattr(cross_cluster, "GROUP_BYTES", 1)
    stage(parted).run(context=context)
    monkeypatch.setattr(border_files, "MOST_INCOMING", 20)  # in this process, so the work is done in it
    one = stage(parted, "y")
    spec = one.spec(group_clusters(one.input, cluster_folders(one.input)), "cpu")
    for work in (find_group_borders, compare_group, merge_group):
        for group in range(len(spec.groups)):
            work(GroupTask(spec, group))
    assert tables(parted / "y") == tables(parted / "x")


def test_clusters_whose_files_are_compressed_give_the_same_tables(parted, context):
    stage(parted).run(context=context)
    for path in (parted / "k").glob("centroid=*/*.parquet"):
        pq.write_table(pq.ParquetFile(path).read(), path, compression="zstd")
    stage(parted, "y").run(context=context)
    assert tables(parted / "y") == tables(parted / "x") != tables(parted / "p")
    assert not list((parted / "y").glob("_between*"))


@pytest.mark.parametrize("compared", [False, True], ids=["stopped while comparing", "stopped while merging"])
def test_what_an_older_version_left_half_done_is_done_anew(parted, context, compared):
    stage(parted).run(context=context)
    one = stage(parted, "y")
    spec = one.spec(group_clusters(one.input, cluster_folders(one.input)), "cpu")
    (merged,) = StageState(Folder(str(parted / "x")), one.name).done_units().keys() - {"compared"}
    made_from = StageState(Folder(str(parted / "x")), one.name).done_units()[merged]
    state = StageState(one.output, one.name)
    state.claim(one.identity(), overwrite=False)
    names = ("borders", "compare", *(["compared"] if compared else []))
    for name in names:
        path = f"_between/{name}-00000.arrow"
        one.output.write_bytes(path, b"of another form")
        key = name if name == "compared" else f"{name}-00000"
        state.write(UnitRecord(key, made_from, {path: 15}))
    assert len(spec.groups) == 1
    one.run(context=context)
    assert tables(parted / "y") == tables(parted / "x")


def test_a_second_run_does_nothing_and_leaves_nothing_between(parted, context):
    first = stage(parted).run(context=context)
    before = times(parted / "x")
    second = stage(parted).run(context=context)
    assert times(parted / "x") == before
    assert (second.num_run, second.counts) == (0, first.counts)
    assert not list((parted / "x").glob("_between*"))


def test_a_lost_table_is_made_again(parted, context, monkeypatch):
    monkeypatch.setattr(cross_cluster, "GROUP_BYTES", 1)
    first = stage(parted).run(context=context)
    before = tables(parted / "x")
    (parted / "x" / "cluster_3.parquet").unlink()
    second = stage(parted).run(context=context)
    assert tables(parted / "x") == before
    assert second.counts == first.counts


def test_other_input_is_noticed(parted, context, monkeypatch):
    stage(parted).run(context=context)
    whole = tables(parted / "x")
    shutil.rmtree(parted / "k" / "centroid=2")
    (parted / "p" / "cluster_2.parquet").unlink()
    monkeypatch.setattr(cross_cluster, "GROUP_BYTES", 1)
    result = stage(parted).run(context=context)
    assert tables(parted / "x").keys() == whole.keys() - {"cluster_2.parquet"}
    assert result.counts["clusters"] == len(whole) - 1


@pytest.mark.parametrize("tables_of", ["p", "x"])
def test_recall_counts_the_pairs_that_were_found_between_clusters(parted, context, tables_of):
    stage(parted).run(context=context)
    paths = [str(parted / name) for name in (tables_of, "k", f"d-{tables_of}")]
    counts = IdentifyDuplicatesStage(*paths, eps=EPS, recall_sample=80).run(context=context).counts
    ids, X, _ = all_rows(parted)
    label = {
        one: cluster.name for cluster in (parted / "k").glob("centroid=*")
        for one in pq.ParquetFile(cluster / "part-0.parquet").read()["id"].to_pylist()
    }  # fmt: skip
    scored = [pq.read_table(path).to_pydict() for path in (parted / tables_of).glob("cluster_*.parquet")]
    gone = {one for table in scored for one, score in zip(table["id"], table["cosine_sim_score"], strict=True)
            if score >= 1 - EPS}  # fmt: skip
    sampled = np.argsort(sample_priority(ids, 42))[:80]
    near = (cosines(X) >= 1 - EPS) & ~np.eye(len(X), dtype=bool)
    same = np.array([[label[one] == label[other] for other in ids] for one in ids])
    duplicate = np.isin(ids, list(gone))
    found = near & (same | (duplicate[:, None] | duplicate if tables_of == "x" else False))
    assert (counts["recall_pairs"], counts["recall_pairs_found"]) == (near[sampled].sum(), found[sampled].sum())
    assert (counts["recall_pairs_found"] == counts["recall_pairs"]) == (tables_of == "x")


def test_another_ranking_than_that_of_the_tables_is_refused(parted, context):
    with pytest.raises(InputError, match="give the ranking of the pairwise stage"):
        stage(parted, which_to_keep="easy").run(context=context)


def test_missing_centroids_and_clusters_are_named(parted, context):
    (parted / "p" / "cluster_1.parquet").unlink()
    with pytest.raises(InputError, match="run the pairwise stage again"):
        stage(parted).run(context=context)
    shutil.rmtree(parted / "k" / "centroid=1")
    (parted / "k" / "_kmeans_centroids.npy").unlink()
    with pytest.raises(InputError, match=r"kmeans_centroids\.npy"):
        stage(parted).run(context=context)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"eps": 1.0}, "eps"),
        ({"budget": -1.0}, "budget"),
        ({"recall": 0.0}, "recall"),
        ({"which_to_keep": "best"}, "which_to_keep"),
        ({"pairwise_batch_size": 0}, "pairwise_batch_size"),
        ({"input_path": ""}, "input_path"),
        ({"output_path": "p"}, "output_path"),
    ],
)
def test_parameters_are_checked(parameters, message):
    given = {"input_path": "k", "pairwise_path": "p", "output_path": "x", **parameters}
    with pytest.raises(ParameterError, match=message):
        CrossClusterStage(**given)


def test_the_plain_function_and_object_storage(parted, context, s3):
    for name in ("k", "p"):
        for path in (parted / name).rglob("*"):
            relative = path.relative_to(parted).as_posix()
            if path.is_file() and ".curator" not in relative:
                Folder(f"{s3.url}/cross", s3.storage_options).write_bytes(relative, path.read_bytes())
    options = {"storage_options": s3.storage_options}
    base = f"{s3.url}/cross"
    result = score_across_clusters(
        f"{base}/k", f"{base}/p", f"{base}/x", eps=EPS, budget=1e9, read_kwargs=options, write_kwargs=options
    )
    local = stage(parted).run(context=context)
    assert result.counts == local.counts
    for name in tables(parted / "x"):
        assert Folder(base, s3.storage_options).read_bytes(f"x/{name}") == (parted / "x" / name).read_bytes()
