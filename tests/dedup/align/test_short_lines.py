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
