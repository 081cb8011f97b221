"""Pairs that one-byte numbers exclude change nothing: scores, indices and lists are those of a comparison of all pairs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from curator_dask.dedup.arrays import one_byte
from curator_dask.dedup.arrays.quick_products import are_quick
from curator_dask.dedup.similarity import best_match as search
from curator_dask.dedup.similarity import screen
from curator_dask.dedup.similarity.best_match import best_match
from curator_dask.dedup.similarity.near_list import NearPairLister
from curator_dask.dedup.similarity.pairs import side
from curator_dask.dedup.similarity.pairwise import max_earlier_similarity, scores_among
from tests.dedup.quick import NEEDS_QUICK
from tests.dedup.reference import earlier, random_unit, unit


@contextmanager
def screened(*, quickly: bool = are_quick(), part: int = 112) -> Iterator[None]:
    """Screens for all rows, however few, whether it pays or not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(screen, "are_quick", lambda: True)
        patch.setattr(one_byte, "are_quick", lambda: quickly)
        for name, value in (
            ("LEAST_ROWS", 1),
            ("LEAST_NUMBERS", 1),
            ("PAIRS_PER_ROW", 0),
            ("PAIRS_PER_CANDIDATE", 1e-9),
        ):
            patch.setattr(screen, name, value)
        patch.setattr(search, "SCREENED_ROWS", part)
        yield


def results(X: np.ndarray, tile_rows: int = 1024) -> list[object]:
    """The bytes of the scores, the indices and the list."""
    lister = NearPairLister(len(X))
    found = [part.tobytes() for part in max_earlier_similarity(X, tile_rows=tile_rows, also=lister)]
    near = lister.listed()
    pairs = [] if near is None else [near.reach, near.later.tobytes(), near.earlier.tobytes(), near.steps.tobytes()]
    return [*found, *pairs]


def hostile(kind: str, num_rows: int, dim: int) -> np.ndarray:
    random = np.random.default_rng(num_rows * dim)
    X = random_unit(num_rows, dim, dim, copies=0.5, noise=0.02)
    match kind:
        case "equal":
            X[:] = X[:1]
        case "equal but some":
            X[random.random(num_rows) < 0.7] = X[0]
        case "ties":
            X = X[random.integers(0, max(1, num_rows // 4), num_rows)]
        case "common":
            X = unit(X + 3 * random_unit(1, dim, 5))
        case "near copies":
            X = unit(X[:1] + np.float32(0.02) * X)
        case "nearer copies":
            X = unit(X[:1] + np.float32(1e-5) * X)
        case "large numbers":
            X[::7, random.integers(dim)] += np.float32(50)
            X = unit(X)
        case "smallest numbers":
            X[:, dim // 2 :] *= np.float32(1e-41)
            X[:, 0] += np.float32(1)
            X = unit(X)
        case "zeros":
            X[random.random(num_rows) < 0.3] = 0
        case "opposite":
            X *= np.float32(random.choice([-1, 1], (num_rows, 1)))
        case "all negative":
            X = np.concatenate([np.eye(dim), -np.eye(dim)])[:num_rows].astype(np.float32)
    return X


KINDS = [
    "copies", "equal", "equal but some", "ties", "common", "near copies", "nearer copies", "large numbers",
    "smallest numbers", "zeros", "opposite", "all negative",
]  # fmt: skip


@pytest.mark.parametrize("quickly", [pytest.param(True, marks=NEEDS_QUICK), False], ids=["onnx", "float32"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("num_rows", "dim"), [(1, 16), (2, 3), (300, 1), (301, 33), (700, 512), (260, 1100)])
def test_hostile_rows(kind, num_rows, dim, quickly):
    X = hostile(kind, num_rows, dim)
    expected = results(X)
    for tile_rows, part in ((1024, 112), (60, 17)):
        with screened(quickly=quickly, part=part):
            assert results(X, tile_rows) == expected


@given(
    st.integers(0, 2**32), st.integers(1, 400), st.integers(1, 90), st.integers(1, 300), st.integers(1, 150),
    st.sampled_from([0.0, 1e-7, 1e-3, 0.02, 0.3]), st.sampled_from([0.0, 0.7, 10.3]), st.integers(1, 3),
)  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_any_rows(seed, num_rows, dim, tile_rows, part, noise, common, num_threads):
    X = unit(random_unit(num_rows, dim, seed, copies=0.7, noise=noise) + common * random_unit(1, dim, seed + 1))
    plain = results(X)
    with screened(part=part), threadpool_limits(num_threads, "blas"):
        assert results(X, tile_rows) == plain
        score, index = max_earlier_similarity(X, tile_rows=tile_rows)
    expected_score, expected_index = earlier(X)
    np.testing.assert_array_equal(score, expected_score)
    np.testing.assert_array_equal(index, expected_index)


@given(
    st.integers(0, 2**32),
    st.integers(1, 90),
    st.integers(1, 120),
    st.integers(1, 100),
    st.sampled_from([0.0, 1e-7, 0.02]),
)
@settings(max_examples=60, deadline=None)
def test_other_rows_with_a_floor_for_each(seed, num_queries, num_references, tile_rows, noise):
    X = random_unit(num_queries + num_references, 24, seed, copies=0.7, noise=noise)
    floor = np.random.default_rng(seed).choice([-np.inf, -1.0, 0.0, 0.5, 1.0], num_queries).astype(np.float32)
    sides = side(X[:num_queries]), side(X[num_queries:])
    expected = best_match(*sides, earlier_only=False, floor=floor)
    with screened(part=13):
        got = best_match(*sides, earlier_only=False, tile_rows=tile_rows, floor=floor)
    assert [part.tobytes() for part in got] == [part.tobytes() for part in expected]


def test_chunks_in_any_order():
    X = random_unit(900, 40, 0, copies=0.6, noise=0.02)
    shuffled = np.random.default_rng(0).permutation(900)
    chunks = [(X[some], some) for some in np.array_split(shuffled, 5)]
    places = np.arange(300, 700)
    expected = scores_among(X[300:700], places, chunks)
    with screened(part=50):
        got = scores_among(X[300:700], places, chunks, tile_rows=90)
    assert got.cosine.tobytes() == expected.cosine.tobytes()
    assert got.index.tobytes() == expected.index.tobytes()


def limits_above_products(X: np.ndarray, middle: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """(N, N), how far the limits of rows among themselves are above the products, and (N,) how far they may be."""
    num_rows = len(X)
    rounded = screen.round_rows(X, middle)
    every = slice(0, num_rows)
    parts = screen.Screen(screen.RoundedSides(rounded, rounded)).limits(every, every)
    limits = parts._products * rounded.rows.steps[:, None].astype(np.float64) + parts._above[:, None]
    wide = X.astype(np.float64)
    return limits - wide @ wide.T, parts._widths


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("num_rows", "dim"), [(300, 1), (301, 33), (300, 512), (260, 1100)])
def test_no_limit_is_below_its_product(kind, num_rows, dim):
    X = hostile(kind, num_rows, dim)
    for middle in (None, X.mean(axis=0)):
        above, widths = limits_above_products(X, middle)
        assert (above > 0).all()
        assert (above < widths[:, None]).all()


def test_limits_of_usual_rows_are_not_far_above_their_products():
    X = unit(random_unit(300, 200, 1) + random_unit(1, 200, 2))
    above, _ = limits_above_products(X, screen.middle_of(X))
    assert above.max() < 0.05


def test_a_middle_is_subtracted_from_rows_that_have_much_in_common():
    assert screen.middle_of(random_unit(300, 200, 1)) is None
    X = unit(random_unit(300, 200, 1) + random_unit(1, 200, 2))
    np.testing.assert_array_equal(screen.middle_of(X), X.mean(axis=0))


def test_few_pairs_of_unlike_rows_are_multiplied(monkeypatch):
    X, multiplied = random_unit(2500, 256, 3), []
    pair_products = search.pair_products
    monkeypatch.setattr(screen, "are_quick", lambda: True)
    monkeypatch.setattr(
        search, "pair_products", lambda a, b, i, j: multiplied.append(len(i)) or pair_products(a, b, i, j)
    )
    monkeypatch.setattr(search, "products", None)  # no product of a whole tile
    max_earlier_similarity(X)
    assert 0 < sum(multiplied) < 10 * len(X)


def test_rows_too_much_alike_are_not_screened(monkeypatch):
    monkeypatch.setattr(screen, "are_quick", lambda: True)
    monkeypatch.setattr(search, "_look_at_few", None)
    X = unit(random_unit(1, 256, 0) + np.float32(1e-6) * random_unit(2500, 256, 1))
    np.testing.assert_array_equal(max_earlier_similarity(X)[1], earlier(X)[1])
