"""How a sample is shared out over groups: worked examples and properties."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curator_dask.dedup.ranking.quotas import quotas


@pytest.mark.parametrize(
    ("sizes", "total", "options", "expected"),
    [
        pytest.param([100, 20, 3], 60, {}, [37, 20, 3], id="small-ones-stay-whole"),
        pytest.param([100, 20, 3], 60, {"temperature": 1.0}, [49, 10, 1], id="in-proportion"),
        pytest.param([100, 20, 3], 50, {"most": 30}, [27, 20, 3], id="below-the-most"),
        pytest.param([100, 20, 3], 53, {"most": 30}, [30, 20, 3], id="at-the-most"),
        pytest.param([5, 5, 5], 7, {}, [3, 2, 2], id="ties-in-order"),
        pytest.param([5, 5, 5], 7, {"order": [2, 0, 1]}, [2, 3, 2], id="ties-in-another-order"),
        pytest.param([0, 4], 2, {}, [0, 2], id="an-empty-group"),
        pytest.param([4, 9], 13, {"temperature": 0.5}, [4, 9], id="all"),
        pytest.param([400, 100], 30, {"temperature": 0.5}, [20, 10], id="square-root"),
        pytest.param([3], 0, {}, [0], id="nothing"),
    ],
)
def test_worked_examples(sizes, total, options, expected):
    assert quotas(sizes, total, **options) == expected


@given(st.data())
def test_quotas_add_up_and_fit(data):
    sizes = data.draw(st.lists(st.integers(0, 10**6), min_size=1, max_size=40))
    most = data.draw(st.none() | st.integers(1, 1000))
    total = data.draw(st.integers(0, sum(min(size, most or size) for size in sizes)))
    temperature = data.draw(st.floats(0, 1))
    found = quotas(sizes, total, temperature=temperature, most=most)
    assert sum(found) == total
    assert all(0 <= one <= min(size, most or size) for one, size in zip(found, sizes, strict=True))
    if temperature == 0:  # nobody has two more than another who could have had more
        limits = [min(size, most or size) for size in sizes]
        could = [one for one, limit in zip(found, limits, strict=True) if one < limit]
        assert not could or max(found) - min(could) <= 1


def test_too_few_rows():
    with pytest.raises(ValueError, match="53 rows are too few for 60"):
        quotas([100, 20, 3], 60, most=30)
