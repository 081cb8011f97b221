"""Marks to shots, and shots to spans that begin and end at frames."""

from __future__ import annotations

import numpy as np
import pytest

from curator_dask.errors import ParameterError
from curator_dask.video.shots.shots import ShotLengths, shots_between


@pytest.mark.parametrize(
    ("marks", "shots"),
    [
        ("......", [(0, 6)]),
        ("..#...", [(0, 3), (3, 6)]),
        ("..##..", [(0, 2), (4, 6)]),
        ("#.....", [(0, 1), (1, 6)]),
        (".....#", [(0, 6)]),
        ("######", []),
        (".#.#..", [(0, 2), (2, 4), (4, 6)]),
    ],
)
def test_shots_lie_between_marks(marks, shots):
    assert shots_between(np.array([mark == "#" for mark in marks])) == shots


def plan(shots, num_frames=1000, **lengths):
    """25 frames per second."""
    planned = ShotLengths(**lengths).plan(shots, np.arange(num_frames) / 25, 25.0)
    assert [span.index for span in planned.spans] == list(range(len(planned.spans)))
    return [(span.start_s, span.end_s) for span in planned.spans], planned.num_dropped_short, planned.num_dropped_limit


def test_strides_count_from_the_start_of_the_shot():
    assert plan([(0, 110), (110, 1000)]) == ([(0, 4.4), (4.4, 14.4), (14.4, 24.4), (24.4, 34.4), (34.4, 40)], 0, 0)
    assert plan([(0, 110), (110, 400)], stride_s=5.0)[0] == [(0, 4.4), (4.4, 14.4), (9.4, 16)]


def test_clips_are_cropped_and_short_ones_counted():
    assert plan([(0, 300)], num_frames=300, crop_s=0.5) == ([(0.52, 9.52)], 1, 0)
    assert plan([(0, 60), (60, 100)], num_frames=100) == ([(0, 2.4)], 1, 0)


def test_long_shots_are_truncated_and_clips_limited():
    assert plan([(0, 900), (900, 1000)], max_length_mode="truncate") == ([(0, 10), (36, 40)], 0, 0)
    assert plan([(0, 1000)], limit=2) == ([(0, 10), (10, 20)], 0, 2)


def test_spans_begin_at_frames_of_a_variable_rate():
    times_s = np.array([0, 0.1, 0.5, 2.0, 2.1, 4.0, 4.05, 9.0])
    planned = ShotLengths(max_length_s=3.0, min_length_s=0.0).plan([(0, 4), (4, 8)], times_s, 1.0)
    ends = [end for span in planned.spans for end in (span.start_s, span.end_s)]
    assert ends == [0, 2.1, 2.1, 9.0, 9.0, 9.0 + 1.0]


@pytest.mark.parametrize(
    "bad", [{"max_length_s": 0}, {"crop_s": 5.0}, {"min_length_s": 11.0}, {"max_length_mode": "cut"}, {"limit": -1}]
)
def test_impossible_lengths_are_refused(bad):
    with pytest.raises(ParameterError):
        ShotLengths(**bad)
