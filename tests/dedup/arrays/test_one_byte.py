"""Products of one-byte numbers: exact, and the same with ONNX Runtime and without."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from curator_dask.dedup.arrays import one_byte, quick_products
from curator_dask.dedup.arrays.one_byte import Multiplier, OneByte, to_one_byte
from tests.dedup.quick import NEEDS_QUICK
from tests.dedup.reference import random_unit
from tests.left_out import NO_ONNX


@pytest.fixture(params=[pytest.param("onnx", marks=NEEDS_QUICK), "float32"])
def way(request, monkeypatch):
    """Each of the two ways, whichever is quicker here."""
    monkeypatch.setattr(one_byte, "are_quick", lambda: request.param == "onnx")


def as_numbers(rows: OneByte) -> np.ndarray:
    return rows.numbers.astype(np.float64) * rows.steps[:, None]


def test_rows_are_as_far_from_their_numbers_as_told():
    X = random_unit(50, 300, 0) * np.logspace(-20, 3, 50, dtype=np.float32)[:, None]
    rows = to_one_byte(X)
    distances = np.linalg.norm(X - as_numbers(rows), axis=1)
    assert (rows.errors >= distances).all()
    assert (rows.errors <= 1.001 * distances).all()
    assert (np.abs(rows.numbers).max(axis=1) == 127).all()


def test_rows_of_the_smallest_numbers_are_rounded_without_a_warning():
    X = np.float32([[1e-40, -1e-42, 0], [0, 3e-38, 1e-45]])
    rows = to_one_byte(X)
    assert (rows.errors >= np.linalg.norm(X - as_numbers(rows), axis=1)).all()


def test_rows_of_zeros_and_no_rows():
    rows = to_one_byte(np.zeros((2, 3), np.float32))
    assert not rows.numbers.any()
    assert rows.errors.max() < 1e-30
    assert to_one_byte(np.zeros((0, 3), np.float32)).numbers.shape == (0, 3)


@pytest.mark.parametrize("dim", [1, 3, 512, 1024, 1025, 3000])
def test_products_are_exact(way, dim):
    random = np.random.default_rng(dim)
    rows, columns = (random.integers(-127, 128, (number, dim), np.int8) for number in (40, 33))
    rows[0], columns[0], columns[1] = 127, 127, -127
    ones = np.ones(40, np.float32)
    multiplier = Multiplier(OneByte(columns, ones[:33], ones[:33]))
    for some in (rows, rows[:7], rows[:0]):
        products = multiplier.products(OneByte(some, ones[: len(some)], ones[: len(some)]))
        assert np.array_equal(products, (some.astype(np.int64) @ columns.T.astype(np.int64)).astype(np.float32))


def test_products_have_the_size_of_the_rows(way):
    X, C = random_unit(30, 64, 0) * np.float32(3), random_unit(20, 64, 1) * np.float32(0.1)
    rows, columns = to_one_byte(X), to_one_byte(C)
    np.testing.assert_allclose(
        Multiplier(columns).products(rows), as_numbers(rows) @ as_numbers(columns).T, rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize("columns", [slice(0, 0), slice(3, 4), slice(5, 20)])
def test_products_with_some_of_the_columns(way, columns):
    rows, all_columns = to_one_byte(random_unit(9, 48, 0)), to_one_byte(random_unit(20, 48, 1))
    multiplier = Multiplier(all_columns)
    some = multiplier.in_steps(rows.numbers, columns)
    assert np.array_equal(some, multiplier.in_steps(rows.numbers)[:, columns])


def test_without_onnx_runtime_no_products_are_quick(monkeypatch):
    for cached in (quick_products.are_quick, quick_products._session):
        monkeypatch.setattr(quick_products, cached.__name__, cached.__wrapped__)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert not quick_products.are_quick()


def test_the_model_is_the_one_that_the_tool_makes():
    onnx = pytest.importorskip("onnx", reason=NO_ONNX)
    from tools.one_byte_model import model

    assert onnx.load(str(quick_products.MODEL)) == model()
