"""The array kernels on a real device: the host's results, bit for bit where that is promised."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from curator_dask.dedup.align.in_cells.votes import moving_votes
from curator_dask.dedup.align.seeds import SEGMENT_ROWS, Segments, find_seeds, segments_of
from curator_dask.dedup.align.short_lines import SHORT_ROWS
from curator_dask.dedup.arrays.rows import normalise
from curator_dask.dedup.arrays.xp import DEVICE_TILE_ROWS, suited_tile_rows, to_host
from curator_dask.dedup.kmeans.assign import assign
from curator_dask.dedup.kmeans.distances import centroid_distances
from curator_dask.dedup.kmeans.lloyd import kmeans_fit, lloyd_partial, sum_of_sq_norms
from curator_dask.dedup.similarity import tiles
from curator_dask.dedup.similarity.candidates import (
    CANDIDATES_VARIABLE,
    FLOAT32,
    MIN_CAPABILITY,
    PRECISIONS,
    TF32,
    candidate_precision,
    probe_rows,
)
from curator_dask.dedup.similarity.pairwise import max_earlier_similarity, near_pairs
from tests.dedup.align.lines import line_of, scene
from tests.dedup.reference import EXAMPLE_1, EXAMPLE_2, EXAMPLE_4, chain, random_unit, unit

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
    labels = assign(X, C)
    on_device = assign(cp.asarray(X), cp.asarray(C))
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


@pytest.fixture
def small_tiles(monkeypatch):
    """Allow tiles as small as a test asks for, so that the diagonal takes several steps."""
    monkeypatch.setattr(tiles, "suited_tile_rows", lambda rows, tile_rows: tile_rows)
    monkeypatch.setattr(tiles, "DEVICE_STEP", 256)


def near_ties(num_rows: int = 5000, dim: int = 256) -> np.ndarray:
    """Rows around a few directions: many cosines differ by less than TF32 can show."""
    random = np.random.default_rng(3)
    return unit(
        random_unit(8, dim, 3)[random.integers(0, 8, num_rows)] + 0.02 * random.standard_normal((num_rows, dim))
    )


@pytest.mark.parametrize("precision", PRECISIONS.values(), ids=PRECISIONS)
@pytest.mark.parametrize("dim", [1, 3, 64, 1024, 1536])
def test_products_keep_their_bounds(cp, precision, dim):
    if precision is not FLOAT32 and int(cp.cuda.Device().compute_capability) < MIN_CAPABILITY:
        pytest.skip("this device multiplies in float32 only")
    kinds = [random_unit(200, dim, 0), random_unit(100, dim, 1, copies=0.9, noise=1e-3)]
    X = np.concatenate([*kinds, probe_rows()] if dim == 1024 else kinds).astype(np.float32)
    on_device = cp.asarray(X)
    out = precision.multiply(on_device, on_device, cp.empty((len(X), len(X)), dtype=np.float32))
    exact = X.astype(np.float64) @ X.T.astype(np.float64)
    assert np.abs(out.get() - exact).max() <= precision.bound(dim)


def test_a_product_into_a_part_of_a_wider_one(cp):
    X = random_unit(30, 12, 0)
    whole = cp.full((9, 12), 7, dtype=np.float32)
    FLOAT32.multiply(cp.asarray(X)[4:8], cp.asarray(X)[10:15], whole[2:6, :5])
    expected = np.full((9, 12), 7, np.float32)
    expected[2:6, :5] = X[4:8] @ X[10:15].T
    np.testing.assert_allclose(whole.get(), expected, atol=1e-6)


def test_tf32_finds_the_candidates(cp, monkeypatch):
    monkeypatch.delenv(CANDIDATES_VARIABLE, raising=False)
    has_it = int(cp.cuda.Device().compute_capability) >= MIN_CAPABILITY
    assert candidate_precision(cp.asarray(EXAMPLE_1)) is (TF32 if has_it else FLOAT32)


def test_tiles_are_large(cp):
    assert suited_tile_rows(cp.asarray(EXAMPLE_1), 1) in (2**power for power in range(DEVICE_TILE_ROWS.bit_length()))
    assert suited_tile_rows(cp.asarray(EXAMPLE_1), 20_000) == 20_000


@pytest.mark.parametrize("asked", PRECISIONS)
@pytest.mark.parametrize("X", [near_ties(), crowded()], ids=["near ties", "ties"])
def test_any_precision_finds_the_same(cp, monkeypatch, small_tiles, asked, X):
    expected = max_earlier_similarity(X)
    monkeypatch.setenv(CANDIDATES_VARIABLE, asked)
    for tile_rows in (100, 8192):
        got = max_earlier_similarity(cp.asarray(X), tile_rows=tile_rows)
        assert [part.tobytes() for part in got] == [part.tobytes() for part in expected]


@pytest.mark.parametrize("tile_rows", [16, 1024, 8192])
@pytest.mark.parametrize(
    "X",
    [EXAMPLE_1, EXAMPLE_2, EXAMPLE_4, chain(), crowded()],
    ids=["example 1", "example 2", "example 4", "chain", "ties"],
)
def test_pairwise(cp, small_tiles, X, tile_rows):
    got = max_earlier_similarity(cp.asarray(X), tile_rows=tile_rows)
    expected = max_earlier_similarity(X)
    np.testing.assert_array_equal(got[0], expected[0])
    np.testing.assert_array_equal(got[1], expected[1])


def test_near_pairs(cp):
    X = crowded(2000)

    def found(rows) -> set[tuple[int, int]]:
        return {(int(i), int(j)) for batch in near_pairs(rows, 0.01) for i, j in zip(batch[0], batch[1], strict=True)}

    assert found(cp.asarray(X)) == found(X)


@pytest.mark.parametrize("num_rows", [SEGMENT_ROWS, SHORT_ROWS])
def test_seeds_and_votes_of_alignment(cp, num_rows):
    film = scene(1, 400)
    segments = segments_of(
        [line_of(film), line_of(scene(2, 400)), line_of(0.9 * film[130:260])], 0.02, num_rows=num_rows
    )
    on_device = Segments(cp.asarray(segments.rows), segments.line, segments.start)
    for search in (find_seeds, moving_votes):
        found, expected = (list(search(some, some, 0.75)) for some in (on_device, segments))
        assert [pickle.dumps(one) for one in found] == [pickle.dumps(one) for one in expected]
        assert sum(len(one.score) for one in expected) > 200
