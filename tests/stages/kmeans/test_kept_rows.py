"""Rows that workers keep: the fit sees the same ones as if it read the files, without a copy of its own."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from curator_dask.data.tables import write_parquet
from curator_dask.data.vector_source import Piece, VectorSource
from curator_dask.data.vectors import matrix_column
from curator_dask.files.folder import Folder
from curator_dask.stages.kmeans.fit import _read_to_keep, load_fit_rows

DIM = 32


@pytest.fixture
def source(tmp_path) -> VectorSource:
    folder = Folder(str(tmp_path))
    X = np.random.default_rng(0).standard_normal((300, DIM)).astype(np.float32)
    X[7] = 0
    table = pa.table({"id": [f"clip-{row}" for row in range(300)], "embedding": matrix_column(X), "shot": range(300)})
    write_parquet(folder, "a.parquet", table, vectors=["embedding"])
    return VectorSource(folder, "parquet", "id", "embedding", ("shot",), DIM)


@pytest.mark.parametrize("in_order", [False, True])
@pytest.mark.parametrize("fraction", [0.3, 1.0])
def test_the_fit_gets_the_same_rows_from_those_that_are_kept(source, fraction, in_order):
    chunk, how = (Piece("a.parquet"),), {"source": source, "seed": 3, "device": "cpu"}
    kept = _read_to_keep(chunk, **how)
    own, read = (load_fit_rows(rows, fraction=fraction, in_order=in_order, **how) for rows in (kept, chunk))
    assert len(read.X) == (299 if fraction == 1 else np.count_nonzero(read.all_priority < np.uint64(0.3 * 2.0**64)))
    assert np.array_equal(own.matrix(), read.matrix())
    assert np.array_equal(own.priority, read.priority)
    assert np.array_equal(own.sq_norms, read.sq_norms)
    assert np.array_equal(own.all_priority, read.all_priority)
    assert own.rejects == read.rejects
    assert np.shares_memory(own.X, kept.X)
    assert not in_order or (np.diff(own.priority.astype(np.float64)) >= 0).all()
