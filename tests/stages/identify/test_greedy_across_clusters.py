"""The rule greedy over rows of several clusters: what one pass over all rows in their ranking leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from curator_dask import IdentifyDuplicatesStage
from curator_dask.stages.base import RunContext
from curator_dask.stages.cross_cluster import stage as cross_cluster
from curator_dask.stages.cross_cluster.stage import CrossClusterStage
from curator_dask.stages.identify.across import settle
from tests.dedup.reference import cosines
from tests.stages import builders
from tests.trees import results, times

EPS = 0.1


def crowded(seed: int, num_rows: int, dim: int) -> tuple[list[str], np.ndarray]:
    """Rows in loose crowds: chains of near rows that k-means cuts to pieces."""
    rng = np.random.default_rng(seed)
    middle = rng.standard_normal((num_rows // 8, dim))
    X = middle[rng.integers(0, len(middle), num_rows)] + 0.35 * rng.standard_normal((num_rows, dim))
    return [f"clip-{number:04d}" for number in rng.permutation(num_rows)], X.astype(np.float32)


@pytest.fixture(params=[(1, 6), (2, 16), (3, 24)], ids=["6 dimensions", "16 dimensions", "24 dimensions"])
def compared(request, compared_rows) -> Path:
    """K-means (``k``), pairwise (``p``) and cross-cluster (``x``) output of rows in crowds."""
    seed, dim = request.param
    return compared_rows(seed, 900, dim)


def compare(out: Path, context: RunContext, source: Path) -> Path:
    builders.score_vectors(source, out, context, 12)
    paths = {"input_path": str(out / "k"), "pairwise_path": str(out / "p"), "output_path": str(out / "x")}
    CrossClusterStage(**paths, eps=EPS, budget=1e9).run(context=context)
    return out


def decide(out: Path, context: RunContext, name: str = "d", tables: str = "x", **parameters: Any) -> dict[str, int]:
    given = {"eps": EPS, "rule": "greedy", **parameters}
    stage = IdentifyDuplicatesStage(str(out / tables), str(out / "k"), str(out / name), **given)
    return dict(stage.run(context=context).counts)


def ranked_rows(out: Path) -> tuple[list[str], np.ndarray]:
    """Ids and vectors of all rows, in the ranking over all clusters."""
    tables = [pq.read_table(path) for path in sorted((out / "k").glob("centroid=*/*.parquet"))]
    rows = [row for table in tables for row in table.to_pylist()]
    rows.sort(key=lambda row: (row["cosine_dist_to_cent"], row["id"]), reverse=True)
    return [row["id"] for row in rows], np.array([row["embedding"] for row in rows], np.float32)


def pass_over_all(X: np.ndarray, eps: float) -> np.ndarray:
    """Which rows stay if each is removed that has a kept row before it within eps."""
    near = np.rint(cosines(X) * 2.0**24) / 2.0**24 >= 1 - eps
    kept = np.zeros(len(X), bool)
    for row in range(len(X)):
        kept[row] = not (near[row] & kept).any()
    return kept


def kept_ids(out: Path, name: str = "d") -> set[str]:
    return set((out / name / "keep.txt").read_text().split())


@pytest.mark.parametrize("eps", [EPS, 0.04])
def test_what_stays_is_what_one_pass_over_all_rows_leaves(compared, context, eps):
    ids, X = ranked_rows(compared)
    counts = decide(compared, context, eps=eps)
    stays = pass_over_all(X, eps)
    assert kept_ids(compared) == {ids[row] for row in np.flatnonzero(stays)}
    assert (counts["kept"], counts["orphans"]) == (stays.sum(), 0)
    assert counts["removed"] > 20


def test_every_removed_row_names_the_nearest_kept_row_that_is_known(compared, context):
    decide(compared, context)
    ids, X = ranked_rows(compared)
    place, cosine, kept = {one: row for row, one in enumerate(ids)}, cosines(X), kept_ids(compared)
    stays = np.array([one in kept for one in ids])
    across = 0
    label = {one: path.parent.name for path in (compared / "k").glob("centroid=*/*.parquet")
             for one in pq.ParquetFile(path).read()["id"].to_pylist()}  # fmt: skip
    for row in pq.read_table(compared / "d" / "duplicates.parquet").to_pylist():
        own = place[row["id"]]
        assert row["kept_id"] in kept
        assert row["kept_score"] == pytest.approx(cosine[own, place[row["kept_id"]]], abs=1e-6)
        before = stays & (np.arange(len(ids)) < own)
        assert row["kept_score"] >= cosine[own][before].max() - 1e-6
        across += label[row["id"]] != label[row["kept_id"]]
    assert across > 10
    groups = pq.read_table(compared / "d" / "groups.parquet").to_pylist()
    group_of = {row["id"]: row["group_id"] for row in groups}
    assert all(group_of[row["id"]] == group_of[row["nearest_kept_id"]] for row in groups if not row["kept"])


def test_groups_and_workers_leave_no_trace_and_a_second_run_does_nothing(
    compared_rows, context, one_worker, monkeypatch
):
    out = compared_rows(2, 900, 16)
    decide(out, context)
    written = times(out / "d")
    decide(out, context)
    assert times(out / "d") == written
    assert not list((out / "d").glob("_between*"))
    monkeypatch.setattr(cross_cluster, "GROUP_BYTES", 1)
    decide(out, one_worker, "e")
    assert results(out / "e") == results(out / "d")


def test_another_rule_and_another_eps_are_settled_anew(compared_rows, context, monkeypatch):
    out = compared_rows(4, 500, 12)
    for name, parameters in (("a", {}), ("b", {"eps": 0.05}), ("c", {"rule": "pairwise"})):
        decide(out, context, name, **parameters)
        decide(out, context, "d", **parameters)
        assert results(out / "d") == results(out / name)
    decide(out, context)
    assert results(out / "d") == results(out / "a")
    monkeypatch.setattr(settle, "VERSION", settle.VERSION + 1)
    decide(out, context)
    assert results(out / "d") == results(out / "a")


def test_tables_of_single_clusters_are_decided_as_before(compared_rows, context):
    out = compared_rows(4, 500, 12)
    decide(out, context, tables="p")
    assert not (out / "d" / ".curator" / "identify" / "units" / "across.json").exists()
    ids, X = ranked_rows(out)
    for path in sorted((out / "p").glob("cluster_*.parquet")):
        own = [row for row, one in enumerate(ids) if one in set(pq.read_table(path)["id"].to_pylist())]
        assert [one in kept_ids(out) for one in np.array(ids)[own]] == pass_over_all(X[own], EPS).tolist()
