"""Iterations among the near centres of each row: what they find depends on no BLAS and no cut of the rows."""

from __future__ import annotations

import numpy as np
import pytest

from curator_dask.dedup.arrays.some import Some
from curator_dask.dedup.kmeans import near as near_centres
from curator_dask.dedup.kmeans.assign import assign
from curator_dask.dedup.kmeans.grid import centres_on_grid, rows_on_grid
from curator_dask.dedup.kmeans.near import NEAR, find_near, nearest_of
from curator_dask.dedup.kmeans.screen import Screen, about_nearest


def unit_rows(num_rows: int, dim: int = 48, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    X = np.eye(dim)[random.integers(dim, size=num_rows)] + 0.2 * random.standard_normal((num_rows, dim))
    return (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("k", [1, 5, 8, 9, 25, 26, 40, 100])
@pytest.mark.parametrize("length", [1.0, 0.1, 3.7])
def test_each_row_has_different_centres_and_the_nearest_first(k, length):
    X, C = unit_rows(300), unit_rows(k, seed=1) * np.float32(length)
    near = find_near(X, C)
    assert near.shape == (300, min(k, NEAR))
    assert all(len(set(row)) == len(row) for row in near.tolist())
    assert 0 <= near.min() <= near.max() < k
    # Rounded to one byte or to their grids, a few rows lie on the other side of the line between two centres.
    labels = assign(X, C)
    assert (near[:, 0] == labels).mean() > 0.98
    assert (nearest_of(X, centres_on_grid(C), near) == labels).mean() > 0.98


@pytest.mark.parametrize("k", [1, 7, 24, 25, 26, 333, 1000])
def test_the_near_ones_are_the_best_of_the_best_groups(k):
    """By scores of all centres in numbers of one byte, up to the bits that tell whose a score is."""
    X, C = unit_rows(200), unit_rows(k, seed=1)
    scores = Screen(C, 200).scores(X)
    starts = np.linspace(0, k, min(25, k), endpoint=False).astype(int)
    groups = np.split(scores, starts[1:], axis=1)
    highest = np.sort([group.max(axis=1) for group in groups], axis=0)[-NEAR:]
    found = np.sort(np.take_along_axis(scores, find_near(X, C), axis=1).T, axis=0)
    np.testing.assert_allclose(found, highest, rtol=1e-5, atol=1e-6)


def test_the_first_one_is_about_the_nearest_and_orders_do_not_matter():
    X, C = unit_rows(500), unit_rows(60, seed=1)
    near = find_near(X, C)
    assert (near[:, 0] == about_nearest(X, C)).mean() > 0.99  # but for the bits that tell whose a score is
    order = np.random.default_rng(3).permutation(500)
    assert np.array_equal(find_near(Some(X, order), C), near[order])


def test_cuts_orders_and_threads_do_not_matter(monkeypatch):
    X, C, moved = unit_rows(700), unit_rows(60, seed=1), unit_rows(60, seed=2)
    near = find_near(X, C)
    labels = nearest_of(X, centres_on_grid(moved), near)
    order = np.random.default_rng(3).permutation(700)
    monkeypatch.setattr(near_centres, "BLOCK", 7)
    monkeypatch.setattr(near_centres, "rows_at_a_time", lambda num_centres: 11)
    assert np.array_equal(find_near(X[order], C), near[order])
    assert np.array_equal(nearest_of(X[order], centres_on_grid(moved), near[order]), labels[order])
    alone = [find_near(row[None], C)[0] for row in X[:20]]
    assert np.array_equal(alone, near[:20])


def test_sums_on_the_grid_are_exact():
    """The products of float32 are those of float64, in every dimension and for centres of every length."""
    for dim in (3, 512, 4096):
        random = np.random.default_rng(dim)
        X = random.standard_normal((20, dim)).astype(np.float32)
        X /= np.linalg.norm(X, axis=1, keepdims=True)
        for length in (1e-4, 0.9, 1.0, 1.75, 1.76, 200.0):
            C = np.abs(X[:7]) * np.float32(length)
            rows, centres = rows_on_grid(np.abs(X)), centres_on_grid(C).centres
            assert np.array_equal(rows, np.rint(np.abs(X) * 4096) / 4096)
            exact = rows.astype(np.float64) @ centres.T.astype(np.float64)
            assert np.array_equal(rows @ centres.T, exact)
            np.testing.assert_allclose(exact, np.abs(X).astype(np.float64) @ C.T.astype(np.float64), atol=0.02 * length)


def test_centres_that_move_a_little_are_found_among_the_near_ones():
    X, C = unit_rows(2000), unit_rows(90, seed=1)
    near = find_near(X, C)
    moved = C + np.float32(0.03) * unit_rows(90, seed=5)
    assert (nearest_of(X, centres_on_grid(moved), near) == assign(X, moved)).mean() > 0.97


def test_centres_at_one_place_and_no_rows():
    X = unit_rows(5)
    same = np.repeat(X[:1], 12, axis=0)
    assert len(set(nearest_of(X, centres_on_grid(same), find_near(X, same)).tolist())) == 1
    zero = np.zeros((3, 48), np.float32)
    assert np.sort(find_near(X, zero), axis=1).tolist() == [[0, 1, 2]] * 5
    assert find_near(X[:0], same).shape == (0, NEAR)
    assert nearest_of(X[:0], centres_on_grid(same), find_near(X[:0], same)).shape == (0,)
