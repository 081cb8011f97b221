"""Bars are found over a whole clip, and nothing else is taken for a bar."""

from __future__ import annotations

import numpy as np
import pytest

from curator_dask.models import ModelOptions, load_model
from curator_dask.models.pdqf.letterbox import without_bars


def picture(num_frames=20, height=64, width=64, seed=0):
    """Moving blobs, bright enough at every edge."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(60, 256, (num_frames // 4, 8, 8, 3))
    frames = coarse.repeat(4, 0).repeat(height // 8, 1).repeat(width // 8, 2)
    return np.clip(frames + rng.integers(-9, 9, frames.shape), 60, 255).astype(np.uint8)


def letterboxed(rows=8, value=0, seed=0):
    frames = np.full((20, 64, 64, 3), value, np.uint8)
    frames[:, rows : 64 - rows] = picture(seed=seed)[:, np.linspace(0, 63, 64 - 2 * rows).round().astype(int)]
    return frames


def test_a_picture_without_bars_is_handed_back_itself():
    frames = picture()
    assert without_bars(frames) is frames


@pytest.mark.parametrize("value", [0, 16, 40], ids=["black", "coded-black", "brightened"])
@pytest.mark.parametrize("rows", [3, 8, 15])
def test_bars_go_and_the_picture_fills_the_frame(rows, value):
    found = without_bars(letterboxed(rows, value))
    assert found.shape == (20, 64, 64, 3)
    assert found.min() > 50
    assert np.abs(found.astype(int) - picture()).mean() < 25


def test_pillars_too():
    frames = letterboxed(6).transpose(0, 2, 1, 3)
    assert without_bars(frames).min() > 50


def test_noise_in_a_bar_and_a_logo_over_it_do_not_hide_it():
    frames = letterboxed(8)
    frames[:, :8] += np.random.default_rng(1).integers(0, 10, (20, 8, 64, 3), dtype=np.uint8)
    frames[:, 2:12, 48:60] = 255
    assert without_bars(frames) is not frames


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda frames: frames[:, -8:].fill(90), id="two-colours"),
        pytest.param(lambda frames: np.copyto(frames[:, :8], picture()[:, :8]), id="a-banner-at-the-bottom"),
        pytest.param(lambda frames: np.copyto(frames[:, 60:], picture()[:, 60:]), id="picture-below-the-bar"),
        pytest.param(lambda frames: frames.fill(0), id="all-black"),
        pytest.param(lambda frames: frames[:, :24].fill(0), id="one-bar-too-wide"),
        pytest.param(
            lambda frames: np.copyto(frames, np.abs(np.arange(64) - 32)[::-1].astype(np.uint8)[None, :, None, None]),
            id="dark-towards-the-edges",
        ),
    ],
)
def test_what_is_no_pair_of_bars_stays(spoil):
    frames = letterboxed(8)
    spoil(frames)
    assert without_bars(frames) is frames


def test_a_letterboxed_copy_has_nearly_the_vector_of_its_original():
    plain, boxed = [picture(seed=3)], [letterboxed(8, seed=3)]
    exact, robust = (load_model(name, ModelOptions()) for name in ("pdqf_tmk", "pdqf_tmk_nobars"))
    assert robust.embed(plain)[0] @ robust.embed(boxed)[0] > 0.9 > exact.embed(plain)[0] @ exact.embed(boxed)[0]
    assert np.array_equal(robust.embed(plain)[0], exact.embed(plain)[0])
    assert robust.fingerprint() != exact.fingerprint()
