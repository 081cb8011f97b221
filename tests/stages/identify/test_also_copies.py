"""`identify --also copies`: copies by their overlaps first, then near neighbours among the clips that are left."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from curator_dask import IdentifyDuplicatesStage, IncrementalStage, InputError, ParameterError
from curator_dask.files.buckets import shared
from curator_dask.runtime.state import StageState
from curator_dask.stages.base import RunContext
from curator_dask.stages.cross_cluster.stage import CrossClusterStage
from curator_dask.stages.identify.decisions import parts as decision_parts
from curator_dask.stages.identify.source_groups import connect, tables_of_align
from tests.dedup.reference import cosines
from tests.stages import builders
from tests.stages.identify.test_greedy_across_clusters import crowded, pass_over_all, ranked_rows
from tests.stages.identify.test_overlap_rule import write_overlaps
from tests.trees import results, times

EPS = 0.1


def random_overlaps(ids: list[str], seed: int) -> list[Any]:
    """Whole copies and parts of copies between clips chosen at random, so that chains of both kinds come about."""
    rng = np.random.default_rng(seed)
    pairs = {tuple(sorted(rng.choice(len(ids), 2, replace=False).tolist())) for _ in range(len(ids) // 2)}
    found = []
    for one, other in sorted(pairs):
        span = [(0.0, 10.0), (0.0, 6.0), (4.0, 10.0)][rng.integers(3)]
        found.append((ids[one], ids[other], span, 0.0, "copy"))
    return found


@pytest.fixture(params=[1, 2, 3])
def scored(request, with_overlaps) -> Path:
    return with_overlaps(request.param)


def write_all(out: Path, ids: list[str], X: Any) -> Path:
    """Write the vectors to one file; returns its folder."""
    return builders.write_vectors(out / "vectors" / "part-0.parquet", ids, X)


def make(out: Path, context: RunContext, seed: int, write: Callable[[Path, list[str], Any], Path] = write_all) -> Path:
    """Rows in crowds, their tables within clusters (``p``) and across (``x``), and overlaps at random."""
    ids, X = crowded(seed, 240, 8)
    builders.score_vectors(write(out, ids, X), out, context, 5)
    paths = {"input_path": str(out / "k"), "pairwise_path": str(out / "p"), "output_path": str(out / "x")}
    CrossClusterStage(**paths, eps=EPS, budget=1e9).run(context=context)
    clips = [(name, f"video-{place // 6}.mp4", 10.0 * (place % 6)) for place, name in enumerate(sorted(ids))]
    write_overlaps(out, clips, random_overlaps(sorted(ids), seed))
    return out


def stage(out: Path, name: str = "d", tables: str = "p", **parameters: Any) -> IdentifyDuplicatesStage:
    given = {"also": "copies", "eps": EPS, "overlaps_path": str(out / "overlaps"), **parameters}
    return IdentifyDuplicatesStage(str(out / tables), str(out / "k"), str(out / name), **given)


def duplicates(out: Path, name: str = "d") -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in pq.read_table(out / name / "duplicates.parquet").to_pylist()}


def kept(out: Path, name: str = "d") -> set[str]:
    return set((out / name / "keep.txt").read_text().split())


def expected(out: Path, tables: str, copies: set[str]) -> set[str]:
    """What stays of the rows that are no copies by the greedy rule: in each cluster, or in one pass over all rows."""
    ids, X = ranked_rows(out)
    rest = [row for row, one in enumerate(ids) if one not in copies]
    parts = [rest]
    if tables == "p":
        members = [set(pq.read_table(path)["id"].to_pylist()) for path in sorted((out / "p").glob("cluster_*.parquet"))]
        parts = [[row for row in rest if ids[row] in some] for some in members]
    return {ids[row] for part in parts for row in np.array(part)[pass_over_all(X[part], EPS)]}


@pytest.mark.parametrize("tables", ["p", "x"])
def test_copies_are_those_of_the_rule_overlap_and_neighbours_those_of_the_rest(scored, context, tables):
    counts = stage(scored, tables=tables).run(context=context).counts
    stage(scored, "o", tables, also=None, eps=None, rule="overlap").run(context=context)
    copies, rows = set(duplicates(scored, "o")), duplicates(scored)
    assert {name for name, row in rows.items() if row["reason"] == "copy"} == copies
    assert kept(scored) == expected(scored, tables, copies)
    assert len(copies) > 15
    near = len(rows) - len(copies)
    assert near > 15
    assert counts == {
        "rows": 240, "kept": 240 - len(rows), "removed": len(rows), "orphans": 0, "groups": counts["groups"],
        "removed_as_copies": len(copies), "removed_as_near": near,
    }  # fmt: skip


@pytest.mark.parametrize("tables", ["p", "x"])
def test_whatever_is_named_as_kept_is_kept(scored, context, tables):
    stage(scored, tables=tables).run(context=context)
    stage(scored, "o", tables, also=None, eps=None, rule="overlap").run(context=context)
    ids, X = ranked_rows(scored)
    place, cosine, stays = {one: row for row, one in enumerate(ids)}, cosines(X), kept(scored)
    copies, rows = duplicates(scored, "o"), duplicates(scored)
    group_of = {row["id"]: row["group_id"] for row in pq.read_table(scored / "d" / "groups.parquet").to_pylist()}
    moved = 0
    for name, row in rows.items():
        assert row["kept_id"] == row["kept_ids"][0]
        assert set(row["kept_ids"]) <= stays
        assert len(set(row["kept_ids"])) == len(row["kept_ids"])
        assert {group_of[one] for one in row["kept_ids"]} == {group_of[name]}
        if row["reason"] == "near-duplicate":
            assert row["eps"] == EPS
            assert row["kept_score"] == pytest.approx(cosine[place[name], place[row["kept_id"]]], abs=1e-6)
            assert row["kept_score"] >= 1 - EPS - 1e-6
            assert [row[one] for one in ("offset_s", "cover", "kind")] == [None] * 3
            continue
        assert row["eps"] is None
        before = copies[name]["kept_ids"]
        assert row["kept_ids"] == list(dict.fromkeys(one if one in stays else rows[one]["kept_id"] for one in before))
        if set(before) <= stays:
            assert {**row, "cluster": 0} == {**copies[name], "reason": "copy", "cluster": 0}
        else:
            moved += 1
            assert [row[one] for one in ("offset_s", "cover", "kind")] == [None] * 3
    assert moved > 3


def test_a_second_run_does_nothing_and_workers_leave_no_trace(with_overlaps, context, one_worker):
    out = with_overlaps(1)
    stage(out, tables="x").run(context=context)
    written = times(out / "d")
    again = stage(out, tables="x").run(context=context)
    assert (again.num_run, again.num_skipped > 0, times(out / "d")) == (0, True, written)
    planned = stage(out, tables="x").run(context=RunContext(context.cluster, dry_run=True))
    assert planned.num_run == 0
    stage(out, "e", tables="x").run(context=one_worker)
    assert results(out / "e") == results(out / "d")


@pytest.mark.parametrize("tables", ["p", "x"])
def test_many_parts_and_buckets_give_the_same_as_one(with_overlaps, context, monkeypatch, tables):
    """With few sources, so that these lose most of their clips to themselves, filters, and decisions by hand."""
    out = with_overlaps(3)
    index = [{**row, "motion_mean": 0.5, "black_share": float(place % 7 == 0)} for place, row in enumerate(_index(out))]
    ids = sorted(row["id"] for row in index)
    clips = [(name, f"film-{place // 200}.mp4", 10.0 * place) for place, name in enumerate(ids)]
    shutil.rmtree(out / "overlaps")
    write_overlaps(out, clips, random_overlaps(ids, 4))
    given = {"tables": tables, "eps": 0.3, "drop_black": True, "overrides": str(out / "by_hand.csv")}
    given["clips_path"] = builders.write_clip_index(out / "index", index[:200])
    lines = [f"{name},{('keep', 'remove')[place % 2]},\n" for place, name in enumerate(ids[::9])]
    (out / "by_hand.csv").write_text("id,decision,note\n" + "".join(lines))
    one = stage(out, "one", **given).run(context=context)
    monkeypatch.setattr(decision_parts, "PART_ROWS", 20)
    for module in (shared, tables_of_align):
        monkeypatch.setattr(module, "ROWS_OF_SHARED_BUCKET", 25)
    monkeypatch.setattr(connect, "LISTS_AT_ONCE", 2)
    many = stage(out, "many", **given).run(context=context)
    found = [results(out / name) for name in ("one", "many")]
    parts = [{name for name in some if name.startswith("decisions/")} for some in found]
    assert (len(parts[0]), len(parts[1]) > 3) == (1, True)
    assert (many.counts, many.warnings) == (one.counts, one.warnings)
    assert one.counts["sources_mostly_removed"] == 1
    assert {name: value for name, value in found[0].items() if name not in parts[0]} == {
        name: value for name, value in found[1].items() if name not in parts[1]
    }
    assert not list(out.glob("many/.curator/identify/buckets/**/*.arrow"))


def test_other_overlaps_and_other_rules_are_decided_anew(with_overlaps, context):
    out = with_overlaps(2)
    stage(out).run(context=context)
    first = kept(out)
    stage(out, also=None, overlaps_path=None, rule="greedy").run(context=context)
    stage(out, "g", also=None, overlaps_path=None, rule="greedy").run(context=context)
    assert results(out / "d") == results(out / "g")
    assert StageState(stage(out, "g").output, "identify").parameter("also") is None
    stage(out).run(context=context)
    assert kept(out) == first
    stage(out, min_cover=0.5).run(context=context)
    stage(out, "m", min_cover=0.5).run(context=context)
    assert results(out / "d") == results(out / "m")
    assert kept(out) != first
    stage(out, "s", scope="cross", clips_path=builders.write_clip_index(out / "index", _index(out))).run(
        context=context
    )
    ids, _ = ranked_rows(out)
    video = {name: place // 6 for place, name in enumerate(sorted(ids))}
    assert all(
        video[name] != video[row["kept_id"]] or row["kind"] is None for name, row in duplicates(out, "s").items()
    )


def _index(out: Path) -> list[dict[str, Any]]:
    ids, _ = ranked_rows(out)
    return [
        {"id": name, "source_video": f"video-{place // 6}.mp4", "start_s": 0.0, "end_s": 10.0, "valid": True}
        for place, name in enumerate(sorted(ids))
    ]


def test_decisions_by_hand_go_over_both(with_overlaps, context):
    out = with_overlaps(3)
    stage(out).run(context=context)
    rows, stays = duplicates(out), sorted(kept(out))
    copy, near = (
        next(name for name, row in rows.items() if row["reason"] == why) for why in ("copy", "near-duplicate")
    )
    (out / "by_hand.csv").write_text(f"id,decision,note\n{copy},keep,\n{near},keep,\n{stays[0]},remove,\n")
    counts = stage(out, overrides=str(out / "by_hand.csv")).run(context=context).counts
    now = duplicates(out)
    assert {copy, near} <= kept(out)
    assert (now[stays[0]]["reason"], now[stays[0]]["kept_ids"], now[stays[0]]["cover"]) == ("override", [], None)
    assert counts["removed"] == counts["removed_as_copies"] + counts["removed_as_near"] + counts["removed_by_hand"]


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"also": "faces"}, "also must be 'copies' or left out, got 'faces'"),
        ({"rule": "pairwise"}, "also 'copies' decides by the rules overlap and greedy, and rule is 'pairwise'"),
        ({"rule": "overlap"}, "and rule is 'overlap'"),
        ({"eps": None, "target_keep": 0.5}, r"also 'copies' takes an eps, not target_keep \(0.5\)"),
        ({"overlaps_path": None}, "also 'copies' needs overlaps_path"),
        ({"source_field": "video"}, "also 'copies' takes sources from overlaps_path"),
        ({"scope": "same", "against_path": "x"}, "scope 'same' leaves out all pairs"),
    ],
)
def test_parameters_that_do_not_fit(tmp_path, parameters, said):
    with pytest.raises(ParameterError, match=said):
        stage(tmp_path, **parameters)


def test_new_rows_need_one_rule(with_overlaps, tmp_path, context):
    out = with_overlaps(1)
    stage(out).run(context=context)
    more = builders.write_vectors(tmp_path / "new" / "a.parquet", ["new-1"], np.ones((1, 8), np.float32))
    given = {"input_path": str(more), "kmeans_path": str(out / "k"), "duplicates_path": str(out / "d")}
    with pytest.raises(InputError, match="was decided with also 'copies', by two rules. New rows are decided by one"):
        IncrementalStage(**given, output_path=str(tmp_path / "n")).run(context=context)
    result = IncrementalStage(**given, output_path=str(tmp_path / "n"), rule="greedy").run(context=context)
    assert result.counts["rows"] == 1


def test_filters_act_before_both(with_overlaps, context):
    """Dropped clips are neither kept nor removed, and the others are decided on without them."""
    out = with_overlaps(2)
    black = {row["id"] for place, row in enumerate(_index(out)) if place % 5 == 0}
    index = [{**row, "motion_mean": 0.5, "black_share": float(row["id"] in black)} for row in _index(out)]
    given = {"drop_black": True, "clips_path": builders.write_clip_index(out / "index", index)}
    counts = stage(out, **given).run(context=context).counts
    stage(out, "o", also=None, eps=None, rule="overlap", **given).run(context=context)
    rows, stays = duplicates(out), kept(out)
    assert {name for name, row in rows.items() if row["reason"] == "copy"} == set(duplicates(out, "o"))
    assert not black & (stays | rows.keys())
    assert all(set(row["kept_ids"]) <= stays and row["kept_ids"] for row in rows.values())
    assert (counts["rows"], counts["dropped"]) == (240, len(black))
    assert counts["removed_as_copies"] + counts["removed_as_near"] == counts["removed"] == len(rows)
    assert counts["kept"] + counts["removed"] + counts["dropped"] == 240
