from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator_dask.dedup.arrays.rows import normalise
from curator_dask.dedup.decide.decisions import greedy_keep, nearest_kept
from curator_dask.dedup.decide.groups import connected_groups
from curator_dask.dedup.kmeans.assign import assign
from curator_dask.dedup.kmeans.distances import centroid_distances
from curator_dask.dedup.kmeans.lloyd import kmeans_fit
from curator_dask.dedup.ranking.strategy import RankingStrategy
from curator_dask.dedup.similarity.pairwise import max_earlier_similarity, near_pairs
from curator_dask.dedup.similarity.threshold import is_duplicate
from curator_dask.errors import ParameterError
from tests.dedup.reference import EXAMPLE_1, EXAMPLE_2, chain, cosines, random_unit, unit


@pytest.mark.parametrize(("order", "gone"), [([3, 2, 1, 5, 4, 0], {2, 1, 4, 0}), ([0, 4, 5, 1, 2, 3], {4, 5, 2, 3})])
def test_example_1(order, gone):
    score, _ = max_earlier_similarity(EXAMPLE_1[order])
    assert set(np.array(order)[is_duplicate(score, 0.01)].tolist()) == gone


@pytest.mark.parametrize(("eps", "gone"), [(0.05, [1, 4]), (0.01, [])])
def test_example_2(eps, gone):
    score, _ = max_earlier_similarity(EXAMPLE_2)
    assert np.flatnonzero(is_duplicate(score, eps)).tolist() == gone


def test_example_3_the_compatible_rule_leaves_an_orphan():
    X = chain()
    removed = is_duplicate(max_earlier_similarity(X)[0], 0.01)
    kept = nearest_kept(X, removed)
    assert removed.tolist() == [False, True, True]
    assert kept.kept_row.tolist() == [0, 0, 0]
    np.testing.assert_allclose(kept.kept_score, [0, 0.995, 0.98005], atol=1e-6)
    assert is_duplicate(kept.kept_score, 0.01).tolist() == [False, True, False]


@pytest.mark.parametrize("tile_rows", [1, 2, 3, 4, 1024])
def test_example_3_the_greedy_rule_leaves_none(tile_rows):
    kept = greedy_keep(chain(), 0.01, tile_rows=tile_rows)
    assert kept.removed.tolist() == [False, True, False]
    assert kept.kept_row.tolist() == [0, 0, 2]
    np.testing.assert_allclose(kept.kept_score, [0, 0.995, 0], atol=1e-6)


@pytest.fixture(scope="module")
def blobs() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Example 5: the unit rows, their labels and their distances to the centroid."""
    from sklearn.datasets import make_blobs

    rows, _ = make_blobs(n_samples=[100, 200, 300, 400, 500], centers=None, n_features=3, random_state=42)
    X, _ = normalise(rows)
    C = kmeans_fit([X], 5).centroids
    labels = assign(X, C)
    return X, labels, centroid_distances(X, C, labels)[1]


@pytest.mark.parametrize(
    ("eps", "hard", "easy"),
    [
        (0.1, 1492, 1495),
        (0.05, 1489, 1495),
        (0.01, 1471, 1495),
        (0.005, 1464, 1495),
        (0.001, 1398, 1459),
        # The workflow we are compatible with counts 909 easy ones: there, float32 lifts a cosine of 0.9999 - 7e-8 over
        # the line. In exact arithmetic on the blobs themselves it lies below.
        (0.0001, 883, 908),
    ],
)
def test_example_5(blobs, eps, hard, easy):
    X, labels, distance = blobs
    assert {which: removed_from(X, labels, distance, which, eps) for which in ("hard", "easy")} == {
        "hard": hard,
        "easy": easy,
    }


def test_example_5_the_pair_at_the_line(blobs):
    """At eps .0001, ranked `easy`, one row is so near the threshold that float32 rounding decides: 908 or 909 rows."""
    X, labels, distance = blobs
    counts = [removed_from(X, labels, distance, "easy", eps) for eps in (0.0001 - 1e-7, 0.0001 + 1e-7)]
    assert counts[0] <= 908
    assert counts[1] == 909


def removed_from(X, labels, distance, which, eps) -> int:
    removed = 0
    for cluster in range(5):
        ids = np.flatnonzero(labels == cluster)
        order = RankingStrategy.of(which).rank({"cosine_dist_to_cent": distance[ids]}, ids)
        removed += int(is_duplicate(max_earlier_similarity(X[ids][order])[0], eps).sum())
    return removed


seeds, sizes, tile_sizes = st.integers(0, 2**32), st.integers(1, 60), st.integers(1, 70)
epsilons = st.sampled_from([0.0, 1e-6, 0.01, 0.1, 0.3, 0.9])
noises = st.sampled_from([0.0, 1e-7, 1e-3, 0.05, 0.3])


def steps_of(X: np.ndarray) -> np.ndarray:
    return np.minimum(np.rint(cosines(X) * 2.0**24) / 2.0**24, 1.0)


@given(seeds, sizes, tile_sizes, epsilons, noises)
@settings(max_examples=120, deadline=None)
def test_greedy_is_the_loop_over_kept_rows(seed, num_rows, tile_rows, eps, noise):
    X = random_unit(num_rows, 5, seed, copies=0.6, noise=noise)
    cosine = steps_of(X)
    stay: list[int] = []
    index, score = np.arange(num_rows), np.zeros(num_rows)
    for j in range(num_rows):
        best = max(stay, key=lambda i: (cosine[i, j], -i), default=j)
        if best != j and cosine[best, j] >= 1.0 - eps:
            index[j], score[j] = best, cosine[best, j]
        else:
            stay.append(j)
    got = greedy_keep(X, eps, tile_rows=tile_rows)
    assert np.flatnonzero(~got.removed).tolist() == stay
    assert got.kept_row.tolist() == index.tolist()
    assert got.kept_score.tolist() == score.tolist()


@given(seeds, sizes, tile_sizes, epsilons, noises)
@settings(max_examples=80, deadline=None)
def test_both_rules_keep_a_twin(seed, num_rows, tile_rows, eps, noise):
    X = random_unit(num_rows, 5, seed, copies=0.6, noise=noise)
    greedy = greedy_keep(X, eps, tile_rows=tile_rows)
    assert not greedy.removed[greedy.kept_row].any()
    assert is_duplicate(greedy.kept_score[greedy.removed], eps).all()
    compatible = is_duplicate(max_earlier_similarity(X)[0], eps)
    assert compatible[greedy.removed].all(), "what greedy removes, the compatible rule removes"
    kept = nearest_kept(X, compatible, tile_rows=tile_rows)
    assert not compatible[kept.kept_row].any()


@given(seeds, sizes, tile_sizes, st.integers(0, 100))
@settings(max_examples=60, deadline=None)
def test_nearest_kept_is_that_of_brute_force(seed, num_rows, tile_rows, percent):
    X = random_unit(num_rows, 4, seed, copies=0.5, noise=0.01)
    removed = np.random.default_rng(seed).random(num_rows) < percent / 100
    kept = nearest_kept(X, removed, tile_rows=tile_rows)
    cosine, stay = steps_of(X), np.flatnonzero(~removed)
    for row in range(num_rows):
        if not removed[row]:
            assert (kept.kept_row[row], kept.kept_score[row]) == (row, 0)
        elif len(stay):
            best = stay[cosine[row, stay].argmax()]
            assert (kept.kept_row[row], kept.kept_score[row]) == (best, np.float32(cosine[row, best]))
        else:
            assert (kept.kept_row[row], kept.kept_score[row]) == (-1, 0)


def test_rows_that_are_taken_remove_no_others():
    found = greedy_keep(chain(), 0.01, taken=np.array([False, True, False]))
    assert found.removed.tolist() == [False, True, False]
    assert (found.kept_row.tolist(), found.kept_score.tolist()) == ([0, -1, 2], [0.0, 0.0, 0.0])
    assert greedy_keep(chain(), 0.01, taken=np.array([True, False, False])).kept_row.tolist() == [-1, 1, 1]
    with pytest.raises(ParameterError, match="taken has shape"):
        greedy_keep(chain(), 0.01, taken=np.ones(2, bool))


def test_no_rows_and_one():
    assert greedy_keep(np.empty((0, 3), np.float32), 0.1).removed.shape == (0,)
    assert greedy_keep(unit([[1, 2]]), 0.1).removed.tolist() == [False]
    assert nearest_kept(np.empty((0, 3), np.float32), np.zeros(0, np.bool_)).kept_row.shape == (0,)


def test_the_shape_of_removed_is_checked():
    with pytest.raises(ParameterError, match="removed has shape"):
        nearest_kept(EXAMPLE_1, np.zeros(3, np.bool_))


def brute_groups(num_rows: int, pairs: list[tuple[int, int]]) -> list[int]:
    labels = list(range(num_rows))
    for i, j in pairs:
        low, high = sorted((labels[i], labels[j]))
        labels = [low if label == high else label for label in labels]
    return labels


@given(st.integers(1, 40), st.data())
@settings(max_examples=80, deadline=None)
def test_groups_are_connected_components(num_rows, data):
    rows = st.integers(0, num_rows - 1)
    pairs = data.draw(st.lists(st.tuples(rows, rows), max_size=60))
    cut = data.draw(st.integers(0, len(pairs)))
    batches = [np.array(part, dtype=np.int64).reshape(-1, 2).T for part in (pairs[:cut], pairs[cut:])]
    labels = connected_groups(num_rows, ((i, j) for i, j in batches))
    assert labels.tolist() == brute_groups(num_rows, pairs)


def test_a_chain_is_one_group():
    X = np.vstack([chain(), -chain()])
    labels = connected_groups(6, ((i, j) for i, j, _ in near_pairs(X, 0.01)))
    assert labels.tolist() == [0, 0, 0, 3, 3, 3]
    assert connected_groups(2, []).tolist() == [0, 1]
