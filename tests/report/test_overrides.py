"""The file of decisions by hand: what an editor or a spreadsheet may make of it, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from curator_dask import InputError
from curator_dask.report.review.overrides import Override, overrides_csv, parse_overrides, read_overrides


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("id,decision,note\na,keep,sharp\nb,remove,\n", {"a": Override("keep", "sharp"), "b": Override("remove")}),
        ("\ufeffid,decision\r\na,keep\r\n", {"a": Override("keep")}),
        ("note,Decision,who, ID\nx, KEEP ,me,a\n\n,,,\n", {"a": Override("keep", "x")}),
        ('id,decision,note\n"a,\n""b""",remove,"two\nlines"\n', {'a,\n"b"': Override("remove", "two\nlines")}),
        ("id,decision,note\na,keep,\na,keep,again\n", {"a": Override("keep", "again")}),
        ("id,decision,note\n", {}),
    ],
    ids=["plain", "windows", "any order", "quoted", "said twice", "empty"],
)
def test_file_is_understood(tmp_path: Path, text: str, wanted: dict[str, Override]) -> None:
    (tmp_path / "mine.csv").write_bytes(text.encode())
    assert read_overrides(str(tmp_path / "mine.csv")) == wanted


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("clip,decision\na,keep\n", r"must name id and decision"),
        ("", r"must name id and decision"),
        ("id;decision;note\na;keep;\n", r"separated by a semicolon; save the file with commas"),
        ("id,decision\na,drop\n", r"mine.csv: line 2 decides 'drop' on 'a': write keep or remove"),
        ("id,decision\na\n", r"line 2 decides None on 'a'"),
        ("id,decision\n,keep\n", r"line 2 has no id"),
        ("id,decision\na,keep\nb,keep\na,remove\n", r"line 4 decides remove on 'a', and a line before it the opposite"),
        ('id,decision\n"a,keep\n', r"no CSV file"),
        ("id,decision\n\udcff,keep\n", r"no CSV file in UTF-8"),
    ],
)
def test_fault_names_its_line(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "mine.csv").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match=words):
        read_overrides(str(tmp_path / "mine.csv"))


def test_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no file .*gone\.csv"):
        read_overrides(str(tmp_path / "gone.csv"))


def test_written_file_is_read_back_and_holds_no_formula() -> None:
    names = ["=1+1", "'a", "-b", 'c"d', "e\nf", "ü", "@g", "\tg"]
    overrides = {name: Override("keep", name) for name in names}
    text = overrides_csv(overrides).decode()
    assert parse_overrides(text) == overrides
    assert not [line for line in text.splitlines() if line.strip('"').startswith(("=", "-", "@", "\t"))]
    assert text == overrides_csv(dict(reversed(overrides.items()))).decode()
