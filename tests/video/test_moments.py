"""The sample videos of moments are what ``truth.json`` says, read by another decoder."""

from __future__ import annotations

import json
import math

import av
import numpy as np
import pytest

from curator_dask.video.moments import FRAMERATE
from curator_dask.video.samples import TRUTH, render_samples


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    target = tmp_path_factory.mktemp("moments")
    render_samples(target, num_scenes=1, length_s=1.0, moments=True)
    return target


@pytest.fixture(scope="module")
def truth(folder):
    return json.loads((folder / TRUTH).read_text())


def grey(path):
    """(T, H, W) float64 luminance."""
    with av.open(str(path)) as video:
        return np.stack([frame.to_ndarray(format="gray") for frame in video.decode(video=0)]).astype(float)


def apart(frame, other):
    return np.abs(frame - other).mean()


def test_still_cameras_show_other_things_each_second_before_one_picture(folder, truth):
    for name in truth["different_moments"]:
        frames = grey(folder / name)[:: 2 * FRAMERATE]
        assert len(frames) == 15
        standing = np.median(frames, axis=0)
        moving = np.abs(frames - standing) > 40
        assert 0.02 < moving[:4].mean() < 0.3
        assert (np.abs(frames - standing) < 20).mean() > 0.7
        shown = [mask for mask in moving if mask.mean() > 0.01]
        assert len(shown) > 10
        same = [(one & other).sum() / (one | other).sum() for at, one in enumerate(shown) for other in shown[:at]]
        assert max(same) < 0.8


def test_a_copy_shows_the_same_at_the_same_second(folder, truth):
    for original, copy in truth["moment_twins"]:
        first, second = grey(folder / original), grey(folder / copy)
        assert len(first) == len(second)
        assert max(map(apart, first, second)) < 12


def test_a_shifted_copy_begins_where_the_truth_says(folder, truth):
    for pair in truth["shifted"]:
        film, copy = grey(folder / pair["original"]), grey(folder / pair["twin"])
        assert len(copy) == len(film) - math.ceil(pair["offset_s"] * FRAMERATE)
        first = min(range(len(film) - 30), key=lambda at: apart(film[at : at + 30], copy[:30]))
        assert abs(first / FRAMERATE - pair["offset_s"]) <= 1 / FRAMERATE


def test_slides_change_where_the_truth_says(folder, truth):
    for slides in truth["slides"]:
        frames = grey(folder / slides["file"])
        changes = [at for at in range(1, len(frames)) if apart(frames[at], frames[at - 1]) > 0.5]
        assert [0, *changes] == [FRAMERATE * second for second in slides["starts_s"]]
        first, second = frames[0], frames[changes[0]]
        rows = np.flatnonzero((np.abs(first - second) > 60).any(axis=1))
        assert rows[-1] - rows[0] < 12
