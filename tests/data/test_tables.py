"""Parquet and JSON lines as Arrow tables."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curator_dask.data.tables import (
    data_files,
    lazy_frame,
    parquet_bytes,
    parquet_bytes_of_batches,
    read_parquet,
    read_table,
    write_parquet,
)
from curator_dask.data.vectors import matrix_column
from curator_dask.errors import InputError, ParameterError
from curator_dask.files.folder import Folder
from curator_dask.runtime.records import UnitRecord
from curator_dask.runtime.state import StageState


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path))


@pytest.fixture
def table() -> pa.Table:
    X = np.arange(12, dtype=np.float32).reshape(4, 3)
    return pa.table({"id": ["a", "b", None, "é"], "n": [1, 2, 3, None], "embedding": matrix_column(X)})


def test_a_table_comes_back(folder, table):
    size = write_parquet(folder, "sub/t.parquet", table, vectors=["embedding"])
    assert folder.size("sub/t.parquet") == size
    assert read_parquet(folder, "sub/t.parquet").equals(table)
    assert read_parquet(folder, "sub/t.parquet", ["n"]).equals(table.select(["n"]))
    assert read_parquet(folder, "sub/t.parquet", []).num_columns == 0


def test_the_same_table_gives_the_same_bytes(table):
    assert parquet_bytes(table) == parquet_bytes(pa.Table.from_pylist(table.to_pylist(), schema=table.schema))


@pytest.mark.parametrize("num_rows", [0, 1, 65_536, 65_537, 140_000])
def test_a_table_in_batches_gives_the_bytes_of_the_whole(num_rows):
    """Also those that Arrow gives it, which earlier versions asked for the whole table at once."""
    numbers = np.arange(num_rows)
    table = pa.table({"id": numbers.astype(str), "n": numbers % 1000, "x": numbers / 7})
    batches = [table.slice(at, 9_999) for at in range(0, num_rows, 9_999)]
    data = parquet_bytes_of_batches(table.schema, batches)
    assert data == parquet_bytes(table)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", use_dictionary=table.column_names, row_group_size=65_536,
        write_page_checksum=True)  # fmt: skip
    assert data == sink.getvalue().to_pybytes()


def test_vectors_are_not_dictionary_encoded_and_text_is(folder, table):
    write_parquet(folder, "t.parquet", table, vectors=["embedding"])
    group = pq.ParquetFile(folder.join("t.parquet")).metadata.row_group(0)
    columns = {group.column(n).path_in_schema: group.column(n) for n in range(group.num_columns)}
    assert set(columns) == {"id", "n", "embedding.list.element"}
    assert columns["embedding.list.element"].dictionary_page_offset is None
    assert columns["id"].dictionary_page_offset is not None
    assert {columns[name].compression for name in ("id", "n")} == {"ZSTD"}
    assert columns["id"].statistics is not None
    assert columns["embedding.list.element"].statistics is None


@pytest.mark.parametrize(("kind", "codec"), [(np.float32, "UNCOMPRESSED"), (np.float16, "ZSTD")])
def test_vectors_are_compressed_where_that_saves_space_however_they_are_cut(kind, codec):
    X = np.random.default_rng(0).standard_normal((500, 64)).astype(kind).astype(np.float32)
    whole = pa.table({"v": matrix_column(X)})
    cut = pa.table({"v": pa.chunked_array([matrix_column(X[:7]), matrix_column(X[7:])])})
    for table in (whole, cut):
        with pq.ParquetFile(pa.BufferReader(parquet_bytes(table, vectors=["v"]))) as file:
            assert file.metadata.row_group(0).column(0).compression == codec
            assert file.read() == whole
    assert (len(parquet_bytes(whole, vectors=["v"])) < 0.7 * X.nbytes) == (codec == "ZSTD")


def test_vectors_of_no_rows_are_written():
    table = pa.table({"v": matrix_column(np.zeros((0, 4), np.float32))})
    assert pq.read_table(pa.BufferReader(parquet_bytes(table, vectors=["v"]))) == table


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1" + b"\xff" * 100 + b"PAR1", b"no parquet at all", None])
def test_what_is_no_parquet_is_an_input_error_with_its_name(folder, data):
    if data is not None:
        folder.write_bytes("a.parquet", data)
    with pytest.raises(InputError, match=r"a\.parquet"):
        read_parquet(folder, "a.parquet")


def test_every_cut_of_a_parquet_file_is_an_input_error_or_the_table(folder, table):
    data = parquet_bytes(table)
    for cut in range(0, len(data), 37):
        folder.write_bytes("a.parquet", data[:cut])
        with pytest.raises(InputError):
            read_parquet(folder, "a.parquet")


def test_missing_and_doubled_columns_are_named(folder, table):
    write_parquet(folder, "t.parquet", table)
    with pytest.raises(InputError, match=r"t.parquet has no column 'x', 'y'; its columns are id, n, embedding"):
        read_parquet(folder, "t.parquet", ["id", "x", "y"])
    write_parquet(folder, "d.parquet", pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["id", "id"]))
    with pytest.raises(InputError, match="more than one column 'id'"):
        read_parquet(folder, "d.parquet", ["id"])


class TestJsonLines:
    def read(self, folder: Folder, text: str | bytes, columns=("id", "embedding")) -> pa.Table:
        folder.write_bytes("a.jsonl", text.encode() if isinstance(text, str) else text)
        return read_table(folder, "a.jsonl", "jsonl", columns)

    def test_vectors_may_begin_with_integers(self, folder):
        text = '{"id": "a", "embedding": [1, 0]}\n{"id": "b", "embedding": [0.5, 1], "more": 1}\n\n'
        assert self.read(folder, text).to_pylist() == [
            {"id": "a", "embedding": [1.0, 0.0]}, {"id": "b", "embedding": [0.5, 1.0]}
        ]  # fmt: skip

    def test_types_are_taken_from_the_whole_file(self, folder):
        lines = [f'{{"id": "{number}", "embedding": [1, 2]}}\n' for number in range(60_000)]
        read = self.read(folder, "".join(lines) + '{"id": "last", "embedding": [0.5, null]}')
        assert read.num_rows == 60_001
        assert read["embedding"][-1].as_py() == [0.5, None]

    @pytest.mark.parametrize("text", ["", "\n \n"])
    def test_an_empty_file_has_no_rows(self, folder, text):
        read = self.read(folder, text)
        assert (read.num_rows, read.column_names) == (0, ["id", "embedding"])

    @pytest.mark.parametrize("text", ["{", "[1, 2]", '{"id": 1}{', '{"id": 1}\n{"id": "a"}', b"\xff\xfe\x00", "hello"])
    def test_what_is_no_json_is_an_input_error_with_its_name(self, folder, text):
        with pytest.raises(InputError, match=r"a\.jsonl"):
            self.read(folder, text, ["id"])

    def test_missing_columns_are_named(self, folder):
        with pytest.raises(InputError, match="no column 'embedding'; its columns are id"):
            self.read(folder, '{"id": 1}')


class TestDataFiles:
    def test_by_path_without_what_is_no_data(self, folder):
        names = [
            "b.parquet",
            "a/2.parquet",
            "a/1.pq",
            "_rejects.parquet",
            "_x/3.parquet",
            ".h.parquet",
            "n.txt",
            "l.jsonl",
        ]
        for name in names:
            folder.write_bytes(name, b"1")
        assert [entry.path for entry in data_files(folder)] == ["a/1.pq", "a/2.parquet", "b.parquet"]
        assert [entry.path for entry in data_files(folder, "jsonl")] == ["l.jsonl"]

    def test_files_of_a_stage_have_the_version_of_what_they_were_made_from(self, folder):
        state = StageState(folder, "work")
        state.claim({"eps": 1})
        for _ in range(2):
            state.write(UnitRecord("a", "v1", {"a.parquet": folder.write_bytes("a.parquet", b"1")}))
            folder.write_bytes("foreign.parquet", b"1")
            os.utime(folder.local_path("foreign.parquet"), ns=(7, 7))
            versions = {entry.path: entry.version for entry in data_files(folder)}
            assert versions["foreign.parquet"] == "7"
        own = versions["a.parquet"]
        folder.write_bytes("a.parquet", b"1")
        assert data_files(folder)[0].version == own
        state.write(UnitRecord("a", "v2", {"a.parquet": 1}))
        assert data_files(folder)[0].version != own

    def test_none_is_an_error_that_says_why(self, folder):
        with pytest.raises(InputError, match="has none"):
            data_files(folder)
        with pytest.raises(InputError, match="does not exist"):
            data_files(folder.below("missing"))

    def test_an_unknown_type(self, folder):
        with pytest.raises(ParameterError, match=r"input_filetype \('csv'\) must be one of parquet, jsonl"):
            data_files(folder, "csv")


class TestLazyFrame:
    def test_one_partition_a_file_and_vectors_stay_lists(self, folder, table):
        for name in ("a.parquet", "b.parquet"):
            write_parquet(folder, name, table)
        frame = lazy_frame(folder, ["a.parquet", "b.parquet"])
        assert frame.npartitions == 2
        assert str(frame.dtypes["embedding"]) == "list<element: float>[pyarrow]"
        computed = frame.compute(scheduler="synchronous")
        assert computed["id"].tolist()[:2] == ["a", "b"]
        assert len(computed) == 8

    def test_of_nothing(self, folder):
        assert len(lazy_frame(folder, []).compute(scheduler="synchronous")) == 0
