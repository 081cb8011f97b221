"""Marks of a network beside what the pictures show: flashes go, clear cuts come, all else stays."""

from __future__ import annotations

import numpy as np
import pytest

from curator_dask.video.shots.content import measure
from curator_dask.video.shots.refine import refine_marks
from tests.video.shots.test_content import page, scene


def refined(frames: np.ndarray, probabilities: dict[int, float]) -> list[int]:
    """The marked frames, where the network says nothing of all others."""
    given = np.zeros(len(frames), np.float32)
    given[list(probabilities)] = list(probabilities.values())
    return np.flatnonzero(refine_marks(given, 0.4, measure([frames]))).tolist()


def flash(frames: np.ndarray, first: int, brightness: list[float]) -> np.ndarray:
    lit = frames.astype(float)
    for number, share in enumerate(brightness):
        lit[first + number] += (255 - lit[first + number]) * share
    return lit.astype(np.uint8)


def weaker(after: np.ndarray, before: np.ndarray, share: float) -> np.ndarray:
    """Frames that differ less from those before: `share` of them, and the rest of these."""
    return (share * after + (1 - share) * before[: len(after)]).astype(np.uint8)


@pytest.mark.parametrize("lit", [[1.0], [1.0, 1.0], [0.8, 0.8], [1.0, 0.6, 0.36, 0.22]])
@pytest.mark.parametrize("pan", [0, 1])
def test_a_mark_on_a_flash_goes(lit, pan):
    frames = flash(scene(60, pan), 30, lit)
    assert refined(frames, {29: 0.9}) == []
    assert refined(frames, {28: 0.5, 29: 0.9, 29 + len(lit): 0.6}) == []


def test_a_cut_beside_a_flash_stays():
    frames = np.concatenate([scene(40), flash(scene(40), 8, [1.0, 0.6])])
    assert refined(frames, {39: 0.9, 47: 0.9}) == [39]


@pytest.mark.parametrize("said", [0.0, 0.3, 0.9])
def test_a_clear_cut_is_marked_whatever_the_network_says(said):
    frames = np.concatenate([scene(40), scene(7), scene(40)])
    assert refined(frames, {39: said, 46: said}) == [39, 46]


@pytest.mark.parametrize(
    ("said", "score", "marked"), [(0.0, 3.6, [39]), (0.0, 2.6, []), (0.2, 2.6, []), (0.9, 2.6, [39])]
)
def test_a_faint_cut_is_left_to_the_network(said, score, marked):
    before, after = scene(40), scene(40)
    step = np.abs(after.astype(float).mean(axis=0) - before.astype(float).mean(axis=0)).mean()
    frames = np.concatenate(
        [before, weaker(after, before, 2.5 * score / step)]
    )  # neighbours differ by about 1, and 1.5 are added
    assert refined(frames, {39: said}) == marked


@pytest.mark.parametrize(("at", "marked"), [(37, 39), (38, 38), (39, 39), (40, 40), (41, 39)])
def test_a_cut_gets_one_mark_which_is_moved_from_further_off(at, marked):
    assert refined(np.concatenate([scene(40), scene(40)]), {at: 0.9}) == [marked]


def test_marks_of_a_soft_change_stay():
    before, after = scene(60, pan=1).astype(float), scene(60, pan=1).astype(float)
    share = np.clip((np.arange(60) - 23) / 13, 0, 1)[:, None, None, None]
    dissolve = (before * (1 - share) + after * share).astype(np.uint8)
    assert refined(dissolve, {28: 0.6, 29: 0.7, 30: 0.6}) == [28, 29, 30]
    assert refined(dissolve, {29: 0.5}) == [29]


def test_a_still_picture_and_a_single_frame():
    assert refined(scene(50), {}) == []
    assert refined(scene(1), {0: 0.9}) == [0]
    assert refined(np.repeat(scene(1), 50, axis=0), {20: 0.9}) == [20]


@pytest.mark.parametrize("speeds", [(5, 7), (7, -6)])
def test_a_cut_between_fast_pans_needs_no_word_of_the_network(speeds):
    assert refined(np.concatenate([scene(40, speeds[0]), scene(40, speeds[1])]), {39: 0.0}) == [39]
    assert refined(scene(80, speeds[0]), {39: 0.2}) == []


def test_the_next_slide_of_a_set_is_a_cut_and_a_caption_is_none():
    slides = np.concatenate([page(40, seed=3), page(40, seed=4)])
    assert refined(slides, {}) == [39]
    slides[20:60, 22:25, 8:40:2] = 120
    assert refined(slides, {}) == [39]


def test_a_flash_in_a_fast_pan_is_no_cut():
    assert refined(flash(scene(60, 5), 30, [1.0, 0.6, 0.36, 0.22]), {29: 0.2}) == []
