"""The array kernels on a real device: the host's results, bit for bit where that is promised."""

from __future__ import annotations

import numpy as np
import pytest

from curator_dask.dedup.assign import assign, centroid_distances
from curator_dask.dedup.kmeans import kmeans_fit, lloyd_partial, sum_of_sq_norms
from curator_dask.dedup.pairwise import max_earlier_similarity, near_pairs
from curator_dask.dedup.rows import normalise
from curator_dask.dedup.xp import to_host
from tests.dedup.reference import EXAMPLE_1, EXAMPLE_2, EXAMPLE_4, chain, random_unit

pytestmark = pytest.mark.gpu


def crowded(num_rows: int = 5000, dim: int = 128) -> np.ndarray:
    return random_unit(num_rows, dim, 7, copies=0.5, noise=1e-7)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_normalise(cp, dtype):
    X = np.array([[3, 4], [0, 0], [np.nan, 1], [np.inf, 1], [6e-8, 0], [1, -1]], dtype=dtype)
    (got, codes), (expected, expected_codes) = normalise(cp.asarray(X)), normalise(X)
    np.testing.assert_array_equal(to_host(codes), expected_codes)
    np.testing.assert_allclose(to_host(got), expected, rtol=1e-6)


def test_labels_and_distances(cp):
    X, C = crowded(), crowded(400)
    labels, _ = assign(X, C)
    on_device, _ = assign(cp.asarray(X), cp.asarray(C))
    np.testing.assert_array_equal(to_host(on_device), labels)
    for one, other in zip(
        centroid_distances(cp.asarray(X), cp.asarray(C), on_device), centroid_distances(X, C, labels), strict=True
    ):
        np.testing.assert_allclose(to_host(one), other, atol=1e-6)


def test_sums_are_exact_whatever_the_order_of_atomic_additions(cp):
    X, C = crowded(), random_unit(9, 128, 1)
    expected = lloyd_partial(X, C)
    for _ in range(3):
        got = lloyd_partial(cp.asarray(X), cp.asarray(C))
        assert got.sums.tobytes() == expected.sums.tobytes()
        assert got.counts.tolist() == expected.counts.tolist()
    assert sum_of_sq_norms(cp.asarray(X)) == sum_of_sq_norms(X)


def test_our_own_lloyd(cp):
    X = crowded()
    on_host, on_device = kmeans_fit([X], 20), kmeans_fit([cp.asarray(X)], 20)
    assert on_device.centroids.tobytes() == on_host.centroids.tobytes()
    assert on_device.n_iter == on_host.n_iter


@pytest.mark.parametrize("tile_rows", [16, 1024, 8192])
@pytest.mark.parametrize(
    "X",
    [EXAMPLE_1, EXAMPLE_2, EXAMPLE_4, chain(), crowded()],
    ids=["example 1", "example 2", "example 4", "chain", "ties"],
)
def test_pairwise(cp, X, tile_rows):
    got = max_earlier_similarity(cp.asarray(X), tile_rows=tile_rows)
    expected = max_earlier_similarity(X)
    np.testing.assert_array_equal(got[0], expected[0])
    np.testing.assert_array_equal(got[1], expected[1])


def test_near_pairs(cp):
    X = crowded(2000)

    def found(rows) -> set[tuple[int, int]]:
        return {(int(i), int(j)) for batch in near_pairs(rows, 0.01) for i, j in zip(batch[0], batch[1], strict=True)}

    assert found(cp.asarray(X)) == found(X)
