"""docs/media.md lists what its command lists, and some rows made anew are the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.media_table import CASES, Case, row

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "media.md"
MADE_ANEW = ("AAC changes its channels", "a crop in the header", "RGB (libx264rgb)")


def committed_rows() -> list[str]:
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.startswith("| ")][1:]


def test_the_table_lists_every_case() -> None:
    listed = [tuple(cell.strip() for cell in line.split("|")[1:3]) for line in committed_rows()]
    assert listed == [(case.container, case.oddity) for case in CASES]


@pytest.mark.parametrize("case", [case for case in CASES if case.oddity in MADE_ANEW], ids=lambda case: case.oddity)
def test_rows_made_anew_are_the_same(case: Case) -> None:
    assert row(case) in committed_rows()
