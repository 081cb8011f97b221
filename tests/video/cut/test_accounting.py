"""The account of frames: the frames that the spans of a lane should hold, compared with those that its clips hold."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from curator_dask.errors import MediaError
from curator_dask.video.cut.accounting import account_for_frames, frames_of_lane, read_clock, read_decoded_times
from curator_dask.video.cut.plan import plan_lanes
from curator_dask.video.cut.result import FrameGroup, LaneFrames
from curator_dask.video.spans import Span

TIMES_S = np.arange(7) / 2


def lane_frames(*counts: int) -> LaneFrames:
    groups = {cell: FrameGroup(0.0, 1.0, count, "x") for cell, count in enumerate(counts)}
    return LaneFrames(groups, (), True)


def test_frames_in_gaps_are_outside():
    lanes = plan_lanes([Span(0, 0.0, 1.0), Span(1, 2.0, 3.0)])
    assert frames_of_lane(TIMES_S, lanes[0]).tolist() == [True, True, False, False, True, True, False]
    account = account_for_frames(TIMES_S, lanes, [lane_frames(2, 2)], [0], "'a.mp4'")
    assert (account.num_decoded, account.num_in_clips, account.num_outside) == (7, 4, 3)
    assert account.end_s == 3.5


def test_a_frame_in_two_clips_counts_once():
    lanes = plan_lanes([Span(0, 0.0, 2.0), Span(1, 1.0, 3.0)])
    account = account_for_frames(TIMES_S, lanes, [lane_frames(4), lane_frames(4)], [0, 0], "'a.mp4'")
    assert (account.num_in_clips, account.num_outside) == (6, 1)


def test_copies_of_held_pictures_are_counted_by_themselves():
    lanes = plan_lanes([Span(0, 0.0, 1.0), Span(1, 2.0, 3.0)])
    account = account_for_frames(TIMES_S, lanes, [lane_frames(2, 4)], [2], "'a.mp4'")
    assert (account.num_decoded, account.num_in_clips, account.num_outside, account.num_held) == (7, 4, 3, 2)


def test_a_lost_frame_is_refused():
    lanes = plan_lanes([Span(0, 0.0, 1.0), Span(1, 2.0, 3.0)])
    with pytest.raises(
        MediaError, match="4 decoded frames belong to spans of this video, and 3 are in its clips"
    ) as told:
        account_for_frames(TIMES_S, lanes, [lane_frames(2, 1)], [0], "'a.mp4'")
    assert told.value.reason == "frames-lost"


def test_times_of_decoded_frames(tmp_path):
    path = tmp_path / "decoded.stats"
    assert len(read_decoded_times(path)) == 0
    path.write_text("250 1/25\n251 1/25\n253 1/25\n")
    assert read_clock(path) == (250, Fraction(1, 25))
    assert read_decoded_times(path).tolist() == pytest.approx([0.0, 0.04, 0.12])
