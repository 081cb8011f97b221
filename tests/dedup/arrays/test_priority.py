from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curator_dask.dedup.arrays.priority import sample_priority
from curator_dask.errors import InputError, ParameterError


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64, object])
def test_integers_of_any_width_have_the_same_value(dtype):
    ids = [0, 1, -1, 7, 100, -128]
    expected = sample_priority(np.array(ids, dtype=np.int64), 42)
    np.testing.assert_array_equal(sample_priority(np.array(ids, dtype=dtype), 42), expected)
    assert len(set(expected.tolist())) == len(ids)


@pytest.mark.parametrize("dtype", ["<U3", "<U64", object, np.dtypes.StringDType()])
def test_strings_of_any_width_have_the_same_value(dtype):
    ids = ["a", "", "äß", "abc"]
    expected = sample_priority(ids, 42)
    np.testing.assert_array_equal(sample_priority(np.array(ids, dtype=dtype), 42), expected)
    assert len(set(expected.tolist())) == len(ids)


def test_values_are_pinned():
    """These values must never change, because runs of an earlier version are continued with them."""
    assert sample_priority(np.array([0]), 0).tolist() == [12035550249420947055]
    assert sample_priority(["clip-0"], 42).tolist() == [14791599891805296384]


@given(st.lists(st.integers(0, 2**63 - 1), unique=True), st.integers(0, 2**64 - 1))
def test_a_value_depends_on_the_id_alone(ids, seed):
    ids = np.array(ids, dtype=np.int64)
    whole = sample_priority(ids, seed)
    np.testing.assert_array_equal(sample_priority(ids[::-1], seed), whole[::-1])
    assert len(np.unique(whole)) == len(ids)


def test_bytes_are_ids_too():
    ids = np.array([b"a", b"a\0", b"a\0\0", b"\xff"], dtype=object)
    assert len(set(sample_priority(ids, 1).tolist())) == 4
    assert sample_priority(np.array([b"a"], dtype=object), 1) == sample_priority(["a"], 1)


def test_lone_surrogates_are_ids_too():
    assert len(set(sample_priority(["\udcff", "\udcfe"], 1).tolist())) == 2


@pytest.mark.parametrize("ids", [np.arange(20000), [f"clip-{i}" for i in range(20000)]], ids=["int", "str"])
def test_values_are_spread_evenly_and_change_with_the_seed(ids):
    first, second = sample_priority(ids, 1), sample_priority(ids, 2)
    counts = np.bincount((first >> np.uint64(60)).astype(np.int64), minlength=16)
    assert np.abs(counts - 1250).max() < 6 * 1250**0.5
    assert abs(np.corrcoef(first.astype(float), second.astype(float))[0, 1]) < 0.05


@pytest.mark.parametrize("ids", [[1.5], ["a", 1], [None], [True, "a"], [b"a", "a"]])
def test_other_ids_are_refused(ids):
    with pytest.raises(InputError, match="ids must be"):
        sample_priority(np.array(ids, dtype=object), 0)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_out_of_range_is_refused(seed):
    with pytest.raises(ParameterError, match=str(seed)):
        sample_priority([1], seed)


def test_no_ids():
    assert sample_priority([], 0).shape == (0,)
