from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from curator_dask.dedup.start import d2_start, initial_centres, random_start, take_rows
from curator_dask.errors import ParameterError
from tests.dedup.reference import random_unit


def distinct(C: np.ndarray) -> int:
    return len(np.unique(C, axis=0))


def test_every_centre_is_another_row():
    sample = random_unit(300, 16, 0)
    C = d2_start(sample, 40, 42)
    assert C.shape == (40, 16)
    assert C.dtype == np.float32
    assert distinct(C) == 40
    assert {row.tobytes() for row in C} <= {row.tobytes() for row in sample}


def test_far_rows_are_found():
    """Nineteen of twenty rows crowd into one place: a random draw would mostly miss the other five places."""
    places = np.eye(6, dtype=np.float32)
    sample = places[np.repeat([0, 1, 2, 3, 4, 5], [95, 1, 1, 1, 1, 1])]
    for seed in range(20):
        assert distinct(d2_start(sample, 6, seed)) == 6


@pytest.mark.parametrize(("places", "m", "k"), [(1, 10, 4), (3, 10, 7), (3, 3, 3), (1, 1, 5), (4, 4, 9)])
def test_fewer_distinct_rows_than_centres(places, m, k):
    sample = random_unit(places, 8, 1)[np.arange(m) % places]
    C = d2_start(sample, k, 0)
    assert C.shape == (k, 8)
    assert distinct(C) == places
    assert np.isfinite(C).all()


def test_the_draws_depend_on_the_seed_and_not_on_threads():
    sample = random_unit(2000, 64, 2)
    C = d2_start(sample, 50, 7)
    with threadpool_limits(1, "blas"):
        np.testing.assert_array_equal(d2_start(sample, 50, 7), C)
    assert (d2_start(sample, 50, 8) != C).any()


def test_draws_follow_the_squared_distance():
    """From a row at angle 0, rows at squared distances 2 (x1) and 1 (x2) are drawn equally often."""
    sample = np.array([[1, 0], [0, 1], [0.5, 0.75**0.5], [0.5, -(0.75**0.5)]], dtype=np.float32)
    second = [d2_start(sample, 2, seed) for seed in range(4000)]
    from_first = [C[1] for C in second if C[0, 0] == 1]
    to_far = np.mean([C[0] == 0 for C in from_first])
    assert abs(to_far - 0.5) < 5 * 0.5 / len(from_first) ** 0.5


def test_random_start_goes_round():
    sample = random_unit(3, 4, 0)
    np.testing.assert_array_equal(random_start(sample, 5), sample[[0, 1, 2, 0, 1]])


@pytest.mark.parametrize("init", ["k-means||", "random"])
def test_chunks_do_not_matter(init):
    X = random_unit(400, 8, 5)
    C = initial_centres([X], 10, init, 42, 100)
    for cuts in ([], [1], [37, 38, 300]):
        np.testing.assert_array_equal(initial_centres(np.split(X, cuts), 10, init, 42, 100), C)


def test_an_array_is_taken_as_it_is():
    C = random_unit(4, 8, 0).astype(np.float64)
    got = initial_centres([random_unit(9, 8, 1)], 4, C, 0, 1)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, C)


@pytest.mark.parametrize(
    ("init", "message"),
    [
        ("k-means++", "init must be"),
        (np.zeros((3, 8)), r"init has shape \(3, 8\)"),
        (np.zeros(8), "init has shape"),
        (np.full((4, 8), np.nan), "not finite"),
    ],
)
def test_what_is_no_start_is_refused(init, message):
    with pytest.raises(ParameterError, match=message):
        initial_centres([random_unit(9, 8, 1)], 4, init, 0, 9)


def test_rows_are_taken_by_position_through_the_chunks():
    X = random_unit(20, 3, 0)
    positions = np.array([19, 0, 7, 8, 3])
    np.testing.assert_array_equal(take_rows(np.split(X, [0, 8]), positions), X[positions])
