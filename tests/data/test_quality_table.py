"""The quality table beside the vectors has the bytes of one sorted table, whatever the order and the names of the clips."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curator_dask.data.beside_vectors.quality_table import MARKED, publish_quality
from curator_dask.data.tables import parquet_bytes
from curator_dask.dedup.quality.measure import COLUMNS
from curator_dask.files.buckets import sorted_rows
from curator_dask.files.folder import Folder
from curator_dask.files.layout import QUALITY
from curator_dask.runtime.records import UnitRecord
from curator_dask.runtime.state import StageState

ODD = ["", " ", "a\nb", "漢字", "\U0001f600", "\uffff", "a,b", "z" * 2_000, "Z", "a\0"]


def _rows(num_clips: int) -> list[list[object]]:
    """The rows of clips in no order; some clips come twice, some with other numbers."""
    random = np.random.default_rng(num_clips)
    ids = [*ODD, *(f"clip-{number * 7919 % 100_003}" for number in range(num_clips))]
    ids += ids[: num_clips // 10]
    return [
        [ids[at], *random.integers(0, 3, len(COLUMNS)).astype(float).tolist()] for at in random.permutation(len(ids))
    ]


def _records(rows: list[list[object]]) -> Iterator[UnitRecord]:
    for start in range(0, len(rows), 13):
        yield UnitRecord(f"unit-{start}", "", {}, data={MARKED: rows[start : start + 13]})
        yield UnitRecord(f"unit-{start}-of-another-version", "", {})


def _in_one_sort(rows: list[list[object]]) -> bytes:
    names = ["id", *COLUMNS]
    table = pa.table({name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)})
    return parquet_bytes(table.sort_by([(name, "ascending") for name in names]))


@pytest.mark.parametrize("num_clips", [1, 700, 20_000])
def test_it_is_what_one_sort_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_clips: int) -> None:
    monkeypatch.setattr(sorted_rows, "BLOCK_ROWS", 900)
    monkeypatch.setattr(sorted_rows, "BATCH_ROWS", 50)
    rows, state = _rows(num_clips), StageState(Folder(str(tmp_path)), "embed")
    publish_quality(state, _records(rows))
    assert (tmp_path / QUALITY).read_bytes() == _in_one_sort(rows)
    assert state.published()[QUALITY] == (tmp_path / QUALITY).stat().st_size


def test_where_nothing_is_known_there_is_no_table(tmp_path: Path) -> None:
    state = StageState(Folder(str(tmp_path)), "embed")
    publish_quality(state, _records(_rows(3)))
    assert pq.read_table(tmp_path / QUALITY).num_rows
    publish_quality(state, [UnitRecord("unit", "", {})])
    assert not (tmp_path / QUALITY).exists()
    publish_quality(state, [])
    assert QUALITY not in state.published()
