from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from curator_dask.dedup.kmeans.distances import centroid_distances
from tests.dedup.reference import random_unit, unit


def test_worked_example():
    C = np.array([[1, 0], [0, 1]], dtype=np.float32)
    X = np.array([[1, 0], [0, 1], [0.6, 0.8]], dtype=np.float32)
    l2, cosine = centroid_distances(X, C, np.array([0, 1, 0]))
    np.testing.assert_allclose(l2, [0, 0, 0.8944272], rtol=1e-6)
    np.testing.assert_allclose(cosine, [0, 0, 0.4], rtol=1e-6)
    assert l2.dtype == cosine.dtype == np.float32


def test_distances_are_exact_where_a_gemm_would_cancel():
    X = random_unit(50, 512, 3)
    C = (X.astype(np.float64) + 1e-6 * np.random.default_rng(4).standard_normal(X.shape)).astype(np.float32)
    labels = np.arange(50)
    difference = X.astype(np.float64) - C
    l2, cosine = centroid_distances(X, C, labels)
    np.testing.assert_allclose(l2, np.linalg.norm(difference, axis=1), rtol=1e-6)
    c = C.astype(np.float64)
    x = X.astype(np.float64) / np.linalg.norm(X.astype(np.float64), axis=1, keepdims=True)
    half_sq = ((x - c / np.linalg.norm(c, axis=1, keepdims=True)) ** 2).sum(axis=1) / 2
    np.testing.assert_allclose(cosine, half_sq, rtol=1e-3)
    assert (cosine >= 0).all()


def test_a_centre_of_length_zero():
    l2, cosine = centroid_distances(random_unit(3, 4, 0), np.zeros((1, 4), np.float32), np.zeros(3, np.int32))
    np.testing.assert_allclose(l2, 1, rtol=1e-6)
    assert cosine.tolist() == [1, 1, 1]


def test_no_rows():
    l2, cosine = centroid_distances(np.empty((0, 3), np.float32), np.eye(3, dtype=np.float32), np.empty(0, np.int32))
    assert l2.shape == cosine.shape == (0,)


def in_numpys_order(X: np.ndarray, C: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, c = X.astype(np.float64), C.astype(np.float64)[labels]
    scale = np.sqrt((x * x).sum(axis=1)) * np.sqrt((c * c).sum(axis=1))
    cosine = np.maximum(0.0, 1.0 - (x * c).sum(axis=1) / np.where(scale > 0, scale, 1.0))
    return np.sqrt(((x - c) ** 2).sum(axis=1)).astype(np.float32), cosine.astype(np.float32)


@given(
    st.integers(0, 2**32), st.integers(1, 600), st.sampled_from([0.0, 1e-6, 1e-3, 0.1, 1.0]),
    st.sampled_from([1e-20, 0.03, 1.0, 1e20]),
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_the_bits_are_those_of_sums_in_numpys_order(seed, dim, apart, length):
    """Rows at their centres, near them and far away; some centres have no length."""
    random = np.random.default_rng(seed)
    middles, labels = random_unit(8, dim, seed), random.integers(0, 8, 300)
    X = unit(middles[labels] + apart / dim**0.5 * random.standard_normal((300, dim)) + 1e-30)
    C = (length * middles).astype(np.float32)
    C[random.integers(0, 8)] = 0
    for found, wanted in zip(centroid_distances(X, C, labels), in_numpys_order(X, C, labels), strict=True):
        np.testing.assert_array_equal(found, wanted)
