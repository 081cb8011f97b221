from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from curator_dask.dedup.similarity import best_match as search
from curator_dask.dedup.similarity.best_match import best_match
from curator_dask.dedup.similarity.pairs import STEPS, side
from curator_dask.dedup.similarity.pairwise import (
    finish_scores,
    max_earlier_similarity,
    runs_of_equal_work,
    scores_among,
)
from tests.dedup.reference import cosines, earlier, random_unit, unit

seeds, tile_sizes, threads = st.integers(0, 2**32), st.integers(1, 300), st.integers(1, 4)


def hard(kind: str, num_rows: int, dim: int = 32) -> np.ndarray:
    """Rows that are hard to tell apart."""
    random = np.random.default_rng(5)
    centre, noise = random_unit(1, dim, 1), random.standard_normal((num_rows, dim))
    match kind:
        case "equal":
            return np.repeat(centre, num_rows, axis=0)
        case "equal but some":
            return np.where((np.arange(num_rows) % 9 == 0)[:, None], random_unit(num_rows, dim, 2), centre)
        case "chain":
            return unit(centre + np.cumsum(1e-5 * noise, axis=0))
        case "signs":
            return unit(np.sign(noise))
        case "opposite":
            return unit(np.sign(noise[:, :1]) * (centre + 1e-7 * noise))
    return unit(centre + float(kind) * noise)


KINDS = ["equal", "equal but some", "chain", "signs", "opposite", "1e-7", "1e-6", "1e-5", "1e-4", "1e-3"]


@pytest.mark.parametrize("kind", KINDS)
def test_hard_rows_have_the_scores_of_brute_force(kind):
    """There are more rows than a block and a tile hold, so that blocks, tiles, pieces and steps all occur."""
    X = hard(kind, 1500)
    score, index = max_earlier_similarity(X, tile_rows=300)
    expected_score, expected_index = earlier(X)
    np.testing.assert_array_equal(score, expected_score)
    np.testing.assert_array_equal(index, expected_index)


@pytest.mark.parametrize("kind", KINDS)
def test_threads_and_tiles_change_no_bit(kind):
    X = hard(kind, 1500)
    expected = max_earlier_similarity(X)
    for num_threads, tile_rows in [(1, 1024), (2, 1024), (4, 64), (3, 257), (2, 5000)]:
        with threadpool_limits(num_threads, "blas"):
            got = max_earlier_similarity(X, tile_rows=tile_rows)
        assert [part.tobytes() for part in got] == [part.tobytes() for part in expected]


@given(seeds, st.integers(1, 400), st.integers(1, 24), tile_sizes, threads, st.sampled_from([0.0, 1e-7, 1e-6, 1e-3]))
@settings(max_examples=40, deadline=None)
def test_any_tiles_on_any_threads(seed, num_rows, dim, tile_rows, num_threads, noise):
    X = random_unit(num_rows, dim, seed, copies=0.7, noise=noise)
    with threadpool_limits(num_threads, "blas"):
        score, index = max_earlier_similarity(X, tile_rows=tile_rows)
    expected_score, expected_index = earlier(X)
    np.testing.assert_array_equal(score, expected_score)
    np.testing.assert_array_equal(index, expected_index)


@pytest.mark.parametrize("kind", ["1e-6", "1e-4", "equal but some", "chain"])
def test_candidates_that_wait_are_bounded(kind, monkeypatch):
    """Where many candidates wait, they are measured early, and the result is the same."""
    X = hard(kind, 900)
    expected = max_earlier_similarity(X)
    monkeypatch.setattr(search, "DENSE", 10**6)  # nothing is settled by a float64 product: all wait
    monkeypatch.setattr(search, "MOST_PENDING", 50)
    got = max_earlier_similarity(X, tile_rows=40)
    assert [part.tobytes() for part in got] == [part.tobytes() for part in expected]


@given(seeds, st.integers(1, 60), st.integers(0, 60), tile_sizes, st.sampled_from([0.0, 1e-7, 1e-2]))
@settings(max_examples=60, deadline=None)
def test_best_match_of_all_with_a_floor_for_each(seed, num_queries, num_references, tile_rows, noise):
    X = random_unit(num_queries + num_references, 6, seed, copies=0.7, noise=noise)
    floor = np.random.default_rng(seed).choice([-1.0, 0.0, 0.5, 1.0], num_queries).astype(np.float32)
    cosine, index = best_match(
        side(X[:num_queries]), side(X[num_queries:]), earlier_only=False, tile_rows=tile_rows, floor=floor
    )
    steps = np.minimum(np.rint(cosines(X)[:num_queries, num_queries:] * STEPS), STEPS)
    for row in range(num_queries):
        best = int(steps[row].argmax()) if num_references else -1
        if best < 0 or steps[row, best] < floor[row] * STEPS:
            assert (cosine[row], index[row]) == (-np.inf, -1)
        else:
            assert (cosine[row], index[row]) == (np.float32(steps[row, best] / STEPS), best)


@given(
    seeds, st.integers(1, 90), st.integers(1, 50), st.integers(1, 50), threads, st.sampled_from([0.0, 1e-7, 1e-2])
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_runs_against_chunks_in_any_order(seed, num_rows, run_rows, chunk_rows, num_threads, noise):
    X = random_unit(num_rows, 8, seed, copies=0.6, noise=noise)
    shuffled = np.random.default_rng(seed).permutation(num_rows)
    chunks = [shuffled[start : start + chunk_rows] for start in range(0, num_rows, chunk_rows)]
    parts = []
    with threadpool_limits(num_threads, "blas"):
        for run in runs_of_equal_work(num_rows, run_rows):
            places = np.arange(run.start, run.stop)
            best = scores_among(X[run], places, ((X[chunk], chunk) for chunk in chunks), tile_rows=20)
            parts.append(finish_scores(best, run.start))
    score, index = max_earlier_similarity(X)
    assert np.concatenate([part[0] for part in parts]).tobytes() == score.tobytes()
    assert np.concatenate([part[1] for part in parts]).tolist() == index.tolist()


@given(st.integers(0, 10**7), st.integers(1, 10**5))
@settings(max_examples=100, deadline=None)
def test_runs_cover_the_ranking_and_share_the_work(num_rows, run_rows):
    run_rows = max(run_rows, num_rows // 2000)
    runs = runs_of_equal_work(num_rows, run_rows)
    assert [row for run in runs for row in (run.start, run.stop)][1:-1:2] == [run.start for run in runs][1:]
    assert (runs[0].start, runs[-1].stop) == (0, num_rows) if num_rows else not runs
    assert all(0 < run.stop - run.start <= 2 * run_rows for run in runs)
    share = num_rows**2 / max(1, -(-num_rows // run_rows))
    assert all(run.stop**2 - run.start**2 <= share + 2 * run.stop for run in runs)
