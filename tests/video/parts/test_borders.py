"""Where parts may begin: not where rounding decides, pictures stand still, or key frames are far."""

from __future__ import annotations

import numpy as np
import pytest

from curator_dask.video.cut.plan import Part, PartStart, lanes_of_part, plan_lanes
from curator_dask.video.parts.borders import borders_from, planned_borders
from curator_dask.video.parts.packets import packet_times_of
from curator_dask.video.spans import FixedStride, Span

SPANS = FixedStride(10.0).plan(100.0, 25.0).spans
TIMES_S = np.arange(2500) / 25
KEYS_S = np.arange(0.0, 100.0, 2.0)


def first_border(first=3, spans=SPANS, times_s=TIMES_S, keys_s=KEYS_S, num_lanes=1):
    return next(borders_from(first, spans, times_s, keys_s, num_lanes), None)


def test_parts_are_about_as_long():
    assert planned_borders(SPANS, 4) == [3, 5, 8]
    uneven = [Span(0, 0, 50), Span(1, 50, 60), Span(2, 60, 62), Span(3, 62, 100)]
    assert planned_borders(uneven, 2) == [1]


def test_a_border_begins_with_a_span_and_some_frames_more():
    border = first_border()
    assert (border.span, border.begin_s) == (3, 30.0)
    assert TIMES_S[border.first] == 29.52  # half a second, a frame or more
    assert border.seek_s == pytest.approx(29.5)
    assert border.earlier_seek_s == pytest.approx(26.001)  # the key frame before the last, 28
    assert first_border(first=1, keys_s=np.array([0.0, 8.0])).earlier_seek_s is None


def test_no_frame_lies_where_rounding_decides():
    doubtful = np.sort(np.r_[TIMES_S, 29.999])
    assert first_border(times_s=doubtful).span == 4
    beyond = np.sort(np.r_[TIMES_S, 49.999])
    overlapping = FixedStride(10.0, 5.0).plan(100.0, 25.0).spans
    assert first_border(first=9, spans=overlapping, times_s=beyond, num_lanes=1).span == 9
    assert first_border(first=9, spans=overlapping, times_s=beyond, num_lanes=2).span == 11


def test_no_picture_stands_still_for_long_around_a_border():
    assert first_border(times_s=TIMES_S[(TIMES_S < 26) | (TIMES_S > 30.5)]).span == 4
    assert first_border(times_s=TIMES_S[(TIMES_S < 29) | (TIMES_S > 32)]).span == 3
    assert first_border(times_s=TIMES_S[(TIMES_S < 29) | (TIMES_S > 34.5)]).span == 4
    assert first_border(times_s=TIMES_S[TIMES_S < 29]) is None


def test_the_key_frames_before_a_border_are_near():
    spans = FixedStride(100.0).plan(1000.0, 1.0).spans
    times_s = np.arange(1000.0)
    assert first_border(2, spans, times_s, np.array([0.0, 150, 170, 380, 390])).span == 2
    assert first_border(2, spans, times_s, np.array([0.0, 70, 150, 350, 390])).span == 4
    assert first_border(2, spans, times_s, np.array([0.0])) is None


def test_lanes_of_parts_are_those_of_the_whole():
    spans = FixedStride(5.0, 2.5).plan(60.0, 25.0).spans
    whole = plan_lanes(spans, 60.0)
    start = PartStart(24.5, 24.52, 0, 1)
    first, second = (lanes_of_part(whole, part) for part in (Part(0, 10, None), Part(10, len(spans), start)))
    assert [[span.index for span in lane.spans] for lane in first] == [[0, 2, 4, 6, 8], [1, 3, 5, 7, 9]]
    assert [lane.spans[0].index for lane in second] == [10, 11]
    times_s = np.arange(0, 60, 0.04)
    for one, other, lane in zip(first, second, whole, strict=True):
        cells = [lane.cell(time_s) for time_s in times_s]
        assert [one.cell(time_s) for time_s in times_s] == cells
        assert [other.cell(time_s) + 5 for time_s in times_s] == cells
    assert (first[0].limit_s, second[0].limit_s) == (25.0, whole[0].end_s)


def test_packets_are_sorted_and_hidden_ones_do_not_count():
    lines = [
        "#tb 0: 1/1000",
        "0, -80, 0, 40, 900, 0x1",
        "0, -40, 80, 40, 90, 0x1, F=0x0",
        "0, 0, 40, 40, 90, 0x1, F=0x0, S=1, 8",
        "0, 40, -40, 40, 90, 0x1, F=0x4",
        "0, 80, 120, 40, 90, 0x1, F=0x1",
    ]
    packets = packet_times_of(lines)
    assert packets.shown.tolist() == [0, 40, 80, 120]
    assert packets.keys.tolist() == [0, 120]
    assert packets.seconds(packets.keys).tolist() == [0.0, 0.12]
    assert packet_times_of([*lines, f"0, 160, {-(2**63)}, 40, 9, 0x1"]) is None
    assert packet_times_of(lines[:1]) is None
