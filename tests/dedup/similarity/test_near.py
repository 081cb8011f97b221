from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator_dask.dedup.decide import near_rows
from curator_dask.dedup.decide.rules import Rule, decide
from curator_dask.dedup.similarity.near import folded, folds_for, near_in_tile, near_of
from curator_dask.dedup.similarity.pairs import side
from curator_dask.dedup.similarity.scope import max_earlier_in_scope
from curator_dask.dedup.similarity.threshold import is_duplicate
from curator_dask.dedup.similarity.tiles import Tile
from tests.dedup.reference import random_unit, unit

seeds, sizes, tile_sizes = st.integers(0, 2**32), st.integers(1, 150), st.integers(1, 90)
dims = st.sampled_from([64, 71, 128, 515])
epsilons = st.sampled_from([0.0, 1e-6, 0.01, 0.03])
noises = st.sampled_from([0.0, 1e-7, 1e-3, 0.01, 0.02])


def crowd(num_rows: int, dim: int, seed: int, noise: float) -> np.ndarray:
    """Unit rows, most of them near copies of others; some lie on one side of the sphere."""
    X = random_unit(num_rows, dim, seed, copies=0.7, noise=noise)
    return X if seed % 2 else unit(X + np.float32(0.15))


@given(seeds, sizes, dims, tile_sizes, epsilons, noises)
@settings(max_examples=60, deadline=None)
def test_folds_lose_no_pair(seed, num_rows, dim, tile_rows, eps, noise):
    whole = side(crowd(num_rows, dim, seed, noise))
    row, column, steps = near_in_tile(whole, Tile(whole, 0, True), eps)
    expected = dict(zip(zip(row.tolist(), column.tolist(), strict=True), steps.tolist(), strict=True))
    rows = np.flatnonzero(np.random.default_rng(seed).random(num_rows) < 0.8)
    found: dict[tuple[int, int], float] = {}
    for later, earlier, cosine in near_of(whole, rows, eps, tile_rows):
        found.update(zip(zip(later.tolist(), earlier.tolist(), strict=True), cosine.tolist(), strict=True))
    assert found == {pair: cosine for pair, cosine in expected.items() if pair[0] in set(rows.tolist())}


def test_a_pair_at_the_line_whose_difference_lies_in_the_folds_is_found():
    """The worst case: folding takes nothing away from the distance of these rows."""
    dim, folds = 64, folds_for(64, 0.01)
    few = folded(side(np.eye(dim, dtype=np.float32)), 0.01)
    assert few is not None
    fold = few.left.rows[:, :-2].T  # its rows are the directions of the folds
    assert np.allclose(fold @ fold.T, np.eye(dim // folds), atol=1e-6)
    cosine = 0.99000003
    angle = np.arccos(cosine)
    pair = np.stack([fold[0], np.cos(angle) * fold[0] + np.sin(angle) * fold[1]]).astype(np.float32)
    assert [len(steps) for _, _, steps in near_of(side(pair), np.array([1]), 0.01, 8)] == [1]


@pytest.mark.parametrize("num_copies", [1, 300])
def test_most_pairs_are_left_out_by_folds_alone(num_copies):
    X = random_unit(400, 256, 1, copies=0.0, noise=0.0)
    X[-num_copies:] = X[0]
    few = folded(side(X), 0.01)
    assert few is not None
    passed = int((few.left.rows @ few.right.rows.T >= few.least).sum())
    expected = 400 + num_copies * (num_copies + 1)
    assert expected <= passed < expected + 400


@given(
    seeds, sizes, dims, tile_sizes, epsilons, noises, st.sampled_from(["pairwise", "greedy"]),
    st.sampled_from(["all", "cross", "same"]), st.booleans(),
)  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_a_list_of_pairs_and_tiles_decide_alike(seed, num_rows, dim, tile_rows, eps, noise, rule, scope, some_taken):
    X = crowd(num_rows, dim, seed, noise)
    random = np.random.default_rng(seed)
    sources = None if scope == "all" else random.integers(0, 1 + num_rows // 8, num_rows)
    score, best = max_earlier_in_scope(X, scope, sources)
    duplicate = is_duplicate(score, eps)
    taken = random.random(num_rows) < 0.1 if some_taken and rule == "greedy" and scope == "all" else None
    found = []
    for most in (num_rows, -1):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(near_rows, "MOST_PER_ROW", most)
            decided = decide(X, Rule(rule, eps, scope), duplicate, best, sources, taken=taken, tile_rows=tile_rows)
        found.append([decided.removed, decided.kept_row, decided.kept_score, decided.group])
    for one, other in zip(*found, strict=True):
        assert one.tolist() == other.tolist()


def test_too_many_pairs_are_not_listed():
    whole = side(np.repeat(random_unit(1, 64, 0), 100, axis=0))
    duplicate = np.arange(100) > 0
    assert near_rows.NearRows.of(whole, 0.01, duplicate, None, 16) is None
    listed = near_rows.NearRows.of(whole[:20], 0.01, duplicate[:20], None, 16)
    assert listed is not None
    assert len(listed.later) == 190
