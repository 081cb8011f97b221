"""A column that grows holds what was added, in order, whatever the sizes of the pieces are."""

from __future__ import annotations

import numpy as np
import pytest

from curator_dask.dedup.arrays.growing import FIRST_ROWS, Growing


@pytest.mark.parametrize("pieces", [[], [0], [3, 0, 5], [FIRST_ROWS, 1], [1, FIRST_ROWS * 5, 7], [1000] * 200], ids=len)
def test_all_pieces_come_one_after_the_other(pieces):
    parts = [np.arange(size, dtype=np.int32) + at for at, size in enumerate(pieces)]
    column = Growing(np.int32)
    for part in parts:
        column.add(part)
    assert column.values().dtype == np.int32
    assert np.array_equal(column.values(), np.concatenate([np.zeros(0, np.int32), *parts]))


def test_a_wider_type_widens_what_is_there():
    column = Growing(np.int32)
    column.add(np.array([-1, 7], np.int32))
    column.add(np.array([2**40]))
    column.add(np.array([5], np.int32))
    assert column.values().tolist() == [-1, 7, 2**40, 5]
