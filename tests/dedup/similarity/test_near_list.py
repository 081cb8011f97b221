"""Near pairs that are listed while rows are scored: all of them down to a cosine that the rows alone determine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from curator_dask.dedup.decide.rules import Rule, decide, decide_by_list
from curator_dask.dedup.similarity import near_list
from curator_dask.dedup.similarity.near_list import REACHES, NearList, NearPairLister
from curator_dask.dedup.similarity.pairwise import max_earlier_similarity
from curator_dask.dedup.similarity.threshold import is_duplicate, least_steps
from tests.dedup.reference import cosines, random_unit

seeds, sizes, tile_sizes = st.integers(0, 2**32), st.integers(1, 150), st.integers(1, 90)
dims = st.sampled_from([3, 5, 64, 515])
noises = st.sampled_from([0.0, 1e-7, 1e-3, 0.01, 0.05])


def list_pairs(X: np.ndarray, tile_rows: int) -> NearList | None:
    lister = NearPairLister(len(X))
    max_earlier_similarity(X, tile_rows=tile_rows, also=lister)
    return lister.listed()


def triples(near: NearList) -> list[tuple[int, int, float]]:
    return list(zip(near.later.tolist(), near.earlier.tolist(), near.steps.tolist(), strict=True))


def all_pairs(X: np.ndarray, eps: float) -> list[tuple[int, int, float]]:
    steps = np.minimum(np.rint(cosines(X) * 2.0**24), 2.0**24)
    later, earlier = np.nonzero(np.tril(steps >= least_steps(eps), -1))
    return list(zip(later.tolist(), earlier.tolist(), steps[later, earlier].tolist(), strict=True))


@given(seeds, sizes, dims, tile_sizes, noises, st.sampled_from([0.3, 0.7]))
@settings(max_examples=80, deadline=None)
def test_a_list_has_all_pairs_as_far_as_there_are_not_too_many(seed, num_rows, dim, tile_rows, noise, copies):
    X = random_unit(num_rows, dim, seed, copies=copies, noise=noise)
    near = list_pairs(X, tile_rows)
    few = [reach for reach in REACHES if len(all_pairs(X, reach)) <= near_list.MOST_PER_ROW * num_rows]
    if not few:
        assert near is None
        return
    assert near is not None
    assert near.reach == few[0]
    assert triples(near) == all_pairs(X, few[0])


@pytest.mark.parametrize("most", [1, 4])
def test_threads_do_not_change_the_list(monkeypatch, most):
    monkeypatch.setattr(near_list, "MOST_PER_ROW", most)
    X = random_unit(3000, 7, 5)
    found = []
    for threads in (1, 4):
        with threadpool_limits(threads):
            found.append(list_pairs(X, 64))
    assert found[0] is not None
    assert found[1] is not None
    assert (found[0].reach, triples(found[0])) == (found[1].reach, triples(found[1]))
    assert found[0].reach == {1: 0.05, 4: 0.1}[most]


def test_equal_rows_have_no_list_and_are_scored_as_before():
    X = np.repeat(random_unit(1, 64, 0), 300, axis=0)
    lister = NearPairLister(len(X))
    score, best = max_earlier_similarity(X, tile_rows=8, also=lister)
    assert lister.listed() is None
    assert best.tolist() == [0] * 300
    assert score.tolist() == [0.0, *[1.0] * 299]


@given(
    seeds, sizes, dims, st.sampled_from([0.0, 0.005, 0.01]), noises, st.sampled_from(["pairwise", "greedy"]), st.booleans()
)  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_a_list_and_the_vectors_decide_alike(seed, num_rows, dim, eps, noise, rule, some_taken):
    X = random_unit(num_rows, dim, seed, copies=0.5, noise=noise)
    score, best = max_earlier_similarity(X)
    duplicate, near = is_duplicate(score, eps), list_pairs(X, 64)
    taken = np.random.default_rng(seed).random(num_rows) < 0.1 if some_taken and rule == "greedy" else None
    if near is None:
        return
    within = near.within(eps)
    assert within is not None
    assert within.fits(score, best)
    found = [
        decide(X, Rule(rule, eps), duplicate, best, taken=taken),
        decide_by_list(within, lambda: X, Rule(rule, eps), duplicate, best, taken=taken),
    ]
    for name in ("removed", "kept_row", "kept_score", "group"):
        assert getattr(found[0], name).tolist() == getattr(found[1], name).tolist()


def test_a_list_of_other_rows_does_not_fit():
    X = random_unit(60, 16, 1, copies=0.6, noise=0.01)
    score, best = max_earlier_similarity(X)
    near = list_pairs(X, 64)
    assert near is not None
    assert near.fits(score, best)
    assert not near.fits(np.nextafter(score, np.float32(2)), best)
    assert not near.fits(score, np.maximum(best - 1, 0))
    assert not near.fits(score[:20], best[:20])
    moved = replace(near, later=near.later[1:], earlier=near.earlier[1:], steps=near.steps[1:])
    assert near.within(0.5) is None
    assert not moved.fits(score, best)


def test_a_row_raised_by_a_row_of_another_cluster_fits():
    X = random_unit(60, 16, 1, copies=0.6, noise=0.01)
    score, best = max_earlier_similarity(X)
    near = list_pairs(X, 64)
    assert near is not None
    row = int(near.later[0])
    score[row], best[row] = 1.0, row
    assert near.fits(score, best)


def test_rows_whose_kept_row_is_looked_for_elsewhere_need_no_vectors():
    near = NearList(0.1, np.array([1]), np.array([0]), np.array([0.99 * 2**24]))
    duplicate, best = np.array([False, True, True]), np.array([0, 0, 2])
    found = decide_by_list(
        near, pytest.fail, Rule("pairwise", 0.1), duplicate, best, elsewhere=np.array([False, True, True])
    )
    assert found.removed.tolist() == duplicate.tolist()
    assert found.kept_row.tolist() == [0, 0, -1]
    assert found.kept_score.tolist() == [0.0, np.float32(0.99), 0.0]
    assert found.group.tolist() == [0, 0, 2]
