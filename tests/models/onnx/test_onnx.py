"""ONNX files as embedding models: vectors, settings, shapes, and files that are broken or crafted."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from curator_dask.errors import DeviceError, ModelError, ParameterError
from curator_dask.models import ModelOptions, Unusable, load_model
from curator_dask.models.base import settings_as_text
from curator_dask.models.onnx import child, trial
from curator_dask.models.onnx.settings import Settings, read_settings
from curator_dask.video.process.sandbox import Finished
from tests.models.onnx.small_models import DIMENSION, SIDE_PX, feature_maps, require_libraries, write_model

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def _libraries():
    require_libraries()


@pytest.fixture(autouse=True)
def _no_trial(monkeypatch):
    """Most tests load a model without the trial in a child process, which takes half a second."""
    monkeypatch.setattr("curator_dask.models.onnx.model.try_in_child", lambda *arguments: None)


def load(path: Path, **settings):
    return load_model(f"onnx:{path}", ModelOptions(settings=settings_as_text(settings)))


def noise(num_frames=8, seed=0, side=SIDE_PX):
    return np.random.default_rng(seed).integers(0, 256, (num_frames, side, side, 3), dtype=np.uint8)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def expected(frames, maps=None):
    rows = (feature_maps(frames) if maps is None else maps).mean(axis=(2, 3))
    return unit(unit(rows).mean(axis=0))


# --- vectors ---------------------------------------------------------------------------------------------------------------


def test_vector_is_the_mean_of_unit_frame_vectors(tmp_path):
    model = load(write_model(tmp_path / "m.onnx"))
    clip = noise()
    vector = model.embed([clip])[0]
    assert (vector.dtype, vector.shape, model.dimension) == (np.float32, (DIMENSION,), DIMENSION)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(vector, expected(clip), atol=1e-6)
    assert model.frame_rule.describe() == {"kind": "spread", "num_frames": 8, "width": SIDE_PX, "height": SIDE_PX}


@pytest.mark.parametrize(
    ("made", "settings"),
    [
        ({"layout": "NHWC"}, {}),
        ({"ending": "map"}, {}),
        ({"ending": "map"}, {"pooling": "mean_map"}),
        ({"ending": "tokens"}, {"pooling": "mean_token"}),
        ({"ending": "two"}, {"output": "vector"}),
        ({"ending": "two"}, {"output": "map"}),
        ({"batch": 1}, {}),
        ({"batch": 3}, {}),
        ({"side": "any"}, {"size": SIDE_PX}),
        ({"side": "any", "layout": "NHWC"}, {"size": "32x32", "layout": "NHWC"}),
        ({"external": "m.weights"}, {}),
    ],
)
def test_files_of_every_form_give_the_same_vector(tmp_path, made, settings):
    clip = noise()
    vector = load(write_model(tmp_path / "m.onnx", **made), **settings).embed([clip])[0]
    np.testing.assert_allclose(vector, expected(clip), atol=1e-6)


def test_first_token(tmp_path):
    model = load(write_model(tmp_path / "m.onnx", ending="tokens"), pooling="first_token")
    rows = feature_maps(noise())[:, :, 0, 0]
    np.testing.assert_allclose(model.embed([noise()])[0], unit(unit(rows).mean(axis=0)), atol=1e-6)


def test_half_precision_and_whole_numbers(tmp_path):
    clip = noise()
    half = load(write_model(tmp_path / "half.onnx", dtype="FLOAT16"))
    assert half.fingerprint()["dtype"] == "float16"
    np.testing.assert_allclose(half.embed([clip])[0], expected(clip), atol=1e-3)
    whole = load(write_model(tmp_path / "whole.onnx", dtype="UINT8", yaml=None))
    maps = feature_maps(clip, mean=(0, 0, 0), std=(1 / 255,) * 3)
    np.testing.assert_allclose(whole.embed([clip])[0], expected(clip, maps), atol=1e-6)


def test_blue_first_and_the_range_of_pixels(tmp_path):
    path = write_model(tmp_path / "m.onnx", yaml=None)
    clip = noise()
    swapped = load(path, channels="BGR", mean="0.1,0.2,0.3", std=1).embed([clip])[0]
    maps = feature_maps(clip[..., ::-1], mean=(0.1, 0.2, 0.3), std=(1, 1, 1))
    np.testing.assert_allclose(swapped, expected(clip, maps), atol=1e-6)
    wide = load(path, pixel_range=255, mean=[10, 20, 30], std=2).embed([clip])[0]
    maps = feature_maps(clip, mean=(10 / 255, 20 / 255, 30 / 255), std=(2 / 255,) * 3)
    np.testing.assert_allclose(wide, expected(clip, maps), atol=1e-6)


def test_width_and_height_may_differ(tmp_path):
    model = load(write_model(tmp_path / "m.onnx", side="any"), size="48x20")
    assert (model.frame_rule.width, model.frame_rule.height) == (48, 20)
    clip = np.random.default_rng(1).integers(0, 256, (8, 20, 48, 3), dtype=np.uint8)
    np.testing.assert_allclose(model.embed([clip])[0], expected(clip), atol=1e-6)


@pytest.mark.parametrize("batch", ["n", 1, 3, 8, 16])
def test_bits_of_a_vector_do_not_depend_on_other_clips(tmp_path, batch):
    model = load(write_model(tmp_path / "m.onnx", batch=batch))
    clips = [noise(seed=seed) for seed in range(3)]
    alone = [model.embed([clip])[0].tobytes() for clip in clips]
    assert [vector.tobytes() for vector in model.embed(clips)] == alone
    assert [vector.tobytes() for vector in model.embed(clips[::-1])] == alone[::-1]
    again = load(tmp_path / "m.onnx")
    assert [vector.tobytes() for vector in again.embed(clips)] == alone


def test_the_library_gets_one_thread(tmp_path):
    model = load(write_model(tmp_path / "m.onnx"))
    options = model._session._session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)


def test_numbers_that_are_not_finite_break_the_clip(tmp_path):
    model = load(changed(tmp_path / "m.onnx", _infinite_weight))
    result = model.embed([noise()])[0]
    assert isinstance(result, Unusable)
    assert (result.reason, result.broken) == ("not-finite", True)


# --- settings --------------------------------------------------------------------------------------------------------------


def test_flags_go_over_the_file(tmp_path):
    path = write_model(tmp_path / "m.onnx", yaml="mean: 0.5\nstd: 0.5\nframes: 3\neps: 0.2\n")
    assert load(path).frame_rule.num_frames == 3
    assert load(path).default_eps == 0.2
    assert load(path, frames=5).frame_rule.num_frames == 5
    assert load(path, mean="0.1").fingerprint()["settings"]["mean"] == [0.1, 0.1, 0.1]
    assert load(path, mean="0.1").fingerprint()["settings"]["std"] == [0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"meen": 1}, r"model_settings sets 'meen'; there are size, mean, .* did you mean mean\?"),
        ({"size": "big"}, r"size \('big'\) must be a side in pixels such as 224, or WIDTHxHEIGHT"),
        ({"size": 5000}, r"size \(5000\) must be"),
        ({"size": 64}, r"size is 64x64, and the input \(any, 3, 32, 32\) takes 32x32 pixels"),
        ({"mean": "1,2"}, r"mean \('1,2'\) must be one number, or three"),
        ({"mean": ".nan"}, r"mean \(nan\) must be one number, or three"),
        ({"std": 0}, r"std \(0\) must be above 0"),
        ({"pixel_range": 100}, r"pixel_range \(100\) must be 1 or 255"),
        ({"layout": "HWC"}, r"layout \('HWC'\) must be one of NCHW, NHWC"),
        ({"layout": "NHWC"}, r"m\.onnx: its input \(any, 3, 32, 32\) has 32 channels by the layout NHWC, not 3"),
        ({"channels": "GBR"}, r"channels \('GBR'\) must be one of RGB, BGR"),
        ({"dtype": "float16"}, r"dtype is float16, and the model's input 'pixels' is float32"),
        ({"output": "other"}, r"output is 'other', and the model has 'vector'"),
        ({"pooling": "mean_token"}, r"pooling is mean_token, and the output has the shape \(2, 8\): set it to none"),
        ({"frames": 0}, r"frames \(0\) must be a whole number from 1 to 1000"),
        ({"eps": 3}, r"eps \(3\) must be a cosine distance"),
        ({"mean": "{"}, r"model_settings .* cannot be read"),
    ],
)
def test_settings_that_cannot_be_meant(tmp_path, settings, said):
    path = write_model(tmp_path / "m.onnx")
    with pytest.raises((ParameterError, ModelError), match=said):
        load(path, **settings)


@pytest.mark.parametrize(
    ("made", "settings", "said"),
    [
        ({"yaml": None}, {}, "mean and std are not set, and vectors of wrongly scaled pictures mean nothing"),
        ({"dtype": "UINT8"}, {}, r"mean and std are set, and the model takes pixels as they are \(uint8\)"),
        ({"dtype": "INT32"}, {}, r"its input 'pixels' is tensor\(int32\); pictures are tensor\(float\)"),
        ({"side": "any"}, {}, "takes pictures of any size: set size"),
        ({"ending": "tokens"}, {}, r"pooling is not set, .* \(2, 1024, 8\): set it to first_token or mean_token"),
        ({"ending": "two"}, {}, "the model has the outputs 'vector', 'map': set output"),
        ({"batch": 2000}, {}, "takes 2000 pictures at a time; 1024 is the most"),
        ({"yaml": "- 1\n"}, {}, r"m\.onnx\.yaml must hold 'name: value' lines, not a list"),
        ({"yaml": "a: [\n"}, {}, r"m\.onnx\.yaml cannot be read as YAML"),
        ({"yaml": "# " + "x" * 70_000}, {}, "bytes: that is no list of settings"),
    ],
)
def test_files_that_need_more_settings_or_others(tmp_path, made, settings, said):
    path = write_model(tmp_path / "m.onnx", **made)
    with pytest.raises((ParameterError, ModelError), match=said):
        load(path, **settings)


def test_texts_of_settings():
    assert settings_as_text(["a=1", "b=x=y", "a=2"]) == (("a", "2"), ("b", "x=y"))
    for text in ("a", "=1"):
        with pytest.raises(ParameterError, match="is not NAME=VALUE"):
            settings_as_text([text])


def test_other_models_take_no_settings():
    with pytest.raises(ParameterError, match="pdqf_tmk takes no model settings, and 'size' is set"):
        load_model("pdqf_tmk", ModelOptions(settings=(("size", "1"),)))


def test_number_type_of_the_user_is_refused(tmp_path):
    path = write_model(tmp_path / "m.onnx")
    assert load_model(f"onnx:{path}", ModelOptions(dtype="float32")).dimension == DIMENSION
    with pytest.raises(ParameterError, match="dtype is bfloat16, and the file computes as it was made"):
        load_model(f"onnx:{path}", ModelOptions(dtype="bfloat16"))


@pytest.mark.parametrize("clip", [noise(0), noise(1)[0], noise(1)[:, :9], noise(1).astype(np.float32)])
def test_clips_of_other_shapes_and_types_are_refused(tmp_path, clip):
    with pytest.raises(ParameterError, match=r"a clip must be \(T, 32, 32, 3\) uint8"):
        load(write_model(tmp_path / "m.onnx")).embed([clip])


def test_settings_in_the_documentation_can_be_read(tmp_path):
    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n# (\w+\.onnx)\.yaml(.*?)```", page, re.DOTALL)
    assert len(blocks) == 3
    for name, text in blocks:
        (tmp_path / f"{name}.yaml").write_text(f"# {text}")
        settings = read_settings(tmp_path / name, ())
        assert settings.size is not None
        assert settings.std is not None
    rows = set(re.findall(r"^\| `(\w+)`(?:, `(\w+)`)? \| ", page.split("## Any model you have")[1], re.MULTILINE))
    assert {name for row in rows for name in row} - {""} == {one.name for one in fields(Settings)}


# --- fingerprint -----------------------------------------------------------------------------------------------------------


def test_fingerprint_holds_what_vectors_depend_on_and_no_path(tmp_path):
    path = write_model(tmp_path / "m.onnx", external="m.weights")
    found = load(path).fingerprint()
    assert json.loads(json.dumps(found)) == found
    assert str(tmp_path) not in json.dumps(found)
    assert found["weights"].keys() == {"m.weights"}
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    other = write_model(moved / "renamed.onnx", external="m.weights")
    assert load(other).fingerprint() == found
    assert load(path, channels="BGR").fingerprint() != found
    assert load(path, frames=4).fingerprint() != found
    assert load(path, eps=0.3).fingerprint() == found  # eps changes decisions, and no vector
    assert load(path, size=SIDE_PX, output="vector").fingerprint() == found
    content = bytearray((tmp_path / "m.weights").read_bytes())
    content[3] ^= 1
    (tmp_path / "m.weights").write_bytes(content)
    assert load(path).fingerprint()["weights"] != found["weights"]


# --- broken and crafted files ----------------------------------------------------------------------------------------------


def crafted(path: Path, location: str) -> Path:
    """A model whose file of weights has another name."""
    import onnx

    write_model(path, external="real.weights")
    model = onnx.load(path, load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = location
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("../outside.weights", "leads out of .*: only files below it are read"),
        ("{above}/outside.weights", "leads out of"),
        ("{here}/real.weights", "leads out of"),
        ("link.weights", "leads out of"),
        ("missing.weights", "is not in .*: copy it there"),
        ("*/_ORT_MEM_ADDR_/*", "is not in .*: copy it there"),
        ("", "is not in .*: copy it there"),
        ("a\0b", "which is no name of a file"),
        ("fifo", "is not in"),
    ],
)
def test_weights_are_read_from_files_below_the_folder_only(tmp_path, location, said):
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "outside.weights").write_bytes(bytes(10_000))
    (folder / "link.weights").symlink_to(tmp_path / "outside.weights")
    os.mkfifo(folder / "fifo")
    path = crafted(folder / "m.onnx", location.format(above=tmp_path, here=folder))
    with pytest.raises(ModelError, match=said):
        load(path)


def test_weights_named_by_a_node_are_checked_too(tmp_path):
    import onnx

    path = write_model(tmp_path / "m.onnx")
    model = onnx.load(path)
    node = onnx.helper.make_node("Constant", [], ["unused"], value=model.graph.initializer[0])
    node.attribute[0].t.data_location = onnx.TensorProto.EXTERNAL
    node.attribute[0].t.external_data.add(key="location", value="/etc/hostname")
    model.graph.node.append(node)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="keeps weights in '/etc/hostname', which leads out of"):
        load(path)


@pytest.mark.parametrize("content", [b"", b"garbage" * 99, b"PK\x03\x04" + bytes(99), b"ORTM" * 99])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"m\.onnx (cannot be read as an ONNX file|is no ONNX model)"):
        load(path)


def test_a_cut_file_is_refused(tmp_path):
    path = write_model(tmp_path / "m.onnx")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ModelError, match=r"m\.onnx"):
        load(path)


def test_weights_that_are_too_short_are_refused(tmp_path):
    path = write_model(tmp_path / "m.onnx", external="m.weights")
    (tmp_path / "m.weights").write_bytes(bytes(8))
    with pytest.raises(ModelError, match=r"m\.onnx cannot be loaded by onnxruntime"):
        load(path)


def changed(path: Path, change) -> Path:
    import onnx

    write_model(path)
    model = onnx.load(path)
    change(model, onnx)
    path.write_bytes(model.SerializeToString())
    return path


def _custom_operator(model, onnx):
    model.opset_import.add(domain="evil.example", version=1)
    model.graph.node[-1].op_type, model.graph.node[-1].domain = "Run", "evil.example"


def _infinite_weight(model, onnx):
    weights = onnx.numpy_helper.to_array(model.graph.initializer[0]).copy()
    weights[0] = np.inf
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weights, "weights"))


def _two_inputs(model, onnx):
    model.graph.input.append(onnx.helper.make_tensor_value_info("text", onnx.TensorProto.INT64, [1, 77]))


def _flat_input(model, onnx):
    model.graph.input[0].CopyFrom(onnx.helper.make_tensor_value_info("pixels", onnx.TensorProto.FLOAT, [1, 3072]))


def _whole_output(model, onnx):
    model.graph.node.append(onnx.helper.make_node("Cast", ["vector"], ["whole"], to=onnx.TensorProto.INT64))
    model.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("whole", onnx.TensorProto.INT64, ["n", 8]))


def _one_number(model, onnx):
    model.graph.node.append(onnx.helper.make_node("ReduceMean", ["vector"], ["one"], axes=[1], keepdims=1))
    model.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("one", onnx.TensorProto.FLOAT, ["n", 1]))


def _mean_of_all(model, onnx):
    model.graph.node.append(onnx.helper.make_node("ReduceMean", ["vector"], ["one"], axes=[0], keepdims=1))
    model.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("one", onnx.TensorProto.FLOAT, [1, 8]))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_custom_operator, "cannot be loaded by onnxruntime: .*evil.example"),
        (_two_inputs, r"m\.onnx: it has the inputs 'pixels', 'text'; an image model has one"),
        (_flat_input, r"m\.onnx( cannot be loaded|: its input 'pixels' has the shape)"),
        (_whole_output, r"its output 'whole' is tensor\(int64\); vectors are"),
        (_one_number, r"its output has the shape \(2, 1\): one number for a picture is no vector"),
        (_mean_of_all, r"its output has the shape \(1, 8\) for 2 pictures"),
    ],
)
def test_models_that_make_no_vectors_of_pictures(tmp_path, change, said):
    with pytest.raises(ModelError, match=said):
        load(changed(tmp_path / "m.onnx", change))


def test_missing_file_is_named_with_both_places(tmp_path):
    options = ModelOptions(model_dir=tmp_path / "models", start_dir=tmp_path)
    with pytest.raises(ModelError, match="there is no model file .*models/m.onnx or .*/m.onnx"):
        load_model("onnx:m.onnx", options)
    write_model(tmp_path / "m.onnx")
    assert load_model("onnx:m.onnx", options).name == "onnx:m.onnx"


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "mps", "cuda:x"])
def test_devices_that_are_not_there(tmp_path, device):
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime can use CUDA")
    path = write_model(tmp_path / "m.onnx")
    with pytest.raises(DeviceError, match="onnxruntime cannot use"):
        load_model(f"onnx:{path}", ModelOptions(device=device))


@pytest.mark.parametrize("name", ["onnx", "onnxruntime"])
def test_missing_library_names_the_command(tmp_path, name):
    path = write_model(tmp_path / "m.onnx")
    code = (
        f"import sys; sys.modules[{name!r}] = None\n"
        "from curator_dask.models import load_model\n"
        f"load_model('onnx:{path}')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert f"an ONNX model needs {name}, which cannot be imported" in done.stderr
    assert "pip install 'curator_dask[onnx]'" in done.stderr


# --- the trial in a child process --------------------------------------------------------------------------------------------


def _endless(model, onnx):
    """A loop that does nothing for as long as it lives."""
    helper, kinds = onnx.helper, onnx.TensorProto
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Identity", ["v"], ["v_out"])],
        "body",
        [
            helper.make_tensor_value_info("i", kinds.INT64, []),
            helper.make_tensor_value_info("go", kinds.BOOL, []),
            helper.make_tensor_value_info("v", kinds.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("go_on", kinds.BOOL, []),
            helper.make_tensor_value_info("v_out", kinds.FLOAT, None),
        ],
    )
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(2**62), "times"))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(True), "always"))
    model.graph.node.append(helper.make_node("Loop", ["times", "always", "vector"], ["never"], body=body))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("never", kinds.FLOAT, ["n", 8]))


@pytest.fixture
def with_trial(monkeypatch):
    monkeypatch.setattr("curator_dask.models.onnx.model.try_in_child", trial.try_in_child)


@pytest.mark.usefixtures("with_trial")
def test_a_sound_file_passes_its_trial(tmp_path):
    assert load(write_model(tmp_path / "m.onnx"), frames=3).frame_rule.num_frames == 3


@pytest.mark.usefixtures("with_trial")
def test_a_model_that_never_ends_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(trial, "TIMEOUT_S", 3.0)
    with pytest.raises(ModelError, match="had not run this model for two pictures after 3 s"):
        load(changed(tmp_path / "m.onnx", _endless))


@pytest.mark.usefixtures("with_trial")
def test_errors_of_the_trial_are_those_of_loading(tmp_path):
    with pytest.raises(ModelError, match="an image model has one: export its vision part alone"):
        load(changed(tmp_path / "m.onnx", _two_inputs))
    with pytest.raises(ParameterError, match="set pooling|pooling is not set"):
        load(write_model(tmp_path / "n.onnx", ending="tokens"))


def test_a_child_that_dies_is_a_broken_model():
    with pytest.raises(ModelError, match=r"m\.onnx makes onnxruntime crash \(exit status -11\): it said nothing"):
        trial._raise_error_of(Path("m.onnx"), Finished(-11, b"", "", 0))


def test_what_the_child_prints(tmp_path, capsys):
    child.main(str(write_model(tmp_path / "m.onnx")), "cpu", "{}")
    assert capsys.readouterr().out == "{}"
    child.main(str(tmp_path / "m.onnx"), "cpu", '{"size": "9"}')
    assert json.loads(capsys.readouterr().out)["error"] == "ParameterError"
