from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from curator_dask.dedup.kmeans.distances import centroid_distances
from curator_dask.dedup.ranking.strategy import RankingStrategy
from curator_dask.dedup.similarity.pairwise import (
    finish_scores,
    max_earlier_similarity,
    merge_partials,
    near_pairs,
    tile_block_scores,
)
from curator_dask.errors import ParameterError
from tests.dedup.reference import EXAMPLE_1, EXAMPLE_2, EXAMPLE_4, chain, cosines, earlier, random_unit


@pytest.mark.parametrize("tile_rows", [1, 2, 3, 4, 5, 6, 1024])
def test_example_1_in_natural_order(tile_rows):
    score, argmax = max_earlier_similarity(EXAMPLE_1, tile_rows=tile_rows)
    np.testing.assert_allclose(score, [0, 0.974631, 0.998190, 0.999618, 1, 1], atol=1e-6)
    assert argmax.tolist() == [0, 0, 1, 2, 0, 0]
    assert (score.dtype, argmax.dtype) == (np.float32, np.int64)


@pytest.mark.parametrize(
    ("which", "ids", "max_ids", "scores"),
    [
        ("hard", [3, 2, 1, 5, 4, 0], [3, 3, 2, 1, 5, 5], [0, 0.999618, 0.998190, 0.974631, 1, 1]),
        ("easy", [0, 4, 5, 1, 2, 3], [0, 0, 0, 0, 1, 2], [0, 1, 1, 0.974631, 0.998190, 0.999618]),
    ],
)
@pytest.mark.parametrize("tile_rows", [1, 2, 3, 4, 5, 6])
def test_example_1_ranked(which, ids, max_ids, scores, tile_rows):
    _, cosine = centroid_distances(EXAMPLE_1, EXAMPLE_1[:1], np.zeros(6, np.int32))
    order = RankingStrategy.of(which).rank({"cosine_dist_to_cent": cosine}, np.arange(6))
    score, argmax = max_earlier_similarity(EXAMPLE_1[order], tile_rows=tile_rows)
    assert order.tolist() == ids
    assert order[argmax].tolist() == max_ids
    np.testing.assert_allclose(score, scores, atol=1e-6)


@pytest.mark.parametrize("tile_rows", [1, 2, 3, 8])
@pytest.mark.parametrize(
    ("X", "scores", "index"),
    [
        (EXAMPLE_2, [0, 0.96, 0.28, 0, 0.96], [0, 0, 1, 0, 2]),
        (chain(), [0, 0.995, 0.995], [0, 0, 1]),
        (EXAMPLE_4, [0, 0, 0, 0], [0, 1, 0, 0]),
        (EXAMPLE_4[:1], [0], [0]),
        (EXAMPLE_1[[0] * 5], [0, 1, 1, 1, 1], [0, 0, 0, 0, 0]),
        (np.empty((0, 3), np.float32), [], []),
    ],
    ids=["example 2", "example 3", "example 4", "one row", "equal rows", "no rows"],
)
def test_worked_examples(X, scores, index, tile_rows):
    score, argmax = max_earlier_similarity(X, tile_rows=tile_rows)
    np.testing.assert_allclose(score, scores, atol=1e-6)
    assert argmax.tolist() == index
    assert not np.signbit(score).any()


seeds, sizes, tile_sizes = st.integers(0, 2**32), st.integers(1, 70), st.integers(1, 80)
noises = st.sampled_from([0.0, 1e-8, 1e-7, 1e-6, 1e-4, 1e-2])


@given(seeds, sizes, st.integers(1, 40), tile_sizes, noises, st.sampled_from([0.0, 0.5, 1.0]))
@settings(max_examples=150, deadline=None)
def test_scores_are_those_of_brute_force(seed, num_rows, dim, tile_rows, noise, copies):
    """This holds also where float32 products cannot tell rows apart: the reference works in float64."""
    X = random_unit(num_rows, dim, seed, copies=copies, noise=noise)
    score, argmax = max_earlier_similarity(X, tile_rows=tile_rows)
    expected_score, expected_index = earlier(X)
    np.testing.assert_array_equal(score.astype(np.float64), expected_score)
    np.testing.assert_array_equal(argmax, expected_index)


@pytest.mark.parametrize("noise", [0.0, 1e-7, 1e-5, 1e-3])
def test_tile_sizes_and_threads_change_no_bit(noise):
    """700 rows around 20 places, so that many cosines are nearly equal."""
    X = random_unit(20, 128, 0)[np.arange(700) % 20] + noise * random_unit(700, 128, 1)
    X = (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)
    expected = max_earlier_similarity(X)
    for tile_rows in (64, 100, 650):
        got = max_earlier_similarity(X, tile_rows=tile_rows)
        assert [part.tobytes() for part in got] == [part.tobytes() for part in expected]
    with threadpool_limits(1, "blas"):
        got = max_earlier_similarity(X)
    assert [part.tobytes() for part in got] == [part.tobytes() for part in expected]
    np.testing.assert_array_equal(expected[1], earlier(X)[1])


@given(seeds, sizes, tile_sizes, st.integers(1, 70), noises)
@settings(max_examples=60, deadline=None)
def test_tile_tasks_give_what_the_whole_gives(seed, num_rows, tile_rows, block, noise):
    X = random_unit(num_rows, 8, seed, copies=0.5, noise=noise)
    starts = range(0, num_rows, block)
    random = np.random.default_rng(seed)
    finished = []
    for later in starts:
        tasks = [
            tile_block_scores(X[later : later + block], X[first : first + block], later, first, tile_rows=tile_rows)
            for first in random.permutation(list(starts))
        ]
        finished.append(finish_scores(merge_partials(*tasks), later))
    score, argmax = max_earlier_similarity(X)
    assert np.concatenate([part[0] for part in finished]).tobytes() == score.tobytes()
    assert np.concatenate([part[1] for part in finished]).tolist() == argmax.tolist()


@given(seeds, sizes, tile_sizes, st.sampled_from([0.0, 1e-6, 0.01, 0.1, 0.5, 0.95]), noises)
@settings(max_examples=80, deadline=None)
def test_near_pairs_are_those_of_brute_force(seed, num_rows, tile_rows, eps, noise):
    X = random_unit(num_rows, 6, seed, copies=0.6, noise=noise)
    cosine = np.minimum(np.rint(cosines(X) * 2.0**24) / 2.0**24, 1.0)
    expected = {(i, j): cosine[i, j] for j in range(num_rows) for i in range(j) if cosine[i, j] >= 1.0 - eps}
    batches = list(near_pairs(X, eps, tile_rows=tile_rows))
    found = {(int(i), int(j)): float(c) for batch in batches for i, j, c in zip(*batch, strict=True)}
    assert found == expected
    assert sum(len(batch[0]) for batch in batches) == len(found)


def test_rows_that_are_not_quite_unit_still_score_one_with_their_copies():
    X = np.array([[0.6, 0.8], [0.6, 0.8]], dtype=np.float32) * np.float32(1 - 2e-7)
    assert max_earlier_similarity(X)[0].tolist() == [0, 1]


@pytest.mark.parametrize("tile_rows", [0, -1])
def test_tile_rows_are_checked(tile_rows):
    with pytest.raises(ParameterError, match="pairwise_batch_size"):
        max_earlier_similarity(EXAMPLE_1, tile_rows=tile_rows)
