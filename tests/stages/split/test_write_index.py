"""The clip index from markers: in order, in parts of whole videos, the same bytes whoever makes them, nothing left behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curator_dask import InputError, verify_output
from curator_dask.data.clip_index import QUALITY_COLUMNS, has_clip_index, schema, stored_name
from curator_dask.data.tables import parquet_bytes
from curator_dask.errors import ClusterError
from curator_dask.files import layout
from curator_dask.files.folder import Folder
from curator_dask.runtime.agreement import shared_folder
from curator_dask.runtime.cluster import LazyCluster
from curator_dask.runtime.records import UnitRecord, digest
from curator_dask.runtime.state import StageState
from curator_dask.runtime.units import Run
from curator_dask.stages.base import RunContext
from curator_dask.stages.split import write_index
from curator_dask.stages.split.index_part import IndexPart, count_rows, part_table, write_part
from curator_dask.stages.split.write_index import write_clip_index
from tests.trees import times, tree
from tests.whole_clip_index import read_clip_index

VIDEOS = {"b/9.mp4": 4, "a.mp4": 7, "z.mp4": 1, "b/10.mp4": 12, "none.mp4": 0, "B.mp4": 3, "b\\back.mp4": 5}
"""Video → clips; the keys of their units come in another order than their names."""


def row(name: str, span: int) -> dict[str, Any]:
    values: dict[str, Any] = {field.name: None for field in schema()}
    facts = {"id": digest(name, span), "relative_path": name, "span_index": span, "start_s": span * 10.0, "valid": True}
    return {**values, **facts, "source_video": f"/videos/{name}", "width": 640, "reason": "", "motion_mean": span / 8}


def mark(state: StageState, name: str, spans: Sequence[int], *, part: int = 0) -> str:
    key = digest(name, part) if part else digest(name)
    rows = [row(name, span) for span in spans]
    state.write(UnitRecord(key, "inputs", counts={"clips": len(rows)}, data={"clips": rows}))
    return key


@pytest.fixture
def state(tmp_path) -> StageState:
    found = StageState(Folder(str(tmp_path / "out")), "split")
    found.claim({"video_dir": "/videos"})
    return found


@pytest.fixture
def keys(state) -> set[str]:
    """Those of some videos; one of them has two units, whose rows are mixed."""
    found = {mark(state, name, range(num_clips)) for name, num_clips in VIDEOS.items()}
    return found | {mark(state, "long.mkv", spans, part=part) for part, spans in [(1, [0, 2, 4]), (2, [1, 3, 5, 6])]}


@pytest.fixture
def small(monkeypatch) -> None:
    """Parts of a few rows, which workers make."""
    for name, value in {"ROWS_PER_PART": 6, "UNITS_PER_TASK": 2, "TASKS_ALONE": 0, "PARTS_ALONE": 0}.items():
        monkeypatch.setattr(write_index, name, value)


def expected() -> pa.Table:
    rows = [row(name, span) for name, num_clips in {**VIDEOS, "long.mkv": 7}.items() for span in range(num_clips)]
    stored = [{**one, "relative_path": stored_name(one["relative_path"])} for one in rows]
    return pa.Table.from_pylist(
        sorted(stored, key=lambda one: (one["relative_path"], one["span_index"])), schema=schema()
    )


def parts_of(state: StageState) -> list[list[str]]:
    """The videos in each part."""
    paths = sorted(Path(state.folder.root).glob("clip_index/*"))
    return [pq.read_table(path)["relative_path"].unique().to_pylist() for path in paths]


def test_rows_come_in_the_order_of_videos_and_spans(state, keys, small, context):
    paths = write_clip_index(context, state, keys)
    assert paths == tuple(layout.clip_index_part(number) for number in range(5))
    assert parts_of(state) == [["B.mp4", "a.mp4"], ["b/10.mp4"], ["b/9.mp4", "b\\\\back.mp4"], ["long.mkv"], ["z.mp4"]]
    assert read_clip_index(state.folder).equals(expected())
    assert state.folder.read_bytes(layout.CLIP_INDEX) == parquet_bytes(expected())


def test_clients_and_workers_write_the_same_bytes(state, keys, small, context, monkeypatch, tmp_path):
    write_clip_index(context, state, keys)
    by_workers = tree(tmp_path)
    for path in (tmp_path / "out").glob("clip_index/*"):
        path.unlink()
    monkeypatch.setattr(write_index, "TASKS_ALONE", 100)
    monkeypatch.setattr(write_index, "PARTS_ALONE", 100)
    write_clip_index(context, state, keys)
    assert tree(tmp_path) == by_workers


def test_a_small_index_starts_no_workers(state, keys):
    class Never(LazyCluster):
        @property
        def client(self) -> Any:
            raise AssertionError("workers were started")

    assert len(write_clip_index(RunContext(Never()), state, keys)) == 1
    assert read_clip_index(state.folder).equals(expected())


def test_an_index_that_would_not_change_is_left_alone(state, keys, small, context, tmp_path):
    write_clip_index(context, state, keys)
    before = times(tmp_path)
    write_clip_index(context, state, keys)
    assert times(tmp_path) == before


def test_one_part_that_is_damaged_is_made_anew(state, keys, small, context, tmp_path):
    write_clip_index(context, state, keys)
    before, damaged = tree(tmp_path), tmp_path / "out" / layout.clip_index_part(2)
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert [finding.path for finding in verify_output(str(tmp_path / "out")).findings] == [layout.clip_index_part(2)]
    write_clip_index(context, state, keys)
    assert tree(tmp_path) == before


def test_videos_that_are_gone_have_no_rows_and_leave_no_parts(state, keys, small, context, tmp_path):
    write_clip_index(context, state, keys)
    paths = write_clip_index(context, state, {digest("z.mp4"), digest("none.mp4"), digest("never there")})
    assert parts_of(state) == [["z.mp4"]]
    assert read_clip_index(state.folder)["relative_path"].to_pylist() == ["z.mp4"]
    assert set(state.published()) == {*paths, layout.CLIP_INDEX}
    assert verify_output(str(tmp_path / "out")).findings == ()


def test_without_clips_there_is_one_part_without_rows(state, small, context):
    assert write_clip_index(context, state, {mark(state, "none.mp4", [])}) == (layout.clip_index_part(0),)
    assert read_clip_index(state.folder).equals(schema().empty_table())
    assert state.folder.read_bytes(layout.CLIP_INDEX) == parquet_bytes(schema().empty_table())


def test_a_large_index_has_no_single_file(state, keys, small, context, monkeypatch, tmp_path):
    write_clip_index(context, state, keys)
    monkeypatch.setattr(layout, "SINGLE_FILE_ROWS", len(expected()) - 1)
    write_clip_index(context, state, keys)
    assert not state.folder.exists(layout.CLIP_INDEX)
    assert read_clip_index(state.folder).equals(expected())
    assert verify_output(str(tmp_path / "out")).findings == ()


def test_clips_of_an_earlier_version_have_no_quality_columns(state, keys, small, context):
    for record in list(state.records()):
        rows = [{name: one[name] for name in one if name not in QUALITY_COLUMNS} for one in record.data["clips"]]
        state.write(replace(record, data={"clips": rows}))
    write_clip_index(context, state, keys)
    assert read_clip_index(state.folder).equals(expected().drop_columns(list(QUALITY_COLUMNS)))
    mark(state, "z.mp4", [0])
    write_clip_index(context, state, keys)
    assert read_clip_index(state.folder, ["motion_mean"])["motion_mean"].null_count == len(expected()) - 1


def a_part(state: StageState, number: int, keys: Sequence[str], num_rows: int) -> IndexPart:
    return IndexPart(state, Run.of(state), number, keys, num_rows, schema().names)


def test_while_a_part_changes_the_index_is_the_one_before(state, keys, small, context):
    write_clip_index(context, state, keys)
    key = mark(state, "a.mp4", [0])
    write_part(a_part(state, 3, [key], 1))
    assert not state.folder.exists(layout.clip_index_part(0))
    assert read_clip_index(state.folder).equals(expected())
    state.folder.remove(layout.CLIP_INDEX)
    assert not has_clip_index(state.folder)


def test_markers_that_change_meanwhile_are_an_error(state):
    key = mark(state, "a.mp4", [0, 1])
    with pytest.raises(
        InputError, match=r"changed while the clip index was written \(2 rows in place of 3\): run again"
    ):
        part_table(a_part(state, 0, [key], 3))


def test_a_worker_that_sees_another_folder_writes_nothing(state, monkeypatch):
    """Else its part would be empty: it finds no markers there."""
    monkeypatch.setattr(shared_folder, "LOOK_AGAIN_S", 0)
    run = replace(Run.of(state), lock="the token of this run")
    with pytest.raises(ClusterError, match="does not see the output folder"):
        count_rows([mark(state, "a.mp4", [0])], state, run)
    with pytest.raises(ClusterError, match="does not see the output folder"):
        write_part(replace(a_part(state, 1, [], 0), run=run))
    assert not has_clip_index(state.folder)


def test_on_an_object_store(s3, context, small):
    state = StageState(Folder(f"{s3.url}/index", s3.storage_options), "split")
    keys = {mark(state, name, range(num_clips)) for name, num_clips in VIDEOS.items() if name != "b\\back.mp4"}
    paths = write_clip_index(context, state, keys)
    wanted = expected()
    names = [name not in ("long.mkv", "b\\\\back.mp4") for name in wanted["relative_path"].to_pylist()]
    assert read_clip_index(state.folder).equals(wanted.filter(pa.array(names)))
    assert set(state.published()) == {*paths, layout.CLIP_INDEX}
