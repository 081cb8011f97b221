"""Copies are found whenever they begin; other moments are not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from curator_dask.dedup.align.diagonal import align, compare
from curator_dask.dedup.align.judge import Thresholds
from curator_dask.dedup.align.line import lay_out
from curator_dask.errors import ParameterError
from tests.dedup.align.lines import line_of, overlaps_of, scene, track


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 30), st.integers(20, 60))
def test_a_copy_is_found_wherever_it_begins(seed: int, begins: int, length: int) -> None:
    original = scene(seed, begins + length)
    lines = [line_of(original), line_of(original[begins:])]

    found = overlaps_of(lines)

    assert found == [(0, 1, begins / 2, (begins + length) / 2, begins / 2)]


def test_a_copy_between_two_windows_is_found_within_a_quarter_second() -> None:
    fine = np.repeat(scene(3, 60), 4, axis=0)
    fine = np.stack([fine[at : at + 8].mean(axis=0) for at in range(len(fine) - 8)])
    lines = [line_of(fine[0::4]), line_of(fine[14::4])]  # 14 eighths of a second later: 1.75 s

    ((_, _, _, _, offset_s),) = overlaps_of(lines)

    assert offset_s == pytest.approx(1.75, abs=0.25)


def test_other_moments_of_one_still_camera_are_not_found() -> None:
    standing = scene(1, 1, moving=0.0)[0]
    moments = [standing + (scene(seed, 40) - scene(seed, 1, moving=0.0)) * 0.3 for seed in range(2, 10)]

    assert overlaps_of([line_of(moment) for moment in moments]) == []
    assert overlaps_of([line_of(np.concatenate(moments))]) == []


def test_a_standing_logo_does_not_hide_a_copy() -> None:
    original, logo = scene(4, 40), np.random.default_rng(5).normal(0, 80, 66)

    ((_, _, start_s, end_s, offset_s),) = overlaps_of([line_of(original), line_of(original + logo)])

    assert (start_s, end_s, offset_s) == (0.0, 20.0, 0.0)


def test_a_part_that_two_films_share_is_found_alone() -> None:
    shared = scene(6, 24)
    lines = [
        line_of(np.concatenate([scene(7, 20), shared, scene(8, 20)])),
        line_of(np.concatenate([scene(9, 33), shared, scene(10, 9)])),
    ]

    ((_, _, start_s, end_s, offset_s),) = overlaps_of(lines)

    assert offset_s == -6.5
    assert (start_s, end_s) == (pytest.approx(10, abs=1), pytest.approx(22, abs=1))


def test_a_repeat_within_one_video_is_found() -> None:
    part = scene(11, 30)

    found = overlaps_of([line_of(np.concatenate([part, scene(12, 10), part]))])

    assert [(i, j, offset_s) for i, j, _, _, offset_s in found] == [(0, 0, 20.0)]


def test_nothing_is_found_in_lines_that_are_short_or_empty() -> None:
    assert overlaps_of([line_of(scene(1, 5)), line_of(scene(1, 5)), line_of(scene(1, 0))]) == []


def test_windows_that_are_not_usable_do_not_count() -> None:
    x = line_of(scene(1, 20))
    x.usable[5:8] = False
    x.windows[5:8] = 0

    likeness = compare(align(x, x, 0), np.array([0]), np.array([19]))

    assert likeness.num_rows[0] == 15  # a second that touches one of the three is left out
    assert likeness.motion[0] == pytest.approx(1)


@pytest.mark.parametrize("values", [{"strictness": 1.5}, {"strictness": float("nan")}, {"min_still_likeness": 0}])
def test_thresholds_that_cannot_be_meant_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ParameterError):
        Thresholds(**values)


def test_a_higher_strictness_finds_no_more() -> None:
    original = scene(13, 40)
    noisy = original + np.random.default_rng(1).normal(0, 25, original.shape)
    lines = [line_of(original), line_of(noisy)]

    counts = [len(overlaps_of(lines, strictness)) for strictness in (-0.5, 0.0, 0.9)]

    assert counts == sorted(counts, reverse=True)
    assert counts[0] == 1
    assert counts[-1] == 0


def test_an_intro_and_two_scenes_that_look_alike_by_chance_do_not_cover_a_clip() -> None:
    intro = scene(17, 10, moving=0.5)
    lines = [line_of(np.concatenate([intro, scene(other, 40, moving=0.5)])) for other in (117, 217)]

    ((_, _, start_s, end_s, _),) = overlaps_of(lines)

    assert end_s - start_s <= 7


@pytest.mark.parametrize("seed", range(20, 30))
def test_an_intro_that_two_films_share_ends_where_it_ends(seed: int) -> None:
    intro = scene(seed, 10)
    lines = [line_of(np.concatenate([intro, scene(other, 40)])) for other in (seed + 100, seed + 200)]

    for _, _, start_s, end_s, _ in overlaps_of(lines):
        assert (start_s, end_s) == (0, pytest.approx(5, abs=1))


def slides(*seeds: int, seconds: int = 20) -> NDArray[np.float64]:
    """Pictures that stand, one after the other."""
    return np.concatenate([np.repeat(scene(seed, 1, moving=0.0), 2 * seconds, axis=0) for seed in seeds])


def test_what_stands_between_two_changes_that_match_belongs_to_the_copy() -> None:
    film = slides(1, 2, 3)
    logo = np.random.default_rng(9).normal(0, 8, film.shape[1])

    assert overlaps_of([line_of(film), line_of(film[6:] + logo)]) == [(0, 1, 3.0, 60.0, 3.0)]


def test_a_slide_that_changes_on_one_side_only_ends_the_copy() -> None:
    film, other = slides(1, 2), slides(1, 2)
    other[60:] = scene(5, 1, moving=0.0)

    assert overlaps_of([line_of(film), line_of(other)]) == [(0, 1, 0.0, 30.0, 0.0)]


def test_a_still_stretch_goes_on_over_the_border_of_a_clip() -> None:
    rows = np.concatenate([scene(1, 17), slides(2, seconds=12)])
    clip = track(rows[:20], start_s=0.0)
    rest = track(rows[20:], start_s=10.0, picture=np.random.default_rng(1).integers(0, 255, 1024).astype(np.uint8))

    line = lay_out([clip, rest])

    assert np.flatnonzero(line.still >= 0).tolist() == list(range(17, 41))
