"""Borders, sketches and comparisons across clusters, against brute force over all rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from curator_dask.dedup.cross_cluster import scores as cross_cluster
from curator_dask.dedup.cross_cluster.aim import ASSIGNMENTS, MULTIPLY, WITHIN_PAIR
from curator_dask.dedup.cross_cluster.borders import find_borders
from curator_dask.dedup.cross_cluster.centroids import neighbour_order, prepare_centroids
from curator_dask.dedup.cross_cluster.missed import ENOUGH_SHARE, Misses, upper_tail
from curator_dask.dedup.cross_cluster.near_pairs import find_near_pairs
from curator_dask.dedup.cross_cluster.scores import ComparedRows, score_cross_cluster
from curator_dask.dedup.cross_cluster.sketch import SketchPair, least_products, sketch, sketch_widths
from curator_dask.dedup.kmeans.assign import assign
from curator_dask.errors import ParameterError
from tests.dedup.reference import cosines, random_unit, unit


def clustered(X: np.ndarray, k: int, iterations: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """(centroids, labels) after a few rounds of Lloyd from the first k rows."""
    C = X[:k].copy()
    for _ in range(iterations):
        labels = assign(X, C)
        C = np.stack([X[labels == j].mean(axis=0) if (labels == j).any() else C[j] for j in range(k)])
    return C, assign(X, C)


def twins(X: np.ndarray, cosine: float, seed: int) -> np.ndarray:
    """For each row of X, a row at exactly this cosine from it, in a random direction."""
    away = np.random.default_rng(seed).standard_normal(X.shape)
    away -= (away * X).sum(axis=1, keepdims=True) * X
    return unit(cosine * X + math.sqrt(1 - cosine**2) * away / np.linalg.norm(away, axis=1, keepdims=True))


def borders_of(
    X: np.ndarray, C: np.ndarray, labels: np.ndarray, eps: float, budget: float, recall: float | None = None
):
    """The (row, cluster) pairs of the border rows of all clusters, and how many pairs were left out."""
    members = [np.flatnonzero(labels == j) for j in range(len(C))]
    centroids = prepare_centroids(C, np.array([len(rows) for rows in members], dtype=float))
    chosen, left_out = set(), 0
    for j, rows in enumerate(members):
        if not len(rows):
            continue
        found = find_borders(X[rows], j, centroids, eps, budget=budget, recall=recall)
        chosen.update(zip(rows[found.row].tolist(), found.cluster.tolist(), strict=True))
        left_out += found.left_out
    return chosen, left_out


def scores_over_all(X: np.ndarray, C: np.ndarray, labels: np.ndarray, eps: float, budget: float) -> np.ndarray:
    """The best score of every row across clusters; the order of the rows is their ranking."""
    score = np.zeros(len(X), np.float32)
    chosen, _ = borders_of(X, C, labels, eps, budget)
    centroids = prepare_centroids(C, np.bincount(labels, minlength=len(C)).astype(float))
    sketches, widths = sketch(X, centroids.sketch_width(eps)), centroids.sketch_widths(eps)
    for cluster in range(len(C)):
        queries = np.array(sorted(row for row, target in chosen if target == cluster), dtype=np.int64)
        members = np.flatnonzero(labels == cluster)
        if len(queries) and len(members):
            width = int(widths[cluster]) if widths[cluster] < X.shape[1] else 0
            one, other = ComparedRows.of(X[queries], sketches[queries]), ComparedRows.of(X[members], sketches[members])
            found = score_cross_cluster(one, other, lambda q, m, a=queries, b=members: (a[q], b[m]), eps, width=width)
            score[queries] = np.maximum(score[queries], found.queries.cosine)
            score[members] = np.maximum(score[members], found.members.cosine)
    return score


def brute_force(X: np.ndarray, labels: np.ndarray, eps: float) -> np.ndarray:
    cosine = np.minimum(1.0, np.rint(cosines(X) * 2.0**24) / 2.0**24)
    counts = np.tri(len(X), k=-1, dtype=bool) & (labels[:, None] != labels[None, :]) & (cosine >= 1 - eps)
    return np.where(counts, cosine, 0.0).max(axis=1)


# Which rows meet which clusters


@pytest.mark.parametrize(("eps", "meets"), [(0.0125, False), (0.016, True)])
def test_a_row_meets_a_cluster_within_half_the_chord_of_the_plane_between(eps, meets):
    # The plane half-way between (1, 0) and (0, 1) lies at 45 degrees; a row at 40 is sin 5 = 0.0872 away from it.
    # Half the chord, sqrt(2 eps) / 2, is 0.0791 at eps 0.0125 and 0.0894 at 0.016. Rounding the row to one byte per number
    # moves it by 0.0035 at most.
    C = np.eye(2, dtype=np.float32)
    row = np.array([[math.cos(math.radians(40)), math.sin(math.radians(40))]], dtype=np.float32)
    found = find_borders(row, 0, prepare_centroids(C, np.ones(2)), eps, budget=1e9)
    assert (found.row.tolist(), found.cluster.tolist()) == (([0], [1]) if meets else ([], []))
    assert found.left_out == 0


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    dim=st.sampled_from([2, 3, 17, 64]),
    k=st.integers(1, 9),
    eps=st.sampled_from([0.0, 0.001, 0.01, 0.1, 0.5]),
)
def test_without_a_budget_no_pair_is_left_out(seed, dim, k, eps):
    X = random_unit(60, dim, seed, copies=0.5, noise=0.3 * math.sqrt(eps))
    C, labels = clustered(X, k)
    chosen, left_out = borders_of(X, C, labels, eps, budget=1e9)
    assert left_out == 0
    later, earlier = np.nonzero((cosines(X) >= 1 - eps) & (labels[:, None] != labels[None, :]))
    for x, y in zip(later.tolist(), earlier.tolist(), strict=True):
        assert (x, labels[y]) in chosen or (y, labels[x]) in chosen


def test_a_wanted_recall_takes_the_place_of_the_budget():
    X = random_unit(900, 32, 3)
    both = np.concatenate([X, twins(X, 0.93, 4)])
    C, labels = clustered(both, 12)
    near = [(row, row + 900) for row in range(900) if labels[row] != labels[row + 900]]
    found = {}
    for recall in (0.5, 0.9, 0.999, 1.0):
        chosen, left_out = borders_of(both, C, labels, 0.1, budget=0.0, recall=recall)
        met = sum((one, labels[other]) in chosen or (other, labels[one]) in chosen for one, other in near)
        found[recall] = 1 - (len(near) - met) / 900
        assert found[recall] >= recall
    assert left_out == 0
    assert found[1.0] == 1.0 > found[0.5]
    with pytest.raises(ParameterError, match=r"recall \(1.5\) must be above 0 and at most 1"):
        borders_of(both, C, labels, 0.1, budget=1.0, recall=1.5)


def test_the_budget_is_kept_and_goes_to_the_smallest_margins():
    X = random_unit(900, 64, 3)
    C, labels = clustered(X, 9)
    sizes = np.bincount(labels, minlength=9).astype(float)
    centroids = prepare_centroids(C, sizes)
    rows = np.flatnonzero(labels == 0)
    everything = find_borders(X[rows], 0, centroids, 0.5, budget=1e9)
    pair = WITHIN_PAIR[0] + WITHIN_PAIR[1] * 64
    work = pair * sizes[0] / 2 + ASSIGNMENTS * 9 * 64 * MULTIPLY
    before: set[tuple[int, int]] = set()
    for budget in (0.0, 0.1, 0.3, 1.0):
        found = find_borders(X[rows], 0, centroids, 0.5, budget=budget)
        # Compared in whole rows, so each comparison costs as much as one within the cluster.
        assert pair * sizes[found.cluster].sum() <= budget * len(rows) * work
        assert len(found.row) + found.left_out == len(everything.row)
        chosen = set(zip(found.row.tolist(), found.cluster.tolist(), strict=True))
        assert before <= chosen
        before = chosen
    assert before
    C64, x = C.astype(np.float64), X[rows].astype(np.float64)
    sq = ((x[:, None, :] - C64[None]) ** 2).sum(axis=2)
    apart = np.linalg.norm(C64 - C64[0], axis=1)
    margin = (sq - sq[:, :1])[:, 1:] / (2 * apart[1:])
    taken = np.zeros(margin.shape, bool)
    taken[tuple(np.array([(row, cluster - 1) for row, cluster in before]).T)] = True
    assert margin[taken].max() < margin[~taken].min() + 0.01


def test_what_finds_next_to_nothing_more_is_spared():
    X = random_unit(3000, 256, 40)
    X = np.concatenate([X, twins(X[:3000].astype(np.float64), 0.9905, 41)])
    C, labels = clustered(X, 12, iterations=6)
    usual, _ = borders_of(X, C, labels, 0.01, budget=1.0)
    more, _ = borders_of(X, C, labels, 0.01, budget=1.01)  # whoever asks for more than the default gets it
    assert len(usual) < 0.4 * len(more)
    parted = np.flatnonzero(labels[3000:] != labels[:3000]).tolist()
    assert len(parted) > 40
    assert all((row, labels[3000 + row]) in usual or (3000 + row, labels[row]) in usual for row in parted)


def test_the_share_that_is_missed_is_that_of_the_margins():
    sample = np.abs(np.random.default_rng(42).standard_normal((50, 400))).astype(np.float32)
    misses = Misses.of(sample, 0.1, 60)
    for highest in (0.0, 0.03, 0.1, 0.2):
        beyond = sample[sample > highest].astype(np.float64) + highest
        expected = 0.0
        for part in (0.1, 0.3, 0.5, 0.7, 0.9):
            along = beyond / math.sqrt(0.2 * part)
            expected += upper_tail(along[along < 1] * math.sqrt(60)).sum() / 50 / 5
        assert misses.share(highest) == pytest.approx(min(1.0, expected), rel=0.05)
    margin = misses.least_margin(math.sqrt(0.2) / 2, 0.01)
    assert misses.share(margin) <= 0.01 < misses.share(margin - math.sqrt(0.2) / 128)


def test_neighbours_come_together():
    places = random_unit(12, 48, 4)
    which = np.random.default_rng(5).permutation(np.repeat(np.arange(12), 7))
    C = (places[which] + 0.05 * random_unit(84, 48, 6)).astype(np.float32)
    order = neighbour_order(C)
    assert sorted(order.tolist()) == list(range(84))
    assert np.count_nonzero(np.diff(which[order])) == 11
    np.testing.assert_array_equal(neighbour_order(np.zeros((3, 8))), [0, 1, 2])
    np.testing.assert_array_equal(neighbour_order(C[:1]), [0])


def test_among_many_small_clusters_more_is_compared_than_within_them():
    X = random_unit(2000, 64, 8)
    C, labels = clustered(X, 200)
    sizes = np.bincount(labels, minlength=200).astype(float)
    rows = X[labels == int(sizes.argmax())]
    found = find_borders(rows, int(sizes.argmax()), prepare_centroids(C, sizes), 0.1)
    assert found.missed_share <= ENOUGH_SHARE
    assert sizes[found.cluster].sum() > 20 * len(rows) ** 2 / 2


def test_centroids_at_one_place_share_their_rows():
    X = random_unit(20, 8, 1)
    C = np.repeat(X[:1], 2, axis=0)
    found = find_borders(X, 0, prepare_centroids(C, np.ones(2)), 0.0, budget=1e9)
    assert sorted(found.row.tolist()) == list(range(20))


@pytest.mark.parametrize("k", [3, 70])
def test_centroids_at_one_place_without_a_budget(k):
    X = random_unit(20, 8, 1)
    C = np.repeat(X[:1], k, axis=0)
    chosen, left_out = borders_of(X, C, np.arange(20) % k, 0.1, budget=0.0)
    assert len(chosen) + left_out == 20 * (k - 1)


@pytest.mark.parametrize("dim", [4, 16, 256, 2304])
def test_no_pair_at_just_the_limit_is_missed_where_nothing_is_rounded(dim):
    """Numbers of one size are whole in one byte, so rounding leaves no room around the limit."""
    random = np.random.default_rng(dim)
    for _ in range(30):
        num_turned = int(random.integers(1, max(2, dim // 8)))
        X = np.repeat(np.where(random.random((1, dim)) < 0.5, -1, 1) / math.sqrt(dim), 2, axis=0).astype(np.float32)
        X[1, random.choice(dim, num_turned, replace=False)] *= -1
        chosen, left_out = borders_of(X, X * np.float32(0.9), np.arange(2), 2 * num_turned / dim, 0.0, recall=1)
        assert chosen
        assert left_out == 0


@pytest.mark.parametrize("budget", [-0.1, math.nan, math.inf])
def test_a_budget_must_make_sense(budget):
    X = random_unit(4, 8, 1)
    with pytest.raises(ParameterError, match="budget"):
        find_borders(X, 0, prepare_centroids(X, np.ones(4)), 0.1, budget=budget)


def test_many_clusters_far_from_the_own_one_are_not_looked_at():
    # 12 places with 20 clusters each: 19 neighbours are near, 220 clusters far.
    places = random_unit(12, 128, 30).astype(np.float64)
    X = unit(np.repeat(places, 600, axis=0) + 0.05 * np.random.default_rng(31).standard_normal((7200, 128)))
    C = X[np.arange(240) * 30].copy()
    for _ in range(3):
        labels = assign(X, C)
        C = np.stack([X[labels == j].mean(axis=0) if (labels == j).any() else C[j] for j in range(240)]).astype(
            np.float32
        )
    labels = assign(X, C)
    sizes = np.maximum(np.bincount(labels, minlength=240), 1).astype(float)
    centroids = prepare_centroids(C, sizes)
    own = int(sizes.argmax())
    rows = X[labels == own]
    everything = find_borders(rows, own, centroids, 0.01, budget=1e9)
    assert everything.left_out == 0
    few = find_borders(rows, own, centroids, 0.01, budget=0.4)
    assert len(few.row)
    # What is not looked at counts as left out with all rows, so the sum is an upper bound.
    assert len(everything.row) < len(few.row) + few.left_out <= len(rows) * 240
    near = np.flatnonzero(places @ places[labels.tolist().index(own) // 600] > 0.9)
    assert set((few.cluster * 30 // 600).tolist()) <= set(near.tolist())
    assert set(zip(few.row.tolist(), few.cluster.tolist(), strict=True)) <= set(
        zip(everything.row.tolist(), everything.cluster.tolist(), strict=True)
    )


# Sketches


def width_for(X: np.ndarray, eps: float) -> int:
    mean = X.mean(axis=0, dtype=np.float64)
    return int(sketch_widths(X.shape[1], eps, np.array([2 - 2 * mean @ mean]))[0])


@pytest.mark.parametrize("eps", [0.0, 0.01, 0.1, 0.3])
@pytest.mark.parametrize("shared", [0.0, 0.7], ids=["all-directions", "a-cone"])
def test_sketches_keep_near_pairs_and_drop_others(eps, shared):
    # In a cone unrelated rows are near each other, too, and the sketches have to be longer to tell.
    X = random_unit(1200, 512, 5).astype(np.float64)
    X = unit(math.sqrt(shared) * X[0] + math.sqrt(1 - shared) * X)
    Y = twins(X.astype(np.float64), 1 - eps, 6)
    width = min(width_for(X, eps), 126)
    pair = SketchPair.of(sketch(X, width), sketch(Y, width))
    near = list(pair.near(eps, 256))
    found = sum(int((left == right).sum()) for left, right, _ in near)
    assert found >= 0.997 * len(X)
    if width_for(X, eps) < 512:
        assert sum(len(left) for left, _, _ in near) - found <= 0.005 * len(X) ** 2


def test_sketch_widths_follow_eps_and_spread():
    assert sketch_widths(512, 0.01, np.array([2.0])).tolist() == [14]
    narrow, wide = sketch_widths(512, 0.1, np.array([2.0, 0.8]))
    assert 14 < narrow < wide < 128
    assert sketch_widths(512, 0.1, np.array([0.2, 0.0])).tolist() == [512, 512]  # unrelated rows are as near as pairs
    assert sketch_widths(16, 0.1, np.array([2.0])).tolist() == [16]


def test_the_first_numbers_of_a_sketch_are_a_shorter_sketch():
    X = random_unit(50, 300, 8, copies=0.5, noise=0.02)
    long = sketch(X, 62)
    np.testing.assert_array_equal(long[:, :14], sketch(X, 14))
    left, right, _ = next(SketchPair.of(long[:, :14], long[:, :14]).near(0.0, 128))
    assert set(range(50)) == set(left[left == right].tolist())


@pytest.mark.parametrize(("dim", "width"), [(30, 14), (512, 126)])
def test_sketches_are_whole_numbers_and_products_exact(dim, width):
    X = random_unit(300, dim, 7, copies=0.5, noise=0.1)
    Z = sketch(X, width)
    assert (np.rint(Z) == Z).all()
    pair = SketchPair.of(Z, Z)
    exact = -0.5 * ((Z[:, None, :].astype(np.float64) - Z[None]) ** 2).sum(axis=2)
    np.testing.assert_array_equal((pair.left @ pair.right.T).astype(np.float64), exact)
    # What the wider of a cluster's thresholds lets pass, the narrower does too.
    assert (np.diff(least_products(width, np.array([0.5, 0.9, 0.99, 1.0]))) > 0).all()


def test_the_sketches_of_find_borders_are_those_of_the_rows():
    X = random_unit(200, 128, 9)
    C, labels = clustered(X, 4)
    centroids = prepare_centroids(C, np.bincount(labels, minlength=4).astype(float))
    width = centroids.sketch_width(0.05)
    rows = X[labels == 1]
    assert width >= 14
    np.testing.assert_array_equal(find_borders(rows, 1, centroids, 0.05, rows_at_once=7).sketches, sketch(rows, width))


# Scores


@pytest.mark.parametrize("dim", [8, 300])
@pytest.mark.parametrize("eps", [0.01, 0.1, 0.5])
def test_all_pairs_of_brute_force_with_their_cosines(dim, eps):
    X = random_unit(500, dim, 11, copies=0.6, noise=0.8 * math.sqrt(2 * eps / dim))
    C = random_unit(50, dim, 12)  # any planes will do, and those between random directions part many
    labels = assign(X, C)
    expected = brute_force(X, labels, eps)
    assert (expected > 0).sum() >= 5
    np.testing.assert_array_equal(scores_over_all(X, C, labels, eps, budget=1e9), expected.astype(np.float32))


def test_the_default_budget_finds_planted_twins_in_random_directions():
    X = random_unit(3000, 512, 12)
    X = np.concatenate([X, twins(X[:1000].astype(np.float64), 0.93, 13)])
    C, labels = clustered(X, 4, iterations=8)
    parted = labels[3000:] != labels[:1000]
    assert parted.sum() >= 20
    score = scores_over_all(X, C, labels, 0.1, budget=0.25)
    assert (score[3000:][parted] >= 0.9).mean() >= 0.95


@pytest.mark.parametrize("dim", [8, 24])
def test_in_few_dimensions_the_default_budget_finds_nearly_all_twins_and_knows_what_it_misses(dim):
    X = random_unit(2000, dim, 14)
    shares = np.array([0.15, 0.35, 0.55, 0.75, 0.95])
    X = np.concatenate(
        [X, *(twins(X[part::5].astype(np.float64), 1 - 0.1 * share, 15) for part, share in enumerate(shares))]
    )
    C, labels = clustered(X, 20, iterations=6)
    first = np.concatenate([np.arange(part, 2000, 5) for part in range(5)])
    own, other = labels[first], labels[2000:]
    assert (own != other).sum() > 400
    centroids = prepare_centroids(C, np.bincount(labels, minlength=20).astype(float))
    estimate = dict.fromkeys((0.05, 1.0), 0.0)
    missed = {}
    for budget in estimate:
        chosen = set()
        for j in range(20):
            rows = np.flatnonzero(labels == j)
            found = find_borders(X[rows], j, centroids, 0.1, budget=budget)
            chosen.update(zip(rows[found.row].tolist(), found.cluster.tolist(), strict=True))
            estimate[budget] += found.missed_share * len(rows) / len(X)
        pairs = zip(first.tolist(), range(2000, 4000), own.tolist(), other.tolist(), strict=True)
        lost = [a != b and (i, b) not in chosen and (j, a) not in chosen for i, j, a, b in pairs]
        missed[budget] = float(np.mean(lost))
    assert missed[1.0] <= 0.001
    assert estimate[1.0] <= 0.002
    assert 0.01 < missed[0.05] <= estimate[0.05]


@pytest.mark.parametrize("tile_rows", [1, 7, 64, 1024])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("width", [0, 14, 30])
def test_tiles_and_threads_leave_no_trace(tile_rows, threads, width):
    X = random_unit(400, 256, 14, copies=0.7, noise=0.02)
    places = np.random.default_rng(15).permutation(400)
    with threadpool_limits(threads):
        sketches = sketch(X, 30)
        found = score_cross_cluster(
            ComparedRows.of(X[:150], sketches[:150]), ComparedRows.of(X[150:], sketches[150:]),
            lambda q, m: (places[:150][q], places[150:][m]), 0.1, width=width, tile_rows=tile_rows,
        )  # fmt: skip
    for partial, own, other in (
        (found.queries, slice(0, 150), slice(150, 400)),
        (found.members, slice(150, 400), slice(0, 150)),
    ):
        cosine = np.rint(cosines(X)[own, other] * 2.0**24) / 2.0**24
        cosine[(cosine < 0.9) | (places[other][None, :] > places[own][:, None])] = -np.inf
        np.testing.assert_array_equal(partial.cosine, np.minimum(1, cosine.max(axis=1)).astype(np.float32))
        for row in np.flatnonzero(partial.index >= 0):
            best = np.flatnonzero(cosine[row] == cosine[row].max())
            assert partial.index[row] == best[places[other][best].argmin()]
        assert ((partial.index < 0) == np.isneginf(partial.cosine)).all()
    assert (found.queries.index >= 0).any()
    assert (found.members.index >= 0).any()


def test_many_near_pairs_are_compared_as_whole_rows_with_the_same_result(monkeypatch):
    X = unit(random_unit(300, 128, 16) * 0.4 + random_unit(1, 128, 17))
    places = np.random.default_rng(18).permutation(300)

    def order(queries, members):
        return places[:100][queries], places[100:][members]

    dense = score_cross_cluster(ComparedRows.of(X[:100]), ComparedRows.of(X[100:]), order, 0.2)
    assert dense.num_measured == 100 * 200
    monkeypatch.setattr(cross_cluster, "DENSE_SHARE", 2.0)
    sparse = score_cross_cluster(ComparedRows.of(X[:100]), ComparedRows.of(X[100:]), order, 0.2)
    for one, other in ((dense.queries, sparse.queries), (dense.members, sparse.members)):
        np.testing.assert_array_equal(one.cosine, other.cosine)
        np.testing.assert_array_equal(one.index, other.index)
        assert (one.index >= 0).sum() > 50


def test_nothing_near_asks_for_no_order():
    X = np.eye(6, dtype=np.float32)

    def order(queries, members):
        raise AssertionError("nothing to order")

    found = score_cross_cluster(ComparedRows.of(X[:3]), ComparedRows.of(X[3:]), order, 0.01)
    assert found.queries.index.tolist() == found.members.index.tolist() == [-1, -1, -1]
    assert found.num_measured == 0


def test_rows_with_a_score_look_for_a_higher_one_only():
    X = random_unit(400, 256, 19, copies=0.7, noise=0.02)
    places = np.random.default_rng(20).permutation(400)
    sketches = sketch(X, 30)

    def order(queries, members):
        return places[:150][queries], places[150:][members]

    def parties(scores):
        one, other = (None, None) if scores is None else (scores[:150], scores[150:])
        return ComparedRows.of(X[:150], sketches[:150], one), ComparedRows.of(X[150:], sketches[150:], other)

    plain = score_cross_cluster(*parties(None), order, 0.1, width=30)
    best = np.concatenate([plain.queries.cosine, plain.members.cosine])
    scores = np.random.default_rng(21).choice([0.0, 0.5, 0.95, 0.999, 1.0], 400).astype(np.float32)
    scores[::7] = np.maximum(best, 0)[::7]
    some = score_cross_cluster(*parties(scores), order, 0.1, width=30)
    raised = np.concatenate([some.queries.cosine, some.members.cosine])
    np.testing.assert_array_equal(np.maximum(raised, scores), np.maximum(best, scores))
    assert some.num_measured < plain.num_measured
    for one, other, part in (
        (plain.queries, some.queries, slice(0, 150)),
        (plain.members, some.members, slice(150, 400)),
    ):
        higher = one.cosine > scores[part]
        np.testing.assert_array_equal(one.index[higher], other.index[higher])
        assert higher.any()


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 10_000),
    eps=st.sampled_from([0.0, 0.02, 0.3, 0.9]),
    dense=st.booleans(),
    tile=st.integers(1, 40),
)
def test_near_pairs_are_those_of_brute_force(seed, eps, dense, tile):
    X = random_unit(90, 24, seed, copies=0.6, noise=0.05)
    one, other = X[:30], X[30:]
    share = cross_cluster.DENSE_SHARE
    cross_cluster.DENSE_SHARE = -1.0 if dense else share
    try:
        found = find_near_pairs(ComparedRows.of(one), ComparedRows.of(other), eps, tile_rows=tile)
    finally:
        cross_cluster.DENSE_SHARE = share
    cosine = np.minimum(1.0, np.rint(cosines(X)[:30, 30:] * 2.0**24) / 2.0**24)
    pairs = set(zip(found.query.tolist(), found.member.tolist(), strict=True))
    assert pairs == set(zip(*(index.tolist() for index in np.nonzero(cosine >= 1 - eps)), strict=True))
    assert len(pairs) == len(found.cosine)
    assert np.allclose(found.cosine, cosine[found.query, found.member], atol=1e-7)
    assert not len(find_near_pairs(ComparedRows.of(one[:0]), ComparedRows.of(other), eps).query)


def test_sketches_find_the_near_pairs_too():
    X = random_unit(400, 256, 3)
    both = twins(X, 0.95, 4)
    sketches = [sketch(rows, 30) for rows in (X, both)]
    found = find_near_pairs(
        ComparedRows.of(X, sketches[0]), ComparedRows.of(both, sketches[1]), 0.06, looked_for=0.1, width=30
    )
    assert (found.query == found.member).all()
    assert len(found.query) >= 398


@pytest.mark.parametrize("num_rows", [9, 1000])
def test_rows_near_a_plane_are_compared_though_no_sampled_row_lies_near_it(num_rows):
    """The search looks no farther than a sample says is enough, and the sample may have missed the few rows that matter."""
    random = np.random.default_rng(0)
    X = np.zeros((num_rows, 64), np.float32)
    X[:, 0] = 1
    X[:, 2:] = 0.3 * random.standard_normal((num_rows, 62)) / 62**0.5
    few = np.arange(3, num_rows, 97)  # none of them is sampled
    X[few, 1] = 0.97
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    C = np.zeros((2, 64), np.float32)
    C[[0, 1], [0, 1]] = 1
    centroids = prepare_centroids(C, np.full(2, float(num_rows)))
    found = find_borders(X, 0, centroids, eps=0.05)
    assert found.row.tolist() == few.tolist()
    assert not np.isin(few, np.arange(num_rows)[:: max(2, -(-num_rows // 64))]).any()


def test_a_margin_that_is_looked_up_to_is_not_missed():
    sample = np.float32([[np.inf, 0.0501], [np.inf, 0.0504]])
    misses = Misses.of(sample, 0.1, 4)
    assert misses.share(float(sample[1, 1])) == 0
    assert misses.share(0.01) > 0
