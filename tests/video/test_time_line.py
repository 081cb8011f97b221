"""Containers with wrong time lines: joined transport streams, jumps of the clock, pictures that start late."""

from __future__ import annotations

from pathlib import Path

import av
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curator_dask.errors import MediaError
from curator_dask.video.cut.cut_report import CutReport
from curator_dask.video.cut.encoders import TranscodeSettings
from curator_dask.video.cut.transcode import cut_clips
from curator_dask.video.probe import probe_video
from curator_dask.video.spans import fixed_stride_spans
from curator_dask.video.time_line import TimeLine, read_time_line, time_line_of
from tests.video.videotools import run_ffmpeg

FPS = 25
NO_TIME = -(2**63)
"""As ffmpeg writes a time that is not there."""


def stream_of(path: Path, length_s: float, *, offset_s: float = 0.0, rate: int = FPS) -> Path:
    """A transport stream with sound whose clock starts at `offset_s`."""
    picture = f"testsrc2=size=128x96:rate={rate}:duration={length_s}"
    sound = f"sine=frequency=440:duration={length_s}"
    codec = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-bf", "2", "-c:a", "aac")
    offset = ("-output_ts_offset", str(offset_s)) if offset_s else ()
    run_ffmpeg("-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound, *codec, *offset, str(path))
    return path


def joined(path: Path, *parts: Path) -> Path:
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def cut_all(path: Path, work_dir: Path) -> CutReport:
    info = probe_video(path)
    assert info.duration_s is not None
    work_dir.mkdir()
    spans = fixed_stride_spans(info.duration_s, framerate=info.framerate).spans
    return cut_clips(info, spans, TranscodeSettings(), work_dir)


def decoded(path: Path) -> list[float]:
    """Frame times by another decoder than the product's."""
    with av.open(str(path)) as container:
        return [float(frame.time) for frame in container.decode(video=0)]


def file_length_s(path: Path) -> float:
    with av.open(str(path)) as container:
        return container.duration / 1_000_000


@pytest.mark.parametrize(
    ("lengths_s", "offsets_s", "clips"),
    [
        pytest.param([3] * 8, [0] * 8, [250, 250, 100], id="clock-restarts-eight-times"),
        pytest.param([12, 12], [0, 3600], [250, 250, 100], id="clock-jumps-forward"),
        pytest.param([12, 12], [3600, 0], [250, 250, 100], id="clock-jumps-back"),
        pytest.param([3, 20], [0, 0], [250, 250, 75], id="short-then-long"),
    ],
)
def test_joined_transport_streams_lose_no_frame(tmp_path, lengths_s, offsets_s, clips):
    parts = [
        stream_of(tmp_path / f"{number}.ts", length, offset_s=offset)
        for number, (length, offset) in enumerate(zip(lengths_s, offsets_s, strict=True))
    ]
    report = cut_all(joined(tmp_path / "all.ts", *parts), tmp_path / "clips")
    assert [len(decoded(clip.path)) for clip in report.clips if clip.path] == clips
    assert report.account is not None
    assert (report.account.num_decoded, report.account.num_outside) == (sum(clips), 0)
    assert any("the clock of the file jumps" in warning for warning in report.warnings)


@settings(max_examples=4, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    parts=st.lists(st.tuples(st.integers(1, 5), st.sampled_from([0.0, 7.5, 90_000.0])), min_size=2, max_size=3),
    rate=st.sampled_from([10, 24, 30]),
)
def test_any_joins_and_jumps(tmp_path_factory, parts, rate):
    folder = tmp_path_factory.mktemp("joins")
    files = [
        stream_of(folder / f"{number}.ts", length, offset_s=offset, rate=rate)
        for number, (length, offset) in enumerate(parts)
    ]
    report = cut_all(joined(folder / "all.ts", *files), folder / "clips")
    num_frames = sum(len(decoded(file)) for file in files)
    assert report.account is not None
    assert report.account.num_decoded == num_frames
    in_clips = sum(len(decoded(clip.path)) for clip in report.clips if clip.path)
    assert in_clips + report.account.num_outside == num_frames
    assert report.account.num_outside <= 2 * rate  # a tail of less than two seconds is no clip


def test_joined_recordings_of_a_browser_are_told(tmp_path):
    """FFmpeg does not repair the clock of WebM, so the second recording lies upon the first one."""
    part, path = tmp_path / "part.webm", tmp_path / "joined.webm"
    picture, codec = "testsrc2=size=64x48:rate=25:duration=3", ("-c:v", "libvpx", "-deadline", "realtime")
    run_ffmpeg("-f", "lavfi", "-i", picture, *codec, "-f", "webm", "-live", "1", str(part))
    report = cut_all(joined(path, part, part), tmp_path / "clips")
    assert report.account is not None
    assert report.account.num_decoded == 150
    assert any("the clock of the file goes back, so 74 frames behind" in warning for warning in report.warnings)


@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts"])
def test_pictures_that_start_later_than_the_sound(tmp_path, ending):
    path = tmp_path / f"late.{ending}"
    picture, sound = "testsrc2=size=128x96:rate=25:duration=20", "sine=frequency=440:duration=25"
    codec = ("-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac")
    run_ffmpeg("-itsoffset", "5", "-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound, *codec, str(path))
    report = cut_all(path, tmp_path / "clips")
    assert [clip.reason for clip in report.clips] == [None, None]
    for clip in report.clips:
        assert clip.path is not None
        times_s = decoded(clip.path)
        assert (len(times_s), times_s[0]) == (250, 0.0)
        assert file_length_s(clip.path) == pytest.approx(10.0, abs=0.03)


def test_a_time_line_from_packets():
    lines = [
        "#tb 0: 1/25",
        "0, -2, 0, 1, 900, 0x1",
        "0, -1, 2, 1, 100, 0x2, F=0x0",
        "0, 0, 1, 1, 100, 0x3, F=0x0",
        "0, 1, 3, 1, 100, 0x4, F=0x4",
        f"0, {NO_TIME}, {NO_TIME}, 1, 100, 0x5",
        "0, 2, 4",
    ]
    assert time_line_of(lines) == TimeLine(3, 0.0, 0.12)
    assert time_line_of(["#tb 0: 1/25"]) is None


def test_a_frame_without_a_time_is_shown_as_late_as_the_one_before():
    lines = ["#tb 0: 1/25", "0, -1, 0, 1, 9, 0x1", "0, 0, 1, 1, 9, 0x2", f"0, 1, {NO_TIME}, 1, 9, 0x3"]
    assert time_line_of(lines) == TimeLine(3, 0.0, 0.12)
    assert time_line_of([*lines, f"0, {NO_TIME}, 3, 1, 9, 0x4"]) == TimeLine(4, 0.0, 0.16)


def test_the_last_frame_of_a_time_line_lasts_a_second_at_most():
    lines = ["#tb 0: 1/25", "0, 0, 0, 1, 9, 0x1", "0, 1, 1, 2500000, 9, 0x1"]
    assert time_line_of(lines) == TimeLine(2, 0.0, 1.04)


def test_a_stream_without_packets_has_no_time_line(tmp_path):
    path = tmp_path / "noise.ts"
    path.write_bytes(b"G" + bytes(187))
    with pytest.raises(MediaError, match="no frames that have a time"):
        read_time_line(path, 0, path.stat().st_size)
