"""Which frames a rule takes: worked examples, properties, and ffmpeg itself as the reference for rates."""

from __future__ import annotations

import itertools
import subprocess
from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator_dask.errors import MediaError, ParameterError
from curator_dask.video.frames.sampling import FrameRule, Sieve, select_frames, shown_duration_s
from curator_dask.video.process import ffmpeg

MILLISECOND = Fraction(1, 1000)
SIZE = {"width": 64, "height": 64}
RULES = {
    "rate": FrameRule.rate(15, **SIZE),
    "slow": FrameRule.rate(2, **SIZE),
    "spread": FrameRule.spread(8, **SIZE),
    "prefix": FrameRule.prefix(8, **SIZE),
}
gap_lists = st.lists(st.integers(1, 2000), min_size=0, max_size=150)  # milliseconds


def times_of(gaps_ms):
    return np.array([0, *itertools.accumulate(gaps_ms)]) / 1000


@pytest.mark.parametrize(
    ("rule", "num_frames", "fps", "expected"),
    [
        pytest.param(FrameRule.rate(5, **SIZE), 10, 10, [0, 1, 2, 3, 5, 7, 9], id="rate-settles-after-a-few"),
        pytest.param(FrameRule.rate(10, **SIZE), 4, 5, [0, 0, 1, 1, 2, 2, 3, 3], id="rate-repeats"),
        pytest.param(FrameRule.rate(10, **SIZE), 4, 10, [0, 1, 2, 3], id="rate-of-the-clip"),
        pytest.param(FrameRule.rate(15, **SIZE), 1, 30, [0], id="rate-of-one-frame"),
        pytest.param(FrameRule.spread(2, **SIZE), 10, 10, [2, 7], id="spread-middles-ties-go-to-the-earlier"),
        pytest.param(FrameRule.spread(4, **SIZE), 300, 30, [37, 112, 187, 262], id="spread-of-10-s"),
        pytest.param(FrameRule.spread(4, **SIZE), 2, 10, [0, 1, 1, 1], id="spread-repeats-the-nearest"),
        pytest.param(FrameRule.spread(3, **SIZE), 1, 30, [0, 0, 0], id="spread-of-one-frame"),
        pytest.param(FrameRule.prefix(8, **SIZE), 300, 30, list(range(0, 240, 30)), id="prefix-misses-the-end"),
        pytest.param(FrameRule.prefix(2, **SIZE), 10, 10, [0, 5], id="prefix-of-1-s"),
        pytest.param(FrameRule.prefix(4, **SIZE), 10, 10, [0, 5, 5, 9], id="prefix-of-too-few"),
    ],
)
def test_worked_examples(rule, num_frames, fps, expected):
    times_s = np.arange(num_frames) / fps
    assert select_frames(times_s, rule, num_frames / fps).tolist() == expected


@pytest.mark.parametrize("name", RULES)
@given(gaps_ms=gap_lists, start_s=st.floats(0, 1000))
@settings(max_examples=50, deadline=None)
def test_selection_is_in_order_within_the_clip_and_blind_to_its_clock(name, gaps_ms, start_s):
    times_s, rule = times_of(gaps_ms), RULES[name]
    duration_s = float(times_s[-1]) + 0.04
    indices = select_frames(times_s, rule, duration_s)
    assert indices.dtype == np.int64
    assert len(indices) >= 1
    assert (np.diff(indices) >= 0).all()
    assert indices.min() >= 0
    assert indices.max() < len(times_s)
    if rule.num_frames:
        assert len(indices) == rule.num_frames
    assert np.array_equal(select_frames(times_s + round(start_s), rule, duration_s), indices)


@pytest.mark.parametrize("name", ["rate", "slow"])
@given(gaps_ms=gap_lists)
@settings(max_examples=50, deadline=None)
def test_a_rate_gives_as_many_frames_as_the_clip_is_long(name, gaps_ms):
    times_s, rule = times_of(gaps_ms), RULES[name]
    duration_s = float(times_s[-1]) + 0.04
    assert abs(len(select_frames(times_s, rule, duration_s)) - duration_s * rule.rate_fps) <= 2.2


@pytest.mark.parametrize("name", RULES)
@given(gaps_ms=gap_lists)
@settings(max_examples=50, deadline=None)
def test_the_sieve_keeps_what_is_selected_and_with_rate_or_spread_nothing_else(name, gaps_ms):
    times_s, rule = times_of(gaps_ms).tolist(), RULES[name]
    duration_s = times_s[-1] + 0.04
    sieve = Sieve(rule, duration_s)
    kept = {
        index
        for index in range(len(times_s) - 1)
        if sieve.wants(times_s[index - 1] if index else None, times_s[index], times_s[index + 1])
    } | {len(times_s) - 1}
    selected = set(select_frames(np.array(times_s), rule, duration_s).tolist())
    assert selected <= kept
    if rule.kind != "prefix":
        assert kept - selected <= {len(times_s) - 1}


@given(gaps_ms=st.lists(st.integers(10, 200), min_size=1, max_size=100))
@settings(deadline=None)
def test_float32_times_choose_the_same_frames(gaps_ms):
    times_s = times_of(gaps_ms)
    rounded_s = times_s.astype(np.float32).astype(np.float64)
    for rule in RULES.values():
        expected = select_frames(times_s, rule, shown_duration_s(times_s))
        assert np.array_equal(select_frames(rounded_s, rule, shown_duration_s(rounded_s)), expected)


@pytest.mark.parametrize(
    "gaps_ms",
    [
        pytest.param([40] * 49, id="25-fps"),
        pytest.param([20] * 99, id="50-fps-where-leads-tie"),
        pytest.param([80] * 24, id="12.5-fps"),
        pytest.param([200] * 9, id="5-fps"),
        pytest.param([33, 34, 33, 100, 33, 33, 400, 16, 17, 17, 250, 33, 33, 900, 33, 33, 33], id="variable"),
        pytest.param([7, 9, 5, 5, 300, 8, 8, 8, 8, 8, 8, 120, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8], id="bursts"),
    ],
)
def test_a_rate_is_that_of_ffmpeg(gaps_ms, tmp_path):
    times_s = times_of(gaps_ms)
    video = tmp_path / "numbered.mp4"
    _write_numbered(video, times_s)
    got = _frame_numbers(video, ["-r", "15", "-fps_mode", "cfr"])
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        duration_s = float(stream.duration * stream.time_base)  # it says how long the last frame is shown
    assert got.tolist() == select_frames(times_s, RULES["rate"], duration_s).tolist()


def _write_numbered(path, times_s):
    """Frame n is of grey level n, coded without loss, so that a decoded frame tells its number."""

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"qp": "0", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv444p"
        stream.codec_context.time_base = stream.time_base = MILLISECOND
        for number, time_s in enumerate(times_s):
            frame = av.VideoFrame.from_ndarray(np.full((3, 64, 64), number, np.uint8), format="yuv444p")
            frame.pts, frame.time_base = round(time_s * 1000), MILLISECOND
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _frame_numbers(path, options):
    command = [*ffmpeg.global_args(), "-i", str(path), *options, "-pix_fmt", "yuv444p", "-f", "rawvideo", "pipe:1"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, 3 * 64 * 64)[:, 0]


def test_shown_duration_counts_the_last_frame():
    assert shown_duration_s(np.arange(300) / 30) == pytest.approx(10)
    assert shown_duration_s(np.array([3.0])) == 0


def test_no_frames_is_an_error():
    with pytest.raises(MediaError) as caught:
        select_frames(np.array([]), RULES["spread"], 10)
    assert caught.value.reason == "no-frames"


def test_absurd_gaps_are_refused():
    with pytest.raises(MediaError) as caught:
        select_frames(np.array([0.0, 1e9]), RULES["rate"], 1e9)
    assert caught.value.reason == "too-many-frames"


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: FrameRule.rate(0, **SIZE), id="no-rate"),
        pytest.param(lambda: FrameRule.rate(float("nan"), **SIZE), id="nan-rate"),
        pytest.param(lambda: FrameRule.spread(0, **SIZE), id="no-frames"),
        pytest.param(lambda: FrameRule.rate(15, width=0, height=64), id="no-width"),
    ],
)
def test_rules_that_cannot_be_meant(make):
    with pytest.raises(ParameterError):
        make()


def test_rules_are_described_in_json():
    assert RULES["rate"].describe() == {"kind": "rate", "rate_fps": 15, "width": 64, "height": 64}
    assert RULES["spread"].describe() == {"kind": "spread", "num_frames": 8, "width": 64, "height": 64}
