"""Files of vectors with footers that say what is not true, or that change while they are read: a clear error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curator_dask.data import vector_source
from curator_dask.data.pages.thrift import BYTES, Struct, read_struct, struct_bytes
from curator_dask.data.vector_source import Piece, VectorSource, read_rows
from curator_dask.data.vectors import matrix_column
from curator_dask.errors import InputError
from curator_dask.files.folder import Folder

ROWS, D = 200, 32


def unknown_codec(group: Struct, about: Struct) -> None:
    about[4].value = 54


def negative_place(group: Struct, about: Struct) -> None:
    about[9].value = -5


def place_far_behind(group: Struct, about: Struct) -> None:
    about[9].value = 1 << 62


def rows_beyond_all_memory(group: Struct, about: Struct) -> None:
    group[3].value, about[5].value = 1 << 44, D << 44
    about[6].value = about[7].value = 1 << 60


def no_place(group: Struct, about: Struct) -> None:
    del about[9]


CHANGES = [unknown_codec, negative_place, place_far_behind, rows_beyond_all_memory, no_place]


def written(path: Path, change: Callable[[Struct], None]) -> VectorSource:
    X = np.random.default_rng(0).standard_normal((ROWS, D)).astype(np.float32)
    sink = pa.BufferOutputStream()
    table = pa.table({"id": [str(row) for row in range(ROWS)], "embedding": matrix_column(X)})
    pq.write_table(table, sink, compression="none", use_dictionary=False, store_schema=False, write_statistics=False)
    data = sink.getvalue().to_pybytes()
    start = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    footer, _ = read_struct(data, start)
    change(footer)
    new = struct_bytes(footer)
    (path / "a.parquet").write_bytes(data[:start] + new + len(new).to_bytes(4, "little") + data[-4:])
    return VectorSource(Folder(str(path)), "parquet", "id", "embedding", dimension=D)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_footer_that_is_wrong_about_the_vectors_is_an_error(tmp_path, change):
    def of_vectors(footer: Struct) -> None:
        [group] = footer[4].value.values
        change(group, group[1].value.values[1][3].value)

    with pytest.raises(InputError, match="no whole Parquet file"):
        read_rows(written(tmp_path, of_vectors), (Piece("a.parquet"),))


def test_a_wrong_histogram_of_levels_does_not_end_the_process(tmp_path):
    """Arrow refuses such a column; the numbers are there all the same."""

    def longer(footer: Struct) -> None:
        about = footer[4].value.values[0][1].value.values[1][3].value
        about[16].value[3].value.values.append(1)

    assert len(read_rows(written(tmp_path, longer), (Piece("a.parquet"),)).ids) == ROWS


def test_a_name_that_is_not_text_is_an_error(tmp_path):
    def other_name(footer: Struct) -> None:
        name = footer[2].value.values[1][4]
        assert (name.kind, name.value) == (BYTES, b"id")
        name.value = b"\xf8d"

    with pytest.raises(InputError, match="no whole Parquet file"):
        read_rows(written(tmp_path, other_name), (Piece("a.parquet"),))


@pytest.mark.parametrize("num_rows", [ROWS, ROWS - 9])
def test_a_file_that_is_replaced_between_two_reads_is_an_error(tmp_path, monkeypatch, num_rows):
    """Else the vectors of the first file would get the ids of the second."""
    source = written(tmp_path, lambda footer: None)
    ids = [f"other-{row}" for row in range(num_rows)]
    X = np.ones((num_rows, D), np.float32)
    pq.write_table(pa.table({"id": ids, "embedding": matrix_column(X)}), tmp_path / "new")
    read = vector_source.plain_vectors_of

    def read_and_replace(*given: Any) -> Any:
        X = read(*given)
        (tmp_path / "new").replace(tmp_path / "a.parquet")
        return X

    monkeypatch.setattr(vector_source, "plain_vectors_of", read_and_replace)
    with pytest.raises(InputError, match="was replaced while it was read"):
        read_rows(source, (Piece("a.parquet"),))
