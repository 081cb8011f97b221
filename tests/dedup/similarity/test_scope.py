from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator_dask.dedup.decide.rules import Rule, check_rule, decide
from curator_dask.dedup.similarity.scope import check_scope, max_earlier_in_scope, source_codes
from curator_dask.dedup.similarity.threshold import is_duplicate
from curator_dask.errors import ParameterError
from tests.dedup.reference import chain, cosines, random_unit

seeds, sizes, tile_sizes = st.integers(0, 2**32), st.integers(1, 50), st.integers(1, 60)
epsilons = st.sampled_from([0.0, 1e-6, 0.01, 0.1, 0.3])
noises = st.sampled_from([0.0, 1e-7, 1e-3, 0.05, 0.3])
scopes = st.sampled_from(["all", "cross", "same"])


def rows(seed: int, num_rows: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    sources = np.random.default_rng(seed).integers(0, 5, num_rows)
    return random_unit(num_rows, 5, seed, copies=0.6, noise=noise), sources


def counted(scope: str, sources: np.ndarray) -> np.ndarray:
    """(N, N) mask of the pairs in scope, by the definition."""
    same = sources[:, None] == sources
    pairs = {"all": np.ones_like(same), "cross": ~same, "same": same}[scope]
    return pairs & ~np.eye(len(sources), dtype=np.bool_)


def steps_in_scope(X: np.ndarray, scope: str, sources: np.ndarray) -> np.ndarray:
    """Cosines in whole steps of 2**-24; -1 where a pair does not count."""
    steps = np.minimum(np.rint(cosines(X) * 2.0**24) / 2.0**24, 1.0)
    return np.where(counted(scope, sources), steps, -1.0)


@given(seeds, sizes, tile_sizes, noises, scopes)
@settings(max_examples=120, deadline=None)
def test_scores_in_scope_are_those_of_brute_force(seed, num_rows, tile_rows, noise, scope):
    X, sources = rows(seed, num_rows, noise)
    steps = steps_in_scope(X, scope, sources)
    score, argmax = max_earlier_in_scope(X, scope, sources, tile_rows=tile_rows)
    for j in range(num_rows):
        earlier = steps[:j, j]
        best = int(earlier.argmax()) if j and earlier.max() >= 0 else j
        assert argmax[j] == best
        assert score[j] == (0.0 if best == j else np.float32(earlier[best]))


@given(seeds, sizes, tile_sizes, noises, scopes, epsilons, st.sampled_from(["pairwise", "greedy"]))
@settings(max_examples=200, deadline=None)
def test_decisions_are_those_of_the_definition(seed, num_rows, tile_rows, noise, scope, eps, rule):
    X, sources = rows(seed, num_rows, noise)
    steps = steps_in_scope(X, scope, sources)
    near = steps >= 1.0 - eps
    score, best = max_earlier_in_scope(X, scope, sources)
    decision = decide(X, Rule(rule, eps, scope), is_duplicate(score, eps), best, sources, tile_rows=tile_rows)
    removed = np.zeros(num_rows, np.bool_)
    for j in range(num_rows):
        removed[j] = (near[:j, j] & ~removed[:j]).any() if rule == "greedy" else near[:j, j].any()
    assert decision.removed.tolist() == removed.tolist()
    stay = np.flatnonzero(~removed)
    for row in np.flatnonzero(removed):
        cosine = steps[row, stay]
        if counted(scope, sources)[row, stay].any():
            assert decision.kept_row[row] == stay[cosine.argmax()]
            assert decision.kept_score[row] == np.float32(cosine.max())
        else:
            assert (decision.kept_row[row], decision.kept_score[row]) == (-1, 0)
        if rule == "greedy":
            assert decision.kept_score[row] >= 1.0 - eps, "a kept twin within eps"
    assert decision.group.tolist() == components(near)
    assert not removed[decision.group].any(), "the row that stands for a group is kept"


def components(near: np.ndarray) -> list[int]:
    """For each row, the lowest row of its group."""
    labels = list(range(len(near)))
    for i, j in zip(*np.nonzero(near), strict=True):
        low, high = sorted((labels[i], labels[j]))
        labels = [low if label == high else label for label in labels]
    return labels


def test_a_chain_in_and_out_of_scope():
    """Example 3 with A and C of one video, B of another: with scope `cross`, A removes B, and C is removed for B or stays."""
    X, sources = chain(), np.array([0, 1, 0])

    def gone(scope: str, rule: str) -> list[bool]:
        score, best = max_earlier_in_scope(X, scope, sources)
        return decide(X, Rule(rule, 0.01, scope), is_duplicate(score, 0.01), best, sources).removed.tolist()

    assert gone("cross", "pairwise") == [False, True, True]
    assert gone("cross", "greedy") == [False, True, False]
    assert gone("same", "pairwise") == gone("same", "greedy") == [False, False, False]


def test_an_unknown_source_is_like_no_other():
    codes = source_codes(np.array(["b", None, "a", "b", float("nan"), None], dtype=object))
    assert codes[0] == codes[3]
    assert len(set(codes.tolist())) == 5
    assert source_codes(np.array([7, 7, 8])).tolist() == [0, 0, 1]


def test_words_are_checked():
    with pytest.raises(ParameterError, match="scope must be one of all, cross, same, got 'other'"):
        check_scope("other")
    with pytest.raises(ParameterError, match="rule must be one of pairwise, greedy, overlap, got 'best'"):
        check_rule("best")
