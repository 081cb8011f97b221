"""Codes of one byte per number: those of a row do not depend on the rows beside it."""

from __future__ import annotations

import numpy as np
import pytest

from curator_dask.dedup.similarity import codes
from curator_dask.dedup.similarity.codes import LARGEST, MARGIN, code_scores, to_codes


@pytest.mark.parametrize(("num_rows", "width"), [(0, 4), (1, 1), (3, 300_000), (700, 512), (2000, 333), (5, 0)])
def test_each_row_is_divided_by_its_own_step(num_rows, width):
    X = np.random.default_rng(0).standard_normal((num_rows, width)).astype(np.float32)
    X[1:2] = 0
    found, steps = to_codes(X)
    for row, code, step in zip(X, found, steps, strict=True):
        expected = np.float32(np.abs(row).max(initial=0) / np.float32(LARGEST)) or np.float32(1)
        assert step == expected
        np.testing.assert_array_equal(code, np.rint(row / expected))


def test_scores_of_codes_are_near_those_of_the_rows(monkeypatch):
    X = np.random.default_rng(1).standard_normal((900, 64)).astype(np.float32)
    wanted = X[7] / np.linalg.norm(X[7])
    found, steps = to_codes(X)
    scores = code_scores(found, steps, wanted)
    assert (np.abs(scores - X @ wanted) <= MARGIN * steps).all()
    monkeypatch.setattr(codes, "BLOCK_NUMBERS", 64 * 7)
    np.testing.assert_allclose(code_scores(found, steps, wanted), scores, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(to_codes(X)[0], found)
