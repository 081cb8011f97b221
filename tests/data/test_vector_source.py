"""Files of vectors, read in bounded chunks, each row checked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curator_dask.data import vector_source
from curator_dask.data.ids import one_type
from curator_dask.data.tables import data_files, write_parquet
from curator_dask.data.vector_source import Piece, VectorSource, find_dimension, plan_chunks, read_rows
from curator_dask.data.vectors import matrix_column
from curator_dask.dedup.arrays.rows import normalise
from curator_dask.errors import InputError, ParameterError
from curator_dask.files.entries.entry import Entry
from curator_dask.files.folder import Folder

UNIT = np.float32(2**-0.5)


def source(root: Path, *, dimension: int | None = 2, **more) -> VectorSource:
    return VectorSource(
        Folder(str(root)), more.pop("filetype", "parquet"), "id", "embedding", dimension=dimension, **more
    )


def write(
    path: Path, ids: object, vectors: Sequence[object], row_group_size: int | None = None, **columns: object
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    vectors = vectors if isinstance(vectors, pa.Array) else pa.array(vectors, pa.list_(pa.float32()))
    table = pa.table({"id": ids, "embedding": vectors, **columns})
    pq.write_table(table, path, row_group_size=row_group_size)


def entries(sizes: dict[str, int]) -> list[Entry]:
    return [Entry(path, size, "") for path, size in sizes.items()]


class TestChunks:
    def plan(self, sizes: dict[str, int], filetype: str = "parquet") -> list[list[str]]:
        where = VectorSource(Folder("/nowhere"), filetype, "id", "embedding")
        return [[piece.path for piece in chunk] for chunk in plan_chunks(where, entries(sizes))]

    @pytest.fixture(autouse=True)
    def small_chunks(self, monkeypatch):
        monkeypatch.setattr(vector_source, "CHUNK_BYTES", 100)

    @pytest.mark.parametrize(
        ("sizes", "chunks"),
        [
            ({}, []),
            ({"a": 1}, [["a"]]),
            ({"a": 60, "b": 60, "c": 60}, [["a", "b"], ["c"]]),
            ({"a": 100, "b": 1, "c": 99, "d": 0}, [["a"], ["b", "c"], ["d"]]),
            ({"a": 200, "b": 200}, [["a"], ["b"]]),
        ],
    )
    def test_consecutive_small_files_go_together(self, sizes, chunks):
        assert self.plan(sizes) == chunks

    def test_large_text_files_stay_whole(self):
        assert self.plan({"a": 10, "b": 1000, "c": 10}, "jsonl") == [["a", "b"], ["c"]]

    def test_large_parquet_files_go_by_row_groups_in_their_place(self, tmp_path):
        ids = [str(number) for number in range(10)]
        write(tmp_path / "b.parquet", ids, [[1, number] for number in range(10)], row_group_size=3)
        for name in ("a", "c"):
            write(tmp_path / f"{name}.parquet", [name], [[1, 2]])
        here = source(tmp_path)
        listed = [Entry("a.parquet", 10, ""), Entry("b.parquet", 201, ""), Entry("c.parquet", 10, "")]
        chunks = plan_chunks(here, listed)
        assert [piece for chunk in chunks for piece in chunk] == [
            Piece("a.parquet"),
            Piece("b.parquet", (0,), 0),
            Piece("b.parquet", (1,), 3),
            Piece("b.parquet", (2,), 6),
            Piece("b.parquet", (3,), 9),
            Piece("c.parquet"),
        ]
        read = [read_rows(here, chunk).ids.to_pylist() for chunk in chunks]
        assert read == [["a"], ["0", "1", "2"], ["3", "4", "5"], ["6", "7", "8"], ["9"], ["c"]]

    def test_small_row_groups_go_together(self, tmp_path, monkeypatch):
        write(tmp_path / "a.parquet", list(range(10)), [[1, number] for number in range(10)], row_group_size=2)
        metadata = pq.ParquetFile(tmp_path / "a.parquet").metadata
        largest = max(metadata.row_group(number).total_byte_size for number in range(5))
        monkeypatch.setattr(vector_source, "CHUNK_BYTES", largest + 1)
        (first,), (second,), (third,) = plan_chunks(source(tmp_path), [Entry("a.parquet", 10_000, "")])
        assert [piece.row_groups for piece in (first, second, third)] == [(0, 1), (2, 3), (4,)]
        assert [piece.first_row for piece in (first, second, third)] == [0, 4, 8]

    def test_a_large_file_that_is_no_parquet(self, tmp_path):
        (tmp_path / "a.parquet").write_bytes(b"x" * 300)
        with pytest.raises(InputError, match=r"cannot read .*a\.parquet: it is no whole Parquet file"):
            plan_chunks(source(tmp_path), data_files(Folder(str(tmp_path))))


class TestRows:
    def test_good_rows_are_unit_rows_in_file_order(self, tmp_path):
        write(tmp_path / "a.parquet", ["x", "y"], [[3, 0], [2, 2]], score=[1, 2])
        write(tmp_path / "b.parquet", ["z"], [[0, -5]], score=[3])
        rows = read_rows(source(tmp_path, metadata_fields=("score",)), (Piece("a.parquet"), Piece("b.parquet")))
        assert rows.ids.to_pylist() == ["x", "y", "z"]
        assert rows.X.dtype == np.float32
        assert rows.X.tolist() == [[1, 0], [UNIT, UNIT], [0, -1]]
        assert rows.metadata.to_pydict() == {"score": [1, 2, 3]}
        assert rows.rejects == ()

    def test_bad_rows_are_told_by_file_row_id_and_reason(self, tmp_path):
        vectors = [[1, 0], None, [1], [1, None], [np.nan, 1], [0, 0], [0, 1], [np.inf, 0]]
        write(tmp_path / "a.parquet", ["g0", "b1", "b2", "b3", "b4", "b5", None, "b7"], vectors, n=list(range(8)))
        write(tmp_path / "b.parquet", ["g1", "b8"], [[0, 1], [1, 2, 3]], n=[8, 9])
        rows = read_rows(source(tmp_path, metadata_fields=("n",)), (Piece("a.parquet"), Piece("b.parquet")))
        assert rows.ids.to_pylist() == ["g0", "g1"]
        assert rows.X.tolist() == [[1, 0], [0, 1]]
        assert rows.metadata["n"].to_pylist() == [0, 8]
        told = [(reject["file"], reject["row"], reject["id"], reject["reason"]) for reject in rows.rejects]
        assert told == [
            ("a.parquet", 1, "b1", "null"),
            ("a.parquet", 2, "b2", "wrong-dimension"),
            ("a.parquet", 3, "b3", "null"),
            ("a.parquet", 4, "b4", "not-finite"),
            ("a.parquet", 5, "b5", "zero-length"),
            ("a.parquet", 6, "", "null-id"),
            ("a.parquet", 7, "b7", "not-finite"),
            ("b.parquet", 1, "b8", "wrong-dimension"),
        ]
        json.dumps(rows.rejects)

    def test_rows_of_a_row_group_are_told_by_their_place_in_the_file(self, tmp_path):
        write(tmp_path / "a.parquet", list(range(6)), [[1, 0]] * 4 + [None, [1, 1]], row_group_size=2)
        rows = read_rows(source(tmp_path), (Piece("a.parquet", (2,), 4),))
        assert rows.ids.to_pylist() == [5]
        assert [(reject["row"], reject["id"]) for reject in rows.rejects] == [(4, "4")]

    @pytest.mark.parametrize("value", [pa.float16(), pa.float64()], ids=str)
    @pytest.mark.parametrize("lists", [pa.list_, pa.large_list, lambda value: pa.list_(value, 2)])
    def test_other_float_and_list_types(self, tmp_path, value, lists):
        numpy = value.to_pandas_dtype()
        write(tmp_path / "a.parquet", [1], pa.array([[numpy(3), numpy(4)]], lists(value)))
        assert np.allclose(read_rows(source(tmp_path), (Piece("a.parquet"),)).X, [[0.6, 0.8]])

    def test_json_lines(self, tmp_path):
        lines = [{"id": "a", "embedding": [2, 0]}, {"id": "b", "embedding": [0, 0.5]}, {"id": "c"}]
        (tmp_path / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (tmp_path / "empty.jsonl").touch()
        here = source(tmp_path, filetype="jsonl")
        chunks = plan_chunks(here, data_files(here.folder, "jsonl"))
        assert [[piece.path for piece in chunk] for chunk in chunks] == [["a.jsonl", "empty.jsonl"]]
        rows = read_rows(here, chunks[0])
        assert rows.ids.to_pylist() == ["a", "b"]
        assert rows.X.tolist() == [[1, 0], [0, 1]]
        assert rows.rejects == ({"file": "a.jsonl", "row": 2, "id": "c", "reason": "null"},)

    def test_no_rows(self, tmp_path):
        write(tmp_path / "a.parquet", pa.array([], pa.string()), [])
        rows = read_rows(source(tmp_path), (Piece("a.parquet"),))
        assert (len(rows.ids), rows.X.shape, rows.rejects) == (0, (0, 2), ())

    def test_only_bad_rows(self, tmp_path):
        write(tmp_path / "a.parquet", pa.nulls(2), [None, None])
        rows = read_rows(source(tmp_path), (Piece("a.parquet"),))
        assert (len(rows.ids), rows.X.shape, len(rows.rejects)) == (0, (0, 2), 2)

    @pytest.mark.parametrize("column", ["id", "embedding", "score"])
    @pytest.mark.parametrize("row_groups", [None, (0,)])
    def test_a_missing_column_is_named(self, tmp_path, column, row_groups):
        table = pa.table({"id": ["a"], "embedding": [[1.0, 2.0]], "score": [1]})
        pq.write_table(table.drop_columns([column]), tmp_path / "a.parquet")
        with pytest.raises(InputError, match=f"a.parquet has no column '{column}'"):
            read_rows(source(tmp_path, metadata_fields=("score",)), (Piece("a.parquet", row_groups),))

    def test_metadata_of_different_widths_join(self, tmp_path):
        for name, kind in (("a", pa.int32()), ("b", pa.int64()), ("c", pa.null())):
            write(tmp_path / f"{name}.parquet", [name], [[1, 0]], n=pa.array([None if name == "c" else 1], kind))
        pieces = tuple(Piece(f"{name}.parquet") for name in "abc")
        metadata = read_rows(source(tmp_path, metadata_fields=("n",)), pieces).metadata
        assert metadata["n"].to_pylist() == [1, 1, None]

    def test_metadata_of_different_kinds_do_not(self, tmp_path):
        write(tmp_path / "a.parquet", ["a"], [[1, 0]], n=[1])
        write(tmp_path / "b.parquet", ["b"], [[1, 0]], n=["x"])
        with pytest.raises(InputError, match="metadata columns differ"):
            read_rows(source(tmp_path, metadata_fields=("n",)), (Piece("a.parquet"), Piece("b.parquet")))


class TestIds:
    def read(self, root: Path, *columns: pa.Array) -> pa.Array:
        for number, ids in enumerate(columns):
            write(root / f"{number}.parquet", ids, [[1, 0]] * len(ids))
        return read_rows(source(root), tuple(Piece(f"{number}.parquet") for number in range(len(columns)))).ids

    @pytest.mark.parametrize(
        ("columns", "kind"),
        [
            ((pa.array([1], pa.int32()), pa.array([2], pa.int64())), pa.int64()),
            ((pa.array([1], pa.uint8()), pa.array([2], pa.int16())), pa.int64()),
            ((pa.array([1], pa.int32()), pa.array([2], pa.int32())), pa.int32()),
            ((pa.array(["a"]), pa.array(["b"], pa.large_string())), pa.string()),
            ((pa.array(["a"]).dictionary_encode(), pa.array(["b"])), pa.string()),
            ((pa.nulls(1), pa.array(["b"])), pa.string()),
        ],
    )
    def test_integers_widen_and_text_is_text(self, tmp_path, columns, kind):
        ids = self.read(tmp_path, *columns)
        assert ids.type == kind
        assert ids.to_pylist() == [value for column in columns for value in column.to_pylist() if value is not None]

    @pytest.mark.parametrize(
        "columns",
        [
            (pa.array([1]), pa.array(["1"])),
            (pa.array([1.0]),),
            (pa.array([1]), pa.array([b"raw"])),
            (pa.array([[1]]),),
        ],
    )
    def test_mixtures_and_other_types_are_refused(self, tmp_path, columns):
        with pytest.raises(InputError, match="ids must be integers, strings"):
            self.read(tmp_path, *columns)

    def test_integers_too_large_for_one_type(self):
        with pytest.raises(InputError, match="do not fit into one type"):
            one_type([pa.array([2**64 - 1], pa.uint64()), pa.array([1])])

    def test_text_that_is_no_utf8(self, tmp_path):
        damaged = pa.Array.from_buffers(pa.string(), 1, [None, *pa.array([b"\xff\xfe"]).buffers()[1:]])
        with pytest.raises(InputError, match=r"0\.parquet: the ids are damaged: .*UTF8"):
            self.read(tmp_path, damaged)


class TestDimension:
    def test_of_the_first_file_with_vectors(self, tmp_path):
        write(tmp_path / "a.parquet", [1, 2], [None, []])
        write(tmp_path / "b.parquet", [3, 4, 5], [[1, 2, 3], [1, 2], [4, 5, 6]])
        write(tmp_path / "c.parquet", [6], [[1, 2]])
        here = source(tmp_path, dimension=None)
        assert find_dimension(here, plan_chunks(here, data_files(here.folder))) == 3

    def test_of_none(self, tmp_path):
        write(tmp_path / "a.parquet", [1], [None])
        here = source(tmp_path, dimension=None)
        with pytest.raises(InputError, match=r"no vectors: column 'embedding' is empty"):
            find_dimension(here, plan_chunks(here, data_files(here.folder)))


def test_rows_are_read_only_once_the_dimension_is_known(tmp_path):
    write(tmp_path / "a.parquet", ["x"], [[UNIT, UNIT]])
    with pytest.raises(ParameterError, match="call find_dimension first"):
        read_rows(source(tmp_path, dimension=None), (Piece("a.parquet"),))


@pytest.mark.parametrize("odd", ["none", "rejected row", "compressed", "alone"])
def test_files_are_read_one_behind_the_other_whatever_is_in_one_of_them(tmp_path, odd):
    """Vectors that are plain numbers are read to where they stay; with any other file among them, all are joined as before."""
    folder, dim = Folder(str(tmp_path)), 32
    X = np.random.default_rng(0).standard_normal((90, dim)).astype(np.float32)
    if odd == "rejected row":
        X[40] = np.nan
    names = [f"{number}.parquet" for number in range(1 if odd == "alone" else 3)]
    for number, name in enumerate(names):
        rows = slice(30 * number, 30 * number + 30)
        table = pa.table({"id": np.arange(30) + 30 * number, "embedding": matrix_column(X[rows])})
        write_parquet(folder, name, table, vectors=[] if odd == "compressed" and number == 1 else ["embedding"])
    wanted, codes = normalise(X[: 30 * len(names)])
    rows = read_rows(source(tmp_path, dimension=dim), tuple(map(Piece, names)))
    good = np.flatnonzero(codes == 0)
    assert np.array_equal(rows.X, wanted[good])
    assert rows.ids.to_pylist() == good.tolist()
    assert len(rows.rejects) == (1 if odd == "rejected row" else 0)
    if odd == "none":
        assert rows.X.base is not None, "the files were joined by a copy"
