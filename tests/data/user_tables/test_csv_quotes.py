"""Quotes of a CSV table that are not closed: what is a fault, in which line, and that no row is lost without a word."""

from __future__ import annotations

import functools
import io

import pytest

from curator_dask.data.user_tables import table as table_module
from curator_dask.data.user_tables.csv_quotes import CheckedStream
from curator_dask.data.user_tables.table import UserTable
from curator_dask.errors import InputError
from tests.data.user_tables.test_user_tables import join, table_of


def fault_of(content: bytes, size: int, separator: str = ",") -> str | None:
    """What is wrong with a file that is read in pieces of this size; what is passed on must be the file."""
    checked, passed = CheckedStream(io.BytesIO(content), separator), []
    while data := checked.read(size):
        passed.append(data)
    assert b"".join(passed) == content
    return checked.fault


@pytest.mark.parametrize(
    ("content", "line"),
    [
        pytest.param(b'p,c\na,"hello\nb,x\nd,z\n', 2, id="to-the-end"),
        pytest.param(b'p,c\na,x\n"b,y\nc,z\n', 3, id="first-column"),
        pytest.param(b'p,c\na,"hello\nb,"world"\nd,z\n', 2, id="closed-by-a-later-row"),
        pytest.param(b'p,c\na,"one\ntwo"\nb,"hello\nd,z', 4, id="behind-a-cell-of-two-lines"),
        pytest.param(b'p,c\r\na,"x\r\ny"\r\nd,"z\r\n', 4, id="windows"),
        pytest.param(b'p,c\ra,x\rd,"z\r', 3, id="old-mac"),
        pytest.param(b'p\n"x ""\n', 2, id="two-quotes-are-one"),
        pytest.param(b'"', 1, id="nothing-else"),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_a_quote_that_is_not_closed_is_a_fault_in_its_line(content, line, size):
    assert fault_of(content, size) == f"the quote that opens a cell in line {line} is not closed"


@pytest.mark.parametrize(
    "content",
    [
        b"", b"p,c\na,b", b'p,c\na,5" disc\nb,"x"y\n', b'p,c\na, "q\nb,"x"\n', b'"p","c"\n"a","x ""y"" z\nw"\nb,""\nc,""""',
        b'\xef\xbb\xbf"p","c"\r\n"a","b\r\nc"\r\n', b'"a\nb"',
    ],
)  # fmt: skip
@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_other_quotes_are_none(content, size):
    assert fault_of(content, size) is None


def test_the_separator_of_the_file_counts():
    assert fault_of(b'p\tc\na\t"x\n', 5, "\t") is not None
    assert fault_of(b'p\tc\na,"x\n', 5, "\t") is None


@pytest.mark.parametrize("rest", ["c/other.mp4,x\n" * 3, 'c/other.mp4,"x"\n'])
def test_a_table_with_such_a_quote_is_refused_by_its_line(tmp_path, rest):
    table = table_of(tmp_path, f'path,title\na/film.mp4,"One\n{rest}')
    with pytest.raises(InputError, match=r"t\.csv cannot be read: the quote that opens a cell in line 2 is not closed"):
        join(tmp_path, table)


def test_so_is_one_in_a_later_part_of_a_long_table(tmp_path, monkeypatch):
    monkeypatch.setattr(table_module, "BLOCK_BYTES", 256)
    table = table_of(tmp_path, "path,title\n" + "a/film.mp4,One\n" * 100 + 'c/other.mp4,"Two\nb/film.mp4,Three\n')
    assert table.columns() == ["path", "title"]
    for read in (functools.partial(join, tmp_path), UserTable.check_rows):
        with pytest.raises(InputError, match="in line 102 is not closed"):
            read(table)


def test_the_line_is_told_where_the_cell_grows_too_long(tmp_path, monkeypatch):
    monkeypatch.setattr(table_module, "BLOCK_BYTES", 256)
    table = table_of(tmp_path, 'path,title\na/film.mp4,"One\n' + "a/film.mp4,One\n" * 1000)
    with pytest.raises(
        InputError, match="a row is longer than 0 MiB; a quote in line 2 opens a cell that does not end"
    ):
        join(tmp_path, table)
