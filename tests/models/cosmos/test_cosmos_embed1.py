"""Cosmos-Embed1 through the code of its folder: a folder of the released layout with a tiny network, and every trap.

The network is a stand-in with the documented interface (the released code is not at hand): processor(videos=…)
["videos"], and get_video_embeddings(videos=…).visual_proj.
"""

from __future__ import annotations

import json
import os
import re
import sys

import numpy as np
import pytest
import torch

from curator_dask.errors import ModelError, ParameterError
from curator_dask.models import ModelOptions, load_model
from curator_dask.models.cosmos.model import _enlarge

transformers = pytest.importorskip("transformers")

CONFIGURATION = """
from transformers import PretrainedConfig

class CosmosEmbed1Config(PretrainedConfig):
    model_type = "cosmos-embed1"

    def __init__(self, embed_dim=256, num_video_frames=8, resolution=28, **kwargs):
        super().__init__(**kwargs)
        self.embed_dim, self.num_video_frames, self.resolution = embed_dim, num_video_frames, resolution
"""
VIT = """
import torch
from torch import nn

class VisualEncoder(nn.Module):
    def __init__(self, num_patches):
        super().__init__()
        self.pos_embed = nn.Parameter(torch.randn(1, 1 + num_patches, 8))
        self.patches = nn.Conv2d(3, 8, 14, 14)

    def forward(self, pixels):
        return self.patches(pixels).flatten(2).transpose(1, 2) + self.pos_embed[:, 1:]
"""
MODEL = """
from dataclasses import dataclass
import torch
from torch import nn
from transformers import PreTrainedModel
from .configuration_embed1 import CosmosEmbed1Config
from .modeling_vit import VisualEncoder

@dataclass
class VideoEmbeddings:
    visual_proj: torch.Tensor

class CosmosEmbed1(PreTrainedModel):
    config_class = CosmosEmbed1Config
    base_model_prefix = "cosmos"

    def __init__(self, config):
        super().__init__(config)
        self.visual_encoder = VisualEncoder((config.resolution // 14) ** 2)
        self.visual_proj = nn.Linear(8, config.embed_dim)
        self.logit_scale = nn.Parameter(torch.ones(()))
        self.post_init()

    def get_video_embeddings(self, videos):
        batch, channels, frames = videos.shape[:3]
        assert channels == 3 and videos.max() <= 1
        tokens = self.visual_encoder(videos.transpose(1, 2).flatten(0, 1) - 0.5)
        pooled = tokens.mean(dim=1).reshape(batch, frames, -1)
        weights = torch.linspace(1, 2, frames, device=pooled.device, dtype=pooled.dtype)[:, None]
        return VideoEmbeddings(nn.functional.normalize(self.visual_proj((pooled * weights).mean(dim=1)), dim=-1))
"""
PROCESSOR = """
import torch
from transformers import BatchFeature, ProcessorMixin

class CosmosEmbed1Processor(ProcessorMixin):
    attributes = []

    def __init__(self, resolution=28, num_video_frames=8, **kwargs):
        super().__init__()
        self.resolution, self.num_video_frames = resolution, num_video_frames

    @classmethod
    def from_pretrained(cls, path, **kwargs):
        import json, os
        with open(os.path.join(path, "processor_config.json")) as file:
            raw = json.load(file)
        return cls(raw["resolution"], raw["num_video_frames"])

    def __call__(self, videos=None, return_tensors=None):
        videos = torch.as_tensor(videos)
        assert videos.dtype == torch.uint8 and videos.shape[2] == 3 and videos.shape[1] == self.num_video_frames
        return BatchFeature({"videos": videos.float().div(255).transpose(1, 2)})
"""
CODE = {
    "__init__.py": "",
    "configuration_embed1.py": CONFIGURATION,
    "modeling_vit.py": VIT,
    "modeling_embed1.py": MODEL,
    "preprocessing_embed1.py": PROCESSOR,
    "convert_weights.py": "import a_package_of_the_authors_alone\n",
}
AUTO_MAP = {"AutoConfig": "configuration_embed1.CosmosEmbed1Config", "AutoModel": "modeling_embed1.CosmosEmbed1"}
PROCESSOR_MAP = {"AutoProcessor": "preprocessing_embed1.CosmosEmbed1Processor"}


def weights(seed=0, dimension=256, num_patches=4):
    draw = torch.Generator().manual_seed(seed)
    shapes = {
        "visual_encoder.pos_embed": (1, 1 + num_patches, 8),
        "visual_encoder.patches.weight": (8, 3, 14, 14),
        "visual_encoder.patches.bias": (8,),
        "visual_proj.weight": (dimension, 8),
        "visual_proj.bias": (dimension,),
        "logit_scale": (),
    }
    return {key: torch.randn(shape, generator=draw).bfloat16() for key, shape in shapes.items()}


def save_weights(folder, tensors):
    from safetensors.torch import save_file

    shards = {key: f"model-0000{1 + at % 2}-of-00002.safetensors" for at, key in enumerate(sorted(tensors))}
    for shard in sorted(set(shards.values())):
        save_file({key: tensors[key] for key in tensors if shards[key] == shard}, folder / shard, {"format": "pt"})
    index = {"metadata": {}, "weight_map": shards}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def edit_json(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.fixture
def make(tmp_path):
    """A function that writes the folder of a variant below a model folder, and returns it."""

    def make_folder(variant="224p", *, dimension=256, resolution=28):
        folder = tmp_path / "models" / "nvidia" / f"Cosmos-Embed1-{variant}"
        folder.mkdir(parents=True)
        for name, code in CODE.items():
            (folder / name).write_text(code)
        config = {"model_type": "cosmos-embed1", "architectures": ["CosmosEmbed1"], "auto_map": AUTO_MAP}
        config.update(embed_dim=dimension, num_video_frames=8, resolution=resolution)
        processor = {"processor_class": "CosmosEmbed1Processor", "auto_map": PROCESSOR_MAP, "max_txt_len": 128}
        processor.update(resolution=resolution, num_video_frames=8)
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "processor_config.json").write_text(json.dumps(processor))
        (folder / "tokenizer_config.json").write_text('{"model_max_length": 512}')
        save_weights(folder, weights(dimension=dimension, num_patches=(resolution // 14) ** 2))
        return folder

    return make_folder


def load(folder, **options):
    variant = folder.name.rpartition("-")[2]
    options = {"model_dir": folder.parents[1], "trust_remote_code": True, **options}
    return load_model(f"cosmos-embed1-{variant}", ModelOptions(**options))


def noise(seed=0, num_frames=8, side=28):
    return np.random.default_rng(seed).integers(0, 256, (num_frames, side, side, 3), dtype=np.uint8)


@pytest.mark.parametrize(("variant", "dimension"), [("224p", 256), ("336p", 768), ("448p", 768)])
def test_a_clip_gives_the_vector_of_the_folder_s_network(make, variant, dimension):
    model = load(make(variant, dimension=dimension))
    assert (model.name, model.dimension, model.light) == (f"cosmos-embed1-{variant}", dimension, False)
    rule = model.frame_rule
    assert (rule.kind, rule.num_frames, rule.width, rule.height) == ("spread", 8, 28, 28)
    clips = [noise(seed) for seed in range(3)]
    got = model.embed(clips)
    assert all(vector.dtype == np.float32 and vector.shape == (dimension,) for vector in got)
    tensors = {key: value.float() for key, value in weights(dimension=dimension).items()}
    for vector, clip in zip(got, clips, strict=True):
        assert np.allclose(vector, by_hand(tensors, clip), atol=1e-5)
    assert got[1].tobytes() == model.embed([clips[1]])[0].tobytes()
    assert model.embed([]) == []


def by_hand(tensors, clip):
    pixels = torch.from_numpy(clip).permute(0, 3, 1, 2) / 255 - 0.5
    patches = torch.nn.functional.conv2d(
        pixels, tensors["visual_encoder.patches.weight"], tensors["visual_encoder.patches.bias"], stride=14
    )
    tokens = patches.flatten(2).transpose(1, 2) + tensors["visual_encoder.pos_embed"][:, 1:]
    pooled = (tokens.mean(dim=1) * torch.linspace(1, 2, 8)[:, None]).mean(dim=0)
    vector = tensors["visual_proj.weight"] @ pooled + tensors["visual_proj.bias"]
    return (vector / vector.norm()).numpy()


def test_code_is_not_run_unasked(make, tmp_path):
    folder = make()
    (folder / "modeling_embed1.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'run')!r})\n{MODEL}")
    with pytest.raises(
        ParameterError, match=r"runs the Python code in .*224p; look it over, .* trust_remote_code=True"
    ):
        load(folder, trust_remote_code=False)
    assert not (tmp_path / "run").exists()
    load(folder)
    assert (tmp_path / "run").exists()


def test_the_fingerprint_holds_weights_code_and_settings(make):
    folder = make()
    first = load(folder).fingerprint()
    assert first == load(folder).fingerprint()
    assert str(folder.parent) not in json.dumps(first)
    assert set(first["weights"]) == {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"}
    assert load(folder, frame_sampling="prefix").fingerprint()["frame_rule"]["kind"] == "prefix"
    assert load(folder, dtype="bfloat16").fingerprint()["dtype"] == "bfloat16"
    (folder / "modeling_vit.py").write_text(VIT + "\n# changed\n")
    assert load(folder).fingerprint() != first
    (folder / "modeling_vit.py").write_text(VIT)
    save_weights(folder, weights(seed=1))
    assert load(folder).fingerprint()["weights"] != first["weights"]


def test_code_that_does_not_take_a_type_of_numbers(make):
    folder = make()
    mixing = MODEL.replace("videos.transpose(1, 2)", "videos.float().transpose(1, 2)")
    (folder / "modeling_embed1.py").write_text(mixing)
    assert load(folder).dimension == 256
    with pytest.raises(ModelError, match="RuntimeError"):
        load(folder, dtype="bfloat16")


def test_bfloat16_is_near(make):
    folder, clip = make(), noise()
    assert load(folder).embed([clip])[0] @ load(folder, dtype="bfloat16").embed([clip])[0] > 0.999


def test_code_named_with_its_repository_is_taken_from_the_folder(make):
    folder = make()
    plain = load(folder).embed([noise()])[0]
    repository = "nvidia/Cosmos-Embed1-448p--"
    config = {key: repository + place for key, place in AUTO_MAP.items()}
    edit_json(folder / "config.json", auto_map=config)
    edit_json(folder / "processor_config.json", auto_map={key: repository + at for key, at in PROCESSOR_MAP.items()})
    before = (folder / "config.json").read_bytes()
    assert np.array_equal(load(folder).embed([noise()])[0], plain)
    assert (folder / "config.json").read_bytes() == before


@pytest.mark.parametrize("place", ["nonesuch.C", "nvidia/Cosmos-Embed1-448p--nonesuch.C"], ids=["local", "repository"])
def test_code_that_is_not_in_the_folder(make, place):
    folder = make()
    edit_json(folder / "config.json", auto_map={**AUTO_MAP, "AutoModel": place})
    with pytest.raises(ModelError, match=r"has no nonesuch.py, the code that its configuration names"):
        load(folder)


def test_nothing_is_left_in_the_user_s_cache(make, monkeypatch, tmp_path):
    from transformers import dynamic_module_utils

    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "cache"))
    load(make())
    assert str(tmp_path / "cache") == dynamic_module_utils.HF_MODULES_CACHE
    assert not (tmp_path / "cache").exists()


def append(name, text):
    def change(folder):
        path = folder / name
        path.write_text(text + path.read_text())

    return change


def configure(name, **changes):
    return lambda folder: edit_json(folder / name, **changes)


def reweigh(change):
    return lambda folder: save_weights(folder, change(weights()))


def without(*names):
    def remove(folder):
        for name in names:
            (folder / name).unlink()

    return remove


FROM_OLD = "from transformers.modeling_utils import (\n    a_name_of_old,\n    PreTrainedModel,\n)\n"
META = MODEL.replace("super().__init__(config)", "super().__init__(config)\n        torch.ones(1).item()")
BERT = "from transformers import BertConfig\nBertConfig.from_pretrained('bert-base-uncased')\n"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without("config.json"), "has no config.json"),
        (configure("config.json", model_type="clip"), "is a model of type 'clip', not 'cosmos-embed1'"),
        (without("processor_config.json"), "has none of processor_config.json"),
        (
            without("model-00001-of-00002.safetensors"),
            "names the shard 'model-00001-of-00002.safetensors', which is not",
        ),
        (
            append("modeling_vit.py", "import nonesuch_einops\n"),
            r"nonesuch_einops missing: .*modeling_vit.py imports it",
        ),
        (append("modeling_vit.py", "from nonesuch_vision import T\n"), "nonesuch_vision missing: .* on every worker"),
        (
            append("modeling_embed1.py", FROM_OLD),
            r"imports a_name_of_old from transformers.modeling_utils, .*==4\.55\.4",
        ),
        (append("modeling_embed1.py", "from transformers.nonesuch import x\n"), "imports x from transformers.nonesuch"),
        (append("modeling_vit.py", "def (\n"), "modeling_vit.py is no Python file"),
        (
            append("modeling_embed1.py", BERT),
            "looks up the configuration of bert-base-uncased, .* hf download bert-base",
        ),
        pytest.param(
            *(lambda folder: (folder / "modeling_embed1.py").write_text(META), r"cannot be loaded .*==4\.55\.4.*meta"),
            marks=pytest.mark.skipif(transformers.__version__ < "5", reason="older versions build no meta tensors"),
        ),
        (
            reweigh(lambda all_: {key: all_[key] for key in all_ if key != "visual_proj.bias"}),
            "1 weights were not loaded",
        ),
        (reweigh(lambda all_: weights(num_patches=9)), r"cannot be loaded .*==4\.55\.4"),
        (configure("config.json", embed_dim=64), "cannot be loaded"),
        (reweigh(lambda all_: {key: all_[key] * torch.nan for key in all_}), "lacks|not loaded from|not finite"),
        (configure("config.json", auto_map={"AutoConfig": AUTO_MAP["AutoConfig"]}), "names no code for AutoModel"),
        (configure("processor_config.json", resolution=10**6), r"resolution \(1000000\) .* is not within 1 to 2048"),
        (configure("processor_config.json", resolution="big"), "resolution"),
        (configure("processor_config.json", num_video_frames=0), r"num_video_frames \(0\)"),
    ],
    ids=[
        *("no-config", "other-type", "no-processor", "no-shard", "einops", "torchvision", "old-names", "old-module"),
        *(
            "no-python",
            "bert",
            "meta-item",
            "missing-weight",
            "positions",
            "other-size",
            "nan",
            "no-model-code",
            "huge",
            "text",
            "no-frames",
        ),
    ],
)
def test_traps(make, monkeypatch, tmp_path, spoil, message):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    folder = make()
    spoil(folder)
    with pytest.raises(ModelError, match=re.compile(message, re.DOTALL)):
        load(folder)


def test_imports_that_are_guarded_may_fail(make):
    folder = make()
    append("modeling_vit.py", "try:\n    import nonesuch\nexcept ImportError:\n    nonesuch = None\n")(folder)
    assert load(folder).dimension == 256


def test_another_dimension_than_the_variant_has(make):
    folder = make("224p", dimension=768)
    with pytest.raises(ModelError, match=r"makes \(1, 768\) of 1 clips, not 256 each"):
        load(folder)


ENLARGING = """
    def _load_from_state_dict(self, state, prefix, *rest):
        stored = state[prefix + "pos_embed"]
        grid = stored[:, 1:].reshape(1, 2, 2, 8).permute(0, 3, 1, 2)
        grid = nn.functional.interpolate(grid, size=(3, 3), mode="bicubic").permute(0, 2, 3, 1)
        state[prefix + "pos_embed"] = torch.cat([stored[:, :1], grid.reshape(1, 9, 8)], dim=1)
        super()._load_from_state_dict(state, prefix, *rest)
"""
KEEPING = """
    @classmethod
    def from_pretrained(cls, path, *args, config=None, **kwargs):
        import glob, os
        from safetensors.torch import load_file
        network, state = cls(config), {}
        for name in glob.glob(os.path.join(path, "*.safetensors")):
            state.update(load_file(name))
        network.load_state_dict(state)
        return network, {"missing_keys": [], "mismatched_keys": [], "unexpected_keys": []}
"""


@pytest.mark.parametrize("enlarged", [True, False], ids=["enlarged", "left-random"])
def test_positions_are_those_of_the_file_on_the_variant_s_grid(make, enlarged):
    """Code that loads its own weights: once it enlarges the positions of the file, once it puts random numbers in their place."""
    folder = make("336p", dimension=768, resolution=42)
    save_weights(folder, weights(dimension=768, num_patches=4))
    hook = ENLARGING if enlarged else ENLARGING.replace("torch.cat(", "torch.randn(1, 10, 8) + 0 * torch.cat(")
    (folder / "modeling_vit.py").write_text(VIT + hook)
    (folder / "modeling_embed1.py").write_text(MODEL + KEEPING)
    if enlarged:
        assert load(folder).dimension == 768
        return
    with pytest.raises(ModelError, match=r"visual_encoder.pos_embed was not loaded from the file; pip install"):
        load(folder)


def test_enlarging_keeps_the_first_row_and_smooth_grids():
    ramp = torch.arange(16.0).reshape(4, 4, 1).expand(4, 4, 5).reshape(1, 16, 5)
    positions = torch.cat([torch.full((1, 1, 5), 7.0), ramp], dim=1)
    larger = _enlarge(positions, 65)
    assert larger.shape == (1, 65, 5)
    assert torch.equal(larger[:, 0], positions[:, 0])
    assert larger[0, 1:].reshape(8, 8, 5)[3:5, 3:5].mean() == pytest.approx(7.5, abs=1e-5)
    with pytest.raises(ModelError, match="of 17 rows does not fit a network of 60"):
        _enlarge(positions, 60)


@pytest.mark.parametrize(
    "clip",
    [noise(num_frames=7), noise().astype(np.float32), noise()[0]],
    ids=["7-frames", "float", "one-frame"],
)
def test_clips_of_another_shape_or_type(make, clip):
    with pytest.raises(ParameterError, match=r"a clip must be \(8, H, W, 3\) uint8"):
        load(make()).embed([clip])


def test_no_folder(tmp_path):
    with pytest.raises(ModelError, match=f"no model folder {tmp_path}/nvidia/Cosmos-Embed1-448p or "):
        load_model("cosmos-embed1-448p", ModelOptions(model_dir=tmp_path))


def test_without_transformers(make, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)  # as Python itself marks what cannot be imported
    with pytest.raises(ModelError, match=r"pip install 'curator_dask\[models\]'"):
        load(make())


def test_the_library_is_left_as_it_was(make):
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE, dict(os.environ)
    load(make())
    assert before == (constants.HF_HUB_OFFLINE, dict(os.environ))
