"""How much frames differ without the motion of the camera."""

from __future__ import annotations

import numpy as np
import pytest

from curator_dask.video.shots.content import Measuring, measure
from curator_dask.video.shots.motion import steps_without_motion
from tests.video.shots.test_content import scene

RANDOM = np.random.default_rng(8)


def wide_picture() -> np.ndarray:
    """(60, 100) grey levels, in blocks of 4 pixels."""
    return np.kron(RANDOM.uniform(0, 255, (15, 25)), np.ones((4, 4))).astype(np.float32)


@pytest.mark.parametrize(("down", "right"), [(0, 0), (0, 6), (0, -13), (5, 0), (-7, 9)])
def test_a_picture_that_is_moved_does_not_differ(down, right):
    wide = wide_picture()
    before, after = wide[15:42, 20:68], wide[15 - down : 42 - down, 20 - right : 68 - right]
    first, step = steps_without_motion(np.stack([before, after]))
    assert np.isinf(first)
    assert step < 1e-3


def test_another_picture_differs_at_every_shift():
    pictures = np.stack([wide_picture()[:27, :48] for _ in range(6)])
    apart = np.abs(np.diff(pictures, axis=0)).mean(axis=(1, 2))
    steps = steps_without_motion(pictures)[1:]
    assert (steps > 40).all()
    assert (steps <= apart + 1e-3).all()


def test_plain_pictures_differ_by_their_brightness():
    pictures = np.full((3, 27, 48), 7.0, np.float32)
    pictures[2] = 19
    assert steps_without_motion(pictures)[1:].tolist() == [0, 12]
    assert len(steps_without_motion(pictures[:0])) == 0


@pytest.mark.parametrize("length", [1, 7, 40])
def test_blocks_of_any_length_give_the_same_measures(length):
    frames = np.concatenate([scene(30, 5), scene(30, -7)])
    whole, parts = measure([frames]), Measuring()
    assert sum(len(block) for block in parts.passing(np.split(frames, range(length, 60, length)))) == 60
    measures = parts.measures()
    np.testing.assert_allclose(measures.unmoved_steps, whole.unmoved_steps, rtol=1e-5)
    np.testing.assert_allclose(measures.likeness, whole.likeness, rtol=1e-4)
    np.testing.assert_allclose(measures.contrasts, whole.contrasts, rtol=1e-5)
