"""Rows are found by digests of their ids, also where the first bits of many digests are the same."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from curator_dask.data.decisions.row_index import RowIndex, _most_alike, id_digests


def texts(names: list[str]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(names, pa.string())])


@pytest.mark.parametrize("num_rows", [0, 1, 2, 3, 1000, 70_000])
def test_every_row_is_found_and_no_other(num_rows):
    names = [f"clip-{row}" for row in range(num_rows)]
    index = RowIndex.of([*id_digests(texts(names)).T])
    assert index.find(texts([*names, "another", *names[:2]])).tolist() == [*range(num_rows), -1, *range(num_rows)[:2]]


@pytest.mark.parametrize("row_bits", [12, 58, 61, 63])
def test_rows_with_the_same_first_bits_are_told_apart(row_bits):
    names = [f"clip-{row}" for row in range(900)] * 2
    high, low = id_digests(texts(names)).T
    bits = np.uint64(row_bits)
    places = np.sort(((high >> bits) << bits) | np.arange(len(names), dtype=np.uint64))
    index = RowIndex(high, low, places, bits, _most_alike(places, bits))
    assert index.find(texts([*names[:900], "another"])).tolist() == [*range(900), -1]


@pytest.mark.parametrize("row_bits", [0, 1, 2])
def test_the_longest_run_is_counted(row_bits):
    random = np.random.default_rng(row_bits)
    for size in range(40):
        ordered = np.sort(random.integers(0, 16, size).astype(np.uint64))
        _, counts = np.unique(ordered >> np.uint64(row_bits), return_counts=True)
        assert _most_alike(ordered, np.uint64(row_bits)) == counts.max(initial=0)
