"""Which thresholds of the rule `overlap` are recommended, and the numbers behind them."""

from __future__ import annotations

import numpy as np
import pytest

from curator_dask.dedup.align.judge import Thresholds
from curator_dask.dedup.overlap_calibration import (
    STRICTNESS,
    CopyLevel,
    OtherLevel,
    StrictnessRow,
    calibrate_overlap,
    cover,
    highest_still_likeness,
    level_of,
    line_of_clip,
    matching_pairs,
    recommended_strictness,
    still_likeness,
)
from tests.dedup.align.lines import PICTURE, line_of, scene, track


def row(strictness: float, light: float, hard: float, num_false: int) -> StrictnessRow:
    return StrictnessRow(strictness, light, hard, num_false, 0)


@pytest.mark.parametrize(
    ("rows", "right"),
    [
        pytest.param([(-0.2, 1, 1, 0), (0, 1, 1, 0), (0.5, 0.9, 0.5, 0)], 0, id="the-default-where-all-is-well"),
        pytest.param([(-0.2, 1, 1, 0), (0, 1, 0.8, 0), (0.5, 0.9, 0.5, 0)], -0.2, id="lower-where-more-is-found"),
        pytest.param(
            [(-0.2, 1, 1, 3), (0, 1, 1, 1), (0.1, 1, 1, 0), (0.3, 1, 1, 0)], 0.3, id="one-step-above-false-pairs"
        ),
        pytest.param([(-0.2, 1, 1, 3), (0, 1, 1, 2), (0.5, 1, 1, 1)], 0.5, id="false-pairs-everywhere"),
    ],
)
def test_recommended_strictness(rows, right):
    assert recommended_strictness([row(*one) for one in rows], 1000) == right


def test_few_pairs_recommend_nothing_below_the_default():
    rows = [row(-0.2, 1, 1, 0), row(0, 1, 0.8, 0), row(0.5, 0.9, 0.5, 0)]
    assert (recommended_strictness(rows, 999), recommended_strictness(rows, 1000)) == (0, -0.2)


def test_a_copy_that_begins_later_has_a_high_level_and_another_moment_none():
    film = scene(1, 40)
    noise = np.random.default_rng(2).normal(0, 4, film.shape)
    clip, copy = line_of(film[:20]), line_of((film + noise)[8:20])
    assert level_of(clip, copy, 0.8) >= 0.5
    assert cover(clip, copy, Thresholds(strictness=level_of(clip, copy, 0.8))) >= 0.8
    other = line_of(film[20:])
    assert level_of(clip, other, 0.5) is None
    assert [pair[:2] for pair in matching_pairs([clip, other, copy], [(0, 1), (0, 2), (1, 2)])] == [(0, 2)]
    assert list(matching_pairs([clip, other, copy], [(0, 1), (1, 2)])) == []


def test_pictures_that_stand_still_in_both_are_no_evidence_for_other_moments():
    rows = np.repeat(scene(3, 1), 20, axis=0)
    picture = np.random.default_rng(3).integers(0, 255, PICTURE).astype(np.uint8)
    lines = [line_of_clip(track(rows, picture=picture)) for _ in range(2)]
    assert level_of(*lines, 0.8) == STRICTNESS[-1]
    assert list(matching_pairs(lines, [(0, 1)])) == []
    assert still_likeness(*lines) == pytest.approx(1.0)
    assert highest_still_likeness(lines, [(0, 1)]) == -1.0  # they show the same
    changed = picture.copy().reshape(32, 32)
    changed[8:12, 8:12] = changed[8:12, 8:12].T
    other = line_of_clip(track(rows, picture=changed.ravel()))
    assert -1 < highest_still_likeness([lines[0], other], [(0, 1)]) < 0.9
    assert still_likeness(lines[0], line_of(scene(4, 20))) is None


def test_the_numbers_behind_it_are_counted():
    copies = [
        CopyLevel("grey", "light", 0.0, 0.9),
        CopyLevel("grey", "light", 3.7, 0.1),
        CopyLevel("logo", "hard", 0.0, None),
    ]
    others = [OtherLevel("a", "b", 0.0, same_source=True), OtherLevel("a", "c", -0.2, same_source=False)]
    found = calibrate_overlap(copies, others, (7, 5), np.array([0.98, 0.99]), 0.8)
    by_strictness = {one.strictness: one for one in found.table}
    assert (by_strictness[0.0].num_other_videos, by_strictness[0.0].num_other_moments) == (0, 1)
    assert (by_strictness[-0.2].num_other_videos, by_strictness[-0.2].num_other_moments) == (1, 1)
    assert (by_strictness[0.1].light_recall, by_strictness[0.2].light_recall, by_strictness[0.1].hard_recall) == (
        1,
        0.5,
        0,
    )
    assert found.recommended_strictness == 0.2  # at 0.1 nothing is false, but no step lies between
    assert [(one.edit, one.shift_s, one.recall) for one in found.shifts] == [
        ("grey", 0, 1),
        ("grey", 3.7, 0),
        ("logo", 0, 0),
    ]
    assert (found.num_other_videos, found.num_other_moments, found.closest[0]) == (7, 5, ("a", "b", 0.0))
    assert (found.recommended_still_likeness, found.num_still_copies) == (0.92, 2)
