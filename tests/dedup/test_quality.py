"""The quality of a clip against plain sums over its frames, and at the edges of its definitions."""

from __future__ import annotations

import itertools
from dataclasses import asdict

import numpy as np
import pytest

from curator_dask.dedup.quality.measure import measure

SIDE = 64


def noise(num_frames: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(30, 256, (num_frames, SIDE, SIDE, 3), np.uint8)


def test_equals_plain_sums():
    frames = noise(40)
    grey = np.floor((frames.astype(np.float64) @ [77, 150, 29]) / 256)
    moved = np.array([np.abs(after - before).mean() / 255 for before, after in itertools.pairwise(grey)])
    edges = [4 * one[1:-1, 1:-1] - one[:-2, 1:-1] - one[2:, 1:-1] - one[1:-1, :-2] - one[1:-1, 2:] for one in grey[::3]]
    expected = {
        "motion_mean": moved.mean(),
        "motion_p90": np.quantile(moved, 0.9),
        "luminance": grey.mean() / 255,
        "black_share": 0,
        "frozen_share": 0,
        "plain_share": 0,
        "sharpness": np.sqrt(np.mean(np.square(edges))) / 255,
        "bars_share": 0,
    }
    assert asdict(measure(frames)) == pytest.approx(expected, abs=1e-6)


def test_bars_are_no_part_of_the_picture():
    inner = noise(20)[:, 8:56]
    frames = np.zeros((20, SIDE, SIDE, 3), np.uint8)
    frames[:, 8:56] = inner
    with_bars, alone = measure(frames), measure(inner)
    assert with_bars.bars_share == 0.25
    assert {**asdict(with_bars), "bars_share": 0.0} == asdict(alone)


def test_a_fade_from_black_has_no_bars():
    frames = noise(30)
    frames[:15] = 0
    quality = measure(frames)
    assert (quality.bars_share, quality.black_share, quality.frozen_share) == (0.0, 0.5, 0.0)
    assert quality.plain_share == 0.5


@pytest.mark.parametrize(("num_frames", "share"), [(15, 0.0), (16, 16 / 46)])
def test_a_picture_is_frozen_after_a_second(num_frames, share):
    stands = np.repeat(noise(1, 1), num_frames, axis=0)
    assert measure(np.concatenate([noise(15, 2), stands, noise(15, 3)])).frozen_share == pytest.approx(share, abs=1e-6)


def test_films_of_few_pictures_per_second_are_not_frozen():
    assert measure(np.repeat(noise(6), 5, axis=0)).frozen_share == 0.0


@pytest.mark.parametrize("level", [0, 130])
def test_one_colour(level):
    quality = measure(np.full((20, SIDE, SIDE, 3), level, np.uint8))
    assert quality.luminance == pytest.approx(level / 255, abs=1e-6)
    assert (quality.black_share, quality.frozen_share, quality.plain_share) == (float(level == 0), 1.0, 1.0)
    assert (quality.motion_mean, quality.motion_p90, quality.sharpness, quality.bars_share) == (0.0, 0.0, 0.0, 0.0)


def test_one_frame_stands_still():
    quality = measure(noise(1))
    assert (quality.motion_mean, quality.motion_p90, quality.frozen_share) == (0.0, 0.0, 1.0)


def test_blur_takes_sharpness():
    frames = noise(6)
    blurred = ((frames.astype(np.uint16) + np.roll(frames, 1, axis=2) + np.roll(frames, 1, axis=1)) // 3).astype(
        np.uint8
    )
    assert measure(blurred).sharpness < 0.7 * measure(frames).sharpness
