"""Columns of the clip index by ids: the right rows, and no table of all clips in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curator_dask import InputError
from curator_dask.data import clip_columns
from curator_dask.data.clip_columns import ClipIndex
from curator_dask.files import layout
from curator_dask.files.buckets import lookup as lookups
from curator_dask.files.buckets.lookup import RowLookup
from curator_dask.files.folder import Folder

NAMES = ["width", "source_video", "start_s"]


def table(num_rows: int) -> pa.Table:
    rng = np.random.default_rng(3)
    return pa.table(
        {
            "id": [f"clip é {one}" for one in rng.permutation(num_rows)],
            "width": pa.array(rng.integers(0, 9, num_rows), mask=rng.random(num_rows) < 0.1),
            "source_video": [f"video {one}" for one in rng.integers(0, 99, num_rows)],
            "start_s": rng.random(num_rows),
        }
    )


def index_of(root: Path, rows: pa.Table, row_group_rows: int = 7) -> ClipIndex:
    pq.write_table(rows, root / layout.CLIP_INDEX, row_group_size=row_group_rows)
    return ClipIndex.of(Folder(str(root)))


@pytest.fixture(params=["one bucket", "many buckets", "equal hashes"], autouse=True)
def _buckets(request, monkeypatch) -> None:
    if request.param != "one bucket":
        monkeypatch.setattr(lookups, "ROWS_OF_BUCKET", 8)
    if request.param == "equal hashes":
        whole = lookups.hashes_of
        monkeypatch.setattr(lookups, "hashes_of", lambda ids: whole(ids) & np.uint64(0xF3 << 56))


def test_rows_are_those_of_the_ids_in_their_order(tmp_path):
    rows = table(300)
    index = index_of(tmp_path, rows)
    for number in (0, 1, 17, 300):
        chosen = np.random.default_rng(number).permutation(300)[:number]
        found = index.columns(np.array(rows["id"].take(chosen).to_pylist(), object), NAMES)
        assert list(found) == NAMES
        for name in NAMES:
            expected = rows[name].take(chosen).combine_chunks().to_numpy(zero_copy_only=False)
            np.testing.assert_array_equal(found[name], expected)
            assert found[name].dtype == expected.dtype


def test_of_rows_with_one_id_the_first_counts(tmp_path):
    rows = pa.concat_tables([table(40), table(40).set_column(1, "width", pa.array([77] * 40)), table(1)])
    found = index_of(tmp_path, rows).columns(np.array(rows["id"].to_pylist()[:40], object), ["width"])
    np.testing.assert_array_equal(found["width"], rows["width"][:40].combine_chunks().to_numpy(zero_copy_only=False))


def test_missing_ids_are_named(tmp_path):
    index = index_of(tmp_path, table(30))
    with pytest.raises(InputError, match="lacks 2 ids, for example 'x': is clips_path the output"):
        index.columns(np.array(["clip é 3", "x", "y"], object), ["width"])


def test_a_missing_column_is_named(tmp_path):
    index = index_of(tmp_path, table(3))
    with pytest.raises(InputError, match="height"):
        index.columns(np.array(["clip é 1"], object), ["height"])


def test_nothing_of_the_index_stays_in_memory(tmp_path):
    rows = table(60_000)
    index = index_of(tmp_path, rows, 8_192)
    ids, size = np.array(rows["id"].to_pylist()[:50], object), rows.nbytes
    del rows
    before = pa.total_allocated_bytes()
    index.columns(ids, NAMES)
    assert pa.total_allocated_bytes() - before < size / 100
    assert clip_columns._make_lookup.cache_info().currsize  # it is there to be used again


def test_a_lookup_leaves_no_file_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    lookup = RowLookup.of([table(50)], table(50).schema, 50)
    assert not list(tmp_path.iterdir())
    assert len(lookup.rows(pa.array(["clip é 3"]))) >= 1
