"""Tables of users: how their cells are read, which clips or videos they name, and what is refused."""

from __future__ import annotations

import datetime
import decimal
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curator_dask.data.user_tables import table as table_module
from curator_dask.data.user_tables.carried import carried_values, kind_of
from curator_dask.data.user_tables.choice import Choice
from curator_dask.data.user_tables.csv_kinds import csv_kinds, csv_values
from curator_dask.data.user_tables.metadata import join_metadata
from curator_dask.data.user_tables.names import AMBIGUOUS, UNKNOWN, Names
from curator_dask.data.user_tables.table import UserTable
from curator_dask.data.user_tables.targets import ClipNames
from curator_dask.errors import InputError
from curator_dask.files.buckets import buckets

VIDEOS = [("a/film.mp4", "/in/a/film.mp4"), ("b/film.mp4", "/in/b/film.mp4"), ("c/other.mp4", "/in/c/other.mp4")]
CLIPS = [{"id": f"clip-{n}", "relative_path": VIDEOS[n // 2][0], "source_video": VIDEOS[n // 2][1]} for n in range(6)]
NUM_WANTED = 5


@pytest.fixture(params=["one bucket", "many buckets"])
def scratch(request, tmp_path, monkeypatch) -> Path:
    """A folder for buckets, with one bucket or with several."""
    if request.param == "many buckets":
        monkeypatch.setattr(buckets, "BLOCK_ROWS", 4)
        monkeypatch.setattr(buckets, "ROWS_OF_BUCKET", 1)
    (tmp_path / "scratch").mkdir()
    return tmp_path / "scratch"


def table_of(tmp_path: Path, content: str | bytes | dict, name: str = "t.csv") -> UserTable:
    path = tmp_path / name
    if isinstance(content, dict):
        pq.write_table(pa.table(content), path, row_group_size=2)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return UserTable.at(str(path))


def join(scratch: Path, table: UserTable, **choice):
    """What is known of the join, and what the table says of each clip."""
    clips = pa.Table.from_pylist(CLIPS)
    names = ClipNames(lambda: [clips.slice(0, 2), clips.slice(2)], lambda: [clips.slice(0, NUM_WANTED)], len(clips))
    metadata, rows = join_metadata(table, Choice(**choice), names, scratch)
    return metadata, {row["id"]: (row["metadata"], row["caption"]) for some in rows for row in some.to_pylist()}


@pytest.mark.parametrize(
    ("cells", "kind", "values"),
    [
        pytest.param(["1", "-2", ""], "int", [1, -2, None], id="whole"),
        pytest.param(["1", "2.5", "1e3", "NaN", ".5"], "float", [1.0, 2.5, 1000.0, None, 0.5], id="numbers"),
        pytest.param(["1", "NA"], "int", [1, None], id="missing"),
        pytest.param(["007", "8"], "str", ["007", "8"], id="zeros-in-front"),
        pytest.param(["12345678901234567890", "1"], "str", ["12345678901234567890", "1"], id="too-many-digits"),
        pytest.param(["true", "FALSE", ""], "bool", [True, False, None], id="truth"),
        pytest.param(["true", "1"], "str", ["true", "1"], id="mixed"),
        pytest.param(["2026-01-31", "NA"], "str", ["2026-01-31", "NA"], id="dates"),
        pytest.param(["", ""], "str", [None, None], id="empty"),
        pytest.param(["=1+1", "-"], "str", ["=1+1", "-"], id="formula"),
    ],
)
def test_all_cells_of_a_csv_column_decide_on_its_kind(cells, kind, values):
    column = pa.chunked_array([pa.array([cell], pa.string()) for cell in cells])
    batches = [pa.table({"x": chunk}) for chunk in column.chunks]
    assert csv_kinds(batches) == {"x": kind}
    assert csv_values(column, kind).to_pylist() == values


@pytest.mark.parametrize(
    ("values", "kind", "carried"),
    [
        pytest.param(pa.array([1, None], pa.uint8()), "int", [1, None], id="uint8"),
        pytest.param(pa.array([1.5, float("nan"), float("inf")], pa.float32()), "float", [1.5, None, None], id="float"),
        pytest.param(pa.array([decimal.Decimal("1.25")]), "float", [1.25], id="decimal"),
        pytest.param(pa.array([datetime.date(2026, 1, 31), None]), "str", ["2026-01-31", None], id="date"),
        pytest.param(
            pa.array([0, 10**9 * 600, 10**8], pa.timestamp("ns")),
            "str",
            ["1970-01-01T00:00:00", "1970-01-01T00:10:00", "1970-01-01T00:00:00.1"],
            id="time",
        ),
        pytest.param(
            pa.array([0], pa.timestamp("s", "Europe/Berlin")), "str", ["1970-01-01T00:00:00Z"], id="time-zone"
        ),
        pytest.param(pa.array([["a"], None, [None, "b"]]), "list[str]", [["a"], None, [None, "b"]], id="list"),
        pytest.param(pa.array([[1.0, float("nan")], []]), "list[float]", [[1.0, None], []], id="list-of-numbers"),
        pytest.param(pa.array([[1, 2], None], pa.list_(pa.int8(), 2)), "list[int]", [[1, 2], None], id="fixed-list"),
        pytest.param(pa.nulls(2), "str", [None, None], id="nulls"),
    ],
)
def test_columns_become_what_json_holds(values, kind, carried):
    assert kind_of("x", values.type) == kind
    assert carried_values("x", pa.chunked_array([values])).to_pylist() == carried
    sliced = pa.chunked_array([pa.concat_arrays([values, values]).slice(len(values))])
    assert carried_values("x", sliced).to_pylist() == carried


@pytest.mark.parametrize(
    "values",
    [
        pa.array([b"x"]),
        pa.array([{"a": 1}]),
        pa.array([datetime.timedelta(1)]),
        pa.array([[[1]]]),
        pa.array([2**64 - 1], pa.uint64()),
    ],
    ids=["bytes", "struct", "duration", "nested", "uint64"],
)
def test_what_json_cannot_hold_is_refused_by_its_column(values):
    with pytest.raises(InputError, match="column 'x'"):
        carried_values("x", values)


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        ("a/film.mp4", 0), ("/in/b/film.mp4", 1), ("./a/film.mp4", 0), (" c/other.mp4 ", 2), ("file:///in/a/film.mp4", 0),
        ("other.mp4", 2), ("other", 2), ("film.mp4", AMBIGUOUS), ("film", AMBIGUOUS), ("x/other.mp4", UNKNOWN),
        ("../in/a/film.mp4", UNKNOWN), ("", UNKNOWN), (None, UNKNOWN),
    ],
)  # fmt: skip
def test_a_video_is_named_by_its_paths_or_its_only_file_name(cell, number):
    assert Names.of_videos(VIDEOS).find(pa.array([cell], pa.string())).tolist() == [number]


def test_a_path_goes_before_a_file_name():
    names = Names.of_videos([("film.mp4", "/in/film.mp4"), ("b/film.mp4", "/in/b/film.mp4")])
    assert names.find(pa.array(["film.mp4", "film"])).tolist() == [0, AMBIGUOUS]


def test_rows_of_videos_reach_all_of_their_clips(scratch, tmp_path):
    table = table_of(
        tmp_path, "id,path,title,year\n1,a/film.mp4,One,1999\n2,other,,2001\n3,film.mp4,Two,2000\n4,gone,X,1\n"
    )
    found, said = join(scratch, table)
    assert found.kinds == {"id": "int", "title": "str", "year": "int"}
    assert {clip: json.loads(text) for clip, (text, _) in said.items()} == {
        "clip-0": {"id": 1, "title": "One", "year": 1999},
        "clip-1": {"id": 1, "title": "One", "year": 1999},
        "clip-4": {"id": 2, "title": None, "year": 2001},
    }
    assert (found.num_rows, found.num_unmatched, found.num_ambiguous) == (4, 1, 1)
    assert ["'gone'" in found.sentences[0], "'film.mp4'" in found.sentences[1]] == [True, True]
    assert json.loads(found.without_row) == {"id": None, "title": None, "year": None}


def test_rows_of_clips_and_typed_columns_of_parquet(scratch, tmp_path):
    table = table_of(
        tmp_path,
        {"Clip_ID": ["clip-5", "clip-0", "x"], "when": [datetime.date(2026, 1, 1)] * 3, "score": [1, 2, None]},
        "t.parquet",
    )
    found, said = join(scratch, table, columns=["score", "when"])
    assert {clip: text for clip, (text, _) in said.items()} == {"clip-0": '{"score": 2, "when": "2026-01-01"}'}
    assert found.num_unmatched == 1, "clip-5 is not wanted, and it is not unknown"


def test_rows_that_contradict_each_other_are_not_taken_and_equal_ones_count_once(scratch, tmp_path):
    found, said = join(scratch, table_of(tmp_path, "path,x\na/film.mp4,1\na/film.mp4,1\nb/film.mp4,1\nb/film.mp4,2\n"))
    assert sorted(said) == ["clip-0", "clip-1"]
    assert (found.num_doubled, found.doubled) == (2, ["clip-2", "clip-3"])
    assert "clips that get nothing, as rows of different values name them: 2: 'clip-2', 'clip-3'" in found.sentences[0]


def test_captions_are_texts_and_empty_where_there_is_none(scratch, tmp_path):
    text = 'path,caption,n\na/film.mp4,"a ""dog"",\nand ünïcode",1\nother,,2\n'
    _found, said = join(scratch, table_of(tmp_path, text), caption_column="caption")
    assert said["clip-0"] == ('{"n": 1}', 'a "dog",\nand ünïcode')
    assert said["clip-4"] == ('{"n": 2}', "")


def test_many_batches_and_few_rows_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(table_module, "BLOCK_BYTES", 1 << 12)
    monkeypatch.setattr(buckets, "BLOCK_ROWS", 1000)
    monkeypatch.setattr(buckets, "ROWS_OF_BUCKET", 500)
    rows = "".join(f"v{n}.mp4,{'x' * 100},{n}\n" for n in range(5000))
    found, said = join(tmp_path, table_of(tmp_path, f"path,pad,n\n{rows}other,end,0.5\n"))
    assert (found.num_rows, found.num_unmatched) == (5001, 5000)
    assert json.loads(said["clip-4"][0]) == {"pad": "end", "n": 0.5}
    assert found.kinds["n"] == "float", "the last row decides too"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        pytest.param("path;x\na;1\n", "separated by ';'", id="semicolons"),
        pytest.param("path,x\na/film.mp4\n", "Expected 2 columns, got 1", id="short-row"),
        pytest.param(b"path,x\na/film.mp4,\xff\n", "is no CSV file in UTF-8", id="latin1"),
        pytest.param(b"\xff\xfep\x00", "is no CSV file in UTF-8", id="utf16"),
        pytest.param("", "is no CSV file in UTF-8: Empty CSV file", id="empty"),
        pytest.param("path,x,x\na,1,2\n", "more than one column 'x'", id="doubled"),
        pytest.param("foo,bar\n1,2\n", "no column of .* tells of clips or videos .*columns are foo, bar", id="no-key"),
        pytest.param("path,x\nzzz,1\n", "no row of .* names a clip or a video .* a cell is 'zzz'", id="no-hit"),
        pytest.param("path,x\n", "names no clip and no video: it has no rows", id="no-rows"),
        pytest.param(f"path,x\nother,{'y' * (600 << 10)}\n", "longer than 512 KiB", id="huge-cell"),
        pytest.param("path,x\n\x1b[31mevil\n,1\n", r"CSV parse error", id="terminal-codes"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_used_gets_a_clear_error(tmp_path, content, why):
    with pytest.raises(InputError, match=why) as error:
        join(tmp_path, table_of(tmp_path, content))
    assert "\x1b" not in str(error.value)


def test_a_row_longer_than_what_is_read_at_a_time_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(table_module, "BLOCK_BYTES", 1 << 16)
    with pytest.raises(InputError, match="a row is longer than"):
        join(tmp_path, table_of(tmp_path, f"path,x\nother,{'y' * (1 << 18)}\nother,1\n"))


def test_other_files_and_missing_columns_are_refused(scratch, tmp_path):
    with pytest.raises(
        InputError, match=r"no table that can be read: its name must end in one of .csv .tsv .parquet .pq"
    ):
        UserTable.at(str(tmp_path / "x.xlsx"))
    with pytest.raises(InputError, match="there is no file"):
        UserTable.at(str(tmp_path / "x.csv"))
    with pytest.raises(InputError, match="no whole Parquet file"):
        join(scratch, table_of(tmp_path, b"PAR1", "x.parquet"))
    table = table_of(tmp_path, "path,x\nother,1\n")
    for choice in ({"key": "nope"}, {"columns": ["nope"]}, {"caption_column": "nope"}):
        with pytest.raises(InputError, match="has no column 'nope'; its columns are path, x"):
            join(scratch, table, **choice)
    with pytest.raises(InputError, match=r"'tags'\) holds lists|caption_column 'tags' holds lists"):
        join(scratch, table_of(tmp_path, {"path": ["other"], "tags": [["a"]]}, "l.parquet"), caption_column="tags")
    with pytest.raises(InputError, match="ids must be integers, strings"):
        join(scratch, table_of(tmp_path, {"path": [1.5], "x": [1]}, "f.parquet"))


def test_a_column_without_a_name_is_left_out_and_said(scratch, tmp_path):
    found, said = join(scratch, table_of(tmp_path, ",path,x\n0,other,1\n"))
    assert said["clip-4"][0] == '{"x": 1}'
    assert "a column without a name is left out" in found.sentences[0]


def test_tabs_a_byte_order_mark_and_blank_lines(scratch, tmp_path):
    _found, said = join(scratch, table_of(tmp_path, "\ufeffpath\tx\n\nother\t1, 2\n\n", "t.tsv"))
    assert said["clip-4"][0] == '{"x": "1, 2"}'
