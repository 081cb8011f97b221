"""k-means, pairwise and identify through files and a real Dask cluster: the worked examples of the contract."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curator_dask import (
    CrossClusterStage,
    FolderInUseError,
    IdentifyDuplicatesStage,
    IncrementalStage,
    InputError,
    KMeansStage,
    PairwiseStage,
    ParameterError,
    RankingStrategy,
)
from curator_dask.stages.base import RunContext, Stage
from tests.dedup.reference import EXAMPLE_2
from tests.stages import builders
from tests.trees import results, times

EXAMPLE_1 = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12], [1, 2, 3], [1, 2, 3]], dtype=np.float32)


def read(path: Path) -> dict[str, list[object]]:
    return pq.read_table(path).to_pydict()


def dedup(
    source: Path, out: Path, context: RunContext, *, n_clusters: int = 1, eps: float = 0.01, **pairwise: object
) -> dict:
    builders.score_vectors(source, out, context, n_clusters, pairwise=pairwise)
    builders.identify_duplicates(out, context, eps=eps)
    return read(out / "d" / "duplicates.parquet")


def test_kmeans_writes_distances_to_the_raw_centroid(tmp_path, context, write_vectors):
    source = write_vectors(["a", "b", "c"], np.array([[1, 0], [0, 1], [3, 4]], np.float32))
    stage = KMeansStage(
        2, input_path=str(source), output_path=str(tmp_path / "k"), init=np.eye(2, dtype=np.float32), max_iter=1, tol=10
    )
    result = stage.run(context=context)
    assert result.counts["rows"] == 3
    # One iteration moves the centroids to the means of {a, c'} or {b, c'}; distances are to what was written.
    centroids = np.load(tmp_path / "k" / "_kmeans_centroids.npy")
    for k in range(2):
        rows = read(tmp_path / "k" / f"centroid={k}" / "part-0.parquet")
        X = np.array(rows["embedding"], np.float32)
        np.testing.assert_allclose(np.linalg.norm(X, axis=1), 1, rtol=1e-6)
        np.testing.assert_allclose(rows["l2_dist_to_cent"], np.linalg.norm(X - centroids[k], axis=1), atol=1e-6)
        cosine = 1 - X @ centroids[k] / np.linalg.norm(centroids[k])
        np.testing.assert_allclose(rows["cosine_dist_to_cent"], np.maximum(0, cosine), atol=1e-6)
    assert centroids.dtype == np.float32


@pytest.mark.parametrize(
    ("which_to_keep", "ids", "max_ids", "scores", "removed"),
    [
        ("hard", [3, 2, 1, 5, 4, 0], [3, 3, 2, 1, 5, 5], [0, 0.999618, 0.998190, 0.974631, 1, 1], {2, 1, 4, 0}),
        ("easy", [0, 4, 5, 1, 2, 3], [0, 0, 0, 0, 1, 2], [0, 1, 1, 0.974631, 0.998190, 0.999618], {4, 5, 2, 3}),
    ],
)
def test_example_1(tmp_path, context, which_to_keep, ids, max_ids, scores, removed):
    X = EXAMPLE_1 / np.linalg.norm(EXAMPLE_1, axis=1, keepdims=True)
    cosine = np.maximum(0, 1 - X @ X[0]).astype(np.float32)
    distances = {"cosine_dist_to_cent": cosine, "l2_dist_to_cent": cosine}
    builders.write_vectors(tmp_path / "k" / "centroid=0" / "part-0.parquet", range(6), X, **distances)
    stage = PairwiseStage(input_path=str(tmp_path / "k"), output_path=str(tmp_path / "p"), which_to_keep=which_to_keep)
    stage.run(context=context)
    written = pq.read_table(tmp_path / "p" / "cluster_0.parquet")
    assert written.schema.field("max_id").type == written.schema.field("id").type == pa.int64()
    assert written.schema.field("cosine_sim_score").type == pa.float32()
    assert written["id"].to_pylist() == ids
    assert written["max_id"].to_pylist() == max_ids
    np.testing.assert_allclose(written["cosine_sim_score"].to_pylist(), scores, atol=1e-5)
    IdentifyDuplicatesStage(str(tmp_path / "p"), str(tmp_path / "k"), str(tmp_path / "d"), eps=0.01).run(
        context=context
    )
    assert set(read(tmp_path / "d" / "duplicates.parquet")["id"]) == removed
    kept = {int(line) for line in (tmp_path / "d" / "keep.txt").read_text().split()}
    assert kept == set(range(6)) - removed


@pytest.mark.parametrize(
    ("strategy", "ids"),
    [
        (RankingStrategy.metadata_based(["custom_score"], ascending=False), [3, 1, 2, 4, 5, 0]),
        (RankingStrategy.metadata_based(["priority", "custom_score"], ascending=[True, False]), [3, 1, 2, 5, 4, 0]),
    ],
)
def test_ranking_by_carried_columns(tmp_path, context, strategy, ids):
    source = tmp_path / "v"
    columns = {"custom_score": [0.1, 0.8, 0.3, 0.9, 0.2, 0.15], "priority": [3, 1, 2, 1, 3, 2]}
    builders.write_vectors(source / "a.parquet", range(6), EXAMPLE_1, **columns)
    builders.score_vectors(
        source,
        tmp_path,
        context,
        1,
        kmeans={"metadata_fields": list(columns)},
        pairwise={"ranking_strategy": strategy},
    )
    assert read(tmp_path / "p" / "cluster_0.parquet")["id"] == ids


def test_example_2_nearest_kept(tmp_path, context, write_vectors):
    source = write_vectors(list("ABCDE"), EXAMPLE_2)
    removed = dedup(source, tmp_path / "out", context, eps=0.05)
    assert len(removed["id"]) == 2
    for kept, score in zip(removed["kept_id"], removed["kept_score"], strict=True):
        assert kept not in removed["id"]
        assert score == pytest.approx(0.96, abs=1e-6)
    assert dedup(source, tmp_path / "strict", context, eps=0.01)["id"] == []


@pytest.mark.parametrize(("which", "expected"), [("hard", 1471), ("easy", 1495)])
def test_example_5_blobs(tmp_path, context, write_vectors, which, expected):
    from sklearn.datasets import make_blobs

    X, _ = make_blobs(n_samples=[100, 200, 300, 400, 500], centers=None, n_features=3, random_state=42)
    source = write_vectors(list(range(1500)), X, parts=4)
    removed = dedup(source, tmp_path / "out", context, n_clusters=5, which_to_keep=which)
    assert len(removed["id"]) == expected


def test_partitions_order_and_workers_leave_no_trace(tmp_path, context, write_vectors):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 16)).astype(np.float32)
    X[200:] = X[:200] + 0.01 * rng.standard_normal((200, 16))
    ids = [f"clip-{number:03d}" for number in range(400)]
    one = write_vectors(ids, X, folder="one")
    many = write_vectors(ids, X, parts=7, folder="many", order=rng.permutation(400))
    dedup(one, tmp_path / "a", context, n_clusters=6)
    dedup(many, tmp_path / "b", context, n_clusters=6)
    assert len(results(tmp_path / "a")) > 10
    assert results(tmp_path / "a") == results(tmp_path / "b")


def test_a_second_run_does_nothing(tmp_path, context, write_vectors):
    source = write_vectors(list(range(6)), EXAMPLE_1)
    dedup(source, tmp_path / "out", context)
    before = times(tmp_path / "out")
    dedup(source, tmp_path / "out", context)
    assert times(tmp_path / "out") == before


def test_new_input_redoes_what_depends_on_it(tmp_path, context, write_vectors):
    source = write_vectors(list(range(6)), EXAMPLE_1)
    assert len(dedup(source, tmp_path / "out", context, eps=0.05)["id"]) == 5
    builders.write_vectors(source / "part-9.parquet", [6], [[3.0, -1.0, 0.5]])
    dedup(source, tmp_path / "out", context, eps=0.05)
    kept = (tmp_path / "out" / "d" / "keep.txt").read_text().split()
    removed = (tmp_path / "out" / "d" / "remove.txt").read_text().split()
    assert sorted(map(int, kept + removed)) == list(range(7))


def test_other_parameters_in_a_used_folder_are_refused(tmp_path, context, write_vectors):
    source = write_vectors(list(range(6)), EXAMPLE_1)
    KMeansStage(2, input_path=str(source), output_path=str(tmp_path / "k")).run(context=context)
    other = KMeansStage(3, input_path=str(source), output_path=str(tmp_path / "k"))
    with pytest.raises(FolderInUseError, match="n_clusters was 2 and is now 3"):
        other.run(context=context)
    result = other.run(context=RunContext(context.cluster, overwrite=True))
    assert result.counts["n_clusters"] == 3
    assert sum(len(read(tmp_path / "k" / path)["id"]) for path in result.tables) == 6


@pytest.mark.parametrize("rule", ["pairwise", "target_keep", "scope"])
def test_a_dry_run_counts_the_units_that_the_run_does(tmp_path, context, rule):
    X = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    source = builders.write_vectors(tmp_path / "v" / "a.parquet", range(30), X, source=["a", "b", "c"] * 10)
    k, p, c, d = (str(tmp_path / name) for name in "kpcd")
    by = {
        "pairwise": {"eps": 0.2},
        "target_keep": {"target_keep": 0.5},
        "scope": {"eps": 0.2, "scope": "cross"},
    }
    sources = {"source_field": "source"} if rule == "scope" else {}
    stages = (
        KMeansStage(3, input_path=str(source), output_path=k, metadata_fields=["source"]),
        PairwiseStage(input_path=k, output_path=p),
        CrossClusterStage(input_path=k, pairwise_path=p, output_path=c, eps=0.2),
        IdentifyDuplicatesStage(c, k, d, **by[rule], **sources),
    )
    for stage in stages:
        assert_planned_as_done(stage, context)
    for broken, stage in zip(("centroid=1/part-0", "cluster_2", "cluster_0", "duplicates"), stages, strict=True):
        (tmp_path / stage.output.root.rpartition("/")[2] / f"{broken}.parquet").unlink()
        assert_planned_as_done(stage, context)


def assert_planned_as_done(stage: Stage, context: RunContext) -> None:
    planned = stage.run(context=RunContext(context.cluster, dry_run=True))
    done = stage.run(context=context)
    assert (planned.num_run, planned.num_skipped) == (done.num_run, done.num_skipped)
    assert stage.run(context=RunContext(context.cluster, dry_run=True)).num_run == 0


def test_clusters_of_another_tool_are_not_mixed_with(tmp_path, context, write_vectors):
    source = write_vectors(list(range(6)), EXAMPLE_1)
    foreign = tmp_path / "k" / "centroid=7" / "x.parquet"
    foreign.parent.mkdir(parents=True)
    pq.write_table(pa.table({"id": [1]}), foreign)
    for same in (context, RunContext(context.cluster, dry_run=True)):
        with pytest.raises(FolderInUseError, match="not written by this stage"):
            KMeansStage(2, input_path=str(source), output_path=str(tmp_path / "k")).run(context=same)
    assert foreign.exists()


def test_bad_rows_are_listed_and_the_rest_goes_on(tmp_path, context):
    source = tmp_path / "v"
    vectors = [[1.0, 2.0], None, [float("nan"), 1.0], [0.0, 0.0], [1.0], [float("inf"), 1.0], [2.0, 1.0], [None, 1.0]]
    builders.write_vectors(source / "a.parquet", list("abcdefgh"), vectors)
    result = KMeansStage(1, input_path=str(source), output_path=str(tmp_path / "k")).run(context=context)
    assert (result.counts["rows_in"], result.counts["rows"], result.counts["rows_rejected"]) == (8, 2, 6)
    rejects = pq.read_table(tmp_path / "k" / "_rejects.parquet").to_pylist()
    assert {row["id"]: row["reason"] for row in rejects} == {
        "b": "null", "c": "not-finite", "d": "zero-length", "e": "wrong-dimension", "f": "not-finite", "h": "null",
    }  # fmt: skip
    assert sorted(result.dataframe.compute()["id"]) == ["a", "g"]


def test_doubled_ids_are_named(tmp_path, context, write_vectors):
    source = write_vectors(["a", "b", "a", "c", "b", "d"], EXAMPLE_1, parts=3)
    with pytest.raises(InputError, match=r"2 doubled ids, for example a, b"):
        KMeansStage(1, input_path=str(source), output_path=str(tmp_path / "k")).run(context=context)
    assert not (tmp_path / "k" / "_kmeans_centroids.npy").exists()


def test_more_clusters_than_rows_are_clamped(tmp_path, context, write_vectors):
    source = write_vectors(list(range(6)), EXAMPLE_1)
    result = KMeansStage(1000, input_path=str(source), output_path=str(tmp_path / "k")).run(context=context)
    assert result.counts["n_clusters"] == 6
    assert result.counts["rows"] == 6


def test_jsonl_input(tmp_path, context):
    source = tmp_path / "v"
    source.mkdir()
    (source / "a.jsonl").write_text('{"id": "a", "embedding": [1, 0]}\n{"id": "b", "embedding": [0.5, 0.25]}\n')
    result = KMeansStage(1, input_path=str(source), output_path=str(tmp_path / "k"), input_filetype="jsonl").run(
        context=context
    )
    assert result.counts["rows"] == 2


def test_fit_on_a_share_assigns_all_rows(tmp_path, context, write_vectors):
    X = np.random.default_rng(1).standard_normal((300, 8)).astype(np.float32)
    source = write_vectors(list(range(300)), X, parts=3)
    stage = KMeansStage(
        4, input_path=str(source), output_path=str(tmp_path / "k"), fit_data_fraction=0.5,
        cache_path=str(tmp_path / "cache"),
    )  # fmt: skip
    result = stage.run(context=context)
    assert result.counts["rows"] == 300
    cached = np.load(tmp_path / "cache" / "kmeans_centroids.npy")
    np.testing.assert_array_equal(cached, np.load(tmp_path / "k" / "_kmeans_centroids.npy"))


def test_no_usable_vector_is_an_error_with_the_reasons(tmp_path, context, write_vectors):
    source = write_vectors([1, 2], np.zeros((2, 3), np.float32))
    with pytest.raises(InputError, match="no usable vectors among 2 rows .2 zero-length"):
        KMeansStage(1, input_path=str(source), output_path=str(tmp_path / "k")).run(context=context)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_clusters": 0}, "n_clusters"),
        ({"max_iter": 0}, "max_iter"),
        ({"init": "kmeans++"}, "init"),
        ({"tol": -1.0}, "tol"),
        ({"fit_data_fraction": 1.5}, "fit_data_fraction"),
        ({"input_filetype": "csv"}, "input_filetype"),
        ({"input_path": ""}, "input_path"),
    ],
)
def test_kmeans_parameters_are_checked(parameters, message):
    given = {"n_clusters": 2, "input_path": "x", "output_path": "y", **parameters}
    with pytest.raises(ParameterError, match=message):
        KMeansStage(**given)


def test_unknown_read_kwargs_are_refused_not_ignored(tmp_path):
    stage = KMeansStage(2, input_path="x", output_path=str(tmp_path), read_kwargs={"storage_option": {}})
    with pytest.raises(ParameterError, match="storage_option"):
        stage.identity()


def test_missing_column_is_named(tmp_path, context, write_vectors):
    source = write_vectors(list(range(6)), EXAMPLE_1)
    stage = KMeansStage(1, id_field="uuid", input_path=str(source), output_path=str(tmp_path / "k"))
    with pytest.raises(InputError, match="no column 'uuid'; its columns are id, embedding"):
        stage.run(context=context)


def test_identify_refuses_clusters_that_do_not_belong_together(tmp_path, context, write_vectors):
    source = write_vectors(list(range(6)), EXAMPLE_1)
    dedup(source, tmp_path / "out", context)
    (tmp_path / "out" / "p" / "cluster_5.parquet").write_bytes(
        (tmp_path / "out" / "p" / "cluster_0.parquet").read_bytes()
    )
    with pytest.raises(InputError, match="run the pairwise stage again"):
        IdentifyDuplicatesStage(str(tmp_path / "out" / "p"), str(tmp_path / "out" / "k"), str(tmp_path / "e")).run(
            context=context
        )


def test_the_clusters_can_be_read_as_one_table(tmp_path, context, write_vectors):
    dedup(write_vectors(list(range(6)), EXAMPLE_1), tmp_path, context)
    table = pq.read_table(tmp_path / "k")
    assert sorted(table["id"].to_pylist()) == list(range(6))
    assert set(table["centroid"].to_pylist()) == set(clusters_of(tmp_path / "k"))


def clusters_of(folder: Path) -> list[int]:
    return [int(path.name.removeprefix("centroid=")) for path in folder.glob("centroid=*")]


def test_centroids_under_their_former_name_are_read(tmp_path, context, write_vectors):
    source = write_vectors(list(range(6)), EXAMPLE_1)
    dedup(source, tmp_path, context)
    (tmp_path / "k" / "_kmeans_centroids.npy").rename(tmp_path / "k" / "kmeans_centroids.npy")
    new = builders.write_vectors(tmp_path / "new" / "a.parquet", [6], EXAMPLE_1[:1])
    paths = {name: str(tmp_path / name) for name in ("k", "p", "d", "n", "x")}
    CrossClusterStage(input_path=paths["k"], pairwise_path=paths["p"], output_path=paths["x"]).run(context=context)
    result = IncrementalStage(str(new), paths["k"], paths["d"], paths["n"]).run(context=context)
    assert result.counts["removed"] == 1


def test_folders_with_values_in_their_names_are_columns(tmp_path, context):
    source = tmp_path / "v"
    for row, folder in enumerate(("year=2023/city=S%C3%A3o", "year=2024/city=B", "year=2024/city=C")):
        builders.write_vectors(source / folder / "a.PARQUET", [row], EXAMPLE_1[row : row + 1], size=[row])
    fields = ["city", "size", "year"]
    KMeansStage(1, input_path=str(source), output_path=str(tmp_path / "k"), metadata_fields=fields).run(context=context)
    year = RankingStrategy.metadata_based(["year", "city"], ascending=False)
    PairwiseStage(input_path=str(tmp_path / "k"), output_path=str(tmp_path / "p"), ranking_strategy=year).run(
        context=context
    )
    table = read(tmp_path / "k" / "centroid=0" / "part-0.parquet")
    assert table == {**table, "id": [0, 1, 2], "city": ["São", "B", "C"], "size": [0, 1, 2], "year": [2023, 2024, 2024]}
    assert read(tmp_path / "p" / "cluster_0.parquet")["id"] == [2, 1, 0]
    decide = IdentifyDuplicatesStage(str(tmp_path / "p"), str(tmp_path / "k"), str(tmp_path / "d"))
    decide.run(context=context)
    builders.write_vectors(source / "year=2025" / "city=B" / "a.parquet", [3, 0], EXAMPLE_1[[3, 0]], size=[3, 0])
    more = IncrementalStage(str(source), str(tmp_path / "k"), str(tmp_path / "d"), str(tmp_path / "n"),
                            metadata_fields=fields).run(context=context)  # fmt: skip
    assert (more.counts["rows_known"], more.counts["rows"]) == (4, 1)
    new = read(tmp_path / "n" / "kmeans" / "centroid=0" / "part-0.parquet")
    assert [new[name] for name in ("id", *fields)] == [[3], ["B"], [3], [2025]]
    with pytest.raises(InputError, match="has no column 'month'"):
        KMeansStage(1, input_path=str(source), output_path=str(tmp_path / "m"), metadata_fields=["month"]).run(
            context=context
        )
