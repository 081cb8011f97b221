"""How texture changes between two pictures: over which height, and whether it comes, goes or both."""

from __future__ import annotations

import numpy as np
import pytest

from curator_dask.video.shots.writing import compare_neighbours, compare_writing


def picture(*rows: int, first: int = 5) -> np.ndarray:
    """A plain picture with a line of letters in each of these rows."""
    plain = np.full((27, 48), 200, np.float32)
    for row in rows:
        plain[row, first : first + 20 : 2] = 100
    return plain


@pytest.mark.parametrize(
    ("before", "after", "rows", "both"),
    [
        ((4,), (4,), 0, False),
        ((), (4,), 1, False),
        ((), (4, 8, 12), 9, False),
        ((4, 8, 12), (), 9, False),
        ((2,), (2, 25), 1, False),
        ((2, 5, 8, 11), (3, 6, 9, 12), 11, True),
        ((3,), (25,), 1, True),
    ],
)
def test_the_height_and_whether_texture_both_comes_and_goes(before, after, rows, both):
    height, exchange = compare_writing(picture(*before), picture(*after))
    assert round(27 * height) == rows
    assert (exchange > 0.01) == both


def test_lines_that_are_far_apart_are_not_one_page():
    assert compare_writing(picture(), picture(2, 24))[0] == compare_writing(picture(), picture(2))[0]


def test_light_and_what_a_decoder_refines_are_no_exchange():
    before = picture(4, 8) + np.random.default_rng(1).normal(0, 9, (27, 48)).astype(np.float32)
    assert compare_writing(before, before + 40)[1] == 0
    assert compare_writing(before, 1.3 * before - 60)[1] == 0


def test_a_pointer_is_no_exchange():
    before, after = picture(4), picture(4)
    before[10:12, 10:12], after[20:22, 30:32] = 0, 0
    assert compare_writing(before, after)[1] < 0.01
    assert compare_writing(before, after)[0] == 0


def test_only_those_that_are_asked_for_are_compared():
    grey = np.stack([picture(), picture(4), picture(8)])
    heights, exchanges = compare_neighbours(grey, np.array([False, True, False]))
    assert heights.tolist() == [0, np.float32(1 / 27), 0]
    assert exchanges.tolist() == [0, 0, 0]
