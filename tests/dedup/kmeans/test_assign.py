from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from curator_dask.dedup.kmeans.assign import assign
from curator_dask.errors import ParameterError
from tests.dedup.reference import random_unit


def test_rows_go_to_the_nearest_centre():
    C = np.array([[1, 0], [0, 1]], dtype=np.float32)
    labels = assign(np.array([[1, 0], [0, 1], [0.8, 0.6]], dtype=np.float32), C)
    assert labels.tolist() == [0, 1, 0]
    assert labels.dtype == np.int32


@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 12), st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_labels_are_those_of_brute_force(seed, num_rows, k, dim):
    X = random_unit(num_rows, dim, seed, copies=0.5)
    C = (random_unit(k, dim, seed + 1) * np.random.default_rng(seed).random((k, 1)) * 2).astype(np.float32)
    wide = X.astype(np.float64)
    sq_dist = ((wide[:, None] - C[None].astype(np.float64)) ** 2).sum(axis=2)
    chosen = sq_dist[np.arange(num_rows), assign(X, C)]
    assert (chosen <= sq_dist.min(axis=1) + 1e-11).all()


def test_ties_go_to_the_lowest_centre():
    X = random_unit(500, 64, 0)
    C = X[:40]
    labels = assign(X, np.vstack([C, C[::-1], C]))
    assert labels.max() < 40
    np.testing.assert_array_equal(labels, assign(X, C))


def test_equally_near_centres_that_differ_are_a_tie_too():
    C = np.array([[0, 1], [1, 0], [0, -1]], dtype=np.float32)
    X = np.array([[0.6, 0.6], [0.6, -0.6]], dtype=np.float32)
    assert assign(X, C).tolist() == [0, 1]


def test_labels_do_not_depend_on_threads_or_on_the_place_in_the_block():
    """The centres lie in pairs, so close together that a float32 product cannot tell them apart."""
    X = random_unit(3000, 256, 0)
    twins = X[:50].astype(np.float64)
    C = np.vstack([twins, twins + 1e-8 * np.random.default_rng(1).standard_normal(twins.shape)]).astype(np.float32)
    whole = assign(X, C)
    with threadpool_limits(1, "blas"):
        np.testing.assert_array_equal(assign(X, C), whole)
    order = np.random.default_rng(2).permutation(3000)
    np.testing.assert_array_equal(assign(X[order], C), whole[order])
    for cut in (1, 7, 1023):
        np.testing.assert_array_equal(np.concatenate([assign(part, C) for part in np.split(X, [cut])]), whole)


def test_no_rows():
    C = np.eye(3, dtype=np.float32)
    labels = assign(np.empty((0, 3), np.float32), C)
    assert labels.shape == (0,)


@pytest.mark.parametrize("shape", [(2, 4), (0, 3), (3,)])
def test_centres_of_another_shape_are_refused(shape):
    with pytest.raises(ParameterError, match="centroids have shape"):
        assign(np.eye(3, dtype=np.float32), np.zeros(shape, np.float32))


@pytest.mark.parametrize("max_rows", [1, 7, 64, 10_000])
def test_rows_at_a_time_change_nothing(max_rows):
    X, C = random_unit(500, 24, 5), random_unit(37, 24, 6)
    np.testing.assert_array_equal(assign(X, C, max_rows=max_rows), assign(X, C))


def test_a_crowd_of_centres_closer_than_a_float32_product_can_tell():
    """All 60 centres are candidates of every row, so a float64 product has to exclude most of them first."""
    random = np.random.default_rng(7)
    middle = random_unit(1, 128, 8).astype(np.float64)
    C = (middle + 1e-6 * random.standard_normal((60, 128))).astype(np.float32)
    X = random_unit(200, 128, 9)
    scores = X.astype(np.float64) @ C.astype(np.float64).T - 0.5 * (C.astype(np.float64) ** 2).sum(axis=1)
    best = np.sort(scores, axis=1)
    clear = best[:, -1] - best[:, -2] > 1e-11
    assert clear.sum() > 150
    np.testing.assert_array_equal(assign(X, C)[clear], scores.argmax(axis=1)[clear])
    np.testing.assert_array_equal(np.concatenate([assign(row[None], C) for row in X]), assign(X, C))
