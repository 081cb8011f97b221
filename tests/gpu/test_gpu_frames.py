"""Vectors between Parquet and the device: they are not copied, and the same rows are rejected as on the CPU."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curator_dask.data.device_vectors import read_matrix, series_matrix
from curator_dask.data.vectors import column_matrix, matrix_column
from curator_dask.errors import InputError
from curator_dask.files.folder import Folder
from tests.dedup.reference import random_unit

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("rapids")]

BAD = [[1.0, 2.0], None, [1.0], [3.0, None], [], [5.0, 6.0]]
KINDS = [pa.list_(pa.float32()), pa.list_(pa.float64()), pa.large_list(pa.float32()), pa.list_(pa.float16())]


def test_a_series_and_a_matrix_share_their_memory(cp):
    import cudf

    X = random_unit(1000, 48, 0)
    series = cudf.Series.from_arrow(matrix_column(X))
    matrix, reasons = series_matrix(series, 48)
    assert matrix.data.ptr == series.list.leaves.values.data.ptr
    assert set(reasons) == {""}
    np.testing.assert_array_equal(matrix.get(), X)


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize(
    "rows", [[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], BAD, [None, None], []], ids=["good", "bad", "null", "none"]
)
def test_reading_is_what_the_cpu_reads(cp, tmp_path, kind, rows):
    table = pa.table({"id": range(len(rows)), "embedding": pa.array(rows, kind)})
    pq.write_table(table, tmp_path / "a.parquet")
    X, reasons = read_matrix(Folder(str(tmp_path)), "a.parquet", "embedding", 2)
    expected, expected_reasons = column_matrix(table["embedding"], 2)
    assert isinstance(X, cp.ndarray)
    assert reasons.tolist() == expected_reasons.tolist()
    np.testing.assert_array_equal(X.get(), expected)


def test_some_row_groups(cp, tmp_path):
    X = random_unit(100, 8, 0)
    table = pa.table({"embedding": list(X)})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=10)
    got, _ = read_matrix(Folder(str(tmp_path)), "a.parquet", "embedding", 8, row_groups=[2, 5])
    np.testing.assert_array_equal(got.get(), np.concatenate([X[20:30], X[50:60]]))


@pytest.mark.parametrize("encoding", ["PLAIN", "BYTE_STREAM_SPLIT"])
@pytest.mark.parametrize("compression", ["zstd", "snappy", "none"])
def test_encodings_of_others(cp, tmp_path, encoding, compression):
    X = random_unit(100, 8, 0)
    pq.write_table(
        pa.table({"embedding": list(X)}), tmp_path / "a.parquet", compression=compression, use_dictionary=False,
        column_encoding={"embedding.list.element": encoding},
    )  # fmt: skip
    np.testing.assert_array_equal(read_matrix(Folder(str(tmp_path)), "a.parquet", "embedding", 8)[0].get(), X)


def test_a_damaged_file_is_named(cp, tmp_path):
    pq.write_table(pa.table({"embedding": list(random_unit(1000, 48, 0))}), tmp_path / "a.parquet", compression="zstd")
    data = bytearray((tmp_path / "a.parquet").read_bytes())
    data[200:50_000] = bytes(len(data[200:50_000]))
    (tmp_path / "a.parquet").write_bytes(data)
    with pytest.raises(InputError, match=r"a\.parquet"):
        read_matrix(Folder(str(tmp_path)), "a.parquet", "embedding", 48)
