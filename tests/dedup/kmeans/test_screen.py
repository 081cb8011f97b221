"""Labels where one-byte numbers exclude most centres first: those of a comparison with all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator_dask.dedup.kmeans import assign as assigning
from curator_dask.dedup.kmeans.assign import assign
from curator_dask.dedup.kmeans.screen import Screen
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
