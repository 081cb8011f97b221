"""The rule greedy, clusters compared with each other, and filters on quality columns, all in one run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from curator_dask.stages.base import RunContext
from curator_dask.stages.cross_cluster import stage as cross_cluster
from tests.dedup.reference import cosines
from tests.stages import builders
from tests.stages.identify.test_also_copies import stage as stage_with_copies
from tests.stages.identify.test_greedy_across_clusters import (
    EPS,
    crowded,
    decide,
    kept_ids,
    pass_over_all,
    ranked_rows,
)
from tests.trees import results, times

FILTERS = {"min_motion": 0.1, "max_static_share": 0.8, "drop_black": True}


def index_with_quality(out: Path, ids: list[str], seed: int, shares: tuple[float, ...] = (0.2, 0.2, 0.1)) -> set[str]:
    """Write a clip index in which shares of the clips move too little, stand too long, are black; returns their ids."""
    rng = np.random.default_rng(seed)
    bad = rng.random((len(ids), 3)) < shares
    columns = zip(ids, *np.where(bad, (0.05, 0.95, 1.0), (0.4, 0.1, 0.0)).T.tolist(), strict=True)
    names = ("id", "motion_mean", "frozen_share", "black_share")
    rows = [dict(zip(names, one, strict=True)) for one in columns]
    builders.write_clip_index(out / "index", [{**row, "valid": True, "source_video": "v"} for row in rows])
    return {one for one, failed in zip(ids, bad.any(axis=1), strict=True) if failed}


def listed(out: Path, which: str, name: str = "d") -> set[str]:
    return set((out / name / f"{which}.txt").read_text().split())


@pytest.fixture(params=[(1, 6), (2, 16), (3, 24)], ids=["6 dimensions", "16 dimensions", "24 dimensions"])
def compared(request, compared_rows) -> tuple[Path, set[str]]:
    """Rows in crowds, compared within and across clusters, and the ids that the filters drop."""
    seed, dim = request.param
    ids, _ = crowded(seed, 900, dim)
    out = compared_rows(seed, 900, dim)
    return out, index_with_quality(out, ids, seed)


def filtered(out: Path, context: RunContext, name: str = "d", **parameters: Any) -> dict[str, int]:
    return decide(out, context, name, clips_path=str(out / "index"), **FILTERS, **parameters)


@pytest.mark.parametrize("eps", [EPS, 0.04])
def test_what_stays_is_what_one_pass_over_the_rows_left_leaves(compared, context, eps):
    out, bad = compared
    counts = filtered(out, context, eps=eps)
    ids, X = ranked_rows(out)
    left = np.array([one not in bad for one in ids])
    stays = np.array(ids)[left][pass_over_all(X[left], eps)]
    assert kept_ids(out) == set(stays.tolist())
    assert listed(out, "drop") == bad
    kept, removed, dropped = (listed(out, which) for which in ("keep", "remove", "drop"))
    assert len(kept) + len(removed) + len(dropped) == len(kept | removed | dropped) == 900
    expected = {"rows": 900, "kept": len(kept), "removed": len(removed), "dropped": len(dropped), "orphans": 0}
    assert {name: counts[name] for name in expected} == expected
    assert sum(counts[name] for name in ("dropped_black", "dropped_static", "dropped_low_motion")) == len(dropped)
    assert len(removed) > 5


def test_no_dropped_row_is_named_and_each_removed_one_has_a_kept_row_within_eps(compared, context):
    out, bad = compared
    filtered(out, context)
    ids, X = ranked_rows(out)
    place, cosine, kept = {one: row for row, one in enumerate(ids)}, cosines(X), kept_ids(out)
    for row in pq.read_table(out / "d" / "duplicates.parquet").to_pylist():
        assert row["kept_id"] in kept
        assert not {row["id"], row["kept_id"], row["max_id"]} & bad
        for match, score in (("kept_id", "kept_score"), ("max_id", "cosine_sim_score")):
            assert row[score] == pytest.approx(cosine[place[row["id"]], place[row[match]]], abs=1e-6)
            assert row[score] >= 1 - EPS - 1e-6
        assert place[row["max_id"]] < place[row["id"]]
    assert not {row["id"] for row in pq.read_table(out / "d" / "groups.parquet").to_pylist()} & bad


def test_rows_whose_best_match_is_dropped_are_still_removed_for_the_next_one(compared, context):
    """Such a row may have a score below the limit in the table of its own cluster."""
    out, bad = compared
    filtered(out, context)
    tables = [pq.read_table(path).to_pylist() for path in sorted((out / "x").glob("cluster_*.parquet"))]
    best = {row["id"]: row["max_id"] for table in tables for row in table}
    assert any(best[one] in bad for one in listed(out, "remove"))


def test_clusters_that_are_dropped_whole_take_no_part(compared_rows, context):
    ids, _ = crowded(4, 500, 12)
    out = compared_rows(4, 500, 12)
    first = next(iter(sorted((out / "p").glob("cluster_*.parquet"))))
    whole = set(pq.read_table(first)["id"].to_pylist())
    index_with_quality(out, sorted(whole), 4, (1.0, 1.0, 1.0))
    rows = pq.read_table(out / "index" / "clips.parquet").to_pylist()
    good = [{**rows[0], "id": one, "motion_mean": 0.5, "frozen_share": 0.0, "black_share": 0.0} for one in ids]
    builders.write_clip_index(out / "index", [*rows, *(row for row in good if row["id"] not in whole)])
    counts = filtered(out, context)
    ids, X = ranked_rows(out)
    left = np.array([one not in whole for one in ids])
    assert counts["dropped"] == len(whole) > 0
    assert kept_ids(out) == set(np.array(ids)[left][pass_over_all(X[left], EPS)].tolist())


def test_groups_and_workers_leave_no_trace_and_a_second_run_does_nothing(
    compared_rows, context, one_worker, monkeypatch
):
    ids, _ = crowded(2, 900, 16)
    out = compared_rows(2, 900, 16)
    index_with_quality(out, ids, 5)
    filtered(out, context)
    written = times(out / "d")
    filtered(out, context)
    assert times(out / "d") == written
    monkeypatch.setattr(cross_cluster, "GROUP_BYTES", 1)
    filtered(out, one_worker, "e")
    assert results(out / "e") == results(out / "d")


def test_other_filters_are_settled_anew(compared_rows, context):
    ids, _ = crowded(4, 500, 12)
    out = compared_rows(4, 500, 12)
    index_with_quality(out, ids, 6)
    where = {"clips_path": str(out / "index")}
    for name, parameters in (("a", FILTERS), ("b", {"drop_black": True}), ("c", {})):
        decide(out, context, name, **where, **parameters)
        decide(out, context, "d", **where, **parameters)
        assert results(out / "d") == results(out / name)


@pytest.mark.parametrize("seed", [1, 2])
def test_copies_may_go_first(with_overlaps, context, seed):
    out = with_overlaps(seed)
    ids, X = ranked_rows(out)
    bad = index_with_quality(out, ids, seed)
    given = {"clips_path": str(out / "index"), **FILTERS}
    counts = stage_with_copies(out, tables="x", **given).run(context=context).counts
    stage_with_copies(out, "o", "x", also=None, eps=None, rule="overlap", **given).run(context=context)
    gone = bad | listed(out, "remove", "o")
    left = np.array([one not in gone for one in ids])
    assert kept_ids(out) == set(np.array(ids)[left][pass_over_all(X[left], EPS)].tolist())
    assert counts["kept"] + counts["removed"] + counts["dropped"] == counts["rows"] == len(ids)
