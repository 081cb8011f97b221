"""Ids in lists and CSV cells: any text comes back, on one line, and as no formula."""

from __future__ import annotations

import csv
import io

import pyarrow as pa
import pyarrow.csv as pc
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from curator_dask.files.id_lists import LINE_ENDS, cell_text, escaped_lines, read_id_list, safe_cells

odd = st.text(st.one_of(st.sampled_from(f"\\\"'=+-@\tnru0128 ,{LINE_ENDS}＝＠"), st.characters(codec="utf-8")))


def column(texts: list[str]) -> pa.ChunkedArray:
    return pa.chunked_array([texts], pa.large_string())


def as_list(texts: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in escaped_lines(column(texts)).to_pylist()).encode("utf-8")


@given(st.lists(odd, max_size=5))
@example(["a\\nb", "a\nb", "\\", "\\\\n", "\r", "", "\\u2028", "\u2028", "a\x85"])
def test_any_text_comes_back_from_a_list_on_a_line_of_its_own(texts):
    data = as_list(texts)
    assert read_id_list(data) == texts
    assert len(data.decode("utf-8").splitlines()) == data.count(b"\n") == len(texts)
    assert all(len(line.splitlines()) <= 1 for line in data.decode("utf-8").split("\n"))


@given(st.lists(odd, min_size=1, max_size=5))
@example(["=cmd|'/c calc'!A0", "'", "''", "\t=1", "\r\n", "＝1"])
def test_any_text_comes_back_from_a_cell_that_is_no_formula(texts):
    sink = io.BytesIO()
    pc.write_csv(pa.table({"id": safe_cells(column(texts))}), sink)
    cells = [row[0] for row in csv.reader(io.StringIO(sink.getvalue().decode("utf-8"), newline=""))][1:]
    assert [cell_text(cell) for cell in cells] == texts
    assert not [cell for cell in cells if cell.startswith(tuple("=+-@\t\r\n＝＋－＠"))]


def test_the_escapes_are_those_of_the_documentation():
    texts = ["a\nb", "\r", "\x0b\x0c", "\x1c\x1e", "\x85\u2028\u2029", "C:\\new"]
    expected = ["a\\nb", "\\r", "\\u000b\\u000c", "\\u001c\\u001e", "\\u0085\\u2028\\u2029", "C:\\\\new"]
    assert escaped_lines(column(texts)).to_pylist() == expected
    assert safe_cells(column(["=1", "'a", "a=1", " =1"])).to_pylist() == ["'=1", "''a", "a=1", " =1"]


@pytest.mark.parametrize(
    ("data", "ids"),
    [
        (b"", []),
        (b"\n", [""]),
        (b"a\nb", ["a", "b"]),
        (b"a\r\nb\r\n", ["a", "b"]),
        ("a\u2028b\n".encode(), ["a\u2028b"]),  # as older versions wrote it
        (b"a\\qb\\u12\n", ["a\\qb\\u12"]),
        (b"\xff\n", ["\udcff"]),
    ],
)
def test_lists_of_editors_and_of_older_versions(data, ids):
    assert read_id_list(data) == ids
