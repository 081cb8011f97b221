"""A model made from any function: its results are checked, other processes know it, versions are never mixed."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from curator_dask.errors import ModelError, ParameterError
from curator_dask.models import (
    CallableModelFactory,
    FrameRule,
    ModelOptions,
    Unusable,
    load_model,
    register_callable,
    registry,
)

RULE = FrameRule.spread(2, width=8, height=8)


def mean_colour(frames):
    return frames.mean(axis=(0, 1, 2))


def model_of(function, **more):
    return CallableModelFactory("mine", function, **{"frame_rule": RULE, **more})(ModelOptions())


def clip(colour=(1, 2, 2), num_frames=2):
    return np.broadcast_to(np.array(colour, np.uint8), (num_frames, 8, 8, 3))


@pytest.fixture
def _no_models_of_others(monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})


@pytest.mark.usefixtures("_no_models_of_others")
def test_three_lines_make_a_model():
    register_callable("mean_colour", mean_colour, frame_rule=FrameRule.spread(2, width=8, height=8))
    model = load_model("mean_colour")
    assert (model.name, model.dimension, model.light) == ("mean_colour", 3, False)
    vector = model.embed([clip((1, 2, 2))])[0]
    assert vector.dtype == np.float32
    assert vector == pytest.approx([1 / 3, 2 / 3, 2 / 3])
    assert model.embed([]) == []
    with pytest.raises(ParameterError, match="is a model named 'mean_colour' already"):
        register_callable("mean_colour", mean_colour, frame_rule=RULE)


@pytest.mark.parametrize(
    "function",
    [
        lambda frames: [3, 4],
        lambda frames: np.array([3, 4], np.int8),
        lambda frames: np.array([3e300, 4e300]),
        lambda frames: np.array([3e-300, 4e-300]),
        lambda frames: torch.tensor([3.0, 4.0], requires_grad=True),
        lambda frames: torch.tensor([3, 4], dtype=torch.bfloat16),
    ],
    ids=["list", "int8", "huge", "tiny", "tensor-with-grad", "bfloat16"],
)
def test_whatever_is_a_vector_is_taken(function):
    assert model_of(function).embed([clip()])[0] == pytest.approx([0.6, 0.8])


@settings(deadline=None)
@given(arrays(np.float32, 5, elements=st.floats(-(2.0**100), 2.0**100, width=32)))
def test_vectors_have_unit_length_and_keep_their_direction(numbers):
    results = iter([np.ones(5), numbers])
    result = model_of(lambda frames: next(results)).embed([clip()])[0]
    if not numbers.any():
        assert isinstance(result, Unusable)
        return
    wanted = numbers.astype(np.float64) / np.abs(numbers).max()
    assert np.linalg.norm(result) == pytest.approx(1, abs=1e-6)
    assert result == pytest.approx(wanted / np.linalg.norm(wanted), abs=1e-6)


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (None, "no-vector"),
        ([0, 0, 0], "zero-vector"),
        ([1, np.nan, 0], "not-finite"),
        ([np.inf, 0, 0], "not-finite"),
        (Unusable("too-dark", "nothing to see"), "too-dark"),
    ],
    ids=["none", "zeros", "nan", "inf", "its-own-reason"],
)
def test_clips_without_a_vector(result, reason):
    model = model_of(lambda frames: mean_colour(frames) if frames.any() else result)
    bad, good = model.embed([clip((0, 0, 0)), clip()])
    assert isinstance(bad, Unusable)
    assert bad.reason == reason
    assert good == pytest.approx([1 / 3, 2 / 3, 2 / 3])


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda frames: "text", "gave str, not a vector"),
        (lambda frames: frames, r"shape \(2, 8, 8, 3\), not a vector"),
        (lambda frames: 3.0, r"shape \(\), not a vector"),
        (lambda frames: [], r"shape \(0,\), not a vector"),
        (lambda frames: [[1], [1, 2]], "gave list, not a vector"),
        (lambda frames: 1 / 0, "failed with ZeroDivisionError: division by zero"),
        (lambda frames: [0, 0], "no usable vector for a clip of noise: .* zeros only"),
        (lambda: [1], "failed with TypeError"),
    ],
    ids=["text", "frames", "number", "empty", "ragged", "error", "zeros", "no-parameter"],
)
def test_functions_that_are_no_model_are_found_out_when_loaded(function, message):
    with pytest.raises(ModelError, match=message):
        model_of(function)


def test_the_dimension_may_not_change():
    model = model_of(lambda frames: np.ones(3 if frames.std() > 1 else 4))
    with pytest.raises(ModelError, match="gave 4 numbers for a clip, and 3 before"):
        model.embed([clip()])


def test_a_list_of_clips_in_one_call():
    sizes = []

    def mean_colours(clips):
        sizes.append(len(clips))
        return np.stack([mean_colour(one) for one in clips])

    vectors = model_of(mean_colours, batched=True).embed([clip((3, 4, 0)), clip((0, 0, 9), num_frames=5)])
    assert sizes == [1, 2]
    assert np.allclose(vectors, [[0.6, 0.8, 0], [0, 0, 1]])


def test_a_list_of_clips_gives_as_many_vectors():
    model = model_of(lambda clips: [mean_colour(clips[0])], batched=True)
    with pytest.raises(ModelError, match="gave 1 vectors for 2 clips"):
        model.embed([clip(), clip()])


def test_the_name_and_version_say_which_vectors_go_together():
    prints = [
        json.dumps(model_of(function, version=version).fingerprint())
        for function, version in [(mean_colour, "1"), (lambda frames: -mean_colour(frames), "1"), (mean_colour, "2")]
    ]
    assert prints[0] == prints[1] != prints[2]


@pytest.mark.parametrize(
    ("rule", "num_frames"),
    [(RULE, 2), (FrameRule.prefix(3, width=8, height=8), 3), (FrameRule.rate(2.5, width=8, height=8), 3)],
    ids=["spread", "prefix", "rate"],
)
def test_the_trial_has_the_frames_of_the_rule(rule, num_frames):
    shapes = []
    model_of(lambda frames: [shapes.append(frames.shape), 1][1:], frame_rule=rule)
    assert shapes == [(num_frames, 8, 8, 3)]


def test_prefix_sampling():
    factory = CallableModelFactory("mine", mean_colour, RULE)
    prefix = ModelOptions(frame_sampling="prefix")
    assert factory(prefix).frame_rule == FrameRule.prefix(2, width=8, height=8)
    with pytest.raises(ParameterError, match="looks at the whole clip"):
        CallableModelFactory("mine", mean_colour, FrameRule.rate(2, width=8, height=8))(prefix)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"function": "mean_colour"}, "needs a function, not 'mean_colour'"),
        ({"name": ""}, "must not be empty"),
        ({"version": ""}, "must not be empty"),
        ({"default_eps": -0.1}, r"default_eps \(-0.1\)"),
    ],
    ids=["no-function", "no-name", "no-version", "eps"],
)
def test_values_that_cannot_be_meant(changes, message):
    with pytest.raises(ParameterError, match=message):
        CallableModelFactory(**{"name": "mine", "function": mean_colour, "frame_rule": RULE, **changes})


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((0, 8, 8, 3), np.uint8), np.zeros((2, 8, 8, 3), np.float32), np.zeros((8, 8, 3), np.uint8)],
    ids=["empty", "float", "one-frame"],
)
def test_clips_of_another_shape_or_type(wrong):
    with pytest.raises(ParameterError, match="a clip must be"):
        model_of(mean_colour).embed([wrong])


MODULE = """
from curator_dask.models import CallableModelFactory, FrameRule, register_callable

def mean_colour(frames):
    return frames.mean(axis=(0, 1, 2))

RULE = FrameRule.spread(2, width=8, height=8)
colour = CallableModelFactory("colour", mean_colour, RULE, version="7")
register_callable("colour", mean_colour, frame_rule=RULE, version="7")
number = 3
def needs_more(options, more): ...
def makes_nothing(options): ...
def mistake(options): raise KeyError("oh")
"""
EMBED = """
import json, sys, numpy as np
from curator_dask.models import ModelOptions, load_model
model = load_model(sys.argv[1], ModelOptions(trust_remote_code=True))
print(json.dumps([model.fingerprint(), model.embed([np.full((2, 8, 8, 3), 9, np.uint8)])[0].tolist()]))
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An importable package with a model in it."""
    (tmp_path / "studio_models").mkdir()
    (tmp_path / "studio_models" / "__init__.py").touch()
    (tmp_path / "studio_models" / "colours.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "_registered", {})
    yield tmp_path
    for name in ("studio_models.colours", "studio_models"):
        sys.modules.pop(name, None)


def in_another_process(package, code, name):
    paths = os.pathsep.join([str(package), *filter(None, sys.path)])
    finished = subprocess.run(
        [sys.executable, "-c", code, name], env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout)


def test_another_process_finds_a_model_by_where_it_lies(package):
    said, vector = in_another_process(package, EMBED, "python:studio_models.colours:colour")
    model = load_model("python:studio_models.colours:colour", ModelOptions(trust_remote_code=True))
    assert said == model.fingerprint()
    assert said["version"] == "7"
    assert vector == pytest.approx([3**-0.5] * 3)


def test_another_process_that_loads_the_module_first_knows_the_name(package):
    said, vector = in_another_process(package, "import studio_models.colours\n" + EMBED, "colour")
    assert said["model"] == "colour"
    assert vector == pytest.approx([3**-0.5] * 3)


def test_a_factory_travels_with_work(package):
    import studio_models.colours  # noqa: F401

    factory = pickle.loads(pickle.dumps(registry.registered_factory("colour")))
    registry.adopt_model("colour", factory)
    registry.adopt_model("colour", factory)
    assert load_model("colour").fingerprint()["version"] == "7"
    assert registry.registered_factory("pdqf_tmk") is None
    with pytest.raises(ParameterError, match="named 'pdqf_tmk' already"):
        registry.adopt_model("pdqf_tmk", factory)


def test_even_a_lambda_travels_as_dask_pickles_it():
    from distributed.protocol.pickle import dumps, loads

    factory = loads(dumps(CallableModelFactory("mine", lambda frames: [3, 4], RULE)))
    assert factory(ModelOptions()).embed([clip()])[0] == pytest.approx([0.6, 0.8])


def test_code_is_not_run_unasked(package):
    with pytest.raises(ParameterError, match="runs code of that module; allow it with trust_remote_code=True"):
        load_model("python:studio_models.colours:colour")
    assert "studio_models.colours" not in sys.modules


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        (
            "python:nonesuch_module:colour",
            ModelError,
            "'nonesuch_module' cannot be imported .* PYTHONPATH, on every worker",
        ),
        ("python:studio_models.colours:nonesuch", ModelError, "has no 'nonesuch'"),
        ("python:studio_models.colours:number", ModelError, "is int, not a function"),
        ("python:studio_models.colours:needs_more", ModelError, "failed with TypeError"),
        ("python:studio_models.colours:makes_nothing", ModelError, "gave NoneType, which has no 'name'"),
        ("python:studio_models.colours:mistake", ModelError, "failed with KeyError: 'oh'"),
        ("python:studio_models.colours", ParameterError, "must look like python:package.module:attribute"),
        ("python:/tmp/x.py:colour", ParameterError, "must look like"),
        ("python:", ParameterError, "must look like"),
    ],
)
@pytest.mark.usefixtures("package")
def test_names_of_python_that_lead_nowhere(name, error, message):
    with pytest.raises(error, match=message):
        load_model(name, ModelOptions(trust_remote_code=True))
