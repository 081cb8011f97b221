"""Assignment in two levels: all groups give the exact labels, few give nearly all, and nothing but the row decides."""

from __future__ import annotations

import numpy as np
import pytest

from curator_dask.dedup.kmeans import grouped
from curator_dask.dedup.kmeans.assign import assign
from curator_dask.dedup.kmeans.distances import centroid_distances
from curator_dask.dedup.kmeans.grouped import assign_in_groups, choose_search, group_centres, groups_of, near_in_groups


def unit(X: np.ndarray) -> np.ndarray:
    return (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)


def blobs(num_rows: int, dim: int = 24, seed: int = 0) -> np.ndarray:
    middles = np.random.default_rng(4).standard_normal((40, dim))
    random = np.random.default_rng(seed)
    return unit(middles[random.integers(40, size=num_rows)] + 0.4 * random.standard_normal((num_rows, dim)))


@pytest.mark.parametrize("k", [1, 2, 7, 150])
@pytest.mark.parametrize("length", [1.0, 0.1, 3.7])
def test_all_groups_give_the_labels_of_a_comparison_with_all(k, length):
    X, C = blobs(600), blobs(k, seed=1) * np.float32(length)
    groups = group_centres(C)
    assert sorted(np.concatenate(groups.members).tolist()) == list(range(k))
    assert np.array_equal(assign_in_groups(X, groups, len(groups.members)), assign(X, C))


def test_centres_at_one_place():
    X = blobs(50)
    same = np.repeat(X[:3], 20, axis=0)
    groups = group_centres(same)
    assert np.array_equal(assign_in_groups(X, groups, len(groups.members)), assign(X, same))
    assert assign_in_groups(X[:0], groups, 1).shape == (0,)
    assert assign_in_groups(X, group_centres(np.zeros((9, 24), np.float32)), 1).tolist() == [0] * 50


def test_cuts_and_orders_of_the_rows_do_not_matter(monkeypatch):
    X, groups = blobs(700), group_centres(blobs(120, seed=1))
    labels, near = assign_in_groups(X, groups, 2), near_in_groups(X, groups, 4, 8)
    order = np.random.default_rng(3).permutation(700)
    assert np.array_equal(assign_in_groups(X[order], groups, 2, max_rows=13), labels[order])
    monkeypatch.setattr(grouped, "BLOCK_ROWS", 11)
    assert np.array_equal(near_in_groups(X[order], groups, 4, 8), near[order])
    assert all(len(set(row)) == 8 for row in near.tolist())
    assert (near[:, 0] == labels).mean() > 0.97


def test_a_search_says_what_it_finds():
    X, C = blobs(2000), blobs(200, seed=1)
    search = choose_search(X, C, 0.95)
    assert search is not None
    labels, exact = assign_in_groups(X, groups_of(C), search.looked_at), assign(X, C)
    assert search.recall == (labels == exact).mean() >= 0.95

    def inertia(labels: np.ndarray) -> float:
        return float((centroid_distances(X, C, labels)[0].astype(np.float64) ** 2).sum())

    assert search.inertia_ratio == pytest.approx(inertia(labels) / inertia(exact), rel=1e-12)
    assert 1 <= search.inertia_ratio < 1.05
    assert search.groups == len(groups_of(C).members) < 20
    assert search.rows_tried == 2000


def test_no_search_where_vectors_have_no_groups():
    random = np.random.default_rng(1)
    X, C = unit(random.standard_normal((1000, 60))), unit(random.standard_normal((200, 60)))
    assert choose_search(X, C, 0.99) is None
