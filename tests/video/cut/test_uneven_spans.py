"""Spans of any lengths at any distances, as shots have them: every frame in its clip, once, in order, at its time."""

from __future__ import annotations

import pytest

from curator_dask.errors import ParameterError
from curator_dask.video.cut.plan import plan_lanes
from curator_dask.video.process import ffmpeg
from curator_dask.video.process.expressions import step_function
from curator_dask.video.spans import Span
from tests.video.cut.test_transcode import assert_exact, cut
from tests.video.videotools import numbered_video

SOUND = ("-f", "lavfi", "-i", "sine=duration=8", "-c:a", "aac", "-shortest")
H264 = ("-c:v", "libx264", "-qp", "10", "-pix_fmt", "yuv420p")
UNEVEN = {
    "touching": [(0, 1.2), (1.2, 3.0), (3.0, 3.4), (3.4, 8.0)],
    "gaps-and-a-late-start": [(0.48, 1.2), (1.4, 3.0), (5.0, 5.04), (7.0, 7.52)],
    "overlaps": [(0, 4), (0.2, 1), (1.5, 3), (2, 8)],
    "beyond-the-end": [(0, 1), (2.5, 5), (7, 9), (20, 21)],
}


@pytest.fixture(scope="module")
def eight_seconds(tmp_path_factory):
    path = tmp_path_factory.mktemp("uneven") / "in.mp4"
    return numbered_video(path, extra=(*H264, "-g", "60"))


@pytest.mark.parametrize("name", list(UNEVEN))
def test_every_frame_is_in_its_clip(name, eight_seconds, tmp_path):
    spans = tuple(Span(number, *ends) for number, ends in enumerate(UNEVEN[name]))
    report = cut(eight_seconds, spans, tmp_path / "out")
    assert_exact(eight_seconds, spans, report)


def test_values_too_long_for_the_command_line_lie_in_files(eight_seconds, tmp_path, monkeypatch):
    spans = tuple(Span(number, *ends) for number, ends in enumerate(UNEVEN["gaps-and-a-late-start"]))
    usual = cut(eight_seconds, spans, tmp_path / "usual")
    monkeypatch.setattr(ffmpeg, "LONGEST_VALUE", 160)
    report = cut(eight_seconds, spans, tmp_path / "out")
    assert list((tmp_path / "out").glob("value*.txt"))
    assert [clip.path.read_bytes() for clip in report.clips] == [clip.path.read_bytes() for clip in usual.clips]


def test_spans_that_overlap_go_to_lanes_of_their_own():
    spans = [Span(number, *ends) for number, ends in enumerate(UNEVEN["overlaps"])]
    lanes = plan_lanes(spans, 8.0)
    assert [[span.index for span in lane.spans] for lane in lanes] == [[0], [1, 2], [3]]
    with pytest.raises(ParameterError, match="17 spans overlap"):
        plan_lanes([Span(number, number / 100, 5 + number**2) for number in range(17)], 900.0)


def test_a_step_function_is_a_tree():
    assert step_function("t", [], ["1"]) == "1"
    assert step_function("t", [2.0], ["1", "0"]) == "if(lt(t,2.000000),1,0)"
