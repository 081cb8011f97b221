"""The decisions in parts: the same as the single files hold, and read alike with and without them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curator_dask import SampleStage
from curator_dask.data.decisions.read_decisions import decision_batches, decision_columns, extent, has_decisions
from curator_dask.errors import InputError
from curator_dask.files.folder import Folder
from curator_dask.stages.identify.decisions import parts as decision_parts
from curator_dask.stages.identify.output import publish
from curator_dask.stages.identify.source_groups.staying import StayingSet
from curator_dask.stages.incremental.finished.finished_runs import FinishedRuns, removed_ids
from curator_dask.verify.verify_output import verify_output
from tests.stages import builders
from tests.stages.identify import test_also_copies as both
from tests.stages.identify.in_memory import kept_ids
from tests.stages.identify.test_identify_stage import chained, stage, table  # noqa: F401

SINGLE_FILES = ("duplicates.parquet", "duplicates.csv", "groups.parquet", "keep.txt", "remove.txt")
ONLY_IN_PARTS = ("cluster", "cosine_sim_score")
"""Columns that a part has for kept clips too, and no list has."""


def read(folder: Path) -> list[dict[str, Any]]:
    tables = list(decision_batches(Folder(str(folder)), decision_columns().names))
    return pa.concat_tables(tables).cast(decision_columns()).to_pylist()


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decision_parts, "PART_ROWS", 60)


@pytest.mark.usefixtures("small_parts")
def test_parts_hold_whole_clusters_and_what_the_single_files_hold(tmp_path, context):
    scored = both.make(tmp_path, context, 1)
    both.stage(scored, tables="x").run(context=context)
    parts = sorted((scored / "d" / "decisions").iterdir())
    assert len(parts) > 2
    rows = [table(scored / "d" / "decisions", path.name, ".") for path in parts]
    clusters = [{row["cluster"] for row in part} for part in rows]
    assert sum(map(len, clusters)) == len(set.union(*clusters))
    assert all(len(part) >= 60 for part in rows[:-1])
    assert [row["cluster"] for part in rows for row in part] == sorted(row["cluster"] for part in rows for row in part)
    found = read(scored / "d")
    assert len(found) == 240
    shutil.rmtree(scored / "d" / "decisions")
    listed = {row["id"]: row for row in read(scored / "d")}
    for row in found:
        if not row["removed"]:
            row |= dict.fromkeys(ONLY_IN_PARTS)
        assert row == listed.pop(row["id"])
    assert not listed


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("lost", [(0,), (2,), (0, 1, 2, 3)])
def test_pieces_of_parts_that_are_there_give_the_same_single_files(with_overlaps, context, one_worker, lost):
    """Parts of an earlier run are read for the single files, beside parts that are written now."""
    out = with_overlaps(1)

    def single_files() -> dict[str, bytes]:
        return {name: (out / "d" / name).read_bytes() for name in SINGLE_FILES}

    both.stage(out, tables="x").run(context=context)
    before = single_files()
    for name in SINGLE_FILES:
        (out / "d" / name).unlink()
    for number in lost:
        (out / "d" / "decisions" / f"part-{number:06d}.parquet").unlink(missing_ok=True)
    both.stage(out, tables="x").run(context=one_worker)
    assert single_files() == before
    assert not verify_output(str(out / "d")).findings


@pytest.mark.usefixtures("small_parts")
def test_parts_that_are_no_longer_needed_go(chained, context, monkeypatch):  # noqa: F811
    monkeypatch.setattr(decision_parts, "PART_ROWS", 1)
    stage(chained).run(context=context)
    assert len(list((chained / "d" / "decisions").iterdir())) == 2
    monkeypatch.setattr(decision_parts, "PART_ROWS", 100)
    stage(chained).run(context=context)
    assert [path.name for path in (chained / "d" / "decisions").iterdir()] == ["part-000000.parquet"]


def test_beyond_a_size_there_are_no_single_files(chained, context, monkeypatch):  # noqa: F811
    stage(chained).run(context=context)
    before = read(chained / "d")
    (chained / "d" / "mine.txt").write_text("not of the stage")
    monkeypatch.setattr(publish, "SINGLE_FILE_ROWS", 5)
    assert stage(chained).run(context=context).counts["removed"] == 3
    assert not [name for name in SINGLE_FILES if (chained / "d" / name).exists()]
    assert (chained / "d" / "mine.txt").exists()
    assert has_decisions(Folder(str(chained / "d")))
    assert read(chained / "d") == before


def test_lists_alone_are_decisions_too(tmp_path):
    (tmp_path / "keep.txt").write_text("a\nb\\nc\n")
    (tmp_path / "remove.txt").write_text("d\n")
    assert has_decisions(Folder(str(tmp_path)))
    found = [(row["id"], row["removed"], row["kept_id"]) for row in read(tmp_path)]
    assert found == [("a", False, None), ("b\nc", False, None), ("d", True, None)]
    assert not has_decisions(Folder(str(tmp_path / "elsewhere")))


def test_verify_counts_the_parts_and_finds_a_clip_twice(chained, context, monkeypatch):  # noqa: F811
    monkeypatch.setattr(publish, "SINGLE_FILE_ROWS", 5)
    stage(chained).run(context=context)
    assert not verify_output(str(chained / "d")).findings
    path = chained / "d" / "decisions" / "part-000000.parquet"
    rows = pq.read_table(path)
    more = pa.concat_tables([rows, rows.slice(0, 1)])
    pq.write_table(more, path)
    told = {finding.what for finding in verify_output(str(chained / "d")).findings if finding.path == "decisions"}
    assert len(told) == 1
    assert f"the parts have {len(more)} rows in place of {len(rows)}" in told.pop()
    pq.write_table(more.replace_schema_metadata(extent(1, len(more))), path)
    told = {finding.what for finding in verify_output(str(chained / "d")).findings if finding.path == "decisions"}
    assert told == {"hold 4 clips kept; the stage counted 3", "the clip 'A' is listed twice"}
    path.write_bytes(b"PAR1")
    assert {"damaged"} <= {finding.kind for finding in verify_output(str(chained / "d")).findings}


@pytest.mark.usefixtures("small_parts")
def test_readers_take_parts_alone(tmp_path, context, monkeypatch):
    """A sample, the ids that a reference keeps, and what a finished run removed from a cluster."""
    scored = both.make(tmp_path, context, 1)
    both.stage(scored, tables="x").run(context=context)
    builders.write_clip_index(scored, [{"id": row["id"]} for row in read(scored / "d")])
    (scored / "duplicates").symlink_to(scored / "d")
    runs = FinishedRuns((Folder(str(scored / "k")),), (Folder(str(scored / "d")),), "id")

    def look() -> list[Any]:
        found: list[Any] = [[removed_ids(runs.duplicates, runs.versions(), cluster) for cluster in range(5)]]
        [(kmeans, files)] = runs.cluster_files()
        sets = (
            StayingSet.of_output(0, 1, Folder(str(scored))),
            StayingSet.of_run(0, 1, kmeans, files, "id", runs.duplicates),
        )
        found += [kept_ids(one).to_pylist() for one in sets]
        paths = {
            "duplicates_path": str(scored / "d"),
            "kmeans_path": str(scored / "k"),
            "output_path": str(scored / "s"),
        }
        counts = SampleStage(str(scored), 20, **paths).run(context=context).counts
        return [*found, counts, (scored / "s" / "keep.txt").read_text()]

    with_both = look()
    monkeypatch.setattr(publish, "SINGLE_FILE_ROWS", 5)
    both.stage(scored, tables="x").run(context=context)
    assert not (scored / "d" / "duplicates.parquet").exists()
    assert look() == with_both
    monkeypatch.setattr(publish, "SINGLE_FILE_ROWS", 500)
    both.stage(scored, tables="x").run(context=context)
    shutil.rmtree(scored / "d" / "decisions")
    assert look() == with_both


def test_a_part_in_the_place_of_another_is_refused(chained, context, monkeypatch):  # noqa: F811
    monkeypatch.setattr(decision_parts, "PART_ROWS", 1)
    stage(chained).run(context=context)
    first, second = sorted((chained / "d" / "decisions").iterdir())
    rows = pq.read_table(second)
    pq.write_table(rows.slice(1), second)
    with pytest.raises(InputError, match=f"the parts have {len(read_rows(first)) + len(rows) - 1} rows in place of"):
        read(chained / "d")


def read_rows(path: Path) -> list[Any]:
    return list(pq.read_table(path).to_pylist())
