"""The clip index is read in parts, in order, whole or not at all; outputs of earlier versions have one file."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curator_dask import InputError
from curator_dask.data.clip_index import (
    clip_index_batches,
    clip_index_videos,
    extent,
    has_clip_index,
    rows_of_video,
)
from curator_dask.files.folder import Folder
from curator_dask.files.layout import CLIP_INDEX, clip_index_part
from tests.whole_clip_index import read_clip_index


@pytest.fixture
def rows() -> pa.Table:
    return pa.table({"id": [f"c{number}" for number in range(10)], "width": [*range(10)]})


@pytest.fixture
def parts(tmp_path, rows) -> Path:
    """An index in three parts, of two row groups or one each."""
    out = tmp_path / "out"
    (out / "clip_index").mkdir(parents=True)
    for number, (start, stop) in enumerate([(0, 4), (4, 8), (8, 10)]):
        part = rows.slice(start, stop - start)
        named = part.replace_schema_metadata(extent(3, 10)) if number == 0 else part
        pq.write_table(named, out / clip_index_part(number), row_group_size=3)
    return out


def test_parts_are_read_in_order(parts, rows):
    folder = Folder(str(parts))
    assert has_clip_index(folder)
    assert read_clip_index(folder).equals(rows)
    assert read_clip_index(folder, ["width", "id"]).equals(rows.select(["width", "id"]))
    sizes = [len(batch) for batch in clip_index_batches(folder, rows=2)]
    assert sizes == [2, 1, 1, 2, 1, 1, 2]


def test_one_file_of_an_earlier_version_is_read_as_before(tmp_path, rows):
    pq.write_table(rows, tmp_path / CLIP_INDEX, row_group_size=4)
    folder = Folder(str(tmp_path))
    assert has_clip_index(folder)
    assert [len(batch) for batch in clip_index_batches(folder)] == [4, 4, 2]
    assert read_clip_index(folder, ["id"]).equals(rows.select(["id"]))


def test_an_index_without_rows_has_its_columns(tmp_path, rows):
    pq.write_table(rows.slice(0, 0), tmp_path / CLIP_INDEX)
    assert read_clip_index(Folder(str(tmp_path))).equals(rows.slice(0, 0))


def test_without_an_index_the_split_stage_is_named(tmp_path):
    assert not has_clip_index(Folder(str(tmp_path)))
    with pytest.raises(InputError, match="holds no clips.parquet: run the split stage into it first"):
        read_clip_index(Folder(str(tmp_path)))


def test_without_the_first_part_the_others_are_no_index(parts, rows):
    """It is written last: a run that is stopped while it writes leaves an index as it was, or none."""
    (parts / clip_index_part(0)).unlink()
    assert not has_clip_index(Folder(str(parts)))
    pq.write_table(rows.slice(0, 2), parts / CLIP_INDEX)
    assert read_clip_index(Folder(str(parts))).equals(rows.slice(0, 2))


def test_a_part_that_is_missing_is_named(parts):
    (parts / clip_index_part(1)).unlink()
    with pytest.raises(InputError, match=r"clip_index/part-000001.parquet is missing: run the split stage"):
        read_clip_index(Folder(str(parts)))


@pytest.mark.parametrize(
    "said", [{b"num_parts": b"2", b"num_rows": b"10"}, {}, {b"num_parts": b"0", b"num_rows": b"0"}]
)
def test_a_first_part_that_says_something_else_is_damaged(parts, rows, said):
    pq.write_table(rows.slice(0, 4).replace_schema_metadata(said), parts / clip_index_part(0))
    with pytest.raises(InputError, match="the index has 8 rows in place of 10|does not say how many parts"):
        read_clip_index(Folder(str(parts)))


def test_a_column_that_is_not_there_is_named(parts):
    with pytest.raises(InputError, match="has no column 'height'; its columns are id, width"):
        next(clip_index_batches(Folder(str(parts)), ["height"]))


def test_the_rows_of_a_video_are_read_again_from_where_they_lie(tmp_path):
    """Also where they go on in the next row group, or over a whole one."""
    videos = ["a", "a", "b", *["c"] * 7, "d"]
    table = pa.table({"relative_path": videos, "n": [*range(len(videos))]})
    pq.write_table(table, tmp_path / CLIP_INDEX, row_group_size=3)
    folder, columns = Folder(str(tmp_path)), ("relative_path", "n")
    found = list(clip_index_videos(folder, columns))
    assert [[row["n"] for row in rows] for _, rows in found] == [[0, 1], [2], [*range(3, 10)], [10]]
    assert [rows_of_video(folder, where, columns) for where, _ in found] == [rows for _, rows in found]


def test_a_video_ends_with_its_part(parts):
    table = read_clip_index(Folder(str(parts))).append_column("relative_path", pa.array([*"aaaabbbbcd"]))
    for number, (start, stop) in enumerate([(0, 4), (4, 8), (8, 10)]):
        metadata = extent(3, 10) if number == 0 else None
        part = table.slice(start, stop - start).replace_schema_metadata(metadata)
        pq.write_table(part, parts / clip_index_part(number))
    folder, columns = Folder(str(parts)), ("relative_path", "width")
    found = list(clip_index_videos(folder, columns))
    assert [where.path for where, _ in found] == [clip_index_part(number) for number in (0, 1, 2, 2)]
    assert [rows_of_video(folder, where, columns) for where, _ in found] == [rows for _, rows in found]
