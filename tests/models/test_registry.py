"""Models by name: those built in, those to come, and a user's own."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from curator_dask.errors import ParameterError
from curator_dask.models import load_model, model_names, register_model, registry
from curator_dask.video.sampling import FrameRule


class MeanColour:
    name = "mean_colour"
    dimension = 3
    frame_rule = FrameRule.spread(2, width=8, height=8)
    default_eps = 0.01

    def fingerprint(self):
        return {"model": self.name}

    def embed(self, clips):
        means = [clip.reshape(-1, 3).mean(axis=0) for clip in clips]
        return [(mean / np.linalg.norm(mean)).astype(np.float32) for mean in means]


@pytest.fixture
def own_model(monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})
    register_model("mean_colour", lambda model_dir, device: MeanColour())


def test_the_default_needs_no_weights():
    model = load_model(registry.DEFAULT_MODEL, model_dir=None)
    assert model.name == "pdqf_tmk"
    assert model.fingerprint()["weights"] == "none"


def test_names_are_those_that_load():
    assert model_names() == ["pdqf_tmk", "pdqf_tmk_level1"]
    assert [load_model(name).name for name in model_names()] == model_names()


@pytest.mark.usefixtures("own_model")
def test_a_model_of_ones_own():
    assert "mean_colour" in model_names()
    vector = load_model("mean_colour").embed([np.full((2, 8, 8, 3), 7, np.uint8)])[0]
    assert vector == pytest.approx([3**-0.5] * 3)


@pytest.mark.usefixtures("own_model")
@pytest.mark.parametrize("name", ["mean_colour", "pdqf_tmk", "internvideo2", "hf:mine", ""])
def test_names_that_cannot_be_given_to_ones_own(name):
    with pytest.raises(ParameterError, match="model"):
        register_model(name, lambda model_dir, device: MeanColour())


@pytest.mark.parametrize("name", ["internvideo2", "cosmos-embed1-224p", "cosmos-embed1-448p", "hf:some/folder"])
def test_names_to_come_are_said_to_be_so(name):
    with pytest.raises(ParameterError, match=r"does not have .* yet; it has: pdqf_tmk, pdqf_tmk_level1"):
        load_model(name)


def test_unknown_names_are_answered_with_those_there_are():
    with pytest.raises(ParameterError, match="no embedding model 'nonesuch'; there are: pdqf_tmk, pdqf_tmk_level1"):
        load_model("nonesuch")


def test_importing_the_models_imports_no_torch():
    command = "import sys, curator_dask.models; sys.exit('torch' in sys.modules or 'decord' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command]).returncode == 0
