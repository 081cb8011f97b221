"""New vectors beside a finished run decide as a full run would, with the old rows first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curator_dask import (
    FolderInUseError,
    IdentifyDuplicatesStage,
    IncrementalStage,
    InputError,
    ParameterError,
    RankingStrategy,
)
from curator_dask.dedup.arrays.rows import normalise
from curator_dask.dedup.kmeans.assign import assign
from curator_dask.dedup.kmeans.distances import centroid_distances
from curator_dask.dedup.ranking.keep_rules import parse_keep
from curator_dask.dedup.similarity.threshold import is_duplicate
from curator_dask.stages.base import RunContext
from tests.dedup.reference import cosines, earlier, random_unit
from tests.stages import builders
from tests.trees import results

NUM_OLD, NUM_NEW, CLUSTERS = 120, 90, 3


def write(folder: Path, ids: list[Any], X: np.ndarray, name: str = "a.parquet") -> Path:
    """Write vectors with a column ``size``; returns the folder."""
    return builders.write_vectors(folder / name, ids, X, size=[len(str(one)) for one in ids])


def finish(root: Path, context: RunContext, rule: str, eps: float) -> None:
    """Run all stages on ``root/old``."""
    builders.score_vectors(root / "old", root, context, CLUSTERS, kmeans={"metadata_fields": ["size"]})
    builders.identify_duplicates(root, context, eps=eps, rule=rule)


@pytest.fixture(scope="module", params=[("pairwise", 0.02), ("greedy", 0.02), ("greedy", 0.2)], ids=str)
def finished(request, tmp_path_factory, cluster) -> tuple[Path, str, float]:
    rule, eps = request.param
    root = tmp_path_factory.mktemp("finished")
    X = random_unit(NUM_OLD + NUM_NEW, 6, 3, copies=0.6, noise=0.06)
    write(root / "old", list(range(NUM_OLD)), X[:NUM_OLD])
    write(root / "new", list(range(NUM_OLD, NUM_OLD + NUM_NEW)), X[NUM_OLD:])
    finish(root, RunContext(cluster), rule, eps)
    return root, rule, eps


def stage(root: Path, out: Path | str, **parameters: Any) -> IncrementalStage:
    given = {"input_path": str(root / "new"), "kmeans_path": str(root / "k"), "duplicates_path": str(root / "d")}
    return IncrementalStage(**{**given, "output_path": str(out), **parameters})


def vectors(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    table = pa.concat_tables(pq.read_table(path) for path in sorted(folder.glob("*.parquet")))
    return table["id"].to_numpy(), normalise(np.array(table["embedding"].to_pylist(), np.float32))[0]


def full_run(root: Path, rule: str, eps: float, parts: list[Path]) -> dict[int, tuple[int, float, bool]]:
    """Id → (max_id, score, removed) by the definition: the parts of a cluster follow each other, each ranked `hard`."""
    C = np.load(root / "k" / "_kmeans_centroids.npy")
    found = {}
    for cluster in range(len(C)):
        all_ids, all_X = [], []
        for part in parts:
            ids, X = vectors(part)
            labels = np.asarray(assign(X, C))
            ids, X = ids[labels == cluster], X[labels == cluster]
            far = centroid_distances(X, C, np.full(len(X), cluster))[1]
            order = RankingStrategy.of("hard").rank({"cosine_dist_to_cent": far}, ids)
            all_ids.append(ids[order])
            all_X.append(X[order])
        names, X = np.concatenate(all_ids), np.concatenate(all_X)
        score, best = earlier(X)
        gone = is_duplicate(score, eps)
        if rule == "greedy":
            near = np.rint(cosines(X) * 2.0**24) / 2.0**24 >= 1 - eps
            gone = np.zeros(len(X), np.bool_)
            for j in range(len(X)):
                gone[j] = (near[:j, j] & ~gone[:j]).any()
        for row, name in enumerate(names.tolist()):
            found[name] = (int(names[best[row]]), float(score[row]), bool(gone[row]))
    return found


def ids_in(path: Path) -> list[int]:
    return sorted(int(line) for line in path.read_text().split())


def test_the_new_rows_decide_as_in_a_full_run(finished, context, tmp_path):
    root, rule, eps = finished
    result = stage(root, tmp_path).run(context=context)
    expected = full_run(root, rule, eps, [root / "old", root / "new"])
    new = range(NUM_OLD, NUM_OLD + NUM_NEW)
    rows = [row for path in sorted((tmp_path / "pairwise").iterdir()) for row in pq.read_table(path).to_pylist()]
    assert sorted(row["id"] for row in rows) == list(new)
    for row in rows:
        assert (row["max_id"], row["cosine_sim_score"]) == expected[row["id"]][:2]
    gone = [one for one in new if expected[one][2]]
    assert 10 < len(gone) < NUM_NEW - 10
    assert ids_in(tmp_path / "duplicates" / "remove.txt") == gone
    assert ids_in(tmp_path / "duplicates" / "keep.txt") == [one for one in new if not expected[one][2]]
    assert (result.counts["rows"], result.counts["removed"]) == (NUM_NEW, len(gone))


def test_each_removed_row_has_its_nearest_kept_one(finished, context, tmp_path):
    root, rule, eps = finished
    result = stage(root, tmp_path).run(context=context)
    kept = {*ids_in(root / "d" / "keep.txt"), *ids_in(tmp_path / "duplicates" / "keep.txt")}
    X = {one: x for part in ("old", "new") for one, x in zip(*vectors(root / part), strict=True)}
    C = np.load(root / "k" / "_kmeans_centroids.npy")
    label = dict(zip(X, np.asarray(assign(np.stack(list(X.values())), C)).tolist(), strict=True))
    orphans = 0
    for row in pq.read_table(tmp_path / "duplicates" / "duplicates.parquet").to_pylist():
        cosine = {one: cosines(np.stack([X[row["id"]], X[one]]))[0, 1] for one in kept if label[one] == row["cluster"]}
        assert row["kept_id"] in cosine
        assert row["kept_score"] == pytest.approx(max(cosine.values()), abs=1e-7)
        orphans += row["kept_score"] < 1 - eps
    assert result.counts["orphans"] == orphans
    assert rule == "pairwise" or orphans == 0


def test_the_schema_is_that_of_the_stages(finished, context, tmp_path):
    root, _, _ = finished
    stage(root, tmp_path, metadata_fields=["size"]).run(context=context)
    for folder, name in (("k", "kmeans/centroid=0/part-0.parquet"), ("p", "pairwise/cluster_0.parquet"),
                         ("d", "duplicates/duplicates.parquet")):  # fmt: skip
        own = name.partition("/")[2]
        assert pq.read_schema(tmp_path / name).equals(pq.read_schema(root / folder / own))


def test_an_addition_to_an_addition(finished, context, tmp_path):
    root, rule, eps = finished
    ids, X = vectors(root / "new")
    first, second = write(tmp_path / "n1", ids[:40].tolist(), X[:40]), write(tmp_path / "n2", ids[40:].tolist(), X[40:])
    stage(root, tmp_path / "a", input_path=str(first)).run(context=context)
    both = {
        "kmeans_path": [str(root / "k"), str(tmp_path / "a" / "kmeans")],
        "duplicates_path": [str(root / "d"), str(tmp_path / "a" / "duplicates")],
    }
    stage(root, tmp_path / "b", input_path=str(second), **both).run(context=context)
    expected = full_run(root, rule, eps, [root / "old", first, second])
    for out, part in (("a", first), ("b", second)):
        gone = [one for one in vectors(part)[0].tolist() if expected[one][2]]
        assert ids_in(tmp_path / out / "duplicates" / "remove.txt") == sorted(gone)


@pytest.fixture
def small(tmp_path, cluster) -> Path:
    X = random_unit(30, 4, 1, copies=0.5, noise=0.01)
    write(tmp_path / "old", [f"o{one}" for one in range(20)], X[:20])
    write(tmp_path / "new", [f"n{one}" for one in range(10)], X[20:])
    finish(tmp_path, RunContext(cluster), "pairwise", 0.05)
    return tmp_path


def test_a_folder_that_has_grown(small, context):
    """Known rows are passed over, also in files with new rows; the output for the new rows is the same, byte for byte."""
    stage(small, small / "a").run(context=context)
    old, new = (pq.read_table(small / name / "a.parquet") for name in ("old", "new"))
    grown = write(small / "grown", ["x"], np.ones((1, 4), np.float32), "b.parquet")
    (grown / "b.parquet").unlink()
    pq.write_table(old.slice(0, 12), grown / "a.parquet")
    pq.write_table(pa.concat_tables([new.slice(4), old.slice(12), new.slice(0, 4)]), grown / "b.parquet")
    result = stage(small, small / "b", input_path=str(grown)).run(context=context)
    assert {name: result.counts[name] for name in ("rows_in", "rows_known", "rows")} == {
        "rows_in": 30, "rows_known": 20, "rows": 10
    }  # fmt: skip
    assert results(small / "a") == results(small / "b")
    assert not list((small / "b" / "kmeans" / ".curator" / "assign").glob("*/*.parquet"))


def test_the_largest_is_kept_by_the_clip_index(small, context):
    """The one with the most pixels stays of three equal new clips, whatever its distance or id."""
    same = np.tile(np.array([0.1, -0.7, 0.3, 0.64], np.float32), (3, 1))
    write(small / "twins", ["a", "b", "c"], same)
    rows = [
        {"id": one, "width": 100, "height": 90 if one == "b" else 80, "start_s": 0.0, "end_s": 1.0} for one in "abc"
    ]
    builders.write_clip_index(small / "clips", rows)
    one = stage(small, small / "a", input_path=str(small / "twins"), ranking_strategy=parse_keep("largest"),
                clips_path=str(small / "clips"), eps=1e-6)  # fmt: skip
    one.run(context=context)
    assert (small / "a" / "duplicates" / "remove.txt").read_text().split() == ["a", "c"]
    other = stage(small, small / "b", input_path=str(small / "twins"), ranking_strategy=parse_keep("largest"))
    with pytest.raises(InputError, match="has no column 'height', 'width'"):
        other.run(context=context)


def test_nothing_new(small, context):
    result = stage(small, small / "a", input_path=str(small / "old")).run(context=context)
    assert (result.counts["rows"], result.counts["rows_known"]) == (0, 20)
    assert (small / "a" / "duplicates" / "keep.txt").read_text() == ""


def test_a_second_run_does_nothing_and_more_rows_are_added(small, context):
    one = stage(small, small / "a")
    one.run(context=context)
    before = {path: path.stat().st_mtime_ns for path in (small / "a").rglob("*") if path.is_file()}
    again = one.run(context=context)
    assert again.num_run == 0
    assert {path: path.stat().st_mtime_ns for path in (small / "a").rglob("*") if path.is_file()} == before
    write(small / "new", ["n77"], np.eye(4, dtype=np.float32)[:1], "b.parquet")
    assert one.run(context=context).counts["rows"] == 11
    with pytest.raises(FolderInUseError, match="eps was not given and is now 0.3"):
        stage(small, small / "a", eps=0.3).run(context=context)


def test_bad_rows_are_listed(small, context):
    vectors = [[0.0] * 4, [1.0] * 3, [1.0] * 4]
    builders.write_vectors(small / "new" / "b.parquet", list("pqr"), vectors, size=[1, 1, 1])
    result = stage(small, small / "a").run(context=context)
    assert (result.counts["rows_rejected"], result.counts["rows"]) == (2, 11)
    rejects = pq.read_table(small / "a" / "kmeans" / "_rejects.parquet").to_pylist()
    assert [(row["file"], row["row"], row["reason"]) for row in rejects] == [
        ("b.parquet", 0, "zero-length"), ("b.parquet", 1, "wrong-dimension"),
    ]  # fmt: skip


def test_a_dry_run_counts_rows_and_clusters(small, context):
    dry = RunContext(context.cluster, dry_run=True)
    planned = stage(small, small / "a").run(context=dry)
    assert planned.counts == {"files_in": 1, "rows_in": 10}
    assert (planned.num_run, planned.num_skipped) == (CLUSTERS, 0)  # at most: which of them get rows is not known yet
    done = stage(small, small / "a").run(context=context)
    again = stage(small, small / "a").run(context=dry)
    assert (again.num_run, again.num_skipped) == (0, done.num_run)
    builders.write_vectors(small / "new" / "b.parquet", ["z"], [[1.0] * 4], size=[1])
    assert stage(small, small / "a").run(context=dry).num_run == CLUSTERS


@pytest.mark.parametrize("name", ["k", "p", "d", ""])
def test_a_run_is_never_written_over(small, context, name):
    for old, new in (("k", "kmeans"), ("p", "pairwise"), ("d", "duplicates")):
        if name in (old, ""):
            (small / old).rename(small / new)
    before = results(small)
    paths = {"kmeans_path": small / ("k" if (small / "k").exists() else "kmeans"),
             "duplicates_path": small / ("d" if (small / "d").exists() else "duplicates")}  # fmt: skip
    for same in (context, RunContext(context.cluster, dry_run=True)):
        with pytest.raises(FolderInUseError, match="holds results that were not written by this stage"):
            stage(small, small, **{key: str(path) for key, path in paths.items()}).run(context=same)
    assert results(small) == before


def test_input_that_does_not_fit_is_named(small, context, tmp_path):
    def message(**parameters: Any) -> str:
        with pytest.raises(InputError) as caught:
            stage(small, tmp_path / "x", **parameters).run(context=RunContext(context.cluster, overwrite=True))
        return str(caught.value)

    twice = write(tmp_path / "t", ["a", "b", "a"], np.ones((3, 4), np.float32))
    assert "1 doubled new id, for example a" in message(input_path=str(twice))
    wide = write(tmp_path / "w", ["a"], np.ones((1, 5), np.float32))
    assert "(wrong-dimension); the finished run has vectors of 4 numbers" in message(input_path=str(wide))
    numbers = write(tmp_path / "i", [1, 2], np.ones((2, 4), np.float32))
    assert "integers or strings" in message(input_path=str(numbers))
    assert "holds no _kmeans_centroids.npy" in message(kmeans_path=str(small / "old"))
    C = np.load(small / "k" / "_kmeans_centroids.npy")
    (tmp_path / "n").mkdir()
    np.save(tmp_path / "n" / "_kmeans_centroids.npy", np.where(np.arange(len(C))[:, None] == 1, np.float32(np.nan), C))
    found = message(kmeans_path=str(tmp_path / "n"))
    assert (
        "1 centroid with values that are not finite, the first for cluster 1: if k-means wrote it so, run it again"
        in found
    )
    assert f"{tmp_path / 'n'}/_kmeans_centroids.npy" in found
    assert "holds no duplicates.parquet" in message(duplicates_path=str(small / "old"), eps=0.1)
    assert "holds no duplicates.parquet" in message(duplicates_path=str(small / "old"))
    IdentifyDuplicatesStage(
        str(small / "p"), str(small / "k"), str(tmp_path / "s"), scope="same", source_field="size"
    ).run(context=context)
    assert "decided with scope 'same'" in message(duplicates_path=str(tmp_path / "s"))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"eps": 2}, "eps must be"), ({"rule": "x"}, "rule must be"), ({"kmeans_path": []}, "kmeans_path is missing"),
        ({"which_to_keep": "x"}, "which_to_keep"), ({"pairwise_batch_size": 0}, "pairwise_batch_size"),
    ],
    ids=str,
)  # fmt: skip
def test_parameters_are_checked(tmp_path, parameters, message):
    with pytest.raises(ParameterError, match=message):
        stage(tmp_path, tmp_path, **parameters)
