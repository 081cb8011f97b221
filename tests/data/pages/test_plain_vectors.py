"""Parquet files whose vectors are written page by page: byte for byte those that Arrow writes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curator_dask.data import tables
from curator_dask.data.pages.plain_vectors import plain_vectors
from curator_dask.data.pages.thrift import read_struct, struct_bytes
from curator_dask.data.tables import parquet_bytes, parquet_parts, write_parquet
from curator_dask.data.vectors import matrix_column
from curator_dask.files.folder import Folder

SAME_VERSION = int(pa.__version__.partition(".")[0]) == 26
"""Pages of other versions of Arrow end elsewhere."""


def table_of(rows: list[int], dim: int, field: pa.Field | None = None) -> pa.Table:
    """Columns of many kinds around one of vectors, which consists of arrays of so many rows each."""
    random = np.random.default_rng(dim)
    field = field or pa.field("v", pa.list_(pa.float32()))
    arrays = [matrix_column(random.standard_normal((n, dim)).astype(np.float32)).cast(field.type) for n in rows]
    numbers = np.arange(sum(rows))
    schema = pa.schema([("id", pa.string()), field, ("x", pa.float64()), ("n", pa.int64())])
    columns = [pa.array(numbers.astype(str)), pa.chunked_array(arrays, field.type), numbers / 7, numbers % 5]
    return pa.table(columns, schema=schema)


def arrows_bytes(table: pa.Table, row_group_rows: int = tables.ROW_GROUP_ROWS) -> bytes:
    """The file as Arrow writes it, number by number."""
    sink = pa.BufferOutputStream()
    others = ["id", "x", "n"]
    codecs = {"v.list.element": "none"} | dict.fromkeys(others, "zstd")
    options = {"use_dictionary": others, "write_statistics": others, "write_page_checksum": True}
    with pq.ParquetWriter(sink, table.schema, compression=codecs, **options) as writer:
        writer.write_table(table, row_group_rows)
    return sink.getvalue().to_pybytes()


def check(table: pa.Table, row_group_rows: int = tables.ROW_GROUP_ROWS) -> None:
    """The file comes in parts, is read as the same table, and has the bytes that Arrow gives it."""
    parts = parquet_parts(table, vectors=["v"])
    assert len(parts) > 2
    data = b"".join(parts)
    assert pq.read_table(pa.BufferReader(data), page_checksum_verification=True).equals(table)
    if SAME_VERSION:
        assert data == arrows_bytes(table, row_group_rows)


@pytest.mark.parametrize("dim", [16, 17, 24, 255, 384, 512, 768, 1023, 1408, 4096, 300_000])
@pytest.mark.parametrize("share", [0, 1, 2.3])
def test_one_array_of_vectors(dim, share):
    check(table_of([1 + int(share * (1 << 18) / dim)], dim))


@pytest.mark.parametrize(
    "rows", [[512, 1, 512, 3, 512], [511, 1, 1, 1], [1, 511, 0, 600], [700, 1, 512, 3, 600], [0, 5]]
)
@pytest.mark.parametrize("dim", [255, 512, 513])
def test_arrays_that_end_near_the_end_of_a_page(rows, dim):
    check(table_of(rows, dim))


@pytest.mark.parametrize("row_group_rows", [1, 300, 512, 1500])
def test_several_row_groups(monkeypatch, row_group_rows):
    monkeypatch.setattr(tables, "ROW_GROUP_ROWS", row_group_rows)
    check(table_of([700, 20], 512) if row_group_rows > 1 else table_of([3, 9], 512), row_group_rows)


def test_the_field_stays_as_it_is():
    element = pa.field("item", pa.float32(), nullable=False)
    check(table_of([600], 512, pa.field("v", pa.list_(element), nullable=False, metadata={"unit": "none"})))
    check(table_of([600], 512, pa.field("v", pa.list_(element))))


def test_a_part_of_a_table_and_two_columns_of_vectors():
    check(table_of([600, 700], 300).slice(17, 900))
    table = table_of([600], 300)
    table = table.append_column("w", matrix_column(np.random.default_rng(0).random((600, 64), np.float32) - 0.5))
    data = parquet_bytes(table, vectors=["v", "w"])
    assert pq.read_table(pa.BufferReader(data), page_checksum_verification=True).equals(table)


def test_the_numbers_are_not_copied(tmp_path):
    X = np.random.default_rng(0).standard_normal((700, 512)).astype(np.float32)
    table = pa.table({"v": matrix_column(X)})
    parts = parquet_parts(table, vectors=["v"])
    assert sum(np.shares_memory(X, np.frombuffer(part, np.uint8)) for part in parts) == 2
    folder = Folder(str(tmp_path))
    size = write_parquet(folder, "a.parquet", table, vectors=["v"])
    assert folder.read_bytes("a.parquet") == b"".join(parts)
    assert (folder.size("a.parquet"), folder.content_hash("a.parquet")) == (size, size.content_hash)


FLOATS = pa.list_(pa.float32())
OTHERS = {
    "a null row": pa.array([[1.0] * 20, None], FLOATS),
    "a null number": pa.array([[1.0] * 19 + [None], [1.0] * 20], FLOATS),
    "rows of two lengths": pa.array([[1.0] * 20, [1.0] * 21], FLOATS),
    "short rows": pa.array([[1.0] * 15] * 9, FLOATS),
    "no rows": pa.array([], FLOATS),
    "double": pa.array([[1.0] * 20] * 3, pa.list_(pa.float64())),
    "large lists": pa.array([[1.0] * 20] * 3, pa.large_list(pa.float32())),
    "lists of a fixed size": pa.array([[1.0] * 20] * 3, pa.list_(pa.float32(), 20)),
}


@pytest.mark.parametrize("column", OTHERS.values(), ids=OTHERS)
def test_other_columns_are_left_to_arrow(column):
    table = pa.table({"v": pa.chunked_array([column])})
    assert plain_vectors(table.schema.field("v"), table["v"]) is None
    assert pq.read_table(pa.BufferReader(parquet_bytes(table, vectors=["v"]))).equals(table)


def test_a_description_that_is_not_changed_keeps_its_bytes():
    """That of a file with long lists, truth values, negative numbers and fields far apart."""
    table = table_of([40], 16)
    for number in range(20):
        table = table.append_column(f"flag{number}", pa.array([None, True, False, number > 3] * 10))
    table = table.append_column("below", pa.array(-np.arange(40))).replace_schema_metadata({"a": "b" * 500})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=2, store_decimal_as_integer=True, sorting_columns=[pq.SortingColumn(2)])
    data = sink.getvalue().to_pybytes()
    footer = data[-8 - int.from_bytes(data[-8:-4], "little") : -8]
    struct, end = read_struct(footer)
    assert end == len(footer)
    assert struct_bytes(struct) == footer


def test_a_struct_of_a_kind_that_is_not_known_is_an_error():
    with pytest.raises(ValueError, match="type 7"):
        read_struct(b"\x17\0\0\0\0\0\0\0\0\0")
