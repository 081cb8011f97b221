"""InternVideo2: golden vectors block by block, from tensors and from frames; files that fit and files that do not."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from curator_dask.errors import DeviceError, ModelError, ParameterError
from curator_dask.models import ModelOptions, Unusable, load_model
from curator_dask.models.internvideo2.convert import convert
from curator_dask.models.internvideo2.model import FILE_STEM, REPOSITORY, InternVideo2, resize_bilinear
from curator_dask.models.internvideo2.network import (
    NOT_NEEDED,
    InternVideo2Network,
    NetworkSizes,
    interpolate_positions,
    make_empty,
)
from curator_dask.models.unit_vector import unit_vector
from curator_dask.video.frames.sampling import select_frames

safetensors_torch = pytest.importorskip("safetensors.torch")

TINY = NetworkSizes(
    width=32, depth=2, mlp_width=40, pooled_width=24, dimension=16, patch_px=4, grid=2, num_heads=4, num_pool_heads=2
)


def noise(num_clips, side=8, seed=0, num_frames=4):
    clips = np.random.default_rng(seed).integers(0, 256, (num_clips, num_frames, side, side, 3), dtype=np.uint8)
    return list(clips)


def tiny_network(seed=0):
    torch.manual_seed(seed)
    network = InternVideo2Network(TINY).eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter.copy_(torch.randn_like(parameter) * 0.3)
    return network


def place(model_dir, content, suffix=".safetensors", config=None):
    """Write weights to the place where the model looks for them."""
    folder = model_dir / REPOSITORY
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{FILE_STEM}{suffix}"
    if suffix == ".pt":
        torch.save(content, path)
    else:
        safetensors_torch.save_file(content, path)
    config = config or {"num_heads": TINY.num_heads, "attn_pool_num_heads": TINY.num_pool_heads}
    (folder / "config.json").write_text(json.dumps(config))
    return path


def load(model_dir, **options):
    return load_model("internvideo2", ModelOptions(model_dir=model_dir, **options))


def run(network, video):
    """(B, D) unit rows."""
    with torch.inference_mode():
        rows = network(torch.as_tensor(video).to(network.vision_proj.weight.dtype)).float().numpy()
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def distance(got, expected):
    return np.abs(np.asarray(got, np.float64) - expected).max()


@pytest.fixture(scope="module")
def golden(shared_dir):
    return shared_dir / "golden" / "internvideo2"


@pytest.fixture(scope="module")
def golden_dir(golden, tmp_path_factory):
    """A model_dir with the golden network in float32."""
    model_dir = tmp_path_factory.mktemp("models")
    folder = model_dir / REPOSITORY
    folder.mkdir(parents=True)
    shutil.copyfile(golden / "state_dict.safetensors", folder / f"{FILE_STEM}.safetensors")
    shutil.copyfile(golden / "config.json", folder / "config.json")
    return model_dir


@pytest.fixture(scope="module")
def golden_pt_dir(golden, tmp_path_factory):
    """A model_dir with the golden checkpoint in bfloat16, in the released container."""
    model_dir = tmp_path_factory.mktemp("models")
    folder = model_dir / REPOSITORY
    folder.mkdir(parents=True)
    shutil.copyfile(golden / "checkpoint_deepspeed_layout.pt", folder / f"{FILE_STEM}.pt")
    shutil.copyfile(golden / "config.json", folder / "config.json")
    return model_dir


@pytest.fixture(scope="module")
def network(golden_dir):
    return load(golden_dir)._network


@pytest.fixture(scope="module")
def vectors(golden):
    return dict(np.load(golden / "vectors.npz"))


@pytest.fixture
def tiny_dir(tmp_path):
    place(tmp_path, tiny_network().state_dict())
    return tmp_path


@pytest.mark.shared
class TestGolden:
    def test_block_by_block(self, network, vectors):
        seen = {}

        def keep(name):
            return lambda module, inputs, output: seen.update({name: output.numpy()})

        parts = {"patch_tokens": network.vision_encoder.patch_embed, "pooled": network.vision_encoder, "proj": network}
        parts |= {f"block{i}_out": block for i, block in enumerate(network.vision_encoder.blocks)}
        hooks = [part.register_forward_hook(keep(name)) for name, part in parts.items()]
        embedding = run(network, vectors["video"])
        for hook in hooks:
            hook.remove()
        seen["x_vis"] = seen["block3_out"]
        assert len(seen) == 8
        for name, got in seen.items():
            assert np.allclose(got, vectors[name], rtol=1e-4, atol=1e-4), name
        assert distance(embedding, vectors["embedding"]) <= 1e-5

    def test_single_frames(self, network, vectors):
        assert distance(run(network, vectors["image"]), vectors["image_embedding"]) <= 1e-5

    def test_other_numbers_of_frames(self, network, vectors):
        with torch.inference_mode():
            positions = network.vision_encoder.positions(8, 4, 4)
        assert distance(positions, vectors["interp_pos_embed"]) <= 1e-5
        assert distance(run(network, vectors["interp_video"]), vectors["interp_embedding"]) <= 1e-5

    def test_other_sizes_of_frames(self, network, vectors):
        with torch.inference_mode():
            positions = network.vision_encoder.positions(4, 6, 6)
        assert distance(positions, vectors["interp_spatial_pos_embed"]) <= 1e-5

    def test_bfloat16(self, golden_dir, vectors):
        network = load(golden_dir, dtype="bfloat16")._network
        assert {tensor.dtype for tensor in network.state_dict().values()} == {torch.bfloat16}
        got = run(network, vectors["video"])
        for expected in (vectors["embedding"], vectors["embedding_bf16"]):
            # What is expected was scaled in bfloat16, to about unit length.
            assert ((got * expected).sum(axis=1) / np.linalg.norm(expected, axis=1)).min() >= 0.999
            assert distance(got, expected) <= 2e-2

    def test_the_released_container(self, golden, golden_pt_dir):
        expected = np.load(golden / "checkpoint_expected.npz")
        got = run(load(golden_pt_dir)._network, expected["video"])
        assert distance(got, expected["embedding_f32_from_bf16_weights"]) <= 1e-5

    def test_from_frames(self, golden, golden_dir):
        expected = np.load(golden / "preprocess.npz")
        model = load(golden_dir, frame_sampling="prefix")
        # 11 frames, 2 a second: the compatible rule takes those that the original took.
        selected = select_frames(np.arange(11) / 2, model.frame_rule, 5.5)
        assert selected.tolist() == expected["selected_indices"].tolist()
        clip = expected["frames"][selected]
        assert np.array_equal(resize_bilinear(clip, 56, 56), expected["selected_resized"])
        assert distance(model.preprocess([clip]), expected["model_input"]) <= 1e-6
        assert distance(model.embed([clip])[0], expected["embedding"][0]) <= 1e-5
        assert distance(model.embed([expected["selected_resized"]])[0], expected["embedding"][0]) <= 1e-5

    def test_frames_of_the_real_size(self, golden):
        expected = np.load(golden / "preprocess.npz")
        model = InternVideo2(make_small_at_224(), "", ModelOptions())
        got = model.preprocess([expected["frames"][[0, 2, 4, 6]]])
        assert got.shape == (1, 4, 3, 224, 224)
        assert distance(got[0, :1], expected["model_input_224_frame0"]) <= 1e-6

    def test_conversion(self, golden_pt_dir, tmp_path):
        source = golden_pt_dir / REPOSITORY / f"{FILE_STEM}.pt"
        target = tmp_path / REPOSITORY / f"{FILE_STEM}.safetensors"
        done = convert(source, target)
        shutil.copyfile(source.parent / "config.json", target.parent / "config.json")
        content = safetensors_torch.load_file(target)
        assert done.num_tensors == len(content) == 73
        assert {tensor.dtype for tensor in content.values()} == {torch.bfloat16}
        assert not any(NOT_NEEDED.match(key) for key in content)
        assert target.stat().st_size == done.num_bytes < source.stat().st_size
        before, after = load(golden_pt_dir), load(tmp_path)
        assert before.fingerprint() == after.fingerprint()
        clips = noise(2, side=56)
        assert np.array_equal(before.embed(clips), after.embed(clips))


def make_small_at_224():
    return InternVideo2Network(NetworkSizes(width=16, depth=1, mlp_width=8, pooled_width=8, dimension=8))


@pytest.mark.shared
def test_tensor_names_and_shapes_of_the_released_model(shared_dir):
    released = json.loads((shared_dir / "golden" / "internvideo2_1b_keys.json").read_text())
    others = json.loads((shared_dir / "golden" / "internvideo2_1b_other_keys.json").read_text())
    ours = {key: list(tensor.shape) for key, tensor in make_empty(NetworkSizes()).state_dict().items()}
    assert ours == {key: shape for key, shape in released.items() if not NOT_NEEDED.match(key)}
    assert len(released) - len(ours) == 30
    assert all(NOT_NEEDED.match(key) for key in others)


def test_full_size():
    network = make_empty(NetworkSizes())
    assert len(network.state_dict()) == 541
    assert sum(parameter.numel() for parameter in network.parameters()) == 1_020_022_400
    assert all(parameter.is_meta for parameter in network.parameters())


class TestModel:
    def test_what_it_says_of_itself(self, tiny_dir):
        model = load(tiny_dir)
        assert (model.name, model.dimension, model.light) == ("internvideo2", 16, False)
        rule = model.frame_rule
        assert (rule.kind, rule.num_frames, rule.width, rule.height) == ("spread", 4, 8, 8)
        assert load(tiny_dir, frame_sampling="prefix").frame_rule.kind == "prefix"
        said = json.dumps(model.fingerprint())
        assert str(tiny_dir) not in said
        assert said == json.dumps(load(tiny_dir).fingerprint())

    @pytest.mark.parametrize(
        "change",
        [
            lambda folder: load(folder, dtype="bfloat16"),
            lambda folder: load(folder, frame_sampling="prefix"),
            lambda folder: place(folder, tiny_network(seed=1).state_dict()) and load(folder),
            lambda folder: (
                place(
                    folder, tiny_network().state_dict(), config={"num_heads": TINY.num_heads, "attn_pool_num_heads": 1}
                )
                and load(folder)
            ),
        ],
        ids=["dtype", "frames", "weights", "heads"],
    )
    def test_the_fingerprint_tells_what_changes_vectors(self, tiny_dir, change):
        before = load(tiny_dir).fingerprint()
        assert change(tiny_dir).fingerprint() != before

    def test_vectors_are_unit_and_in_order(self, tiny_dir):
        model = load(tiny_dir)
        clips = noise(5)
        vectors = model.embed(clips)
        assert all(vector.dtype == np.float32 and vector.shape == (16,) for vector in vectors)
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
        assert np.array_equal(model.embed(clips[::-1]), vectors[::-1])
        assert model.embed([]) == []

    @pytest.mark.parametrize("clips_per_batch", [2, 3, 7])
    def test_vectors_do_not_depend_on_the_batch(self, clips_per_batch):
        # On a CPU by default not at all, as each clip goes alone; in batches sums may be taken in another order.
        clips = noise(7)
        alone = InternVideo2(tiny_network(), "", ModelOptions()).embed(clips)
        together = InternVideo2(tiny_network(), "", ModelOptions(), clips_per_batch=clips_per_batch).embed(clips)
        assert distance(together, np.stack(alone)) <= 1e-6

    def test_clips_of_any_size_beside_each_other(self, tiny_dir):
        model = load(tiny_dir)
        large = np.random.default_rng(0).integers(0, 256, (4, 30, 50, 3), dtype=np.uint8)
        small = resize_bilinear(large, 8, 8)
        first, second = model.embed([large, small])
        assert np.array_equal(first, second)

    def test_too_few_frames(self, tiny_dir):
        model = load(tiny_dir)
        clips = noise(3)
        results = model.embed([clips[0][:3], clips[1], clips[2][:0]])
        assert [isinstance(result, Unusable) for result in results] == [True, False, True]
        assert results[0].reason == "too-few-frames"
        assert results[0].message == "the clip has 3 frames; internvideo2 needs 4"
        assert np.array_equal(results[1], model.embed(clips[1:2])[0])

    @pytest.mark.parametrize(
        "clip",
        [
            np.zeros((5, 8, 8, 3), np.uint8),
            np.zeros((4, 8, 8), np.uint8),
            np.zeros((4, 8, 8, 4), np.uint8),
            np.zeros((4, 0, 8, 3), np.uint8),
            np.zeros((4, 8, 8, 3), np.float32),
        ],
        ids=["frames", "grey", "alpha", "flat", "float"],
    )
    def test_clips_that_cannot_be_meant(self, tiny_dir, clip):
        with pytest.raises(ParameterError, match="a clip"):
            load(tiny_dir).embed([clip])

    @pytest.mark.parametrize(
        ("row", "reason"),
        [([0.0, 0.0], "zero-vector"), ([np.nan, 1.0], "not-finite"), ([np.inf, 1.0], "not-finite")],
    )
    def test_rows_without_a_direction(self, row, reason):
        assert unit_vector(np.array(row)).reason == reason

    def test_a_network_that_overflows(self):
        network = tiny_network()
        network.vision_proj.weight.fill_(3e38)
        result = InternVideo2(network, "", ModelOptions()).embed(noise(1))[0]
        assert result.reason == "not-finite"

    def test_on_a_cpu_it_warns(self, tiny_dir, caplog):
        with caplog.at_level(logging.WARNING):
            load(tiny_dir)
        assert "57 s" in caplog.text
        assert "GPU" in caplog.text


class TestMemory:
    """Above some batch size the network raises torch's out-of-memory error before it computes."""

    @staticmethod
    def limited(most, clips_per_batch=8):
        network, sizes = tiny_network(), []

        def limit(module, args):
            sizes.append(len(args[0]))
            if len(args[0]) > most:
                raise torch.OutOfMemoryError("CUDA out of memory")

        network.register_forward_pre_hook(limit)
        return InternVideo2(network, "", ModelOptions(), clips_per_batch=clips_per_batch), sizes

    def test_batches_are_halved_and_it_is_remembered(self):
        model, sizes = self.limited(most=2)
        clips = noise(9)
        vectors = model.embed(clips)
        assert sizes == [8, 4, 2, 2, 2, 2, 1]
        assert distance(vectors, np.stack(InternVideo2(tiny_network(), "", ModelOptions()).embed(clips))) <= 1e-6
        sizes.clear()
        model.embed(clips[:3])
        assert sizes == [2, 1]

    def test_not_even_one(self):
        model, _ = self.limited(most=0)
        with pytest.raises(DeviceError, match="single clip"):
            model.embed(noise(2))


class TestFiles:
    def test_without_a_model_dir(self):
        with pytest.raises(ModelError, match="model_dir that holds OpenGVLab/InternVideo2-Stage2_1B-224p-f4"):
            load_model("internvideo2")

    def test_missing(self, tmp_path):
        with pytest.raises(ModelError) as caught:
            load(tmp_path)
        message = str(caught.value)
        assert str(tmp_path / REPOSITORY / FILE_STEM) + ".safetensors" in message
        assert f"hf download {REPOSITORY} {FILE_STEM}.pt --revision 4362e1f88a992e7edbfd7696f7f78b7f79426dfd" in message
        assert f"curator-dask models convert {tmp_path / REPOSITORY / FILE_STEM}.pt" in message

    def test_safetensors_come_first(self, tmp_path):
        place(tmp_path, {"module": tiny_network(seed=1).state_dict()}, ".pt")
        only_pt = load(tmp_path).fingerprint()
        place(tmp_path, tiny_network(seed=2).state_dict())
        both = load(tmp_path).fingerprint()
        assert only_pt["weights_sha256"] != both["weights_sha256"]
        (tmp_path / REPOSITORY / f"{FILE_STEM}.pt").write_bytes(b"")
        assert load(tmp_path).fingerprint() == both

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda s: s.pop("vision_encoder.cls_token"), "lacks 1 of 7 tensors .*: vision_encoder.cls_token"),
            (lambda s: s.pop("vision_encoder.blocks.1.ls2.gamma"), r"lacks 1 of 47 .*: vision_encoder\.blocks\.1\.ls2"),
            (lambda s: s.pop("vision_proj.bias"), "lacks 1 of 47 tensors of its model: vision_proj.bias"),
            (
                lambda s: s.update({"vision_encoder.blocks.7.norm1.weight": torch.zeros(32)}),
                "lacks 77 of 125 .*blocks.2.norm1.weight, .* and 67 more",
            ),
            (
                lambda s: s.update({"vision_encoder.blocks.0.attn.qkv.bias": torch.zeros(96)}),
                "no place for: 'vision_encoder.blocks.0.attn.qkv.bias'",
            ),
            (lambda s: s.update({"vision_encoder.head.weight": torch.zeros(2)}), "no place for"),
            (
                lambda s: s.update({"vision_encoder.blocks.1.norm1.weight": torch.zeros(31)}),
                r"blocks.1.norm1.weight \(31,\) instead of \(32,\)",
            ),
            (lambda s: s.update({"vision_encoder.pos_embed": torch.zeros(1, 16, 32)}), "5 and 16 rows"),
            (lambda s: s.update({"vision_encoder.img_pos_embed": torch.zeros(1, 4, 32)}), "4 and 17 rows"),
            (lambda s: s.update({"vision_encoder.img_pos_embed": torch.zeros(1, 0, 32)}), "0 and 17 rows"),
            (lambda s: s.update({"vision_encoder.cls_token": torch.zeros(32)}), r"has the shape \(32,\)"),
            (lambda s: s.update({"vision_encoder.cls_token": torch.zeros(1, 1, 0)}), r"width \(0\)"),
            (lambda s: s.update({"vision_encoder.cls_token": torch.zeros(1, 1, 1 << 17)}), r"width \(131072\)"),
            (lambda s: s["vision_proj.bias"].fill_(torch.nan), "vision_proj.bias holds numbers that are not finite"),
        ],
        ids=[
            "no-cls", "no-gamma", "no-bias", "far-block", "more-bias", "more-head", "norm-shape", "positions",
            "image-positions", "no-positions", "cls-shape", "no-width", "wide", "nan",
        ],
    )  # fmt: skip
    def test_weights_that_do_not_fit(self, tmp_path, change, message):
        state = dict(tiny_network().state_dict())
        change(state)
        place(tmp_path, state)
        with pytest.raises(ModelError, match=message):
            load(tmp_path)

    @pytest.mark.parametrize(
        ("config", "message"),
        [
            ({"num_heads": "16"}, r"num_heads \('16'\) is not a whole number"),
            ({"num_heads": True}, "not a whole number"),
            ({"num_heads": 0}, r"num_heads \(0\) .* not within 1"),
            ({"attn_pool_num_heads": 5}, "5 attention heads do not divide"),
        ],
        ids=["text", "true", "zero", "five"],
    )
    def test_heads_that_do_not_fit(self, tmp_path, config, message):
        place(tmp_path, tiny_network().state_dict(), config=config)
        with pytest.raises(ModelError, match=message):
            load(tmp_path)

    def test_16_heads_unless_told_otherwise(self, tiny_dir):
        (tiny_dir / REPOSITORY / "config.json").unlink()
        assert load(tiny_dir).fingerprint()["num_heads"] == [16, 16]

    def test_what_other_towers_need_is_ignored(self, tmp_path):
        state = tiny_network().state_dict()
        place(tmp_path, state)
        bare = load(tmp_path).fingerprint()
        others = ("text_encoder.bert.x.weight", "text_proj.bias", "itm_head.weight", "temp")
        others += ("vision_encoder.clip_pos_embed", "vision_encoder.clip_decoder.0.head.weight")
        place(tmp_path, {**state, **{key: torch.zeros(1) for key in others}})
        assert load(tmp_path).fingerprint() == bare


class TestConvert:
    @pytest.fixture
    def source(self, tmp_path):
        state = {key: tensor.bfloat16() for key, tensor in tiny_network().state_dict().items()}
        others = {"text_encoder.ids": torch.arange(9), "temp": torch.tensor(0.1)}
        return place(tmp_path / "models", {"module": {**state, **others}}, ".pt")

    def test_the_same_bytes_every_time(self, source, tmp_path):
        done = [convert(source, tmp_path / "new" / f"{i}.safetensors") for i in range(2)]
        assert done[0] == done[1]
        written = (tmp_path / "new" / "0.safetensors").read_bytes()
        assert hashlib.sha256(written).hexdigest() == done[0].sha256
        assert (len(written), done[0].num_tensors) == (done[0].num_bytes, 47)
        assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["0.safetensors", "1.safetensors"]
        # Readable by whom files usually are: workers may be other users.
        (tmp_path / "usual").touch()
        modes = {path.stat().st_mode for path in (tmp_path / "new" / "0.safetensors", tmp_path / "usual")}
        assert len(modes) == 1
        with safetensors_torch.safe_open(tmp_path / "new" / "0.safetensors", "pt") as file:
            assert file.metadata() == {"source_sha256": hashlib.sha256(source.read_bytes()).hexdigest()}

    def test_a_source_that_does_not_fit_leaves_the_target_alone(self, source, tmp_path):
        target = tmp_path / "new" / "w.safetensors"
        convert(source, target)
        before = target.read_bytes()
        content = torch.load(source)
        content["module"].pop("vision_proj.bias")
        torch.save(content, source)
        with pytest.raises(ModelError, match="vision_proj.bias"):
            convert(source, target)
        content["module"]["vision_proj.bias"] = torch.zeros(16, dtype=torch.int64)
        torch.save(content, source)
        with pytest.raises(ModelError, match="vision_proj.bias is torch.int64"):
            convert(source, target)
        assert target.read_bytes() == before
        assert [path.name for path in target.parent.iterdir()] == [target.name]

    def test_converting_what_was_converted(self, source, tmp_path):
        first, second = tmp_path / "1.safetensors", tmp_path / "2.safetensors"
        convert(source, first)
        convert(first, second)
        again = safetensors_torch.load_file(second)
        assert all(torch.equal(tensor, again[key]) for key, tensor in safetensors_torch.load_file(first).items())

    def test_targets_that_cannot_be_meant(self, source, tmp_path):
        with pytest.raises(ParameterError, match="must be named .safetensors"):
            convert(source, tmp_path / "w.pt")
        target = tmp_path / "w.safetensors"
        convert(source, target)
        with pytest.raises(ParameterError, match="the source itself"):
            convert(target, target)
        with pytest.raises(ModelError, match="no weight file"):
            convert(tmp_path / "absent.pt", target)


class TestResize:
    @settings(deadline=None, max_examples=60)
    @given(*[st.integers(1, 40)] * 4, st.integers(0, 2**31))
    def test_within_one_of_exact_arithmetic(self, height, width, new_height, new_width, seed):
        frames = np.random.default_rng(seed).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
        got = resize_bilinear(frames, new_height, new_width)
        assert got.dtype == np.uint8
        exact = torch.nn.functional.interpolate(
            torch.from_numpy(frames).permute(0, 3, 1, 2).double(), (new_height, new_width), mode="bilinear"
        )
        assert distance(got, exact.permute(0, 2, 3, 1).numpy()) <= 1

    @settings(deadline=None, max_examples=30)
    @given(*[st.integers(1, 40)] * 4, st.integers(0, 255))
    def test_one_colour_stays(self, height, width, new_height, new_width, level):
        frames = np.full((1, height, width, 3), level, np.uint8)
        assert (resize_bilinear(frames, new_height, new_width) == level).all()

    def test_a_worked_example(self):
        # Two pixels to four: centres at -.25, .25, .75 and 1.25 of the old ones.
        row = np.array([0, 100], np.uint8)[None, None, :, None].repeat(3, axis=3)
        assert resize_bilinear(row, 1, 4)[0, 0, :, 0].tolist() == [0, 25, 75, 100]


class TestNetwork:
    def test_positions_of_the_sizes_trained_with_are_untouched(self):
        positions = torch.randn(1, 17, 8).bfloat16()
        assert torch.equal(interpolate_positions(positions, (4, 2, 2), (4, 2, 2)), positions)

    def test_positions_in_time(self):
        # One patch, a number that is the time: halves of steps are where frames twice as dense lie.
        positions = torch.tensor([[9.0, 0.0, 1.0, 2.0, 3.0]])[..., None]
        got = interpolate_positions(positions, (4, 1, 1), (8, 1, 1))[0, :, 0]
        assert got.tolist() == [9, 0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]

    def test_frames_that_are_not_whole_patches(self):
        with pytest.raises(ParameterError, match="10x8 are not made of 4x4"):
            tiny_network()(torch.zeros(1, 4, 3, 8, 10))

    def test_the_order_of_frames_matters(self):
        clip = noise(1)[0]
        forth, back = InternVideo2(tiny_network(), "", ModelOptions()).embed([clip, clip[::-1].copy()])
        assert forth @ back < 0.9999
