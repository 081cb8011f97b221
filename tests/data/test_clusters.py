"""The vectors of a cluster of k-means: numbers that would hide duplicates."""

from __future__ import annotations

import numpy as np
import pytest

from curator_dask.data.clusters import finite_rows
from curator_dask.errors import InputError


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_finite_are_refused(number):
    X = np.ones((4, 4), dtype=np.float32)
    X[2, 1], X[3, 3] = number, -number  # infinities of both signs have no sum
    with pytest.raises(InputError, match="cluster 0: row 2 has a number that is not finite"):
        finite_rows(X, "cluster 0")


def test_a_sum_that_is_too_large_is_no_fault():
    X = np.full((4, 4), 3e38, dtype=np.float32)
    assert finite_rows(X, "cluster 0") is X
