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
    chunk, how = (Piece("a.parquet"),), {"source": source, "seed": 3, "device": "cpu", "in_order": in_order}
    kept = _read_to_keep(chunk, **how)
    own, read = (load_fit_rows(rows, fraction=fraction, **how) for rows in (kept, chunk))
    assert len(read.X) == (299 if fraction == 1 else np.count_nonzero(read.all_priority < np.uint64(0.3 * 2.0**64)))
    assert np.array_equal(own.X, read.X)
    assert np.array_equal(own.priority, read.priority)
    assert np.array_equal(own.sq_norms, read.sq_norms)
    assert np.array_equal(np.sort(own.all_priority), np.sort(read.all_priority))
    assert own.rejects == read.rejects
    assert not in_order or np.shares_memory(own.X, kept.X)


def test_rows_that_are_kept_in_order_still_have_their_own_ids_and_metadata(source):
    how = {"source": source, "seed": 3, "device": "cpu"}
    as_read, kept = (_read_to_keep((Piece("a.parquet"),), **how, in_order=order) for order in (False, True))
    order = np.argsort(as_read.priority)
    assert (order != np.arange(299)).any()
    assert np.array_equal(kept.X, as_read.X[order])
    assert kept.ids.to_pylist() == as_read.ids.take(order).to_pylist()
    assert kept.metadata["shot"].to_pylist() == as_read.metadata["shot"].to_numpy()[order].tolist()
    assert np.array_equal(kept.priority, as_read.priority[order])
