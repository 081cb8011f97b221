"""The kernels on arrays of a device: they use only what CuPy has, and the results are those of the host, bit for bit."""

from __future__ import annotations

import pickle
import sys

import numpy as np
import pytest

from curator_dask.dedup.align.in_cells.votes import moving_votes
from curator_dask.dedup.align.judge import Thresholds
from curator_dask.dedup.align.pairs import moving_overlaps
from curator_dask.dedup.align.seeds import SEGMENT_ROWS, Segments, find_seeds, segments_of
from curator_dask.dedup.align.short_lines import SHORT_ROWS
from curator_dask.dedup.arrays.rows import normalise
from curator_dask.dedup.arrays.xp import array_module, to_host
from curator_dask.dedup.kmeans.assign import assign
from curator_dask.dedup.kmeans.distances import centroid_distances
from curator_dask.dedup.kmeans.lloyd import kmeans_fit, lloyd_partial, sum_of_sq_norms
from curator_dask.dedup.similarity.pairwise import max_earlier_similarity, near_pairs, tile_block_scores
from tests.dedup.align.lines import line_of, scene
from tests.dedup.reference import EXAMPLE_1, EXAMPLE_2, EXAMPLE_4, chain, random_unit
from tests.strict_cupy import DeviceArray, strict_cupy


@pytest.fixture
def cp(monkeypatch):
    module = strict_cupy()
    monkeypatch.setitem(sys.modules, "cupy", module)
    return module


def crowded(num_rows: int = 300, dim: int = 24) -> np.ndarray:
    """Rows with many nearly equal cosines, twins, and rows without a near one."""
    return random_unit(num_rows, dim, 7, copies=0.5, noise=1e-7)


class TestTheStandInItself:
    """The stand-in refuses what CuPy refuses. Otherwise a kernel could pass here and fail on a GPU."""

    @pytest.mark.parametrize(
        "mistake",
        [
            lambda cp, x, host: np.asarray(x),
            lambda cp, x, host: x + host,
            lambda cp, x, host: host * x,
            lambda cp, x, host: cp.maximum(x, host),
            lambda cp, x, host: cp.concatenate([x, host]),
            lambda cp, x, host: x.__setitem__(slice(None), host),
            lambda cp, x, host: host.__setitem__(slice(None), x),
            lambda cp, x, host: x.max(initial=0.0),
            lambda cp, x, host: list(x),
            lambda cp, x, host: cp.asarray(["a"]),
            lambda cp, x, host: np.lexsort((x, host)),
        ],
        ids=["asarray", "x + host", "host * x", "function", "concatenate", "x[:] = host", "host[:] = x", "initial", "iteration",
             "text", "np.f(x, host)"],
    )  # fmt: skip
    def test_refuses(self, cp, mistake):
        with pytest.raises(TypeError):
            mistake(cp, cp.arange(3.0), np.arange(3.0))

    def test_names_that_cupy_lacks(self, cp):
        with pytest.raises(AttributeError):
            _ = cp.vecdot
        assert cp.matmul is not None

    def test_takes(self, cp):
        x = cp.asarray(np.arange(6.0)).reshape(2, 3)
        assert array_module(x) is cp
        assert isinstance(x.sum(), DeviceArray)
        assert float(np.float32(2) * x[1, 2]) == 10.0
        assert x[np.array([1])].get().tolist() == [[3, 4, 5]]
        x[0] = 9.0
        assert to_host(np.sqrt(x)).tolist() == [[3, 3, 3], np.sqrt([3, 4, 5]).tolist()]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_normalise(cp, dtype):
    X = np.array([[3, 4], [0, 0], [np.nan, 1], [np.inf, 1], [6e-8, 0], [1, -1]], dtype=dtype)
    got, expected = normalise(cp.asarray(X)), normalise(X)
    assert [to_host(part).tobytes() for part in got] == [part.tobytes() for part in expected]


@pytest.mark.parametrize("max_rows", [None, 7])
def test_assign(cp, max_rows):
    X, C = crowded(), crowded(40)
    C[7] = C[3]
    labels = assign(X, C, max_rows=max_rows)
    on_device = assign(cp.asarray(X), cp.asarray(C), max_rows=max_rows)
    assert isinstance(on_device, DeviceArray)
    np.testing.assert_array_equal(to_host(on_device), labels)
    distances = centroid_distances(X, C, labels)
    got = centroid_distances(cp.asarray(X), cp.asarray(C), on_device)
    for one, other in zip(got, distances, strict=True):
        np.testing.assert_allclose(to_host(one), other, atol=1e-6)


def test_sums(cp):
    X, C = crowded(), random_unit(9, 24, 1)
    got, expected = lloyd_partial(cp.asarray(X), cp.asarray(C)), lloyd_partial(X, C)
    assert got.sums.tobytes() == expected.sums.tobytes()
    assert got.counts.tolist() == expected.counts.tolist()
    assert sum_of_sq_norms(cp.asarray(X)) == sum_of_sq_norms(X)


@pytest.mark.parametrize("init", ["k-means||", "random", "array"])
def test_a_whole_fit(cp, init):
    X = crowded()
    start = X[:6] if init == "array" else init
    on_host = kmeans_fit([X[:100], X[100:]], 6, init=start)
    on_device = kmeans_fit([cp.asarray(X[:100]), cp.asarray(X[100:])], 6, init=start)
    assert on_device.centroids.tobytes() == on_host.centroids.tobytes()
    assert (on_device.inertia, on_device.n_iter) == (on_host.inertia, on_host.n_iter)


@pytest.mark.parametrize("tile_rows", [1, 16, 1024])
@pytest.mark.parametrize(
    "X",
    [EXAMPLE_1, EXAMPLE_2, EXAMPLE_4, chain(), crowded(), crowded()[[3] * 50], crowded(1), crowded(0)],
    ids=["example 1", "example 2", "example 4", "example 3", "near ties", "equal rows", "one row", "no rows"],
)
def test_pairwise(cp, X, tile_rows):
    got = max_earlier_similarity(cp.asarray(X), tile_rows=tile_rows)
    expected = max_earlier_similarity(X, tile_rows=tile_rows)
    assert [part.tobytes() for part in got] == [part.tobytes() for part in expected]


def test_tile_tasks_and_near_pairs(cp):
    X = crowded()
    got = tile_block_scores(cp.asarray(X[100:]), cp.asarray(X[:200]), 100, 0, tile_rows=64)
    expected = tile_block_scores(X[100:], X[:200], 100, 0, tile_rows=64)
    assert got.cosine.tobytes() == expected.cosine.tobytes()
    assert got.index.tolist() == expected.index.tolist()
    pairs = [[part.tolist() for part in batch] for batch in near_pairs(cp.asarray(X), 0.01, tile_rows=50)]
    assert pairs == [[part.tolist() for part in batch] for batch in near_pairs(X, 0.01, tile_rows=50)]
    assert pairs


class TestAlignment:
    """Alignment takes segments of a device as well, of four seconds and of two; what comes after the seeds is on the host."""

    @pytest.fixture
    def lines(self):
        film = scene(1, 60)
        return [line_of(film), line_of(scene(2, 40)), line_of(0.9 * film[13:45])]

    @pytest.mark.parametrize("num_rows", [SEGMENT_ROWS, SHORT_ROWS])
    def test_seeds_and_votes(self, cp, lines, num_rows):
        segments = segments_of(lines, 0.02, num_rows=num_rows)
        here = Segments(cp.asarray(segments.rows), segments.line, segments.start)
        for search in (find_seeds, moving_votes):
            found, expected = (list(search(some, some, 0.75)) for some in (here, segments))
            assert [pickle.dumps(one) for one in found] == [pickle.dumps(one) for one in expected]
            assert sum(len(one.score) for one in expected) > 20

    def test_overlaps(self, cp, lines):
        segments = segments_of(lines, 0.02)
        here = Segments(cp.asarray(segments.rows), segments.line, segments.start)
        found, expected = (list(moving_overlaps(lines, None, (some, some), Thresholds())) for some in (here, segments))
        assert found == expected
        assert [(i, j) for i, j, _ in expected] == [(0, 2)]
