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


@pytest.mark.parametrize("num_frames", range(2, 9))
def test_a_video_of_a_few_frames(num_frames):
    assert shots(scene(num_frames)) == [(0, num_frames)]


@pytest.mark.parametrize("speeds", [(5, 7), (7, -6), (-5, 5)])
def test_a_cut_between_fast_pans_is_found(speeds):
    assert shots(np.concatenate([scene(40, speeds[0]), scene(40, speeds[1])])) == [(0, 40), (40, 80)]


@pytest.mark.parametrize("pan", [3, 7, 12])
def test_a_fast_pan_that_turns_back_is_no_cut(pan):
    there = scene(30, pan)
    assert shots(np.concatenate([there, there[::-1]])) == [(0, 60)]


def test_a_flash_in_a_fast_pan_is_no_cut():
    frames = scene(60, 5)
    frames[30:32] = 250
    assert shots(frames) == [(0, 60)]


def with_caption(frames: np.ndarray, first: int) -> np.ndarray:
    """Three short lines of bright letters at the lower edge, from frame `first` on."""
    written = frames.copy()
    written[first:, 19:26:3, 8:40:2] = 255
    return written


def test_a_caption_in_a_still_scene_is_no_cut():
    standing = np.repeat(scene(1), 60, axis=0)
    assert shots(with_caption(scene(60), 30)) == [(0, 60)]
    assert shots(with_caption(standing, 30)) == [(0, 60)]
    assert shots(with_caption(scene(60, pan=4), 30)) == [(0, 60)]


def dull(frames: np.ndarray, contrast: np.ndarray, level: float) -> np.ndarray:
    """The frames around one grey level, with a standard deviation of `contrast` (N,)."""
    grey = frames.astype(float).mean(axis=(1, 2, 3), keepdims=True)
    deviation = frames.mean(axis=3).std(axis=(1, 2))
    around = level + (frames - grey) * (contrast / deviation)[:, None, None, None]
    return np.clip(np.round(around), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("contrast", [1.5, 2.0, 2.5])
def test_a_dull_shot_that_comes_to_its_contrast_is_a_shot(contrast):
    middle = dull(scene(57), contrast * 1.05 ** np.minimum(np.arange(57), 16), 160)
    assert shots(np.concatenate([scene(40), middle, scene(40)])) == [(0, 40), (40, 97), (97, 137)]


@pytest.mark.parametrize("least", [0.0, 1.5])
def test_a_fade_to_what_is_nearly_plain_is_a_fade(least):
    contrast = np.r_[
        np.full(30, 40.0), np.linspace(40, least, 15), np.full(10, least), np.linspace(least, 40, 15), np.full(30, 40.0)
    ]
    found = shots(dull(scene(100), contrast, 128))
    assert len(found) == 2
    assert 28 <= found[0][1] <= 33
    assert 67 <= found[1][0] <= 72


def test_a_pan_to_a_plain_wall_is_no_fade():
    picture = np.full((27, 48 * 4, 3), 120, np.uint8)
    picture[:, :96] = scene(1)[0].repeat(2, axis=1)
    pan = np.stack([picture[:, x : x + 48] for x in [*range(0, 97, 6), *[96] * 10, *range(96, 0, -6)]])
    assert shots(pan) == [(0, len(pan))]
