"""Clip ids by the original workflow's rule, against a second implementation of that rule."""

from __future__ import annotations

import uuid
from fractions import Fraction

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curator_dask.errors import ParameterError
from curator_dask.video.original_ids import OriginalTimes, check_ids
from curator_dask.video.spans import clip_id, fixed_stride_spans

NTSC = 30000 / 1001


def ids_of_the_original(name, duration_s, framerate, length_s, stride_s, min_length_s):
    """The ids of all clips of a video, as the original makes them from what ffprobe prints."""
    num_frames = int(float(f"{duration_s:.6f}") * framerate)
    duration_s = num_frames / framerate
    ids = []
    start_s = 0.0
    while start_s < duration_s:
        end_s = min(start_s + length_s, duration_s)
        if end_s - start_s >= min_length_s:
            frames = f"{int(start_s * framerate)}_{int(end_s * framerate)}"
            ids.append(str(uuid.uuid5(uuid.NAMESPACE_URL, f"{name}_{frames}")))
        start_s += stride_s
    return ids


def our_ids(name, duration_s, framerate, length_s, stride_s, min_length_s):
    plan = fixed_stride_spans(
        duration_s, length_s=length_s, stride_s=stride_s, min_length_s=min_length_s, framerate=framerate
    )
    spans = OriginalTimes(length_s, stride_s).spans(plan.spans, duration_s, framerate)
    return [clip_id(name, span, framerate) for span in spans]


@pytest.mark.parametrize("framerate", [25.0, 30.0, NTSC, 24000 / 1001])
@pytest.mark.parametrize("length_s", [9.9, 3.3, 10.0, 0.7])
def test_lengths_that_floats_cannot_hold_have_the_ids_of_the_original(length_s, framerate):
    args = ("/data/videos/a.mp4", 100 * length_s, framerate, length_s, length_s, length_s / 2)
    ours, theirs = our_ids(*args), ids_of_the_original(*args)
    assert len(theirs) >= 100
    assert ours[: len(theirs)] == theirs[: len(ours)]
    assert abs(len(ours) - len(theirs)) <= 1  # the original may have a clip that begins just before the end


def test_by_default_ids_follow_the_times_of_the_clips():
    args = ("a.mp4", 330.0, 30.0, 3.3, 3.3, 1.0)
    plan = fixed_stride_spans(330.0, length_s=3.3, min_length_s=1.0, framerate=30.0)
    exact, original = [clip_id("a.mp4", span, 30.0) for span in plan.spans], ids_of_the_original(*args)
    assert our_ids(*args) == original
    assert exact != original


def test_the_last_clip_ends_at_the_frame_of_the_original():
    args = ("a.mp4", 1000 / 30, 30.0, 10.0, 10.0, 2.0)
    plan = fixed_stride_spans(1000 / 30, framerate=30.0)
    exact = [clip_id("a.mp4", span, 30.0) for span in plan.spans]
    assert our_ids(*args) == ids_of_the_original(*args)
    assert [mine == original for mine, original in zip(exact, our_ids(*args), strict=True)] == [True, True, True, False]


@given(
    num_frames=st.integers(1, 20_000),
    rate=st.sampled_from([Fraction(24), Fraction(25), Fraction(30000, 1001), Fraction(60), Fraction(15)]),
    length_ds=st.integers(5, 200),
    stride_ds=st.integers(2, 300),
)
@example(num_frames=751, rate=Fraction(30000, 1001), length_ds=100, stride_ds=100)
@settings(deadline=None)
def test_every_clip_of_the_original_has_its_id_here(num_frames, rate, length_ds, stride_ds):
    """The original drops clips that are a rounding error too short, so it may have fewer."""
    length_s, stride_s = length_ds / 10, stride_ds / 10
    args = ("v.mp4", float(num_frames / rate), float(rate), length_s, stride_s, length_s / 2)
    ours, theirs = our_ids(*args), ids_of_the_original(*args)
    assert ours[: len(theirs)] == theirs[: len(ours)]
    assert len(theirs) <= len(ours) + 1


def test_a_rule_that_does_not_exist_is_refused():
    with pytest.raises(ParameterError, match=r"ids \('theirs'\) must be one of: exact, original"):
        check_ids("theirs")
