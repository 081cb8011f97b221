"""Models by name: built-in ones, folders, and a user's own; and the options that they are loaded with."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from curator_dask.errors import ModelError, ParameterError
from curator_dask.models import ModelOptions, load_model, model_names, register_model, registry
from curator_dask.video.frames.sampling import FrameRule


class MeanColour:
    name = "mean_colour"
    dimension = 3
    frame_rule = FrameRule.spread(2, width=8, height=8)
    default_eps = 0.01
    light = True

    def fingerprint(self):
        return {"model": self.name}

    def embed(self, clips):
        means = [clip.reshape(-1, 3).mean(axis=0) for clip in clips]
        return [(mean / np.linalg.norm(mean)).astype(np.float32) for mean in means]


@pytest.fixture
def own_model(monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})
    register_model("mean_colour", lambda options: MeanColour())


def test_the_default_needs_no_weights():
    model = load_model(registry.DEFAULT_MODEL)
    assert model.name == "pdqf_tmk_nobars"
    assert model.fingerprint()["weights"] == "none"


def test_the_names_there_are():
    with_weights = ["cosmos-embed1-224p", "cosmos-embed1-336p", "cosmos-embed1-448p", "effnet-lite0", "internvideo2"]
    assert model_names() == [*with_weights, "pdqf_tmk", "pdqf_tmk_level1", "pdqf_tmk_nobars"]


@pytest.mark.parametrize("name", ["pdqf_tmk", "pdqf_tmk_level1", "pdqf_tmk_nobars"])
def test_models_without_weights_load_anywhere(name):
    assert load_model(name).name == name
    assert load_model(name).light


@pytest.mark.parametrize("name", ["cosmos-embed1-224p", "internvideo2", "hf:openai/clip"])
def test_models_with_weights_say_where_they_were_looked_for(name, tmp_path):
    with pytest.raises(ModelError, match=str(tmp_path)):
        load_model(name, ModelOptions(model_dir=tmp_path, trust_remote_code=True))


@pytest.mark.usefixtures("own_model")
def test_a_model_of_ones_own():
    assert "mean_colour" in model_names()
    vector = load_model("mean_colour").embed([np.full((2, 8, 8, 3), 7, np.uint8)])[0]
    assert vector == pytest.approx([3**-0.5] * 3)


@pytest.mark.usefixtures("own_model")
@pytest.mark.parametrize("name", ["mean_colour", "pdqf_tmk", "internvideo2", "hf:mine", ""])
def test_names_that_cannot_be_given_to_ones_own(name):
    with pytest.raises(ParameterError, match="model"):
        register_model(name, lambda options: MeanColour())


@pytest.mark.parametrize("name", ["nonesuch", "", "hf", "hf;x", "HF:x"])
def test_unknown_names_are_answered_with_those_there_are(name):
    with pytest.raises(
        ParameterError, match=f"no embedding model '{name}'; there are: .*pdqf_tmk.*, hf:FOLDER .* python:"
    ):
        load_model(name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frame_sampling": "random"}, r"frame_sampling \('random'\) must be one of uniform, prefix"),
        ({"dtype": "float64"}, r"dtype \('float64'\) must be one of auto, float32, bfloat16, float16"),
    ],
    ids=["frame_sampling", "dtype"],
)
def test_options_that_cannot_be_meant(changes, message):
    with pytest.raises(ParameterError, match=message):
        ModelOptions(**changes)


@pytest.mark.parametrize(
    ("options", "message"),
    [(ModelOptions(frame_sampling="prefix"), "whole clip"), (ModelOptions(dtype="float16"), "whole numbers")],
    ids=["prefix", "float16"],
)
def test_options_that_the_default_cannot_heed(options, message):
    with pytest.raises(ParameterError, match=message):
        load_model("pdqf_tmk", options)


def test_options_choose_how_frames_are_sampled():
    assert ModelOptions().frame_rule(8, width=4, height=3) == FrameRule.spread(8, width=4, height=3)
    prefix = ModelOptions(frame_sampling="prefix")
    assert prefix.frame_rule(8, width=4, height=3) == FrameRule.prefix(8, width=4, height=3)


def test_importing_the_models_imports_no_torch():
    command = "import sys, curator_dask.models; sys.exit(bool({'torch', 'decord', 'transformers'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", command]).returncode == 0


def test_what_a_client_asks_of_a_default_model_needs_no_torch():
    """It takes more than a second to load, and workers alone compute."""
    program = (
        "import sys; from curator_dask import EmbedStage\n"
        "for name in ('pdqf_tmk_nobars', 'pdqf_tmk', 'pdqf_tmk_level1'):\n"
        "    stage = EmbedStage('clips', 'out', embedding_algorithm=name, video_dir='videos').resolved(has_exact_clips=True)\n"
        "    assert stage.identity()['model']['dimension'] in (256, 1024)\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
