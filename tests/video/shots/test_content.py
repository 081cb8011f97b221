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


def write_line(picture: np.ndarray, row: int, seed: int, length: int = 24, first: int = 4) -> None:
    """A line of words: steps of grey levels of half the strength of the letters."""
    picture[row, first : first + length] -= np.random.default_rng(seed).integers(0, 2, length)[:, None] * 50


def page(num_frames: int, seed: int, num_lines: int = 5) -> np.ndarray:
    """A slide of a set: a title and lines of words on a white ground."""
    picture = np.full((27, 48, 3), 250, np.int64)
    for line in range(num_lines + 1):
        write_line(picture, 2 + 3 * line, 100 * seed + line)
    return np.repeat(picture[None].astype(np.uint8), num_frames, axis=0)


@pytest.mark.parametrize("first", [37, 40])
@pytest.mark.parametrize("lines", [(5, 5), (7, 3), (4, 6)])
def test_the_next_slide_of_a_set_is_a_shot_though_it_differs_little(first, lines):
    before, after = page(first, 1, lines[0]), page(40, 2, lines[1])
    assert np.abs(before[0].astype(int) - after[0]).mean() < 5
    assert shots(np.concatenate([before, after])) == [(0, first), (first, first + 40)]


def test_the_next_slide_beside_one_who_speaks_is_a_shot():
    frames = np.concatenate([page(40, 1), page(40, 2)])
    frames[:, 21:27, 39:48] = np.random.default_rng(3).integers(80, 160, (80, 6, 9, 1))
    assert shots(frames) == [(0, 40), (40, 80)]
    frames[40:, :21] = frames[0, :21]
    assert shots(frames) == [(0, 80)]


def test_lines_that_are_added_to_a_slide_are_no_cut():
    frames = np.concatenate([page(15, 1, num_lines) for num_lines in range(1, 8)])
    assert shots(frames) == [(0, 105)]
    assert shots(frames[::-1]) == [(0, 105)]


def test_a_list_whose_earlier_lines_become_pale_is_no_cut():
    frames = np.concatenate([page(15, 1, num_lines) for num_lines in range(1, 8)]).astype(int)
    for number in range(7):
        frames[15 * number : 15 * number + 15, 5 : 3 + 3 * number] = (
            frames[15 * number : 15 * number + 15, 5 : 3 + 3 * number] + 500
        ) // 3
    assert shots(frames.astype(np.uint8)) == [(0, 105)]


@pytest.mark.parametrize("num_lines", [1, 2, 3])
@pytest.mark.parametrize("picture", ["scene", "slide"])
def test_a_caption_that_is_replaced_in_a_picture_that_stands_is_no_cut(num_lines, picture):
    frames = np.repeat(scene(1), 90, axis=0) if picture == "scene" else page(90, 1, 3)
    for first, after, seed in ((15, 40, 5), (40, 65, 6)):
        for line in range(num_lines):
            letters = np.random.default_rng(10 * seed + line).random(32) < 0.5
            frames[first:after, 24 - 2 * line, 8:40][:, letters] = 255 if picture == "scene" else 60
    assert shots(frames) == [(0, 90)]


def test_small_things_that_change_in_a_picture_that_stands_are_no_cut():
    frames = page(120, 1)
    for number, frame in enumerate(frames):
        x, y = (7 * (number // 15)) % 40, (5 * (number // 15)) % 22
        frame[y : y + 2, x : x + 2] = 20  # a pointer that jumps
        frame[1:3, 38:46] = np.random.default_rng(number // 12).integers(0, 255, (2, 8, 1))  # a clock
        frame[26, : number * 48 // 120] = 90  # a bar that grows
        frame[20:26, 38 if number < 70 else 2 :][:, :8] = np.random.default_rng(number // 40).integers(
            0, 255, (6, 8, 1)
        )  # an inset
    assert shots(frames) == [(0, 120)]


@pytest.mark.parametrize("grows", [1.0, 1.05])
def test_a_dull_shot_before_a_like_one_is_no_fade(grows):
    bright, other = scene(1)[0].astype(float), scene(1)[0].astype(float)
    middle = dull(np.repeat((0.7 * bright + 0.3 * other)[None], 50, axis=0), np.full(50, 2.7), 120)
    after = dull(np.repeat(bright[None], 40, axis=0), 28 * grows ** np.minimum(np.arange(40), 8), 120)
    assert shots(np.concatenate([scene(40), middle, after])) == [(0, 40), (40, 90), (90, 130)]
