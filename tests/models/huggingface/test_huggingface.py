"""Hugging Face image models: golden vectors of six folders, other kinds made here, and damaged folders."""

from __future__ import annotations

import json
import os
import shutil
import sys

import numpy as np
import pytest
import torch

from curator_dask.errors import ModelError, ParameterError
from curator_dask.models import ModelOptions, Unusable, load_model
from curator_dask.models.unit_vector import pool_frames

transformers = pytest.importorskip("transformers")
FOLDERS = ("clip_vision", "clip_full", "siglip_vision", "siglip_full", "dinov2", "dinov2_registers")
PROCESSORS = {"vit": "ViTImageProcessor", "convnext": "ConvNextImageProcessor", "clip": "CLIPImageProcessor"}
TINY = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}


@pytest.fixture(scope="module")
def golden(shared_dir):
    return shared_dir / "golden" / "hf"


@pytest.fixture(scope="module")
def models(golden):
    return {name: load_model(f"hf:{name}", ModelOptions(model_dir=golden)) for name in FOLDERS}


@pytest.fixture
def copied(golden, tmp_path):
    """A function that copies a golden folder to a place where tests may damage it."""

    def copy(name):
        folder = tmp_path / name
        folder.mkdir()
        for file in (golden / name).iterdir():
            if file.name != "expected.npz":
                shutil.copyfile(file, folder / file.name)
        return folder

    return copy


def save(folder, network, kind="vit", **processor):
    """Write a model folder; `processor` adds fields to its preprocessing."""
    network.save_pretrained(folder)
    content = {"image_processor_type": PROCESSORS[kind], "image_mean": [0.5] * 3, "image_std": [0.5] * 3, **processor}
    (folder / "preprocessor_config.json").write_text(json.dumps(content))
    return f"hf:{folder}"


def vit(seed=0, *, pooler=True):
    torch.manual_seed(seed)
    config = transformers.ViTConfig(**TINY, image_size=32, patch_size=16, num_labels=3)
    return transformers.ViTModel(config) if pooler else transformers.ViTForImageClassification(config)


def edit_json(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def noise(num_frames=8, height=32, width=32, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (num_frames, height, width, 3), dtype=np.uint8)


@pytest.mark.shared
@pytest.mark.parametrize("name", FOLDERS)
class TestGolden:
    def test_from_pixels(self, golden, models, name):
        expected = np.load(golden / name / "expected.npz")
        got = models[name].frame_embeddings(torch.from_numpy(expected["pixel_values"])).numpy()
        assert np.allclose(got, expected["frame_embedding"], rtol=1e-4, atol=1e-4)
        units = got / np.linalg.norm(got, axis=1, keepdims=True)
        assert np.allclose(units, expected["frame_embedding_unit"], rtol=1e-4, atol=1e-4)
        assert np.abs(pool_frames(got) - expected["clip_embedding"]).max() <= 1e-5

    def test_from_frames(self, golden, models, name):
        expected = np.load(golden / name / "expected.npz")
        assert np.abs(models[name].preprocess(expected["frames"]).numpy() - expected["pixel_values"]).max() <= 1e-6
        vector = models[name].embed([expected["frames"]])[0]
        assert vector.dtype == np.float32
        assert np.abs(vector - expected["clip_embedding"]).max() <= 1e-5

    def test_what_it_says_of_itself(self, golden, models, name):
        model, expected = models[name], np.load(golden / name / "expected.npz")
        assert model.dimension == expected["clip_embedding"].size
        assert model.name == f"hf:{name}"
        said = json.dumps(model.fingerprint())
        assert str(golden) not in said
        assert json.loads(said)["image_processor"]["with"] == "pillow"
        assert json.loads(said)["weights"].keys() == {"model.safetensors"}
        assert said == json.dumps(load_model(f"hf:{golden / name}").fingerprint())


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "size", "output"),
    [
        ("clip_full", (56, 56), "image_embeds"),
        ("siglip_full", (64, 64), "pooler_output"),
        ("dinov2", (64, 64), "pooler_output"),
    ],
    ids=["clip", "siglip", "dinov2"],
)
def test_frames_are_wanted_at_the_edge_that_the_model_resizes_to(models, name, size, output):
    rule = models[name].frame_rule
    assert (rule.kind, rule.num_frames, rule.width, rule.height) == ("spread", 8, *size)
    assert models[name].fingerprint()["output"] == output
    # The resize changes nothing in frames of that size: only the crop and the scaling are left.
    frames = noise(2, rule.height, rule.width)
    kept = models[name].preprocess(frames).shape[-1]
    border = (rule.width - kept) // 2
    cropped = frames[:, border : border + kept, border : border + kept].transpose(0, 3, 1, 2) / 255
    mean, std = (np.array(getattr(models[name]._processor, key)) for key in ("image_mean", "image_std"))
    expected = (cropped - mean[:, None, None]) / std[:, None, None]
    assert np.abs(models[name].preprocess(frames).numpy() - expected).max() < 1e-5


@pytest.mark.shared
def test_a_clip_has_the_same_bytes_alone_and_among_others(models):
    model, clips = models["dinov2"], [noise(8, 64, 64, seed) for seed in range(3)]
    together = model.embed(clips)
    assert [vector.tobytes() for vector in together] == [model.embed([clip])[0].tobytes() for clip in clips]
    assert all(np.linalg.norm(vector) == pytest.approx(1, abs=1e-6) for vector in together)
    assert model.embed([]) == []


@pytest.mark.shared
def test_old_preprocessing_with_plain_numbers(golden, copied):
    folder = copied("clip_full")
    raw = json.loads((folder / "preprocessor_config.json").read_text())
    del raw["image_processor_type"]
    raw.update(size=56, crop_size=56, feature_extractor_type="CLIPFeatureExtractor")
    (folder / "preprocessor_config.json").write_text(json.dumps(raw))
    model, expected = load_model(f"hf:{folder}"), np.load(golden / "clip_full" / "expected.npz")
    assert (model.frame_rule.width, model.frame_rule.height) == (56, 56)
    assert np.abs(model.embed([expected["frames"]])[0] - expected["clip_embedding"]).max() <= 1e-5


@pytest.mark.shared
def test_the_projection_size_of_the_whole_model_counts(golden, copied):
    folder = copied("clip_full")
    raw = json.loads((folder / "config.json").read_text())
    del raw["vision_config"]["projection_dim"]  # its default is 512
    (folder / "config.json").write_text(json.dumps(raw))
    assert load_model(f"hf:{folder}").dimension == raw["projection_dim"] == 48


@pytest.mark.shared
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_near_and_known_apart(golden, models, dtype):
    frames = np.load(golden / "dinov2" / "expected.npz")["frames"]
    model = load_model("hf:dinov2", ModelOptions(model_dir=golden, dtype=dtype))
    assert model.embed([frames])[0] @ models["dinov2"].embed([frames])[0] > 0.999
    assert model.embed([frames])[0].dtype == np.float32
    assert model.fingerprint()["dtype"] == dtype
    assert models["dinov2"].fingerprint()["dtype"] == "float32"


@pytest.mark.shared
def test_shards_give_the_same_vectors(golden, copied, models):
    from safetensors.torch import load_file, save_file

    folder = copied("clip_vision")
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    shards = {key: f"model-0000{1 + at % 2}-of-00002.safetensors" for at, key in enumerate(sorted(weights))}
    for shard in set(shards.values()):
        save_file({key: weights[key] for key in weights if shards[key] == shard}, folder / shard, {"format": "pt"})
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": shards}))
    frames, model = noise(8, 56, 56), load_model(f"hf:{folder}")
    assert np.array_equal(model.embed([frames])[0], models["clip_vision"].embed([frames])[0])
    assert model.fingerprint()["weights"].keys() == set(shards.values())
    index.write_text(json.dumps({"weight_map": dict.fromkeys(shards, "../clip_vision/model.safetensors")}))
    with pytest.raises(ModelError, match="names the shard '../clip_vision/model.safetensors', which is not in"):
        load_model(f"hf:{folder}")


@pytest.mark.shared
def test_pickled_weights_without_code(copied, models):
    from safetensors.torch import load_file

    folder = copied("clip_vision")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    frames = noise(8, 56, 56)
    assert np.array_equal(load_model(f"hf:{folder}").embed([frames])[0], models["clip_vision"].embed([frames])[0])


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.shared
def test_pickled_weights_with_code_are_not_run(copied, tmp_path):
    folder = copied("clip_vision")
    (folder / "model.safetensors").unlink()
    torch.save({"weights": Bomb(str(tmp_path / "run"))}, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_model(f"hf:{folder}")
    assert not (tmp_path / "run").exists()


@pytest.mark.shared
def test_code_in_the_folder_is_not_run(copied, tmp_path):
    folder = copied("dinov2")
    (folder / "evil.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'run')!r})\n")
    places = {"AutoConfig": "evil.C", "AutoModel": "evil.M", "AutoImageProcessor": "evil.P"}
    for name in ("config.json", "preprocessor_config.json"):
        edit_json(folder / name, auto_map=places)
    trusting = ModelOptions(trust_remote_code=True)  # speaks of models that cannot do without
    assert load_model(f"hf:{folder}", trusting).dimension == 48
    edit_json(folder / "config.json", model_type="evil")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_model(f"hf:{folder}", trusting)
    assert not (tmp_path / "run").exists()


def test_a_pooler_that_is_there(tmp_path):
    network = vit().eval()
    model = load_model(save(tmp_path, network, size={"height": 32, "width": 32}))
    assert (model.fingerprint()["output"], model.dimension) == ("pooler_output", 16)
    frames = noise()
    with torch.inference_mode():
        rows = network(pixel_values=model.preprocess(frames)).pooler_output.numpy()
    assert np.allclose(model.embed([frames])[0], pool_frames(rows), atol=1e-6)


def test_a_classifier_has_no_pooler_so_the_first_token_is_taken(tmp_path):
    network = vit(pooler=False).eval()
    model = load_model(save(tmp_path, network, size={"height": 32, "width": 32}))
    assert model.fingerprint()["output"] == "first_token"
    frames = noise()
    with torch.inference_mode():
        rows = network.vit(pixel_values=model.preprocess(frames)).last_hidden_state[:, 0].numpy()
    assert np.allclose(model.embed([frames])[0], pool_frames(rows), atol=1e-6)


def test_a_convolutional_network(tmp_path):
    torch.manual_seed(0)
    config = transformers.ConvNextConfig(hidden_sizes=[4, 6, 8, 10], depths=[1, 1, 1, 1], image_size=32)
    model = load_model(
        save(tmp_path, transformers.ConvNextModel(config), "convnext", size={"shortest_edge": 56}, crop_pct=0.875)
    )
    assert (model.fingerprint()["output"], model.dimension) == ("pooler_output", 10)
    assert (model.frame_rule.width, model.frame_rule.height) == (64, 64)


def test_a_model_of_pictures_and_text_that_is_not_known_here(tmp_path):
    torch.manual_seed(0)
    text = {**TINY, "vocab_size": 20, "max_position_embeddings": 8}
    vision = {**TINY, "image_size": 32, "patch_size": 16}
    config = transformers.ChineseCLIPConfig(text_config=text, vision_config=vision, projection_dim=12)
    sizes = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    model = load_model(save(tmp_path, transformers.ChineseCLIPModel(config), "clip", **sizes))
    assert (model.fingerprint()["output"], model.dimension) == ("image_features", 12)
    assert np.linalg.norm(model.embed([noise()])[0]) == pytest.approx(1, abs=1e-6)


def test_prefix_sampling(tmp_path):
    name = save(tmp_path, vit(), size={"height": 32, "width": 32})
    prints = [load_model(name, ModelOptions(frame_sampling=kind)).fingerprint() for kind in ("uniform", "prefix")]
    assert [said.pop("frame_rule")["kind"] for said in prints] == ["spread", "prefix"]
    assert prints[0] == prints[1]


def test_another_network_or_preprocessing_is_another_model(tmp_path):
    said = []
    for at, (seed, side) in enumerate([(0, 32), (0, 32), (1, 32), (0, 48)]):
        name = save(tmp_path / str(at), vit(seed), size={"height": side, "width": side})
        said.append(json.dumps(load_model(name).fingerprint()) if side == 32 else None)
        if side == 48:
            with pytest.raises(ModelError, match="cannot be loaded"):
                load_model(name)
    assert said[0] == said[1] != said[2]
    edit_json(tmp_path / "0" / "preprocessor_config.json", image_mean=[0.4] * 3)
    assert json.dumps(load_model(f"hf:{tmp_path / '0'}").fingerprint()) != said[0]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([[2, 0], [0, 5]], [0.5**0.5, 0.5**0.5]),
        ([[0, 0], [0, 3]], [0, 1]),
        ([[1e-30, 0]], [1, 0]),
        ([[1, 0], [-7, 0]], "zero-vector"),
        ([[0, 0]], "zero-vector"),
        ([[1, 0], [np.nan, 0]], "not-finite"),
        ([[np.inf, 0]], "not-finite"),
    ],
    ids=["unit-first", "a-zero-frame", "tiny", "opposite", "zeros", "nan", "inf"],
)
def test_pooling(rows, expected):
    result = pool_frames(np.array(rows, np.float32))
    if isinstance(expected, str):
        assert isinstance(result, Unusable)
        assert result.reason == expected
    else:
        assert result == pytest.approx(expected)


class Broken:
    """Ways to damage the folder of a tiny ViT, and the message for each."""

    @staticmethod
    def no_config(folder):
        (folder / "config.json").unlink()

    @staticmethod
    def no_weights(folder):
        (folder / "model.safetensors").unlink()

    @staticmethod
    def no_preprocessing(folder):
        (folder / "preprocessor_config.json").unlink()

    @staticmethod
    def config_is_no_json(folder):
        (folder / "config.json").write_text("{")

    @staticmethod
    def config_is_a_list(folder):
        (folder / "config.json").write_text("[1]")

    @staticmethod
    def no_model_type(folder):
        (folder / "config.json").write_text("{}")

    @staticmethod
    def unknown_type(folder):
        edit_json(folder / "config.json", model_type="nonesuch")

    @staticmethod
    def cut_weights(folder):
        path = folder / "model.safetensors"
        path.write_bytes(path.read_bytes()[:-100])

    @staticmethod
    def missing_weights(folder):
        _rewrite(folder, lambda weights: {key: value for key, value in weights.items() if "layernorm" not in key})

    @staticmethod
    def not_finite(folder):
        _rewrite(folder, lambda weights: {key: value * torch.nan for key, value in weights.items()})

    @staticmethod
    def other_shapes(folder):
        edit_json(folder / "config.json", intermediate_size=30)

    @staticmethod
    def adapter(folder):
        (folder / "adapter_config.json").write_text("{}")

    @staticmethod
    def quantised(folder):
        edit_json(folder / "config.json", quantization_config={"quant_method": "bitsandbytes"})

    @staticmethod
    def code_from_elsewhere(folder):
        edit_json(folder / "config.json", attn_implementation="someone/kernels")

    @staticmethod
    def huge_pictures(folder):
        edit_json(folder / "preprocessor_config.json", size={"height": 10**6, "width": 10**6})

    @staticmethod
    def text_model(folder):
        torch.manual_seed(0)
        transformers.BertModel(transformers.BertConfig(**TINY, vocab_size=20)).save_pretrained(folder)


def _rewrite(folder, change):
    from safetensors.torch import load_file, save_file

    save_file(change(load_file(folder / "model.safetensors")), folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ("no_config", "has no config.json; is it a complete model folder"),
        ("no_weights", "has none of model.safetensors, "),
        ("no_preprocessing", "has none of preprocessor_config.json, "),
        ("config_is_no_json", "cannot be read as JSON"),
        ("config_is_a_list", "is list, not a JSON object"),
        ("no_model_type", "names no model_type"),
        ("unknown_type", "cannot be loaded: .*nonesuch"),
        ("cut_weights", "cannot be loaded: SafetensorError"),
        ("missing_weights", r"lacks \d+ weights of its model: .*layernorm"),
        ("not_finite", "no usable vector .* not finite"),
        ("other_shapes", "cannot be loaded"),
        ("adapter", "holds an adapter"),
        ("quantised", "holds quantised weights"),
        ("code_from_elsewhere", "attention code from elsewhere: 'someone/kernels'"),
        ("huge_pictures", "image size 1000000x1000000"),
        ("text_model", "cannot be loaded"),
    ],
)
def test_folders_that_are_no_good(tmp_path, spoil, message):
    name = save(tmp_path, vit(), size={"height": 32, "width": 32})
    getattr(Broken, spoil)(tmp_path)
    with pytest.raises(ModelError, match=message):
        load_model(name)


def test_no_such_folder(tmp_path):
    with pytest.raises(ModelError, match=f"no model folder {tmp_path}/nonesuch or nonesuch; download it once"):
        load_model("hf:nonesuch", ModelOptions(model_dir=tmp_path))


def test_without_transformers(tmp_path, monkeypatch):
    name = save(tmp_path, vit(), size={"height": 32, "width": 32})
    monkeypatch.setitem(sys.modules, "transformers", None)  # as Python itself marks what cannot be imported
    with pytest.raises(ModelError, match=r"needs transformers, .*: pip install 'curator_dask\[models\]'"):
        load_model(name)


@pytest.mark.parametrize(
    "clip",
    [np.zeros((0, 32, 32, 3), np.uint8), np.zeros((2, 32, 32, 3), np.float32), np.zeros((2, 32, 32), np.uint8)],
    ids=["empty", "float", "grey"],
)
def test_clips_of_another_shape_or_type(tmp_path, clip):
    model = load_model(save(tmp_path, vit(), size={"height": 32, "width": 32}))
    with pytest.raises(ParameterError, match=r"a clip must be \(T, H, W, 3\) uint8"):
        model.embed([clip])


def test_nothing_is_said_and_the_library_is_left_as_it_was(tmp_path, capfd):
    from huggingface_hub import constants

    logging = transformers.utils.logging
    before = logging.get_verbosity(), logging.is_progress_bar_enabled(), constants.HF_HUB_OFFLINE
    name = save(tmp_path, vit(pooler=False), size={"height": 32, "width": 32})
    capfd.readouterr()
    load_model(name)
    assert capfd.readouterr() == ("", "")
    assert before == (logging.get_verbosity(), logging.is_progress_bar_enabled(), constants.HF_HUB_OFFLINE)
