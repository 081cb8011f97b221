"""Cuts, flashes, pans and fades of made frames: what is marked, and what is not."""

from __future__ import annotations

import numpy as np
import pytest

from curator_dask.video.shots.content import mark_content_changes, measure
from curator_dask.video.shots.shots import shots_between

RANDOM = np.random.default_rng(5)


def scene(num_frames: int, pan: int = 0) -> np.ndarray:
    """A picture of its own with a little noise; it moves by `pan` pixels per frame."""
    wide = np.kron(RANDOM.integers(30, 220, (3, 67, 3)), np.ones((9, 9, 1)))
    frames = np.stack([np.roll(wide, -pan * number, axis=1)[:, :48] for number in range(num_frames)])
    return np.clip(frames + RANDOM.normal(0, 3, frames.shape), 0, 255).astype(np.uint8)


def faded(frames: np.ndarray, brightness: np.ndarray) -> np.ndarray:
    return (frames * brightness[:, None, None, None]).astype(np.uint8)


def shots(frames: np.ndarray) -> list[tuple[int, int]]:
    blocks = np.array_split(frames, range(37, len(frames), 37))
    return shots_between(mark_content_changes(measure(blocks), 3.0))


def test_hard_cuts_are_exact():
    assert shots(np.concatenate([scene(40), scene(23), scene(60)])) == [(0, 40), (40, 63), (63, 123)]


def test_a_flash_is_no_cut():
    frames = scene(60)
    frames[30:32] = 250
    assert shots(frames) == [(0, 60)]


@pytest.mark.parametrize("decay", [0.3, 0.6])
def test_a_flash_that_decays_in_a_scene_that_moves_is_no_cut(decay):
    frames = scene(60, pan=1).astype(float)
    for number in range(4):
        frames[30 + number] += (255 - frames[30 + number]) * decay**number
    assert shots(frames.astype(np.uint8)) == [(0, 60)]


def test_a_thing_that_moves_at_once_is_no_cut():
    frames = scene(60)
    frames[30:, 9:22, 12:30] = 255 - frames[30:, 9:22, 12:30]  # 18 % of the picture
    assert shots(frames) == [(0, 60)]


def test_that_holds_where_every_frame_is_there_twice():
    frames = np.repeat(scene(1), 60, axis=0)
    frames[np.arange(60) // 2 % 2 == 0] += 4
    frames[30:, 9:22, 12:30] = 255 - frames[30:, 9:22, 12:30]
    assert shots(frames) == [(0, 60)]


def test_a_slide_is_a_shot_even_where_most_of_the_ground_is_the_same():
    slides = np.full((80, 27, 48, 3), 250, np.uint8)
    slides[:40, 6:15, 6:24], slides[40:, 12:21, 9:30] = 40, 90
    assert shots(slides) == [(0, 40), (40, 80)]


@pytest.mark.parametrize("pan", [1, 2])
def test_a_pan_is_no_cut_but_one_beside_it_is(pan):
    assert shots(np.concatenate([scene(40, pan), scene(40, pan)])) == [(0, 40), (40, 80)]


def test_the_frames_of_a_fade_belong_to_no_shot():
    out = faded(scene(60), np.r_[np.ones(40), np.linspace(1, 0, 20)])
    back = faded(scene(60), np.r_[np.linspace(0, 1, 20), np.ones(40)])
    first, second = shots(np.concatenate([out, np.zeros((8, 27, 48, 3), np.uint8), back]))
    assert first[0] == 0
    assert 38 <= first[1] <= 43
    assert 85 <= second[0] <= 90
    assert second[1] == 128


def test_a_still_picture_is_one_shot():
    assert shots(np.repeat(scene(1), 50, axis=0)) == [(0, 50)]
    assert shots(np.zeros((90, 27, 48, 3), np.uint8)) == [(0, 90)]
    assert shots(scene(1)) == [(0, 1)]
