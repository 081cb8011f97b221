"""Vectors taken from the pages of Parquet files: the same as Arrow reads, or left to Arrow."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curator_dask.data.clusters import plain_vectors_of, read_cluster_vectors
from curator_dask.data.pages.vector_pages import PlainChunk, plain_chunks, vectors_of_pages
from curator_dask.data.tables import write_parquet
from curator_dask.data.vectors import matrix_column
from curator_dask.errors import InputError
from curator_dask.files.folder import Folder


def rows_of(num_rows: int, dim: int) -> np.ndarray:
    return np.random.default_rng(num_rows * 10_000 + dim).standard_normal((num_rows, dim)).astype(np.float32)


def taken(folder: Folder, path: str = "a.parquet") -> np.ndarray | None:
    """The vectors as the pages give them; None where they do not."""
    return plain_vectors_of(folder, path, "v")


@pytest.fixture
def folder(tmp_path) -> Folder:
    return Folder(str(tmp_path))


@pytest.mark.parametrize("dim", [1, 2, 7, 8, 9, 255, 384, 512, 768, 1000, 1408])
@pytest.mark.parametrize("num_rows", [1, 9, 700])
def test_whole_vectors_are_taken_from_all_pages(folder, num_rows, dim):
    X = rows_of(num_rows, dim)
    write_parquet(folder, "a.parquet", pa.table({"id": np.arange(num_rows), "v": matrix_column(X)}), vectors=["v"])
    assert np.array_equal(taken(folder), X)


def test_several_row_groups_and_files_are_joined(folder):
    X = rows_of(3000, 96)
    pq.write_table(
        pa.table({"id": np.arange(3000), "v": matrix_column(X)}), folder.join("a.parquet"), row_group_size=700,
        compression="none", use_dictionary=False, write_page_checksum=True,
    )  # fmt: skip
    assert np.array_equal(taken(folder), X)
    table, both = read_cluster_vectors(folder, ["a.parquet", "a.parquet"], ["id"], "v", 96, "here")
    assert table.column_names == ["id"]
    assert np.array_equal(both, np.concatenate([X, X]))


@pytest.mark.parametrize("dim", [5, 8, 512])
def test_a_fixed_size_list_without_nulls_is_taken(folder, dim):
    X = rows_of(50, dim)
    field = pa.field("v", pa.list_(pa.field("element", pa.float32(), nullable=False), dim), nullable=False)
    column = pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), type=field.type)
    table = pa.table([column], schema=pa.schema([field]))
    pq.write_table(table, folder.join("a.parquet"), compression="none", use_dictionary=False)
    assert np.array_equal(taken(folder), X)


UNEVEN = {
    "a row that is longer by what another lacks": [[1.0, 2.0, 3.0], [1.0], [1.0, 2.0]],
    "a null row": [[1.0, 2.0], None, [1.0, 2.0]],
    "an empty row": [[1.0, 2.0, 3.0, 4.0], [], [1.0, 2.0]],
    "a null among the numbers": [[1.0, None], [1.0, 2.0], [1.0, 2.0]],
}


@pytest.mark.parametrize("rows", UNEVEN.values(), ids=UNEVEN)
@pytest.mark.parametrize("before", [0, 1000])
def test_rows_that_are_no_whole_vectors_are_left_to_arrow(folder, rows, before):
    whole = [[float(row), 0.5] for row in range(before)]
    write_parquet(folder, "a.parquet", pa.table({"v": pa.array(whole + rows, pa.list_(pa.float32()))}), vectors=["v"])
    assert taken(folder) is None
    with pytest.raises(InputError, match=f"row {before}|row {before + 1}"):
        read_cluster_vectors(folder, ["a.parquet"], ["v"], "v", 2, "here")


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "zstd"},
        {"use_dictionary": True},
        {"data_page_version": "2.0"},
        {"use_byte_stream_split": ["v.list.element"]},
    ],
    ids=str,
)
def test_other_encodings_are_left_to_arrow(folder, options):
    X = rows_of(40, 16)
    table = pa.table({"v": matrix_column(X)})
    pq.write_table(table, folder.join("a.parquet"), **{"compression": "none", "use_dictionary": False, **options})
    assert taken(folder) is None
    assert np.array_equal(read_cluster_vectors(folder, ["a.parquet"], [], "v", None, "here")[1], X)


def test_half_and_double_vectors_are_left_to_arrow(folder):
    for kind in (np.float16, np.float64):
        values = rows_of(8, 4).astype(kind)
        column = pa.ListArray.from_arrays(np.arange(0, 33, 4, dtype=np.int32), pa.array(values.ravel()))
        write_parquet(folder, "a.parquet", pa.table({"v": column}), vectors=["v"])
        assert taken(folder) is None
        read = read_cluster_vectors(folder, ["a.parquet"], [], "v", 4, "here")[1]
        assert np.array_equal(read, values.astype(np.float32))


def test_a_changed_byte_is_noticed(folder):
    X = rows_of(300, 64)
    write_parquet(folder, "a.parquet", pa.table({"v": matrix_column(X)}), vectors=["v"])
    data = bytearray(folder.read_bytes("a.parquet"))
    at = data.index(X[200].tobytes())
    data[at + 9] ^= 4
    folder.write_bytes("a.parquet", bytes(data))
    assert taken(folder) is None
    with pytest.raises(InputError, match="no whole Parquet file"):
        read_cluster_vectors(folder, ["a.parquet"], [], "v", 64, "here")


def test_whatever_the_bytes_are_nothing_but_none_comes_of_damage(folder):
    X = rows_of(60, 24)
    write_parquet(folder, "a.parquet", pa.table({"v": matrix_column(X)}), vectors=["v"])
    data = folder.read_bytes("a.parquet")
    [chunk] = plain_chunks(pq.ParquetFile(pa.BufferReader(data)).metadata, "v")

    def taken_from(content: bytes, expected: PlainChunk = chunk) -> np.ndarray | None:
        folder.write_bytes("b.parquet", content)
        with folder.reading("b.parquet", []) as read:
            found = vectors_of_pages(read, [expected])
            return None if found is None else found.X

    assert np.array_equal(taken_from(data), X)
    for place in range(chunk.start, chunk.start + 120):
        changed = bytearray(data)
        changed[place] ^= 0xFF
        found = taken_from(bytes(changed))
        assert found is None or np.array_equal(found, X)  # the header has fields that do not matter
    for stop in range(0, chunk.start + chunk.num_bytes, 97):
        assert taken_from(data[:stop]) is None
        assert taken_from(data, chunk._replace(num_bytes=stop)) is None
    assert taken_from(data, chunk._replace(num_rows=10**12)) is None
    assert taken_from(data, chunk._replace(num_rows=30, dimension=48)) is None


def test_levels_of_many_short_vectors_are_read_whole(folder):
    """Those of one page are longer than what is read for its header."""
    X = rows_of(15_000, 16)
    write_parquet(folder, "a.parquet", pa.table({"v": matrix_column(X)}), vectors=["v"])
    assert np.array_equal(taken(folder), X)


def test_some_row_groups(folder):
    X = rows_of(3000, 96)
    options = {"row_group_size": 700, "compression": "none", "use_dictionary": False}
    pq.write_table(pa.table({"v": matrix_column(X)}), folder.join("a.parquet"), **options)
    assert np.array_equal(plain_vectors_of(folder, "a.parquet", "v", [1, 4]), np.concatenate([X[700:1400], X[2800:]]))
    assert plain_vectors_of(folder, "a.parquet", "v", []) is None


def test_a_list_of_structs_or_in_a_struct_is_no_column_of_vectors(folder):
    rows = pa.array([[1.0] * 20] * 3, pa.list_(pa.float32()))
    inner = pa.StructArray.from_arrays([pa.array([1.0] * 60, pa.float32())], ["x"])
    for column in (pa.StructArray.from_arrays([rows], ["x"]), pa.ListArray.from_arrays([0, 20, 40, 60], inner)):
        pq.write_table(pa.table({"v": column}), folder.join("a.parquet"), compression="none", use_dictionary=False)
        assert taken(folder) is None


def test_vectors_of_another_length_are_refused(folder):
    write_parquet(folder, "a.parquet", pa.table({"v": matrix_column(rows_of(6, 8))}), vectors=["v"])
    with pytest.raises(InputError, match="9 numbers"):
        read_cluster_vectors(folder, ["a.parquet"], [], "v", 9, "here")
