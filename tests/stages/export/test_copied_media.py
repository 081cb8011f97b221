"""Media that is copied beside a table goes in groups of clips: the same files, and one clip that fails costs no other."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from curator_dask import ExportStage, SplitStage, verify_output
from curator_dask.files.buckets import buckets
from curator_dask.files.id_lists import id_list_bytes
from curator_dask.runtime.cluster import LazyCluster
from curator_dask.runtime.records import Failure
from curator_dask.runtime.state import StageState
from curator_dask.stages.base import RunContext, StageResult
from curator_dask.stages.export import table
from tests.trees import times, tree


@pytest.fixture(scope="module")
def finished(few_videos: Path, cluster: LazyCluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("copied") / "out"
    second = {"fixed_stride_split_duration": 1.0, "fixed_stride_min_clip_length_s": 1.0}
    SplitStage(str(few_videos), str(out), **second).run(context=RunContext(cluster))
    return out


def ids_of(out: Path) -> list[str]:
    ids: list[str] = pq.read_table(out / "clips.parquet")["id"].to_pylist()
    return ids


def export(out: Path, to: Path, cluster: LazyCluster, **parameters: Any) -> StageResult:
    own = {"all_clips": True, "format": "parquet", **parameters}
    return ExportStage(str(out), str(to), **own).run(context=RunContext(cluster))


def results(folder: Path) -> dict[str, bytes]:
    return {path: data for path, data in tree(folder).items() if not path.startswith(".curator")}


@pytest.mark.parametrize("num_units", [1, 2, 8])
def test_few_groups_give_the_files_of_many(
    finished: Path, cluster: LazyCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_units: int
) -> None:
    many = export(finished, tmp_path / "many", cluster)
    assert many.num_run == many.counts["clips"] == len(ids_of(finished))
    monkeypatch.setattr(table, "UNITS", num_units)
    few = export(finished, tmp_path / "few", cluster)
    assert 1 <= few.num_run <= num_units
    assert few.counts == many.counts
    assert results(tmp_path / "few") == results(tmp_path / "many")
    for clip in ids_of(finished):
        path = f"clips/{clip}.mp4"
        assert (tmp_path / "few" / path).read_bytes() == (finished / path).read_bytes()
    before = times(tmp_path / "few")
    assert export(finished, tmp_path / "few", cluster).num_run == 0
    assert times(tmp_path / "few") == before
    assert verify_output(str(tmp_path / "few")).findings == ()
    assert not (tmp_path / "few" / ".curator" / "export" / "plan").exists()


def test_groups_of_many_buckets_are_those_of_one(
    finished: Path, cluster: LazyCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "UNITS", 16)
    export(finished, tmp_path / "one", cluster)
    monkeypatch.setattr(buckets, "BLOCK_ROWS", 4)
    monkeypatch.setattr(buckets, "ROWS_OF_BUCKET", 1)
    export(finished, tmp_path / "many", cluster)
    assert tree(tmp_path / "many") == tree(tmp_path / "one")


def test_a_clip_that_cannot_be_copied_costs_no_other(
    finished: Path, cluster: LazyCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "UNITS", 1)
    victim = finished / "clips" / f"{ids_of(finished)[1]}.mp4"
    whole = victim.read_bytes()
    victim.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    try:
        result = export(finished, tmp_path / "data", cluster)
    finally:
        victim.write_bytes(whole)
    assert [(failure.clip_id, failure.reason) for failure in result.failures] == [(victim.stem, "media-changed")]
    copied = {path.stem for path in (tmp_path / "data" / "clips").iterdir()}
    assert copied == {*ids_of(finished)} - {victim.stem}
    assert verify_output(str(tmp_path / "data")).findings == ()
    again = export(finished, tmp_path / "data", cluster)
    assert (again.num_run, again.failures) == (1, ())
    assert (tmp_path / "data" / "clips" / victim.name).read_bytes() == whole


def test_a_group_that_fails_as_a_whole_fails_for_each_of_its_clips(
    finished: Path, cluster: LazyCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "UNITS", 1)
    stage = ExportStage(str(finished), str(tmp_path / "data"), all_clips=True, format="parquet")
    of_table = stage._table(stage._clips(tmp_path, RunContext(cluster)))
    (unit,) = of_table.copies(StageState(stage.output, stage.name))
    lost = Failure("export", unit.source, "worker-lost", "a worker died")
    found = list(of_table.failures([lost, replace(lost, clip_id="another", source="another")]))
    assert {failure.clip_id for failure in found} == {"another", *ids_of(finished)}
    assert {(failure.reason, failure.source == failure.clip_id) for failure in found} == {("worker-lost", True)}


def test_other_clips_change_their_own_groups_alone(finished: Path, cluster: LazyCluster, tmp_path: Path) -> None:
    ids = ids_of(finished)
    keep = tmp_path / "keep.txt"
    keep.write_bytes(id_list_bytes(ids[:-1]))
    assert export(finished, tmp_path / "data", cluster, keep_list=str(keep)).num_run == len(ids) - 1
    keep.write_bytes(id_list_bytes(ids[1:]))
    assert export(finished, tmp_path / "data", cluster, keep_list=str(keep)).num_run == 1
    assert {path.stem for path in (tmp_path / "data" / "clips").iterdir()} == set(ids[1:])
    assert pq.read_table(tmp_path / "data" / "index.parquet")["id"].to_pylist() == sorted(ids[1:])


def test_records_name_groups_and_no_clips(finished: Path, cluster: LazyCluster, tmp_path: Path) -> None:
    export(finished, tmp_path / "data", cluster)
    markers = sorted((tmp_path / "data" / ".curator" / "export" / "units").iterdir())
    names = [json.loads(marker.read_bytes())["key"] for marker in markers]
    assert all(name.startswith("clips-") and name.removeprefix("clips-").isdigit() for name in names)
