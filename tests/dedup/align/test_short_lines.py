"""Clips of two and three seconds that are sources of their own."""

from __future__ import annotations

import numpy as np
import pytest

from curator_dask.dedup.align.judge import Thresholds
from curator_dask.dedup.align.line import Line
from curator_dask.dedup.align.short_lines import short_overlaps
from tests.dedup.align.lines import line_of, scene


def found_in(lines: list[Line]) -> list[tuple[int, int, float]]:
    return [(i, j, overlap.offset / 4) for i, j, overlap in short_overlaps(lines, None, Thresholds())]


@pytest.mark.parametrize("num_windows", [4, 5, 6, 7])
def test_a_short_clip_and_its_copy_are_found(num_windows: int) -> None:
    clip = scene(1, num_windows)
    copy = clip + np.random.default_rng(2).normal(0, 1, clip.shape)

    assert found_in([line_of(clip), line_of(scene(3, num_windows)), line_of(copy)]) == [(0, 2, 0.0)]


def test_a_short_clip_is_found_in_a_long_video() -> None:
    film = scene(1, 60)

    assert found_in([line_of(film), line_of(film[20:26])]) == [(0, 1, 10.0)]


def test_other_moments_before_one_camera_are_not_found() -> None:
    standing = scene(1, 1, moving=0.0)[0]
    moments = [standing + (scene(seed, 6) - scene(seed, 1, moving=0.0)) * 0.3 for seed in range(2, 30)]

    assert found_in([line_of(moment) for moment in moments]) == []


def test_long_lines_are_left_to_the_other_search() -> None:
    film = scene(1, 30)

    assert found_in([line_of(film), line_of(film)]) == []


def test_two_short_clips_that_share_their_last_and_first_three_seconds_are_found() -> None:
    film = scene(1, 14)

    assert found_in([line_of(film[:8]), line_of(film[2:10])]) == [(0, 1, 1.0)]
    assert found_in([line_of(film[:8]), line_of(film[5:13])]) == [], "a second and a half is too little"


def test_a_copy_between_two_windows_is_found() -> None:
    fine = np.repeat(scene(4, 30), 1, axis=0)
    later = 0.8 * fine[1:11] + 0.2 * fine[2:12]

    assert found_in([line_of(fine[:8]), line_of(later[:6])]) == [(0, 1, 0.5)]


def test_few_loud_frequencies_hide_no_copy() -> None:
    film = scene(1, 6)
    film[:, :2] += np.cumsum(np.random.default_rng(3).normal(0, 300, (6, 2)), axis=0)

    assert found_in([line_of(film), line_of(film[:5])]) == [(0, 1, 0.0)]
