"""The default model: golden vectors, from arrays and from video files; the same bits however it is run."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from curator_dask.errors import DeviceError, ParameterError
from curator_dask.models import Unusable, load_model
from curator_dask.models.pdqf import pdqf_tmk
from curator_dask.video.cut.encoders import TranscodeSettings
from curator_dask.video.cut.transcode import cut_clips
from curator_dask.video.frames.read import read_clip_frames, read_ready_clip
from curator_dask.video.probe import probe_video
from curator_dask.video.spans import Span

NAMES = ("pdqf_tmk", "pdqf_tmk_level1")
GOLDEN_KEY = {"pdqf_tmk": "compact_seg4_signed_sqrt_1024", "pdqf_tmk_level1": "compact_level1_256"}
VIDEOS = ("doorknob-hd-no-bar", "pattern-sd-grey-bar", "pattern-sd-with-small-logo-bar")


def noise(num_frames, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (num_frames, 64, 64, 3), dtype=np.uint8)


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.fixture(scope="module")
def golden(shared_dir):
    folder = shared_dir / "golden" / "tmk" / "videos"
    return {video: (folder / f"{video}.mp4", dict(np.load(folder / f"{video}.npz"))) for video in VIDEOS}


@pytest.mark.shared
@pytest.mark.parametrize("video", VIDEOS)
def test_golden_frames_give_the_golden_descriptors(golden, video):
    _, arrays = golden[video]
    got = pdqf_tmk.pdq.describe_frames(torch.from_numpy(arrays["frames"]))
    expected = arrays["pdqf"][arrays["frame_indices"]]
    assert np.abs(got.pdqf.numpy() - expected).max() <= 2e-3
    assert got.quality.tolist() == arrays["quality"][arrays["frame_indices"]].tolist()


@pytest.mark.shared
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("video", VIDEOS)
def test_a_video_file_gives_the_golden_vector(golden, video, name):
    path, arrays = golden[video]
    model = load_model(name)
    frames = read_ready_clip(path, model.frame_rule)
    assert len(frames) == len(arrays["pdqf"])
    assert cosine(model.embed([frames])[0], arrays[GOLDEN_KEY[name]]) >= 0.999


@pytest.mark.shared
@pytest.mark.parametrize("video", VIDEOS)
def test_the_mean_descriptor_is_that_of_the_reference_file(golden, video):
    path, _ = golden[video]
    # Magic, 5 counts, 4 periods, 32 coefficients; then the mean of the frames' PDQF.
    mean = np.frombuffer(path.with_suffix(".tmk").read_bytes(), "<f4", count=256, offset=12 + 4 * (5 + 4 + 32))
    model = load_model("pdqf_tmk_level1")
    assert cosine(model.embed([read_ready_clip(path, model.frame_rule)])[0], mean) >= 0.999


@pytest.mark.shared
@pytest.mark.parametrize(
    ("video", "least"),
    # The doorknob is plain, half of its frames below quality 50: there one grey level of coding noise weighs more.
    [("doorknob-hd-no-bar", 0.96), ("pattern-sd-grey-bar", 0.999), ("pattern-sd-with-small-logo-bar", 0.999)],
)
def test_a_clip_that_was_encoded_again_keeps_its_vector(golden, tmp_path, video, least):
    path, arrays = golden[video]
    info = probe_video(path)
    report = cut_clips(info, [Span(0, 0.0, info.duration_s)], TranscodeSettings(), tmp_path)
    for name in NAMES:
        model = load_model(name)
        vector = model.embed([read_clip_frames(report.clips[0].path, model.frame_rule)])[0]
        assert cosine(vector, arrays[GOLDEN_KEY[name]]) >= least


@pytest.mark.parametrize("name", NAMES)
def test_a_vector_depends_on_its_clip_alone(name):
    model = load_model(name)
    clips = [noise(length, seed=length) for length in (1, 2, 3, 4, 5, 63, 64, 65, 150, 152)]
    together = model.embed(clips)
    backwards = model.embed(clips[::-1])[::-1]
    for clip, vector, again in zip(clips, together, backwards, strict=True):
        assert vector.shape == (model.dimension,)
        assert vector.dtype == np.float32
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)
        assert vector.tobytes() == again.tobytes() == model.embed([clip])[0].tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_a_vector_does_not_depend_on_threads(name):
    model, clips = load_model(name), [noise(150, seed) for seed in range(3)]
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = model.embed(clips)
        torch.set_num_threads(3)
        three = model.embed(clips)
    finally:
        torch.set_num_threads(before)
    assert [vector.tobytes() for vector in one] == [vector.tobytes() for vector in three]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU and a torch built for it")
@pytest.mark.parametrize("name", NAMES)
def test_a_gpu_gives_the_same_bits(name):
    clips = [noise(length, length) for length in (1, 150, 152)]
    on_cpu, on_gpu = (load_model(name, device=device).embed(clips) for device in ("cpu", "cuda"))
    assert [vector.tobytes() for vector in on_cpu] == [vector.tobytes() for vector in on_gpu]


def test_time_counts_for_segments_and_not_for_level_1():
    clip = np.concatenate([noise(1, seed).repeat(20, axis=0) for seed in range(4)])
    for name, is_same in (("pdqf_tmk", False), ("pdqf_tmk_level1", True)):
        forward, backward = load_model(name).embed([clip, clip[::-1].copy()])
        assert (cosine(forward, backward) > 0.99) is is_same


def test_unrelated_clips_are_near_zero():
    first, second = load_model("pdqf_tmk").embed([noise(20, 1), noise(20, 2)])
    assert abs(cosine(first, second)) < 0.3


@pytest.mark.parametrize("name", NAMES)
def test_plain_clips_are_unusable_and_do_not_disturb_the_others(name):
    model, black = load_model(name), np.zeros((10, 64, 64, 3), np.uint8)
    stripes = np.zeros((10, 64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    good, dark, striped, again = model.embed([noise(10), black, stripes, noise(10)])
    assert isinstance(dark, Unusable)
    assert dark.reason == "low-quality"
    assert isinstance(striped, Unusable)
    assert striped.reason == "no-texture"
    assert good.tobytes() == again.tobytes()


def test_black_frames_leave_their_segments_empty():
    clip = np.concatenate([np.zeros((10, 64, 64, 3), np.uint8), noise(30)])
    vector = load_model("pdqf_tmk").embed([clip])[0]
    assert not vector[:256].any()
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)


def test_clips_that_cancel_out_have_no_vector():
    picture = noise(1)
    negative = 255 - picture
    result = load_model("pdqf_tmk_level1").embed([np.concatenate([picture, negative])])[0]
    assert isinstance(result, Unusable) or np.linalg.norm(result) == pytest.approx(1, abs=1e-6)


@given(num_frames=st.integers(1, 500))
@settings(deadline=None)
def test_segments_are_nearly_equal_and_take_every_frame(num_frames):
    frames, segments = pdqf_tmk.segment_of_frames(num_frames, 4)
    sizes = np.bincount(segments, minlength=4)
    assert (np.diff(frames) >= 0).all()
    assert (np.diff(segments) >= 0).all()
    assert sizes.min() >= 1
    if num_frames >= 4:
        assert frames.tolist() == list(range(num_frames))
        assert sizes.tolist() == sorted(sizes.tolist(), reverse=True)
        assert sizes.max() - sizes.min() <= 1


def test_few_frames_are_repeated():
    assert pdqf_tmk.segment_of_frames(1, 4)[0].tolist() == [0, 0, 0, 0]
    assert pdqf_tmk.segment_of_frames(3, 4)[0].tolist() == [0, 1, 1, 2]


def test_the_fingerprint_is_plain_json_and_tells_models_apart():
    prints = [json.dumps(load_model(name).fingerprint(), sort_keys=True) for name in NAMES]
    assert prints[0] != prints[1]
    assert json.loads(prints[0])["frame_rule"] == {"kind": "rate", "rate_fps": 15.0, "width": 64, "height": 64}
    assert prints[0] == json.dumps(load_model("pdqf_tmk").fingerprint(), sort_keys=True)


def test_default_eps_is_a_cosine_distance():
    for name in NAMES:
        assert 0 < load_model(name).default_eps < 1
        assert math.isfinite(load_model(name).default_eps)


def test_no_clips_give_no_vectors():
    assert load_model("pdqf_tmk").embed([]) == []


@pytest.mark.parametrize(
    "clip",
    [
        pytest.param(np.zeros((0, 64, 64, 3), np.uint8), id="no-frames"),
        pytest.param(np.zeros((2, 64, 63, 3), np.uint8), id="other-size"),
        pytest.param(np.zeros((2, 64, 64, 3), np.float32), id="other-type"),
    ],
)
def test_clips_of_other_shapes_are_refused(clip):
    with pytest.raises(ParameterError, match="uint8"):
        load_model("pdqf_tmk").embed([clip])


def test_a_device_that_is_not_there():
    with pytest.raises(DeviceError, match="no-such-device"):
        load_model("pdqf_tmk", device="no-such-device")
