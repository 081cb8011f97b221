"""Rows of a fit stay where they are: who goes over which chunks, and what Dask is told of their sizes."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
from dask.sizeof import sizeof
from hypothesis import given
from hypothesis import strategies as st

from curator_dask.data.vector_source import Rows
from curator_dask.dedup.kmeans.lloyd import Partial
from curator_dask.stages.kmeans.placing.places import Place, choose_places
from curator_dask.stages.kmeans.spec import FitRows

WORKERS = st.sampled_from(["a", "b", "c", "gone"])


@given(st.lists(st.sets(WORKERS, max_size=3), max_size=40), st.dictionaries(WORKERS, st.integers(1, 3)))
def test_every_chunk_has_one_place_and_no_thread_more_than_its_share(holders, threads):
    places = choose_places([sorted(workers) for workers in holders], threads)
    assert sorted(chunk for place in places for chunk in place.chunks) == list(range(len(holders)))
    used = Counter(place.worker for place in places)
    if threads:
        assert all(used[worker] <= threads[worker] for worker in used)
        share = -(-len(holders) // sum(threads.values()))
        assert all(0 < len(place.chunks) <= share for place in places)
    else:
        assert set(used) == {None}


def test_chunks_stay_where_they_are_evenly_held():
    holders = [["b"], ["a"], ["a"], ["b"], ["b"], ["a"]]
    assert choose_places(holders, {"a": 1, "b": 1}) == [Place("a", (1, 2, 5)), Place("b", (0, 3, 4))]


def test_dask_hears_how_much_it_would_move():
    X, hashes, numbers = np.ones((100, 50), np.float32), np.zeros(100, np.uint64), np.zeros(100)
    assert sizeof(FitRows(X, None, hashes, hashes, numbers, ())) >= X.nbytes
    assert sizeof(FitRows(X[:], None, hashes, hashes, numbers, ())) < X.nbytes  # a view of rows that are kept
    assert sizeof(Rows(pa.array(range(100)), X, pa.table({"a": range(100)}), ())) > X.nbytes
    assert sizeof(Partial(np.zeros((30, 50)), np.zeros(30, np.int64))) >= 30 * 50 * 8
