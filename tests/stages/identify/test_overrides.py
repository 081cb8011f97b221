"""Decisions by hand go over those of the rule, each for its own clip, and what comes out adds up."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from curator_dask import InputError
from tests.stages import builders
from tests.stages.identify import test_overlap_rule as overlap
from tests.stages.identify.test_identify_stage import chained, removed, stage, table  # noqa: F401
from tests.stages.identify.test_overlap_rule import film  # noqa: F401


def by_hand(root: Path, *lines: str) -> str:
    path = root / "mine.csv"
    path.write_text("\n".join(["id,decision,note", *lines]) + "\n")
    return str(path)


def test_both_ways_at_once(chained, context):  # noqa: F811
    result = stage(chained, overrides=by_hand(chained, "B,keep,", "u,remove,blurred", "A,keep,", "C,remove,")).run(
        context=context
    )
    assert result.counts == {
        "rows": 6, "kept": 3, "removed": 3, "orphans": 1, "groups": 2,
        "kept_by_hand": 1, "removed_by_hand": 1, "unknown_by_hand": 0,
    }  # fmt: skip
    assert removed(chained) == ["C", "s", "u"]
    assert (chained / "d" / "keep.txt").read_text().split() == ["A", "B", "t"]
    rows = {row["id"]: row for row in table(chained, "duplicates.parquet")}
    assert {name: (row["reason"], row["kept_id"]) for name, row in rows.items()} == {
        "C": ("near-duplicate", "A"),
        "s": ("near-duplicate", "t"),
        "u": ("override", None),
    }
    groups = table(chained, "groups.parquet")
    assert [(row["id"], row["kept"], row["nearest_kept_id"]) for row in groups if row["cluster"] == 0] == [
        ("A", True, None),
        ("B", True, None),
        ("C", False, "A"),
    ]
    assert not result.warnings


def test_taking_decisions_back_needs_no_overwriting(chained, context):  # noqa: F811
    stage(chained).run(context=context)
    before = {path.name: path.read_bytes() for path in (chained / "d").iterdir() if path.is_file()}
    stage(chained, overrides=by_hand(chained, "B,keep,")).run(context=context)
    assert removed(chained) == ["C", "s"]
    stage(chained, overrides=by_hand(chained, "C,keep,")).run(context=context)
    assert removed(chained) == ["B", "s"]
    stage(chained).run(context=context)
    assert {path.name: path.read_bytes() for path in (chained / "d").iterdir() if path.is_file()} == before


def test_unknown_ids_are_named(chained, context):  # noqa: F811
    result = stage(chained, overrides=by_hand(chained, "nobody,keep,", "B,keep,")).run(context=context)
    assert result.counts["unknown_by_hand"] == 1
    assert "'nobody'" in result.warnings[0]
    assert removed(chained) == ["C", "s"]


def test_clips_without_their_kept_clip_are_spoken_of(chained, context):  # noqa: F811
    result = stage(chained, overrides=by_hand(chained, "A,remove,", "t,remove,", "s,keep,")).run(context=context)
    assert removed(chained) == ["A", "B", "C", "t"]
    (warning,) = result.warnings
    assert warning.startswith("2 clips stay removed although the kept clip")


def test_file_beside_the_clips_counts_only_where_it_is_given(chained, context):  # noqa: F811
    clips = builders.write_clip_index(chained / "clips", [])
    (chained / "clips" / "overrides.csv").write_text("id,decision\nB,keep\n")
    result = stage(chained, clips_path=clips).run(context=context)
    assert removed(chained) == ["B", "C", "s"]
    assert any("overrides.csv is not used: to apply it, give --overrides" in one for one in result.warnings)


def test_fault_in_the_file_shows_before_any_work(chained, context):  # noqa: F811
    with pytest.raises(InputError, match="line 2 decides 'perhaps'"):
        stage(chained, overrides=by_hand(chained, "A,perhaps,")).run(context=context)
    assert not (chained / "d").exists()


def test_rule_overlap_knows_them_too(film, context):  # noqa: F811
    mine = by_hand(film, "copy-1,keep,", "single,remove,")
    result = overlap.stage(film, overrides=mine).run(context=context)
    assert result.counts["kept_by_hand"] == result.counts["removed_by_hand"] == 1
    assert result.counts["orphans"] == 0
    rows = {row["id"]: row for row in pq.read_table(film / "d" / "duplicates.parquet").to_pylist()}
    assert "copy-1" not in rows
    assert (rows["single"]["reason"], rows["single"]["kept_id"], rows["single"]["kept_ids"]) == ("override", None, [])
    assert (rows["single"]["offset_s"], rows["single"]["cover"], rows["single"]["kind"]) == (None, None, None)
    assert rows["copy-0"]["cover"] == 1
