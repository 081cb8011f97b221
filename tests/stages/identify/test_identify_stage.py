"""What identify can do beyond the compatible rule, through files and a real Dask cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curator_dask import FolderInUseError, IdentifyDuplicatesStage, InputError, ParameterError
from curator_dask.dedup.arrays.priority import sample_priority
from curator_dask.dedup.similarity.pairwise import max_earlier_similarity
from curator_dask.dedup.similarity.threshold import is_duplicate, suggest_eps
from curator_dask.files.folder import Folder
from curator_dask.stages.base import RunContext
from curator_dask.stages.identify.sweep import parse_eps_values, sweep_eps
from tests.dedup.reference import chain, cosines, random_unit
from tests.stages import builders

Cluster = tuple[Sequence[Any], np.ndarray, Sequence[Any]]


def write_run(root: Path, clusters: dict[int, Cluster]) -> None:
    """Write k-means and pairwise output of clusters (ids, X, sources); rows rank in the given order."""
    (root / "p").mkdir()
    for number, (ids, X, sources) in clusters.items():
        score, best = max_earlier_similarity(X)
        folder = root / "k" / f"centroid={number}"
        # In another order: what ranks is the similarity table.
        order = np.random.default_rng(number).permutation(len(ids))
        shuffled = {"ids": [ids[row] for row in order], "video": [sources[row] for row in order]}
        builders.write_vectors(folder / "part-0.parquet", vectors=X[order], **shuffled)
        scores = {"id": list(ids), "max_id": [ids[row] for row in best], "cosine_sim_score": score}
        pq.write_table(pa.table(scores), root / "p" / f"cluster_{number}.parquet")


def stage(root: Path, out: str = "d", **parameters: Any) -> IdentifyDuplicatesStage:
    return IdentifyDuplicatesStage(str(root / "p"), str(root / "k"), str(root / out), **parameters)


def table(root: Path, name: str, out: str = "d") -> list[dict[str, Any]]:
    return pq.read_table(root / out / name).to_pylist()


def removed(root: Path, out: str = "d") -> list[str]:
    return (root / out / "remove.txt").read_text().split()


@pytest.fixture
def chained(tmp_path: Path) -> Path:
    """Example 3 in cluster 0, two twins and a single in cluster 4."""
    twins = np.array([[0, 0, 1], [0, 0, 1], [1, 0, 0]], np.float32)
    write_run(tmp_path, {0: (["A", "B", "C"], chain(), "xyx"), 4: (["t", "s", "u"], twins, "xxy")})
    return tmp_path


def test_the_compatible_rule_counts_its_orphans(chained, context):
    result = stage(chained).run(context=context)
    assert result.counts == {"rows": 6, "kept": 3, "removed": 3, "orphans": 1, "groups": 2}
    assert removed(chained) == ["B", "C", "s"]


def test_the_greedy_rule_has_none(chained, context):
    result = stage(chained, rule="greedy").run(context=context)
    assert result.counts == {"rows": 6, "kept": 4, "removed": 2, "orphans": 0, "groups": 2}
    rows = {row["id"]: row for row in table(chained, "duplicates.parquet")}
    assert {one: row["kept_id"] for one, row in rows.items()} == {"B": "A", "s": "t"}
    assert all(row["kept_score"] >= 0.99 for row in rows.values())


def test_groups_of_a_chain(chained, context):
    stage(chained).run(context=context)
    groups = table(chained, "groups.parquet")
    assert [(row["group_id"], row["id"], row["cluster"], row["kept"], row["representative_id"]) for row in groups] == [
        (0, "A", 0, True, "A"), (0, "B", 0, False, "A"), (0, "C", 0, False, "A"),
        (1, "t", 4, True, "t"), (1, "s", 4, False, "t"),
    ]  # fmt: skip
    assert [row["nearest_kept_id"] for row in groups] == [None, "A", "A", None, "t"]
    assert groups[0]["nearest_kept_cosine"] is None
    assert [row["nearest_kept_cosine"] for row in groups[1:3]] == pytest.approx([0.995, 0.98005], abs=1e-6)


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three clusters of up to 90 rows with many near neighbours, integer ids."""
    root = tmp_path_factory.mktemp("crowd")
    clusters: dict[int, Cluster] = {}
    for number, size in enumerate((90, 1, 60)):
        X = random_unit(size, 6, number, copies=0.7, noise=0.05)
        sources = [f"v{one}" for one in np.random.default_rng(number).integers(0, 4, size)]
        clusters[number] = (list(range(1000 * number, 1000 * number + size)), X, sources)
    write_run(root, clusters)
    return root


def rows_of(root: Path) -> dict[int, tuple[int, np.ndarray]]:
    """Id → (cluster, vector)."""
    found = {}
    for path in sorted((root / "k").rglob("*.parquet")):
        cluster = int(path.parent.name.removeprefix("centroid="))
        for row in pq.read_table(path).to_pylist():
            found[row["id"]] = (cluster, np.array(row["embedding"], np.float32))
    return found


@pytest.mark.parametrize("rule", ["pairwise", "greedy"])
@pytest.mark.parametrize("eps", [0.001, 0.02, 0.3])
def test_every_removed_row_and_its_nearest_kept_one(crowd, context, tmp_path, rule, eps):
    result = stage(crowd, str(tmp_path / "d"), rule=rule, eps=eps).run(context=context)
    vectors = rows_of(crowd)
    kept = {int(line) for line in (tmp_path / "d" / "keep.txt").read_text().split()}
    duplicates = pq.read_table(tmp_path / "d" / "duplicates.parquet").to_pylist()
    orphans = 0
    for row in duplicates:
        cluster, vector = vectors[row["id"]]
        others = [one for one in kept if vectors[one][0] == cluster]
        best = max(float(cosines(np.stack([vector, vectors[one][1]]))[0, 1]) for one in others)
        assert row["kept_id"] in others
        assert row["kept_score"] == pytest.approx(best, abs=1e-7)
        orphans += row["kept_score"] < 1 - eps
    assert result.counts["orphans"] == orphans
    assert rule == "pairwise" or orphans == 0
    assert kept | {row["id"] for row in duplicates} == vectors.keys()


def test_groups_are_the_components_of_brute_force(crowd, context, tmp_path):
    stage(crowd, str(tmp_path / "d"), rule="greedy", eps=0.01).run(context=context)
    vectors = rows_of(crowd)
    ids = sorted(vectors)
    near = cosines(np.stack([vectors[one][1] for one in ids])) >= 0.99
    clusters = np.array([vectors[one][0] for one in ids])
    near &= clusters[:, None] == clusters
    from scipy.sparse.csgraph import connected_components

    _, label = connected_components(near)
    expected = {frozenset(ids[row] for row in np.flatnonzero(label == one)) for one in np.unique(label)}
    groups: dict[int, set[int]] = {}
    for row in pq.read_table(tmp_path / "d" / "groups.parquet").to_pylist():
        groups.setdefault(row["group_id"], set()).add(row["id"])
    assert set(map(frozenset, groups.values())) == {group for group in expected if len(group) > 1}
    assert sorted(groups) == list(range(len(groups)))


@pytest.mark.parametrize("target_keep", [0.0, 0.5, 0.9, 1.0])
def test_target_keep_chooses_eps(crowd, context, tmp_path, target_keep):
    one = stage(crowd, str(tmp_path / "d"), target_keep=target_keep)
    result = one.run(context=context)
    scores = np.concatenate(
        [pq.read_table(path)["cosine_sim_score"].to_numpy() for path in sorted((crowd / "p").glob("*.parquet"))]
    )
    eps = suggest_eps(scores, target_keep)
    assert one.decided_eps() == eps
    assert result.counts["kept"] == int((~is_duplicate(scores, eps)).sum())
    exact = int(is_duplicate(scores, 0.0).sum())
    assert result.counts["kept"] >= min(target_keep * len(scores), len(scores) - exact) - 1e-9
    assert {row["eps"] for row in pq.read_table(tmp_path / "d" / "duplicates.parquet").to_pylist()} <= {eps}


@pytest.mark.parametrize("scope", ["all", "cross", "same"])
@pytest.mark.parametrize("num_rows", [1000, 40])
def test_recall_is_that_of_brute_force(context, tmp_path, scope, num_rows):
    """Rows with near copies, spread over clusters at random; the source of a few is unknown."""
    X, random = random_unit(150, 6, 5, copies=0.7, noise=0.05), np.random.default_rng(5)
    labels, videos = random.integers(0, 3, 150), random.choice(["v", "w", "x", None], 150)
    clusters = {
        number: (np.flatnonzero(labels == number).tolist(), X[labels == number], videos[labels == number])
        for number in range(3)
    }
    write_run(tmp_path, clusters)
    parameters = {} if scope == "all" else {"scope": scope, "source_field": "video"}
    one = stage(tmp_path, eps=0.02, recall_sample=num_rows, **parameters)
    counts = one.run(context=context).counts
    sampled = np.argsort(sample_priority(np.arange(150), 42))[:num_rows]
    known = np.array([video is not None for video in videos])
    same = (videos[:, None] == videos) & known[:, None] & known
    near = cosines(X) >= 0.98
    near &= {"all": True, "cross": ~same, "same": same}[scope]
    np.fill_diagonal(near, False)
    assert counts["recall_rows"] == len(sampled)
    assert counts["recall_pairs"] == near[sampled].sum()
    assert counts["recall_pairs_found"] == (near & (labels[:, None] == labels))[sampled].sum()
    assert 0 < counts["recall_pairs_found"] < counts["recall_pairs"]
    assert one.run(context=context).counts == counts


@pytest.mark.parametrize("scope", ["cross", "same"])
def test_a_scope_by_a_carried_column(chained, context, scope):
    result = stage(chained, scope=scope, source_field="video").run(context=context)
    assert removed(chained) == {"cross": ["B", "C"], "same": ["s"]}[scope]
    scores = table(chained, "scores/cluster_0.parquet")
    assert [row["id"] for row in scores] == ["A", "B", "C"]
    expected = {"cross": ([0, 0.995, 0.995], ["A", "A", "B"]), "same": ([0, 0, 0.98005], ["A", "B", "A"])}[scope]
    assert [row["cosine_sim_score"] for row in scores] == pytest.approx(expected[0], abs=1e-6)
    assert [row["max_id"] for row in scores] == expected[1]
    # C was removed for B, which is removed too: A is of C's own video, so it does not count.
    assert result.counts["orphans"] == (1 if scope == "cross" else 0)
    if scope == "cross":
        assert [row["kept_id"] for row in table(chained, "duplicates.parquet")] == ["A", None]
        assert [row["nearest_kept_id"] for row in table(chained, "groups.parquet")] == [None, "A", None]


@pytest.fixture
def across(tmp_path: Path) -> Path:
    """Tables that name rows of other clusters, as the cross-cluster stage writes them: B1 matches A1, D matches C."""
    a, c = np.eye(3, dtype=np.float32)[:2]
    near = np.array([[0.995, 0, 0.0998749]], np.float32)
    rows = {0: (["A1"], a[None]), 1: (["B1", "B2", "C"], np.vstack([near, near, c])), 2: (["D"], c[None])}
    write_run(tmp_path, {number: (ids, X, "v" * len(ids)) for number, (ids, X) in rows.items()})
    for number, best, scores in ((1, ["A1", "B1", "C"], [0.995, 1, 0]), (2, ["C"], [1])):
        path = tmp_path / "p" / f"cluster_{number}.parquet"
        table = pq.read_table(path).to_pydict() | {"max_id": best, "cosine_sim_score": np.array(scores, np.float32)}
        pq.write_table(pa.table(table), path)
    return tmp_path


def test_a_kept_twin_in_another_cluster(across, context):
    counts = stage(across).run(context=context).counts
    assert removed(across) == ["B1", "B2", "D"]
    assert counts == {"rows": 5, "kept": 2, "removed": 3, "orphans": 1, "groups": 2}
    kept = {row["id"]: (row["kept_id"], row["kept_score"]) for row in table(across, "duplicates.parquet")}
    assert (kept["B1"], kept["D"]) == (("A1", pytest.approx(0.995)), ("C", 1))
    groups = [(row["group_id"], row["id"], row["cluster"], row["representative_id"]) for row in
              table(across, "groups.parquet")]  # fmt: skip
    assert groups == [(0, "A1", 0, "A1"), (0, "B1", 1, "A1"), (0, "B2", 1, "A1"), (1, "C", 1, "C"), (1, "D", 2, "C")]


def test_the_greedy_rule_across_clusters_leaves_no_orphan(across, context):
    """B1 stays, because B2 was removed for it; D is removed for C, which stays."""
    counts = stage(across, rule="greedy").run(context=context).counts
    assert removed(across) == ["B2", "D"]
    assert counts == {"rows": 5, "kept": 3, "removed": 2, "orphans": 0, "groups": 2}
    assert [row["kept_id"] for row in table(across, "duplicates.parquet")] == ["B1", "C"]


def write_clips(root: Path, video_of: dict[str, str]) -> None:
    rows = [{"id": one, "source_video": video, "start_s": 0.0, "end_s": 2.0} for one, video in video_of.items()]
    builders.write_clip_index(root / "c", rows)


def test_a_scope_by_the_videos_of_the_clip_index(chained, context):
    write_clips(chained, {"u": "y", "s": "x", "t": "x", "C": "x", "B": "y", "A": "x", "other": "z"})
    stage(chained, scope="cross", clips_path=str(chained / "c")).run(context=context)
    assert removed(chained) == ["B", "C"]
    assert [row["source"] for row in table(chained, "duplicates.parquet")] == ["y", "x"]


def test_target_keep_counts_the_pairs_in_scope(chained, context):
    one = stage(chained, scope="same", source_field="video", target_keep=4 / 6)
    assert one.run(context=context).counts["kept"] == 4
    assert removed(chained) == ["C", "s"]
    assert one.decided_eps() == pytest.approx(0.01995, abs=1e-6)


def test_ids_without_a_source_are_named(chained, context):
    write_clips(chained, {"A": "x"})
    with pytest.raises(InputError, match="clips.parquet lacks .* ids, for example"):
        stage(chained, scope="cross", clips_path=str(chained / "c")).run(context=context)
    with pytest.raises(InputError, match="has no column 'film'"):
        stage(chained, "e", scope="cross", source_field="film").run(context=context)


@pytest.mark.parametrize("parameters", [{}, {"rule": "greedy", "scope": "cross", "source_field": "video"}], ids=str)
def test_a_second_run_does_nothing_and_other_parameters_decide_anew(chained, context, parameters, monkeypatch):
    first = stage(chained, target_keep=0.5, **parameters)
    first.run(context=context)
    before = {path: path.stat().st_mtime_ns for path in (chained / "d").rglob("*") if path.is_file()}
    again = first.run(context=context)
    assert (again.num_run, again.num_skipped) == (0, 2)
    assert {path: path.stat().st_mtime_ns for path in (chained / "d").rglob("*") if path.is_file()} == before
    # What is measured beside the decisions may be asked for later.
    assert (
        stage(chained, target_keep=0.5, recall_sample=9, **parameters).run(context=context).counts["recall_rows"] == 6
    )
    with pytest.raises(FolderInUseError, match="kmeans_path was"):
        replace(stage(chained, target_keep=0.5, **parameters), kmeans_path=str(chained / "k2")).check(
            RunContext(context.cluster)
        )
    notes: list[str] = []
    monkeypatch.setattr(context.reporter, "note", notes.append)
    stage(chained, eps=0.3).run(context=context)
    assert len(notes) == 1
    assert "eps was not given and is now 0.3" in notes[0]
    assert "target_keep was 0.5 and is now not given" in notes[0]
    assert not (chained / "d" / "scores").exists() or not list((chained / "d" / "scores").iterdir())
    assert stage(chained, eps=0.3).decided_eps() == 0.3


def test_a_cluster_without_its_decision_table_is_decided_again(chained, context):
    stage(chained).run(context=context)
    tables = sorted((chained / "d" / ".curator" / "identify" / "units").glob("*.arrow"))
    assert [path.name for path in tables] == ["cluster-000000.arrow", "cluster-000004.arrow"]
    before = [path.read_bytes() for path in tables]
    tables[0].unlink()
    again = stage(chained).run(context=context)
    assert (again.num_run, again.num_skipped) == (1, 1)
    assert [path.read_bytes() for path in tables] == before


def test_a_damaged_decision_table_is_named(chained, context):
    stage(chained).run(context=context)
    path = chained / "d" / ".curator" / "identify" / "units" / "cluster-000004.arrow"
    path.write_bytes(b"x" * path.stat().st_size)
    (chained / "d" / "decisions" / "part-000000.parquet").unlink()  # else nothing has to be read
    with pytest.raises(InputError, match=r"cluster-000004\.arrow: its bytes are not those that were written.*--repair"):
        stage(chained).run(context=context)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"eps": 0.1, "target_keep": 0.7}, "exclude each other"),
        ({"eps": 1.0}, "eps must be"),
        ({"target_keep": 1.5}, "target_keep must be from 0 to 1, got 1.5"),
        ({"recall_sample": -1}, "recall_sample"),
        ({"rule": "first"}, "rule must be one of"),
        ({"scope": "near"}, "scope must be one of"),
        ({"scope": "cross"}, "needs the sources of rows"),
    ],
    ids=str,
)
def test_parameters_are_checked(tmp_path, parameters, message):
    with pytest.raises(ParameterError, match=message):
        stage(tmp_path, **parameters)


def test_no_finished_run(tmp_path):
    with pytest.raises(InputError, match="no finished run"):
        stage(tmp_path).decided_eps()


def test_a_sweep_counts_what_each_eps_would_keep(chained, context):
    tables = Folder(str(chained / "p"))
    scores = np.concatenate(
        [pq.read_table(path)["cosine_sim_score"].to_numpy() for path in (chained / "p").glob("*.parquet")]
    )
    values = parse_eps_values(".3,.001,.3, 0.05")
    assert values == [0.001, 0.05, 0.3]
    for line in sweep_eps(tables, values):
        assert line.removed == sum(float(score) >= 1 - line.eps for score in scores)
        assert line.kept + line.removed == len(scores)
        assert stage(chained, eps=line.eps).run(context=context).counts["removed"] == line.removed
    for wrong in ("", "a,b", "0.1;0.2"):
        with pytest.raises(ParameterError, match="sweep"):
            parse_eps_values(wrong)
    with pytest.raises(ParameterError, match="eps must be"):
        sweep_eps(tables, [1.0])
