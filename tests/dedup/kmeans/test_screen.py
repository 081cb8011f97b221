"""Labels where one-byte numbers exclude most centres first: those of a comparison with all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator_dask.dedup.arrays.some import Some
from curator_dask.dedup.kmeans import assign as assigning
from curator_dask.dedup.kmeans import screen as screening
from curator_dask.dedup.kmeans.assign import assign
from curator_dask.dedup.kmeans.screen import Screen, about_nearest, tells_apart
from tests.dedup.reference import random_unit, unit


def screened(X: np.ndarray, C: np.ndarray, **options) -> np.ndarray:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assigning, "are_quick", lambda: True)
        patch.setattr(assigning, "LEAST_ROWS", 1)
        patch.setattr(assigning, "LEAST_CENTRES", 1)
        return assign(X, C, **options)


@given(
    st.integers(0, 2**32), st.integers(1, 60), st.integers(1, 80), st.integers(1, 60), st.sampled_from([0.01, 1, 30])
)
@settings(max_examples=80, deadline=None)
def test_labels_are_those_without_a_screen(seed, num_rows, k, dim, length):
    X = random_unit(num_rows, dim, seed, copies=0.5)
    C = (random_unit(k, dim, seed + 1) * np.random.default_rng(seed).random((k, 1)) * length).astype(np.float32)
    assert np.array_equal(screened(X, C, max_rows=17), assign(X, C))


def rows_with(common: float = 0.0, large: float = 0.0) -> np.ndarray:
    """4,000 rows around 200 places, all with something in common, and some with one large number."""
    random = np.random.default_rng(0)
    X = random_unit(200, 96, 1)[random.integers(200, size=4000)] + 0.5 * random_unit(4000, 96, 2)
    X += np.float32(common) * random_unit(1, 96, 3)
    X[::9, 5] += np.float32(large)
    return unit(X)


@pytest.mark.parametrize(("common", "large"), [(0, 0), (3, 0), (0, 3), (20, 5), (0, 100)])
def test_rows_that_have_much_in_common_or_large_numbers(common, large):
    X = rows_with(common, large)
    C = unit(X[:300] + X[300:600])
    C[::7] *= np.float32(0.2)
    assert np.array_equal(screened(X, C), assign(X, C))


def test_equal_centres_and_crowds_of_near_ones():
    X = rows_with()
    crowd = X[:1] + np.float32(1e-6) * random_unit(100, 96, 4)
    C = np.vstack([X[:50], X[:50], crowd, np.zeros((2, 96), np.float32)])
    labels = screened(X, C)
    assert np.array_equal(labels, assign(X, C))
    assert not ((labels >= 50) & (labels < 100)).any()


def test_long_centres_on_both_sides_of_the_rows():
    """The score of the far centre is rounded by more than the scores of those in the middle may be off."""
    X = np.float32([[-0.001], [0.001]])
    C = np.full((3000, 1), -10053.109, np.float32)
    C[-1] = 10053.107
    assert screened(X, C).tolist() == [0, 2999]


def test_rows_of_zeros_and_one_centre():
    X = np.zeros((3, 8), np.float32)
    assert screened(X, random_unit(5, 8, 0)).tolist() == assign(X, random_unit(5, 8, 0)).tolist()
    assert screened(random_unit(4, 8, 1), random_unit(1, 8, 2)).tolist() == [0] * 4


def test_most_centres_are_excluded():
    X = rows_with(common=2)
    C = np.stack([X[(np.arange(4000) * 7 + k) % 200 == 0].mean(axis=0) for k in range(200)])
    found = Screen(C, 512).candidates(X[:512], 100)
    per_row = np.bincount(found.row, minlength=512)
    assert (per_row > 0).mean() > 0.95
    assert per_row.mean() < 20


def test_scores_tell_the_nearest_centre_of_most_rows():
    X, C = rows_with(), rows_with()[:150]
    assert (Screen(C, 4000).scores(X).argmax(axis=1) == assign(X, C)).mean() > 0.98


def test_centres_about_the_nearest():
    X, C = rows_with()[:500], rows_with()[500:560]
    labels = about_nearest(X, C)
    assert labels.dtype == np.int32
    assert (labels == assign(X, C)).mean() > 0.98
    order = np.random.default_rng(3).permutation(500)
    assert np.array_equal(about_nearest(Some(X, order), C), labels[order])
    assert about_nearest(X[:0], C).shape == (0,)


class TestTellsApart:
    @pytest.mark.parametrize(("common", "length"), [(0.0, 0.1), (0.0, 1.0), (0.0, 30.0), (5.0, 1.0)])
    def test_random_places_and_no_copies(self, common, length):
        C = unit(random_unit(300, 96, 1) + np.float32(common) * random_unit(1, 96, 3)) * np.float32(length)
        assert tells_apart(C)
        assert not tells_apart(np.repeat(C[:150], 2, axis=0))

    def test_a_few_copies(self):
        C = random_unit(300, 96, 1)
        C[:5] = C[5:10]
        assert tells_apart(C)
        C[:20] = C[20:40]
        assert not tells_apart(C)

    def test_centres_count_as_much_as_they_have_rows(self):
        C = random_unit(300, 96, 1)
        C[:5] = C[5:10] + np.float32(0.001) * random_unit(5, 96, 2)
        counts = np.full(300, 10)
        assert tells_apart(C, counts)
        counts[:10] = 100
        assert not tells_apart(C, counts)
        assert tells_apart(C, np.where(np.arange(300) < 10, 0, 10))

    @pytest.mark.parametrize("spread", [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0])
    def test_labels_by_one_byte_then_cost_little(self, spread):
        """Rows right at their centres and between two of them: what the wrong centre adds to the squared distance."""
        groups = np.repeat(random_unit(3, 64, 1), 100, axis=0)
        C = groups + np.float32(spread) * random_unit(300, 64, 2)
        X = unit(np.repeat(C, 5, axis=0) + np.float32(spread / 2) * random_unit(1500, 64, 4))
        best, found = (((X - C[labels]) ** 2).sum(axis=1) for labels in (assign(X, C), about_nearest(X, C)))
        costs = found.mean(dtype=np.float64) / best.mean(dtype=np.float64)
        assert tells_apart(C) == (spread > 0.1)
        assert costs < 1.0001 if tells_apart(C) else spread > 0.03 or costs > 1.05

    def test_blocks_do_not_matter(self, monkeypatch):
        C = random_unit(300, 96, 1)
        C[:100] = C[100:200] + np.float32(0.01) * random_unit(100, 96, 2)
        told = [tells_apart(C[first:]) for first in range(0, 300, 20)]
        monkeypatch.setattr(screening, "rows_at_a_time", lambda num_centres: 7)
        assert [tells_apart(C[first:]) for first in range(0, 300, 20)] == told
        assert {*told} == {False, True}
