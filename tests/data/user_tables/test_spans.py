"""Spans from a user's table: which rows name which videos, and which rows are refused."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curator_dask.data.user_tables.spans import read_spans
from curator_dask.data.user_tables.table import UserTable
from curator_dask.errors import InputError

VIDEOS = [("a/film.mp4", "/in/a/film.mp4"), ("b/film.mp4", "/in/b/film.mp4"), ("other.mkv", "/in/other.mkv")]


def read(tmp_path: Path, content: str | dict, name: str = "s.csv"):
    path = tmp_path / name
    if isinstance(content, dict):
        pq.write_table(pa.table(content), path)
    else:
        path.write_text(content)
    return read_spans(UserTable.at(str(path)), VIDEOS)


def test_rows_in_any_order_and_columns_in_any_case(tmp_path):
    found = read(
        tmp_path, "note,End_S,START,Path\n,4, 2.5 ,other\n=1+1,1e1,0,a/film.mp4\n,2,1,/in/other.mkv\n,2.5,2,other\n"
    )
    assert found.of_video == {0: ((0.0, 10.0),), 2: ((1.0, 2.0), (2.0, 2.5), (2.5, 4.0))}
    assert found.counts["span_rows"] == 4
    assert found.sentences == []


def test_parquet_and_the_clip_index_of_an_output(tmp_path):
    index = {"relative_path": ["other.mkv"], "source_video": ["/in/other.mkv"], "start_s": [1], "end_s": [2.5]}
    assert read(tmp_path, index, "s.parquet").of_video == {2: ((1.0, 2.5),)}


def test_rows_that_name_nothing_or_repeat_a_span_are_counted_and_named(tmp_path):
    gone = "".join(f"../../gone_{n}.mp4,0,1\n" for n in range(12))
    found = read(
        tmp_path, f'path,start,end\nfilm.mp4,0,1\nother,1,2\nother,1.0004,2\nother,1,3\n{gone}"\x1b[31m\nx",0,1\n'
    )
    assert found.of_video == {2: ((1.0, 2.0), (1.0, 3.0))}
    assert found.counts == {
        "span_rows": 17, "span_rows_unmatched": 13, "span_rows_ambiguous": 1, "span_rows_doubled": 1
    }  # fmt: skip
    first, second, third = found.sentences
    assert "rows that name no video of the input: 13 of 17: ../../gone_0.mp4, " in first
    assert first.endswith("../../gone_9.mp4, …")
    assert second.endswith("rows that name several videos by one file name: 1 of 17: film.mp4")
    assert third.endswith("rows that repeat a span, which is cut once: 1")


@pytest.mark.parametrize(
    ("row", "shown"),
    [
        ("other,5,5", "row 2 ('other', start '5', end '5')"),
        ("other,5,4", "row 2 ('other', start '5', end '4')"),
        ("other,-1,4", "row 2 ('other', start '-1', end '4')"),
        ("other,nan,4", "row 2 ('other', start 'nan', end '4')"),
        ("other,,4", "row 2 ('other', start '', end '4')"),
        ("other,00:01,4", "row 2 ('other', start '00:01', end '4')"),
        ("gone,4,1", "row 2 ('gone', start '4', end '1')"),
        ("\x1b[31m,=1,inf", r"row 2 ('\\x1b[31m', start '=1', end 'inf')"),
    ],
)
def test_rows_that_hold_no_span_are_refused_by_their_numbers(tmp_path, row, shown):
    with pytest.raises(InputError) as error:
        read(tmp_path, f"path,start,end\nother,0,1\n{row}\n")
    assert f"{tmp_path}/s.csv has 1 row without a span, " in str(error.value)
    assert f": {shown}" in str(error.value)


def test_many_bad_rows_are_counted_and_ten_are_named(tmp_path):
    with pytest.raises(InputError) as error:
        read(tmp_path, "path,start,end\n" + "other,2,1\n" * 30)
    assert "has 30 rows without a span" in str(error.value)
    assert str(error.value).count("; row ") == 9
    assert str(error.value).endswith("; …")


@pytest.mark.parametrize(
    ("content", "name", "why"),
    [
        ("path,start\nother,1\n", "s.csv", "has no column 'end': a table of spans has path, start and end"),
        ("start,end\n1,2\n", "s.csv", "has no column 'path'"),
        ({"path": ["other"], "start": ["1"], "end": [2]}, "s.parquet", "column 'start' .* is of type string"),
    ],
)  # fmt: skip
def test_columns_that_are_missing_or_of_another_type(tmp_path, content, name, why):
    with pytest.raises(InputError, match=why):
        read(tmp_path, content, name)


def test_null_and_infinite_numbers_in_parquet(tmp_path):
    with pytest.raises(InputError, match="has 2 rows without a span"):
        read(tmp_path, {"path": ["other"] * 3, "start": [0.0, None, 1.0], "end": [1.0, 2.0, float("inf")]}, "s.parquet")
