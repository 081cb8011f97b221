"""How spans are put into lanes: worked examples and properties."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curator_dask.errors import ParameterError
from curator_dask.video.cut.plan import MAX_LANES, has_gaps, plan_lanes, select_expression
from curator_dask.video.spans import Span, fixed_stride_spans


def spans(*pairs: tuple[float, float]) -> list[Span]:
    return [Span(index, start_s, end_s) for index, (start_s, end_s) in enumerate(pairs)]


def indices(lanes: list) -> list[list[int]]:
    return [[span.index for span in lane.spans] for lane in lanes]


def test_spans_that_touch_share_one_lane() -> None:
    (lane,) = plan_lanes(spans((0, 10), (10, 20), (20, 25)), 25.0)
    assert (lane.period_s, lane.length_s, lane.offset_s, lane.has_lead, has_gaps(lane)) == (10, 10, 0, False, False)
    assert lane.end_s == 26  # late frames of a rounded header belong to the last span


def test_spans_that_overlap_alternate() -> None:
    lanes = plan_lanes(spans((0, 5), (2.5, 7.5), (5, 10), (7.5, 12.5), (10, 12.5)), 12.5)
    assert indices(lanes) == [[0, 2, 4], [1, 3]]
    assert [(lane.offset_s, lane.period_s, lane.lead_shift_s) for lane in lanes] == [(0, 5, 0), (2.5, 5, 2.5)]


def test_an_overlap_that_divides_nothing_leaves_gaps_in_each_lane() -> None:
    lanes = plan_lanes(spans((0, 5), (2, 7), (4, 9), (6, 11), (8, 13)), 100.0)
    assert indices(lanes) == [[0, 3], [1, 4], [2]]
    assert all(lane.period_s == 6 for lane in lanes)
    assert [has_gaps(lane) for lane in lanes] == [True, True, False]


def test_a_dropped_tail_is_cut_off() -> None:
    (lane,) = plan_lanes(spans((0, 10), (10, 20)), 21.5)
    assert lane.end_s == 20
    assert "lt((t-start_t+0.001),20.000000000)" in select_expression(lane)


def test_a_time_belongs_to_the_span_it_lies_in_half_open() -> None:
    (lane,) = plan_lanes(spans((0, 10), (10, 20), (20, 30)), 30.0)
    assert [lane.cell(time_s) for time_s in (0, 9.99, 9.9995, 10.0, 29.9)] == [0, 0, 1, 1, 2]


@given(
    duration_s=st.floats(1, 500),
    length_s=st.floats(0.5, 20),
    stride_share=st.floats(0.1, 3),
)
def test_every_span_is_in_one_lane_and_lanes_do_not_overlap(
    duration_s: float, length_s: float, stride_share: float
) -> None:
    plan = fixed_stride_spans(
        duration_s, framerate=30.0, length_s=length_s, stride_s=length_s * stride_share, min_length_s=0.0
    ).spans
    lanes = plan_lanes(plan, duration_s)
    assert sorted(index for lane in indices(lanes) for index in lane) == [span.index for span in plan]
    for lane in lanes:
        for before, after in zip(lane.spans, lane.spans[1:], strict=False):
            assert before.end_s <= after.start_s + 1e-6
        for position, span in enumerate(lane.spans):
            assert lane.cell(span.start_s) == position


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([], "no spans"),
        ([(5, 10), (10, 20), (3, 35)], "sorted"),
        ([(5, 5)], "start_s < end_s"),
        ([(-1, 5)], "start_s < end_s"),
        ([(0, 10), (0, 10)], "stride"),
        ([(number * 0.5, number * 0.5 + 10) for number in range(30)], f"limit is {MAX_LANES}"),
    ],
    ids=["none", "unsorted", "empty", "negative", "same", "many-lanes"],
)
def test_spans_that_cannot_be_meant_are_refused(pairs: list[tuple[float, float]], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        plan_lanes(spans(*pairs), 60.0)
