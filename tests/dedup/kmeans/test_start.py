from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from curator_dask.dedup.kmeans import start
from curator_dask.dedup.kmeans.grouped_start import grouped_d2_start, share_out
from curator_dask.dedup.kmeans.lloyd import lloyd_partial, sum_of_sq_norms
from curator_dask.dedup.kmeans.start import d2_start, initial_centres, random_start, take_rows
from curator_dask.errors import ParameterError
from tests.dedup.reference import random_unit


def distinct(C: np.ndarray) -> int:
    return len(np.unique(C, axis=0))


def cost(X: np.ndarray, C: np.ndarray) -> float:
    return lloyd_partial(X, C).cost(C, sum_of_sq_norms(X))


def test_every_centre_is_another_row():
    sample = random_unit(300, 16, 0)
    C = d2_start(sample, 40, 42)
    assert C.shape == (40, 16)
    assert C.dtype == np.float32
    assert distinct(C) == 40
    assert {row.tobytes() for row in C} <= {row.tobytes() for row in sample}


def test_far_rows_are_found():
    """Nineteen of twenty rows lie in one place, so a random draw would miss most of the other five places."""
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


def test_starts_lie_nearer_to_the_rows_than_random_ones():
    sample = random_unit(50, 32, 3)[np.random.default_rng(4).zipf(1.5, 1000) % 50] + 0.05 * random_unit(1000, 32, 5)
    sample = (sample / np.linalg.norm(sample, axis=1, keepdims=True)).astype(np.float32)
    chosen = [cost(sample, d2_start(sample, 20, seed)) for seed in range(5)]
    by_chance = [cost(sample, random_start(sample[seed * 20 :], 20)) for seed in range(5)]
    assert max(chosen) < 0.7 * min(by_chance)


def test_rows_too_close_to_tell_apart_are_filled_up():
    sample = (np.eye(8)[[0] * 9] + 1e-5 * random_unit(9, 8, 0)).astype(np.float32)
    assert distinct(d2_start(sample, 5, 0)) == 5


def test_random_start_goes_round():
    sample = random_unit(3, 4, 0)
    np.testing.assert_array_equal(random_start(sample, 5), sample[[0, 1, 2, 0, 1]])


@pytest.mark.parametrize("init", ["k-means||", "random"])
def test_chunks_do_not_matter(init):
    X = random_unit(400, 8, 5)
    C = initial_centres([X], 10, init, 42, 100)
    for cuts in ([], [1], [37, 38, 300]):
        np.testing.assert_array_equal(initial_centres(np.split(X, cuts), 10, init, 42, 100), C)


@pytest.mark.parametrize("form", [np.float32, np.float64, object, np.asfortranarray, np.ndarray.tolist])
def test_an_array_is_taken_as_it_is(form):
    C = random_unit(4, 8, 0)
    given = C.astype(form) if isinstance(form, type) else form(C)
    got = initial_centres([random_unit(9, 8, 1)], 4, given, 0, 1)
    assert (got.dtype, got.flags.c_contiguous) == (np.float32, True)
    np.testing.assert_array_equal(got, C)


@pytest.mark.parametrize(
    ("init", "message"),
    [
        ("k-means++", "init must be"),
        (np.zeros((3, 8)), r"init has shape \(3, 8\)"),
        (np.zeros(8), "init has shape"),
        (np.full((4, 8), np.nan), "not finite, .* the first in row 0"),
        (np.outer([1, 1, 1e20, 1], np.ones(8)), "too large to square as float32, the first in row 2"),
        (np.full((4, 8), 1e300), "too large"),
        (np.zeros((4, 8), complex), "init holds complex128: give real numbers"),
        (np.zeros((4, 8), "datetime64[s]"), "init holds datetime64"),
        ([["a"] * 8] * 4, "init holds <U1"),
        ([[1, 2], [3]], "init is no array of numbers"),
        ([[{}] * 8] * 4, "init is no array of numbers"),
        (np.zeros((0, 8)), r"init has shape \(0, 8\): give an array"),
        (None, r"init has shape \(\)"),
        (3, r"init has shape \(\)"),
    ],
)
def test_what_is_no_start_is_refused(init, message):
    with pytest.raises(ParameterError, match=message):
        initial_centres([random_unit(9, 8, 1)], 4, init, 0, 9)


def test_rows_are_taken_by_position_through_the_chunks():
    X = random_unit(20, 3, 0)
    positions = np.array([19, 0, 7, 8, 3])
    np.testing.assert_array_equal(take_rows(np.split(X, [0, 8]), positions), X[positions])


class TestLargeSamples:
    """Above `SMALL_SAMPLE` rows, only the rows that k-means|| draws are candidates."""

    @pytest.fixture(autouse=True)
    def every_sample_is_large(self, monkeypatch):
        monkeypatch.setattr(start, "SMALL_SAMPLE", 0)

    @pytest.mark.parametrize("oversampling", [1e-9, 0.1, 0.5, 2.0, 50.0])
    def test_every_centre_is_another_row(self, oversampling):
        sample = random_unit(300, 16, 0)
        C = d2_start(sample, 40, 42, oversampling)
        assert distinct(C) == 40
        assert {row.tobytes() for row in C} <= {row.tobytes() for row in sample}

    @pytest.mark.parametrize(("places", "m", "k"), [(1, 10, 4), (3, 10, 7), (3, 3, 3), (1, 1, 5), (4, 4, 9)])
    def test_fewer_distinct_rows_than_centres(self, places, m, k):
        C = d2_start(random_unit(places, 8, 1)[np.arange(m) % places], k, 0)
        assert C.shape == (k, 8)
        assert distinct(C) == places

    def test_far_rows_are_found(self):
        sample = np.eye(6, dtype=np.float32)[np.repeat([0, 1, 2, 3, 4, 5], [95, 1, 1, 1, 1, 1])]
        for seed in range(20):
            assert distinct(d2_start(sample, 6, seed)) == 6

    def test_the_draws_depend_on_seed_and_oversampling_and_not_on_threads(self):
        sample = random_unit(2000, 64, 2)
        C = d2_start(sample, 50, 7)
        with threadpool_limits(1, "blas"):
            np.testing.assert_array_equal(d2_start(sample, 50, 7), C)
        assert (d2_start(sample, 50, 8) != C).any()
        assert (d2_start(sample, 50, 7, 3.0) != C).any()

    def test_the_table_of_all_pairs_only_saves_time(self, monkeypatch):
        sample = random_unit(500, 32, 3)
        C = d2_start(sample, 30, 7)
        monkeypatch.setattr(start, "TABLE_BYTES", 0)
        np.testing.assert_array_equal(d2_start(sample, 30, 7), C)

    def test_places_that_one_byte_cannot_tell_apart_are_found(self):
        """Two crowds far from each other, each of many places that lie near together."""
        random = np.random.default_rng(0)
        crowds, near = random_unit(2, 64, 1)[np.arange(300) % 2], np.float32(0.01) * random_unit(300, 64, 2)
        places = crowds + near
        sample = places[random.integers(300, size=3000)] + np.float32(0.0002) * random_unit(3000, 64, 3)
        sample /= np.linalg.norm(sample, axis=1, keepdims=True)
        starts = [d2_start(sample, 300, seed) for seed in range(4)]
        products = [sample.astype(np.float64) @ C.T.astype(np.float64) for C in starts]
        assert np.mean([2 - 2 * one.max(axis=1) for one in products]) < 4e-7  # by one-byte numbers alone it is 1.3e-6

    def test_starts_are_as_good_as_those_from_all_rows(self, monkeypatch):
        sample = random_unit(60, 32, 3)[np.random.default_rng(4).zipf(1.5, 2000) % 60] + 0.05 * random_unit(2000, 32, 5)
        sample = (sample / np.linalg.norm(sample, axis=1, keepdims=True)).astype(np.float32)
        thinned = [cost(sample, d2_start(sample, 40, seed)) for seed in range(5)]
        monkeypatch.setattr(start, "SMALL_SAMPLE", 10_000)
        whole = [cost(sample, d2_start(sample, 40, seed)) for seed in range(5)]
        by_chance = [cost(sample, random_start(sample[seed * 40 :], 40)) for seed in range(5)]
        assert np.median(thinned) < 1.15 * np.median(whole)
        assert np.median(thinned) < 0.8 * np.median(by_chance)


class TestManyCentres:
    @pytest.mark.parametrize("k", [1, 50, 900, 1000])
    def test_group_by_group(self, k):
        """Different rows of the sample, as many as asked for; where they are 20 per centre, as good as those drawn at once."""
        random = np.random.default_rng(0)
        X = random.standard_normal((30, 8))[random.integers(30, size=1000)] + 0.1 * random.standard_normal((1000, 8))
        X = (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)
        C = grouped_d2_start(X, k, seed=3)
        rows = {row.tobytes() for row in C}
        assert len(rows) == k
        assert rows <= {row.tobytes() for row in X}
        assert np.array_equal(C, grouped_d2_start(X, k, seed=3))

        def cost(C: np.ndarray) -> float:
            return float(((X[:, None] - C) ** 2).sum(axis=2).min(axis=1).sum())

        assert k > 50 or cost(C) <= 1.1 * cost(d2_start(X, k, seed=3))

    @given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 20)), min_size=1, max_size=12), st.data())
    def test_shares_add_up(self, groups, data):
        weights, most = (np.array(numbers) for numbers in zip(*groups, strict=True))
        number = data.draw(st.integers(0, int(most.sum())))
        parts = share_out(number, weights.astype(np.float64), most)
        assert parts.sum() == number
        assert ((parts >= 0) & (parts <= most)).all()
