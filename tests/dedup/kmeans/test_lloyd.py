from __future__ import annotations

from functools import reduce
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from curator_dask.dedup.kmeans.lloyd import (
    Iterations,
    KMeansResult,
    Partial,
    has_converged,
    iterate,
    kmeans_fit,
    lloyd,
    lloyd_partial,
    merge,
    new_centres,
    sq_shift,
    sum_of_sq_norms,
)
from curator_dask.errors import InputError, ParameterError
from tests.dedup.reference import random_unit


def same(a: Partial, b: Partial) -> bool:
    return a.sums.tobytes() == b.sums.tobytes() and a.counts.tolist() == b.counts.tolist()


@given(st.integers(0, 2**32), st.data())
@settings(max_examples=40, deadline=None)
def test_sums_are_bit_for_bit_the_same_for_any_partition_and_merge_order(seed, data):
    random = np.random.default_rng(seed)
    X = random_unit(400, 48, seed, copies=0.3, noise=1e-4)
    C = random_unit(9, 48, seed + 1)
    expected = lloyd_partial(X, C)
    order = random.permutation(400)
    cuts = sorted(data.draw(st.lists(st.integers(0, 400), max_size=6)))
    parts = np.split(X[order], cuts)
    partials = [lloyd_partial(part, C, max_rows=data.draw(st.integers(1, 500))) for part in parts]
    sq_norms = sum(map(sum_of_sq_norms, parts))
    assert sq_norms.hex() == sum_of_sq_norms(X).hex()
    while len(partials) > 1:  # a random tree
        a, b = (partials.pop(int(random.integers(len(partials)))) for _ in range(2))
        partials.append(merge(a, b))
    assert same(partials[0], expected)
    assert new_centres(partials[0], C).tobytes() == new_centres(expected, C).tobytes()
    assert partials[0].cost(C, sq_norms).hex() == expected.cost(C, sq_norms).hex()


def test_sums_do_not_depend_on_threads():
    X, C = random_unit(5000, 128, 0), random_unit(64, 128, 1)
    expected = lloyd_partial(X, C)
    with threadpool_limits(1, "blas"):
        assert same(lloyd_partial(X, C), expected)


def test_the_grid_costs_no_accuracy():
    X, C = random_unit(3000, 96, 0), random_unit(20, 96, 1)
    partial = lloyd_partial(X, C)
    sq_dist = ((X[:, None].astype(np.float64) - C[None]) ** 2).sum(axis=2)
    labels = sq_dist.argmin(axis=1)
    np.testing.assert_array_equal(partial.counts, np.bincount(labels, minlength=20))
    assert partial.cost(C, sum_of_sq_norms(X)) == pytest.approx(sq_dist.min(axis=1).sum(), rel=1e-6)
    means = np.stack([X[labels == j].astype(np.float64).mean(axis=0) for j in range(20)])
    np.testing.assert_allclose(new_centres(partial, C), means, atol=1e-7)


def test_sums_stay_exact_at_the_stated_number_of_rows():
    """The sums of 2**29 equal rows, made by adding a partial sum to itself 29 times, are exact."""
    row = np.array([[1.0, 2.0**-24, 0.75]], dtype=np.float32)
    partial = lloyd_partial(row, np.zeros((1, 3), np.float32))
    whole = reduce(lambda total, _: merge(total, total), range(29), partial)
    assert whole.sums.tolist() == [[2.0**29, 2.0**5, 0.75 * 2**29]]
    assert merge(whole, partial).counts.tolist() == [2**29 + 1]


def test_an_empty_cluster_keeps_its_centre():
    C = np.array([[1, 0], [-1, 0]], dtype=np.float32)
    partial = lloyd_partial(np.array([[0.6, 0.8], [0.8, 0.6]], dtype=np.float32), C)
    assert partial.counts.tolist() == [2, 0]
    np.testing.assert_allclose(new_centres(partial, C), [[0.7, 0.7], [-1, 0]], rtol=1e-6)


@pytest.mark.parametrize(
    ("cost", "last", "shift", "expected"),
    [
        (100.0, None, 1.0, False),
        (99.9, 100.0, 1.0, False),
        (99.995, 100.0, 1.0, True),
        (100.0, 100.0, 1.0, True),
        (50.0, 100.0, 0.99e-4, True),
        (50.0, 100.0, 1.0e-4, False),
        (50.0, None, 0.0, True),
        (0.0, 0.0, 1.0, False),
    ],
)
def test_stop_rule(cost, last, shift, expected):
    assert has_converged(cost, last, shift, 1e-4) is expected


def test_shift_is_the_sum_of_squares():
    assert sq_shift(np.zeros((2, 2), np.float32), np.array([[3, 4], [0, 1]], np.float32)) == 26


def blobs() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    truth = random.integers(0, 6, 900)
    return (np.eye(6)[truth] + 0.02 * random.standard_normal((900, 6))), truth


def fit_blobs(cuts: list[int], **parameters) -> KMeansResult:
    X, _ = blobs()
    unit = (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)
    return kmeans_fit(np.split(unit, cuts), 6, **parameters)


def test_separate_blobs_are_found():
    _, truth = blobs()
    result = fit_blobs([])
    assert sorted(result.counts.tolist()) == sorted(np.bincount(truth).tolist())
    assert result.converged
    assert result.inertia / 900 == pytest.approx(5 * 0.02**2, rel=0.1)


def test_a_fit_is_bit_for_bit_the_same_for_any_chunks_and_threads():
    expected = fit_blobs([])
    for cuts in ([450], [1, 2, 899], [0, 0, 300, 900]):
        got = fit_blobs(cuts)
        assert got.centroids.tobytes() == expected.centroids.tobytes()
        assert (got.inertia, got.n_iter) == (expected.inertia, expected.n_iter)


def test_the_cost_never_rises():
    X, C = random_unit(2000, 24, 0), random_unit(30, 24, 1)
    costs = []
    for _ in range(12):
        partial = lloyd_partial(X, C)
        costs.append(partial.cost(C, sum_of_sq_norms(X)))
        C = new_centres(partial, C)
    assert all(b <= a + 1e-3 for a, b in pairwise(costs))
    assert costs[-1] < 0.9 * costs[0]


def test_the_best_of_several_runs_is_kept():
    X = random_unit(600, 8, 3)
    singles = [kmeans_fit([X], 12, init="random", seed=seed) for seed in (5, 6, 7)]
    best = kmeans_fit([X], 12, init="random", seed=5, n_init=3)
    assert best.inertia == min(single.inertia for single in singles)
    assert len({single.inertia for single in singles}) == 3


def test_max_iter_ends_it():
    result = kmeans_fit([random_unit(600, 8, 3)], 12, max_iter=2, tol=0)
    assert result.n_iter == 2
    assert not result.converged


@pytest.mark.parametrize(
    ("X", "k", "filled"),
    [
        (random_unit(1, 5, 0), 1, 1),
        (random_unit(1, 5, 0), 3, 1),
        (random_unit(1, 5, 0)[[0] * 20], 4, 1),
        (random_unit(4, 5, 0), 4, 4),
        (random_unit(4, 5, 0), 9, 4),
        (random_unit(50, 5, 0), 1, 1),
    ],
    ids=["one row", "more clusters than rows", "equal rows", "a cluster each", "k > n", "one cluster"],
)
@pytest.mark.parametrize("init", ["k-means||", "random"])
def test_degenerate_data(X, k, filled, init):
    result = kmeans_fit([X[:0], X], k, init=init)
    assert np.isfinite(result.centroids).all()
    assert result.centroids.shape == (k, 5)
    assert (result.counts > 0).sum() == filled
    assert result.counts.sum() == len(X)
    if filled == len(np.unique(X, axis=0)):
        assert result.inertia < 1e-6 * len(X)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"k": 0}, "n_clusters"),
        ({"max_iter": 0}, "max_iter"),
        ({"n_init": 0}, "n_init"),
        ({"tol": -1.0}, "tol"),
        ({"max_rows": 0}, "max_rows"),
    ],
)
def test_parameters_are_checked(parameters, message):
    with pytest.raises(ParameterError, match=message):
        kmeans_fit([random_unit(5, 3, 0)], **({"k": 2} | parameters))


def test_no_rows():
    with pytest.raises(InputError, match="no rows"):
        kmeans_fit([np.empty((0, 3), np.float32)], 2)


@pytest.mark.parametrize("max_rows", [1, 100, 10_000])
def test_rows_at_a_time_change_no_bit(max_rows):
    X = random_unit(600, 8, 3)
    expected = kmeans_fit([X], 12)
    got = kmeans_fit([X], 12, max_rows=max_rows)
    assert got.centroids.tobytes() == expected.centroids.tobytes()
    assert got.inertia.hex() == expected.inertia.hex()


def test_every_iteration_tells_its_cost():
    X = random_unit(600, 8, 3)
    costs: list[float] = []
    sq_norms = sum_of_sq_norms(X)
    result = lloyd(lambda C: lloyd_partial(X, C), X[:12], sq_norms, max_iter=5, tol=0, after_each=costs.append)
    assert len(costs) == result.n_iter == 5
    assert costs[0] == lloyd_partial(X, X[:12]).cost(X[:12], sq_norms)
    assert result.inertia <= costs[-1]


def test_the_result_of_iterations_is_that_of_lloyd_but_for_rows_that_would_change_their_cluster():
    X = random_unit(600, 8, 3)
    costs: list[float] = []
    sq_norms = sum_of_sq_norms(X)

    def sum_up(C):
        return lloyd_partial(X, C)

    ended = iterate(sum_up, X[:12], sq_norms, max_iter=4, tol=0, after_each=costs.append)
    result, wanted = ended.result(sq_norms, 3), lloyd(sum_up, X[:12], sq_norms, max_iter=4, tol=0)
    assert result.centroids.tobytes() == wanted.centroids.tobytes()
    assert (result.n_iter, result.converged) == (7, wanted.converged)
    assert result.counts.sum() == 600
    assert wanted.inertia < result.inertia < costs[-1]
    with pytest.raises(ValueError, match="no iteration"):
        iterate(sum_up, X[:12], sq_norms, max_iter=0, tol=0).result(sq_norms)


def test_relaxed_iterations_end_at_the_means_and_need_fewer_steps():
    X = random_unit(4000, 24, 4)
    sq_norms = sum_of_sq_norms(X)

    def fit(start: np.ndarray, steps: int, relaxation: float) -> Iterations:
        return iterate(lambda C: lloyd_partial(X, C), start, sq_norms, max_iter=steps, tol=0, relaxation=relaxation)

    near = fit(X[:40], 4, 1.0).centroids  # far from the means, it does harm
    plain, relaxed = fit(near, 9, 1.0), fit(near, 5, 1.8)
    np.testing.assert_array_equal(relaxed.centroids, new_centres(relaxed.partial, relaxed.centroids))
    assert relaxed.result(sq_norms).inertia < plain.result(sq_norms).inertia
    np.testing.assert_array_equal(fit(near, 1, 1.8).centroids, fit(near, 1, 1.0).centroids)


def test_relaxed_iterations_that_settle_end_at_the_means():
    X = np.float32([[1, 0], [0.8, 0.6], [0.6, 0.8], [0, 1]])
    ended = iterate(lambda C: lloyd_partial(X, C), X[:2], sum_of_sq_norms(X), max_iter=300, tol=1e-9, relaxation=1.8)
    assert ended.converged
    assert ended.n_iter < 300
    np.testing.assert_array_equal(ended.centroids, np.float32([[0.9, 0.3], [0.3, 0.9]]))
