from __future__ import annotations

import numpy as np
import pytest

from curator_dask.dedup.arrays.rows import GOOD, NOT_FINITE, REASONS, ZERO_LENGTH, normalise
from curator_dask.errors import InputError


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_rows_of_every_float_type_become_unit_float32(dtype):
    X = np.random.default_rng(0).standard_normal((100, 32)).astype(dtype)
    unit, reason = normalise(X)
    assert unit.dtype == np.float32
    assert unit.flags.c_contiguous
    assert (reason == GOOD).all()
    wide = X.astype(np.float64)
    np.testing.assert_allclose(unit, wide / np.linalg.norm(wide, axis=1, keepdims=True), atol=1e-7)


@pytest.mark.parametrize(
    ("dtype", "size"),
    [
        (np.float64, 1e308),
        (np.float64, 1e-308),
        (np.float64, 5e-324),
        (np.float32, 3e38),
        (np.float32, 1e-45),
        (np.float16, 6e4),
    ],
)
def test_rows_near_the_ends_of_the_range_neither_overflow_nor_vanish(dtype, size):
    unit, reason = normalise(np.array([[size, -size, 0.0, 0.0]], dtype=dtype))
    assert reason.tolist() == [GOOD]
    np.testing.assert_allclose(unit, [[0.5**0.5, -(0.5**0.5), 0, 0]], rtol=1e-7)


@pytest.mark.parametrize(
    ("row", "code", "word"),
    [
        ([np.nan, 1.0], NOT_FINITE, "not-finite"),
        ([np.inf, 1.0], NOT_FINITE, "not-finite"),
        ([-np.inf, np.nan], NOT_FINITE, "not-finite"),
        ([0.0, -0.0], ZERO_LENGTH, "zero-length"),
    ],
)
def test_a_bad_row_has_a_reason_and_leaves_the_others_alone(row, code, word):
    unit, reason = normalise(np.array([[3.0, 4.0], row, [0.0, 2.0]]))
    assert reason.tolist() == [GOOD, code, GOOD]
    assert REASONS[code] == word
    np.testing.assert_array_equal(unit, np.array([[0.6, 0.8], [0, 0], [0, 1]], dtype=np.float32))


def test_no_rows():
    unit, reason = normalise(np.empty((0, 7), dtype=np.float32))
    assert unit.shape == (0, 7)
    assert reason.shape == (0,)


@pytest.mark.parametrize("X", [np.zeros(3), np.zeros((2, 2), dtype=np.int64), np.zeros((1, 2, 3)), np.zeros((4, 0))])
def test_what_is_no_matrix_of_floats_is_refused(X):
    with pytest.raises(InputError, match="matrix"):
        normalise(X)


def test_a_row_does_not_depend_on_its_neighbours():
    X = np.random.default_rng(1).standard_normal((1000, 19)).astype(np.float32)
    whole, _ = normalise(X)
    np.testing.assert_array_equal(whole[637:641], normalise(X[637:641])[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_unit_rows_take_the_place_of_the_rows_only_where_that_is_asked_for_and_fits(dtype):
    X = np.random.default_rng(3).standard_normal((700, 40)).astype(dtype)
    X[5], before = np.nan, X.copy()
    before[5] = np.nan
    unit, reason = normalise(X)
    np.testing.assert_array_equal(X, before)
    in_place, in_place_reason = normalise(X, in_place=True)
    assert (in_place is X) == (dtype == np.float32)
    np.testing.assert_array_equal(in_place, unit)
    np.testing.assert_array_equal(in_place_reason, reason)


class TestRowsThatHaveTheLengthOneAlready:
    def test_they_stay_as_they_are(self):
        X = np.random.default_rng(0).standard_normal((300, 48)).astype(np.float32)
        once, _ = normalise(X)
        twice, reason = normalise(once)
        np.testing.assert_array_equal(twice.view(np.int32), once.view(np.int32))
        assert (reason == GOOD).all()
        assert normalise(once.copy(), in_place=True)[0].tobytes() == once.tobytes()

    def test_others_beside_them_are_scaled(self):
        unit, _ = normalise(np.random.default_rng(0).standard_normal((6, 48)).astype(np.float32))
        X = unit.copy()
        X[1] *= np.float32(1 + 1e-5)
        X[3], X[4], X[5] = np.nan, 0, X[5] * 1e20
        found, reason = normalise(X)
        assert reason.tolist() == [GOOD, GOOD, GOOD, NOT_FINITE, ZERO_LENGTH, GOOD]
        np.testing.assert_array_equal(found[[0, 2]], unit[[0, 2]])
        assert np.abs(np.linalg.norm(found[[1, 5]].astype(np.float64), axis=1) - 1).max() < 1e-7
        assert not found[3:5].any()

    def test_the_same_numbers_of_another_type_give_the_same(self):
        random = np.random.default_rng(2)
        halves = random.standard_normal((400, 33)).astype(np.float16)
        halves[::2] = (halves[::2] / np.linalg.norm(halves[::2].astype(np.float64), axis=1, keepdims=True)).astype(
            np.float16
        )
        singles, _ = normalise(random.standard_normal((400, 33)).astype(np.float32))
        for X in (halves.astype(np.float32), singles):
            unit, _ = normalise(X)
            np.testing.assert_array_equal(normalise(X.astype(np.float64))[0].view(np.int32), unit.view(np.int32))
        np.testing.assert_array_equal(normalise(halves)[0], normalise(halves.astype(np.float32))[0])

    def test_near_the_line_the_order_of_the_sum_does_not_matter(self, monkeypatch):
        """Rows that are just on either side of what counts as one, with a sum that is off by as much as it may be."""
        X = np.random.default_rng(3).standard_normal((2000, 64))
        X *= np.sqrt(1 + 2.0**-20 + np.linspace(-1e-14, 1e-14, 2000))[:, None] / np.linalg.norm(
            X, axis=1, keepdims=True
        )
        expected, _ = normalise(X)
        vecdot = np.vecdot
        for off in (-1.4e-14, 1.4e-14):
            monkeypatch.setattr(np, "vecdot", lambda a, b, off=off: vecdot(a, b) + off)
            np.testing.assert_array_equal(normalise(X)[0].view(np.int32), expected.view(np.int32))

    def test_it_is_the_same_whatever_is_beside_a_row(self):
        random = np.random.default_rng(1)
        X = random.standard_normal((500, 100)).astype(np.float32)
        X /= np.linalg.norm(X, axis=1, keepdims=True)
        X *= 1 + random.uniform(-2e-6, 2e-6, (500, 1)).astype(np.float32)  # on both sides of what counts as one
        whole, _ = normalise(X)
        changed = (whole != X).any(axis=1)
        assert 0 < changed.sum() < 500
        np.testing.assert_array_equal(np.concatenate([normalise(row[None])[0] for row in X]), whole)
