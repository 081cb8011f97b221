"""Which eps is recommended, and the numbers behind it."""

from __future__ import annotations

import numpy as np
import pytest

from curator_dask.dedup.calibration import calibrate, recommended_eps
from curator_dask.errors import InputError

PAIRS = {
    ("grey", "light"): np.array([0.99, 0.97, 0.95, 0.93]),
    ("crop", "hard"): np.array([0.80, 0.61, 0.31, -1.0]),
}


@pytest.mark.parametrize(
    ("true", "highest_false", "eps"),
    [
        pytest.param([0.99, 0.95], 0.2, 0.05, id="no-larger-than-needed"),
        pytest.param([0.99, 0.5, 0.1], 0.45, 0.5, id="up-to-the-last-that-is-clear"),
        pytest.param([0.99, 0.5, 0.1], 0.49, 0.01, id="a-margin-is-kept"),
        pytest.param([0.99], 1.0, 0.01, id="false-pairs-everywhere"),
        pytest.param([0.3], 0.9, 0.08, id="nothing-found"),
        pytest.param([1.0], -1.0, 0.01, id="exact-copies"),
    ],
)
def test_recommended_eps(true, highest_false, eps):
    assert recommended_eps(np.array(true), highest_false) == eps


def test_recall_is_counted_per_edit_and_over_all():
    found = calibrate(PAIRS, np.array([0.1, 0.35, -0.2]), 4)
    grey, crop = found.edits
    assert (grey.recall, crop.recall) == (1.0, 0.5)
    assert found.recommended_eps == 0.39  # .61 is found, .31 is not: one at .35 is another clip
    assert (grey.recall_at_eps, crop.recall_at_eps) == (1.0, 0.5)
    assert (found.recall("light"), found.recall("hard", at_eps=True)) == (1.0, 0.5)
    assert (grey.lowest, crop.lowest, grey.median) == (0.93, -1.0, pytest.approx(0.96))
    row = {row.eps: row for row in found.table}[0.7]
    assert (row.light_recall, row.hard_recall, row.num_false_pairs) == (1.0, 0.75, 1)


def test_without_pairs_of_different_clips_all_is_clear():
    found = calibrate(PAIRS, np.empty(0), 4)
    assert (found.highest_false, found.num_false_candidates) == (-1.0, 0)
    assert found.recall("hard") == 0.75


def test_no_clip_with_a_vector_is_an_error():
    with pytest.raises(InputError, match="no clip has a usable vector"):
        calibrate({("grey", "light"): np.empty(0)}, np.empty(0), 0)
