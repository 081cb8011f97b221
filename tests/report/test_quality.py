"""Histograms of quality columns whose values come in parts."""

from __future__ import annotations

import numpy as np
import pytest

from curator_dask.report.quality import BINS, TOPS, Spread


@pytest.mark.parametrize("number", [1, 2, 50, 100, 101, 102, 199, 201, 1000])
@pytest.mark.parametrize("limit", [None, 0.0, 0.3, 9.0])
def test_a_histogram_of_parts_is_that_of_all_values(number, limit):
    generator = np.random.default_rng(number)
    for scale in (0.001, 0.02, 0.05, 0.3, 1.0, 3.0, 9.0):
        values = np.round(generator.exponential(scale, number), 3)
        spread = Spread()
        for part in np.array_split(generator.permutation(values), 7):
            spread.add(part)
        highest = max(float(np.quantile(values, 0.99)), limit or 0.0)
        top = next((top for top in TOPS if top >= highest), TOPS[-1])
        counts, edges = np.histogram(np.clip(values, 0, top), bins=BINS, range=(0, top))
        assert spread.histogram(limit) == {"edges": np.round(edges, 6).tolist(), "counts": counts.tolist()}


def test_no_values_and_values_that_are_no_numbers():
    spread = Spread()
    spread.add([float("nan"), float("inf")])
    assert spread.histogram()["counts"] == [0] * BINS
    assert spread.histogram()["edges"][-1] == TOPS[0]
