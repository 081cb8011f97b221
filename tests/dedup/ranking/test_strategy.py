from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curator_dask.dedup.kmeans.distances import centroid_distances
from curator_dask.dedup.ranking.strategy import RankingStrategy
from curator_dask.errors import InputError, ParameterError
from tests.dedup.reference import EXAMPLE_1

EXAMPLE_COLUMNS = {
    "custom_score": np.array([0.1, 0.8, 0.3, 0.9, 0.2, 0.15]),
    "priority": np.array([3, 1, 2, 1, 3, 2]),
}


@pytest.mark.parametrize(
    ("which", "expected"), [("hard", [3, 2, 1, 5, 4, 0]), ("easy", [0, 4, 5, 1, 2, 3])], ids=["hard", "easy"]
)
@pytest.mark.parametrize("sim_metric", ["cosine", "l2"])
@pytest.mark.parametrize("id_type", [np.int32, np.int64, "<U8", object])
def test_example_1_by_distance(which, expected, sim_metric, id_type):
    l2, cosine = centroid_distances(EXAMPLE_1, EXAMPLE_1[:1], np.zeros(6, np.int32))
    columns = {"l2_dist_to_cent": l2, "cosine_dist_to_cent": cosine}
    ids = np.array([f"clip-{i}" for i in range(6)] if id_type in ("<U8", object) else range(6), dtype=id_type)
    assert RankingStrategy.of(which, sim_metric).rank(columns, ids).tolist() == expected


@pytest.mark.parametrize(
    ("columns", "ascending", "expected"),
    [
        (["custom_score"], [False], [3, 1, 2, 4, 5, 0]),
        (["custom_score"], False, [3, 1, 2, 4, 5, 0]),
        (["priority", "custom_score"], [True, False], [3, 1, 2, 5, 4, 0]),
        (["priority"], True, [1, 3, 2, 5, 0, 4]),
        (["priority"], False, [0, 4, 2, 5, 1, 3]),
    ],
)
def test_example_1_by_metadata(columns, ascending, expected):
    strategy = RankingStrategy.metadata_based(metadata_cols=columns, ascending=ascending)
    assert strategy.rank(EXAMPLE_COLUMNS, np.arange(6)).tolist() == expected


@given(st.integers(0, 2**32), st.sampled_from(["hard", "easy", "random"]), st.booleans())
def test_the_order_of_the_ids_does_not_depend_on_the_order_of_the_rows(seed, which, strings):
    random = np.random.default_rng(seed)
    ids = np.array([f"id{i}" for i in range(30)]) if strings else np.arange(30) - 7
    distance = random.integers(0, 5, 30).astype(np.float32)
    shuffled = random.permutation(30)
    strategy = RankingStrategy.of(which, random_seed=seed)
    first = ids[strategy.rank({"cosine_dist_to_cent": distance}, ids)]
    second = ids[shuffled][strategy.rank({"cosine_dist_to_cent": distance[shuffled]}, ids[shuffled])]
    assert first.tolist() == second.tolist()


def test_random_orders_differ_by_seed_and_keep_the_order_of_a_subset():
    ids = np.arange(1000)
    order = RankingStrategy.random(random_seed=42).rank({}, ids)
    assert sorted(order.tolist()) == ids.tolist()
    assert (RankingStrategy.random(random_seed=43).rank({}, ids) != order).any()
    part = RankingStrategy.random(random_seed=42).rank({}, ids[::3])
    assert ids[::3][part].tolist() == [i for i in order.tolist() if i % 3 == 0]


@pytest.mark.parametrize("ascending", [True, False])
@pytest.mark.parametrize(
    "values",
    [
        np.array([1.0, np.nan, 0.5, np.nan]),
        np.array([1, None, 0.5, None], dtype=object),
        np.array([1.0, float("nan"), 0.5, None], dtype=object),
        np.array(["b", None, "a", pd.NA], dtype=object),
        np.array(["2026-01-02", "NaT", "2026-01-01", "NaT"], dtype="datetime64[s]"),
    ],
    ids=["nan", "none", "nan object", "NA", "NaT"],
)
def test_nulls_come_last_in_either_direction(values, ascending):
    order = RankingStrategy.metadata_based(["x"], ascending).rank({"x": values}, np.array([3, 2, 1, 0]))
    assert order.tolist() == ([2, 0] if ascending else [0, 2]) + [3, 1]


def test_large_integers_keep_their_order():
    values = np.array([2**53 + 1, 2**53, 2**53 + 2])
    assert RankingStrategy.metadata_based(["x"], False).rank({"x": values}, np.arange(3)).tolist() == [2, 0, 1]


def test_booleans_and_strings():
    columns = {"hd": np.array([False, True, True]), "name": np.array(["c", "b", "a"])}
    assert RankingStrategy.metadata_based(["hd", "name"], [False, True]).rank(columns, np.arange(3)).tolist() == [
        2,
        1,
        0,
    ]


def test_no_rows():
    assert RankingStrategy.metadata_based(["x"]).rank({"x": []}, []).shape == (0,)
    assert RankingStrategy.random().rank({}, []).shape == (0,)


def test_strategies_are_values():
    assert RankingStrategy.metadata_based(["a", "b"]) == RankingStrategy.metadata_based(("a", "b"), [True, True])
    assert hash(RankingStrategy.of("hard")) == hash(RankingStrategy.of("hard"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RankingStrategy.of("best"), "which_to_keep"),
        (lambda: RankingStrategy.of("hard", "dot"), "sim_metric"),
        (lambda: RankingStrategy.metadata_based([]), "empty"),
        (lambda: RankingStrategy.metadata_based("duration"), "list of column names"),
        (lambda: RankingStrategy.metadata_based(["a"], [True, False]), "2 directions for 1"),
        (lambda: RankingStrategy(["a"], strategy="magic"), "strategy"),
        (lambda: RankingStrategy.metadata_based(["gone"]).rank({"here": [1]}, [1]), "'gone'"),
    ],
)
def test_parameters_are_checked(make, message):
    with pytest.raises(ParameterError, match=message):
        make()


def test_values_without_an_order_are_refused():
    with pytest.raises(InputError, match="'x'"):
        RankingStrategy.metadata_based(["x"]).rank({"x": np.array([1, "a"], dtype=object)}, [0, 1])
