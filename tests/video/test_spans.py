"""Spans and clip ids: the workflow's examples, and properties that hold for any video."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator_dask.errors import InputError, MediaError, ParameterError
from curator_dask.video.spans import FixedStride, Span, clip_id, fixed_stride_spans

NTSC = 30000 / 1001


def bounds(plan):
    return [(span.start_s, span.end_s) for span in plan.spans]


@pytest.mark.parametrize(
    ("duration_s", "framerate", "length_s", "stride_s", "min_length_s", "expected", "num_short"),
    [
        pytest.param(35.0, 30, 10, 10, 2, [(0, 10), (10, 20), (20, 30), (30, 35)], 0, id="long-tail-kept"),
        pytest.param(31.5, 30, 10, 10, 2, [(0, 10), (10, 20), (20, 30)], 1, id="short-tail-dropped-and-counted"),
        pytest.param(750 / NTSC, NTSC, 10, 10, 2, [(0, 10), (10, 20), (20, 750 / NTSC)], 0, id="ntsc"),
        pytest.param(1.5, 30, 10, 10, 2, [], 1, id="video-below-minimum"),
        pytest.param(5.0, 30, 5, 2.5, 1, [(0, 5), (2.5, 5)], 0, id="overlap-of-one-length"),
        pytest.param(30.0, 30, 10, 10, 2, [(0, 10), (10, 20), (20, 30)], 0, id="no-tail"),
        pytest.param(30.000001, 30, 10, 10, 0, [(0, 10), (10, 20), (20, 30)], 0, id="rounding-is-no-tail"),
        pytest.param(30.0, 30, 2, 10, 2, [(0, 2), (10, 12), (20, 22)], 0, id="gaps"),
        pytest.param(1.99, 30, 10, 10, 2, [(0, 1.99)], 0, id="minimum-within-half-a-frame"),
        pytest.param(1.98, 30, 10, 10, 2, [], 1, id="minimum-missed-by-more"),
        pytest.param(1 / 30, 30, 10, 10, 0, [(0, 1 / 30)], 0, id="one-frame"),
    ],
)
def test_spans_of_the_table(duration_s, framerate, length_s, stride_s, min_length_s, expected, num_short):
    plan = fixed_stride_spans(
        duration_s, length_s=length_s, stride_s=stride_s, min_length_s=min_length_s, framerate=framerate
    )
    assert bounds(plan) == expected
    assert plan.num_dropped_short == num_short
    assert plan.num_dropped_limit == 0
    assert [span.index for span in plan.spans] == list(range(len(expected)))


def test_overlapping_tails_are_spans_of_their_own():
    plan = fixed_stride_spans(20.0, length_s=5, stride_s=2.5, min_length_s=1, framerate=30)
    assert len(plan.spans) == 8
    assert bounds(plan)[-2:] == [(15, 20), (17.5, 20)]


@pytest.mark.parametrize("duration_s", [990.0, 100 * 9.9, sum([9.9] * 100)], ids=["exact", "product", "added-up"])
def test_no_full_clip_is_lost_to_rounding(duration_s):
    plan = fixed_stride_spans(duration_s, length_s=9.9, min_length_s=9.9, framerate=30)
    assert len(plan.spans) == 100
    assert plan.num_dropped_short == 0


def test_limit_is_counted():
    plan = fixed_stride_spans(35.0, framerate=30, limit=3)
    assert bounds(plan) == [(0, 10), (10, 20), (20, 30)]
    assert plan.num_dropped_limit == 1


@given(
    duration_s=st.floats(0.05, 5000),
    length_s=st.floats(0.1, 60),
    stride_factor=st.floats(0.5, 3),
    min_share=st.floats(0, 1),
    framerate=st.floats(25, 120),
    limit=st.integers(0, 20),
)
@settings(deadline=None)
def test_any_plan_reconciles(duration_s, length_s, stride_factor, min_share, framerate, limit):
    stride_s = length_s * stride_factor
    plan = fixed_stride_spans(
        duration_s,
        length_s=length_s,
        stride_s=stride_s,
        min_length_s=length_s * min_share,
        framerate=framerate,
        limit=limit,
    )
    half_frame_s = 0.5 / framerate
    for span in plan.spans:
        assert 0 <= span.start_s < span.end_s <= duration_s
        assert length_s * min_share - half_frame_s <= span.length_s <= length_s * (1 + 1e-12) + 1e-12
    num_starts = len(plan.spans) + plan.num_dropped_short + plan.num_dropped_limit
    remainder_s = duration_s - num_starts * stride_s
    assert remainder_s <= half_frame_s + 1e-9
    assert (num_starts - 1) * stride_s < duration_s
    if limit:
        assert len(plan.spans) <= limit
    else:
        assert plan.num_dropped_limit == 0


@given(num_clips=st.integers(1, 300), length_ms=st.integers(200, 60_000), framerate=st.floats(10, 120))
@settings(deadline=None)
def test_whole_clips_tile_the_video(num_clips, length_ms, framerate):
    length_s = length_ms / 1000
    plan = fixed_stride_spans(num_clips * length_s, length_s=length_s, min_length_s=length_s, framerate=framerate)
    assert len(plan.spans) == num_clips
    for before, after in zip(plan.spans, plan.spans[1:], strict=False):
        assert math.isclose(before.end_s, after.start_s)


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        pytest.param({"length_s": 0.0}, "fixed_stride_split_duration", id="no-length"),
        pytest.param({"length_s": math.nan}, "fixed_stride_split_duration", id="nan-length"),
        pytest.param({"length_s": math.inf}, "fixed_stride_split_duration", id="endless-length"),
        pytest.param({"stride_s": -1.0}, "fixed_stride_stride", id="negative-stride"),
        pytest.param({"min_length_s": -1.0}, "fixed_stride_min_clip_length_s", id="negative-minimum"),
        pytest.param({"length_s": 1.0}, "fixed_stride_min_clip_length_s", id="minimum-above-length"),
        pytest.param({"limit": -1}, "limit_clips", id="negative-limit"),
    ],
)
def test_parameters_are_refused_by_the_name_that_users_know(parameters, name):
    with pytest.raises(ParameterError, match=name):
        FixedStride(**parameters)


@pytest.mark.parametrize(
    ("duration_s", "framerate", "reason"),
    [
        pytest.param(None, 30.0, "no-duration", id="unknown-duration"),
        pytest.param(0.0, 30.0, "no-duration", id="zero-duration"),
        pytest.param(math.nan, 30.0, "no-duration", id="nan-duration"),
        pytest.param(math.inf, 30.0, "no-duration", id="endless"),
        pytest.param(10.0, 0.0, "no-framerate", id="zero-rate"),
        pytest.param(10.0, 0.05, "stride-below-frame", id="time-lapse"),
    ],
)
def test_media_that_cannot_be_planned(duration_s, framerate, reason):
    with pytest.raises(MediaError) as caught:
        FixedStride().plan(duration_s, framerate)
    assert caught.value.reason == reason


def test_absurd_plans_are_refused():
    with pytest.raises(InputError, match="1000000 spans"):
        fixed_stride_spans(2.0**31, framerate=30)


@pytest.mark.parametrize(
    ("name", "start_s", "end_s", "expected"),
    [
        ("test_video.mp4", 0.0, 5.0, "4baa6139-32a3-555a-a194-1726a40b3af9"),
        ("/data/videos/a.mp4", 0.0, 10.0, "ce2f3d69-8b98-57fe-98fe-70d008e354f3"),
        ("/data/videos/a.mp4", 10.0, 20.0, "5df222ec-81a8-5f73-b9b6-b6b1143bc8c3"),
    ],
)
def test_clip_ids_are_those_of_the_workflow(name, start_s, end_s, expected):
    assert clip_id(name, Span(0, start_s, end_s), 30.0) == expected


def test_clip_id_takes_names_that_are_not_utf8():
    name = b"caf\xe9.mp4".decode("utf-8", "surrogateescape")
    assert clip_id(name, Span(0, 0.0, 10.0), 30.0) != clip_id("caf.mp4", Span(0, 0.0, 10.0), 30.0)
