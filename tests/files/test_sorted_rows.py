"""Rows that are sorted in blocks on the disk come in the order of one sort of all of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curator_dask.files.buckets import sorted_rows as blocks
from curator_dask.files.buckets.sorted_rows import SortedRows, sorted_rows

ODD = [
    "",
    "a",
    "a\0",
    "a\0b",
    "A",
    "é",
    "e\u0301",
    "漢字",
    "\U0001f600",
    "\uffff",
    "z" * 3_000,
    "with, comma",
    "new\nline",
    " a",
]
SCHEMA = pa.schema([("id", pa.string()), ("number", pa.float64()), ("what", pa.int64())])
BY = ("id", "number")


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK_ROWS", 50)
    monkeypatch.setattr(blocks, "BATCH_ROWS", 4)


def _rows(num_rows: int, seed: int) -> pa.Table:
    """Rows with odd ids and odd numbers, many of which are equal; ``what`` tells them apart."""
    random = np.random.default_rng(seed)
    ids = [None if at % 17 == 0 else ODD[int(random.integers(len(ODD)))] for at in range(num_rows)]
    numbers = random.choice([-0.0, 0.0, 1.5, -np.inf, np.inf, np.nan], num_rows)
    given = pa.array(numbers, mask=random.random(num_rows) < 0.1)
    return pa.table([pa.array(ids, pa.string()), given, np.arange(num_rows)], schema=SCHEMA)


def _in_blocks(rows: pa.Table, folder: Path, pieces: int) -> SortedRows:
    """The rows, given in pieces."""
    found = SortedRows(folder, rows.schema, BY)
    for start in range(0, len(rows), pieces):
        found.add(rows.slice(start, pieces))
    return found


def _as_read(rows: SortedRows) -> pa.Table:
    return pa.concat_tables([rows.schema.empty_table(), *rows.tables()])


def _bits(rows: pa.Table) -> list[str]:
    """The rows as text, in which NaN is NaN, and -0.0 is not 0.0."""
    return [repr(row) for row in rows.to_pylist()]


@pytest.mark.parametrize("num_rows", [0, 1, 49, 50, 51, 1_000, 3_001])
@pytest.mark.parametrize("pieces", [7, 50, 10_000])
def test_blocks_come_in_the_order_of_one_stable_sort(tmp_path: Path, num_rows: int, pieces: int) -> None:
    rows = _rows(num_rows, seed=num_rows + pieces)
    one_sort = rows.sort_by([(name, "ascending") for name in BY])
    found = _in_blocks(rows, tmp_path, pieces)
    assert _bits(_as_read(found)) == _bits(one_sort)
    assert _bits(_as_read(found)) == _bits(one_sort), "the rows can be read again"
    assert found.num_rows == num_rows


def test_rows_that_are_all_equal_keep_the_order_in_which_they_came(tmp_path: Path) -> None:
    rows = pa.table([["a"] * 2_000, [1.0] * 2_000, np.arange(2_000)], schema=SCHEMA)
    assert _as_read(_in_blocks(rows, tmp_path, 30))["what"].to_pylist() == list(range(2_000))


def test_few_rows_need_no_file(tmp_path: Path) -> None:
    rows = _rows(49, seed=1)
    assert len(_as_read(sorted_rows([rows], tmp_path, SCHEMA, BY))) == 49
    assert not list(tmp_path.iterdir())


def test_rows_come_some_at_a_time(tmp_path: Path) -> None:
    rows = _rows(5_000, seed=2)
    at_once = [len(table) for table in _in_blocks(rows, tmp_path, 100).tables()]
    assert sum(at_once) == 5_000
    assert max(at_once) <= 64 * 4 + 100 * 4, "more than what is read together, and a batch of each block"
