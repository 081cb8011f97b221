from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from curator_dask.dedup.similarity.threshold import is_duplicate, least_steps, suggest_eps
from curator_dask.errors import ParameterError


@pytest.mark.parametrize(
    ("score", "eps", "expected"),
    [
        (np.float32(0.9), 0.1, False),  # float32(0.9) is 0.89999998
        (np.nextafter(np.float32(0.9), np.float32(1)), 0.1, True),
        (np.float32(0.7), 0.3, False),  # float32(0.7) is 0.69999999
        (np.nextafter(np.float32(0.7), np.float32(1)), 0.3, True),
        (np.float32(0.99), 0.01, True),  # float32(0.99) is 0.99000001
        (np.nextafter(np.float32(0.99), np.float32(0)), 0.01, False),
        (np.float32(0.75), 0.25, True),
        (np.float32(1), 0.0, True),
        (np.nextafter(np.float32(1), np.float32(0)), 0.0, False),
        (np.float32(np.nan), 0.5, False),
    ],
)
def test_the_line(score, eps, expected):
    assert is_duplicate(np.array([score]), eps).tolist() == [expected]
    assert is_duplicate(score, eps) == expected


@given(st.floats(0, 1, exclude_max=True))
def test_least_steps_is_the_first_step_over_the_line(eps):
    least = least_steps(eps)
    assert is_duplicate(least / 2.0**24, eps)
    assert not is_duplicate((least - 1) / 2.0**24, eps)


@pytest.mark.parametrize("eps", [-0.1, 1.0, 1.5, float("nan")])
def test_eps_is_checked(eps):
    with pytest.raises(ParameterError, match="eps must be"):
        is_duplicate(np.zeros(1, np.float32), eps)


@pytest.mark.parametrize(
    ("scores", "target", "removed"),
    [
        ([0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.96, 0.97, 1], 0.7, 3),
        ([0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.96, 0.97, 1], 0.0, 9),
        ([0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.96, 0.97, 1], 0.95, 1),
        ([0, 0.5, 0.5, 0.5, 0.9], 0.5, 1),
        ([0, 0.5, 0.9], 1.0, 0),
        ([0, 1, 1, 1], 0.9, 3),
        ([0, 0, 0], 0.1, 0),
        ([], 0.5, 0),
    ],
    ids=[
        "three",
        "all that can",
        "one and a half",
        "ties stay together",
        "none",
        "equal rows go",
        "nothing to go",
        "empty",
    ],
)
def test_suggested_eps(scores, target, removed):
    scores = np.array(scores, dtype=np.float32)
    assert is_duplicate(scores, suggest_eps(scores, target)).sum() == removed


@given(
    hnp.arrays(np.int64, st.integers(1, 50), elements=st.integers(0, 2**24 - 1)),
    st.floats(0, 1),
)
def test_suggested_eps_keeps_the_share_and_no_more_than_it_must(steps, target):
    scores = (steps / 2.0**24).astype(np.float32)
    eps = suggest_eps(scores, target)
    gone = is_duplicate(scores, eps)
    assert (~gone).sum() >= target * len(scores) - 1e-6
    others = np.unique(scores[~gone & (scores > 0)])
    if len(others):
        wider = scores >= others[-1]
        assert (~wider).sum() < target * len(scores) + 1e-6


@pytest.mark.parametrize("target", [-0.1, 1.1])
def test_target_keep_is_checked(target):
    with pytest.raises(ParameterError, match="target_keep"):
        suggest_eps([0.5], target)
