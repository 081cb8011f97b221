"""A frame is shown until the next one: clips of videos with pauses last as long as their spans. PyAV reads the clips."""

from __future__ import annotations

import random
from pathlib import Path

import av
import pytest

from curator_dask.video.cut.cut_report import CutReport
from curator_dask.video.cut.encoders import TranscodeSettings
from curator_dask.video.cut.transcode import cut_clips
from curator_dask.video.probe import probe_video
from curator_dask.video.spans import FixedStride, Span
from tests.video.videotools import frame_numbers, frame_times, numbered_video, run_ffmpeg

PACKET_S = 1024 / 44_100


def recording(path: Path, keep: str, num_frames: int = 250) -> Path:
    """A numbered video of which only some frames are stored, with sound all the time."""
    silent = numbered_video(
        path.with_suffix(".mkv"), num_frames=num_frames, keep=keep, extra=("-c:v", "libx264", "-qp", "10")
    )
    sine = ("-f", "lavfi", "-i", f"sine=frequency=440:duration={num_frames / 25}")
    run_ffmpeg("-i", str(silent), *sine, "-map", "0:v", "-map", "1:a", "-c:v", "copy", "-c:a", "aac", str(path))
    return path


def cut(path: Path, length_s: float, stride_s: float, folder: Path, **settings) -> tuple[tuple[Span, ...], CutReport]:
    info = probe_video(path)
    spans = FixedStride(length_s, stride_s, min(2.0, length_s)).plan(info.duration_s, info.framerate).spans
    folder.mkdir()
    return spans, cut_clips(info, spans, TranscodeSettings(**settings), folder)


def starts_and_ends(path: Path) -> dict[str, tuple[float, float]]:
    """Start and end of the pictures and of the sound, from the packets that are played."""
    with av.open(str(path)) as container:
        packets = [p for p in container.demux() if p.pts is not None and not p.is_discard]
        times = [
            (p.stream.type, float(p.pts * p.time_base), float((p.pts + p.duration) * p.time_base)) for p in packets
        ]
    return {
        kind: (
            min(start for name, start, _ in times if name == kind),
            max(end for name, _, end in times if name == kind),
        )
        for kind in ("video", "audio")
    }


def assert_as_long_as_its_span(path: Path, span: Span) -> None:
    (first_s, end_s), (sound_s, sound_end_s) = starts_and_ends(path).values()
    assert first_s == 0
    assert span.length_s - 0.041 <= end_s <= span.length_s + 0.041  # a frame of the source
    assert sound_s == pytest.approx(0, abs=PACKET_S + 0.001)
    assert sound_end_s == pytest.approx(span.length_s, abs=PACKET_S + 0.001)


@pytest.mark.parametrize(("length_s", "stride_s"), [(10, 10), (5, 2.5), (4, 7)], ids=["touch", "overlap", "gaps"])
def test_a_screen_recording(tmp_path, length_s, stride_s):
    source = tmp_path / "sparse.mp4"
    run_ffmpeg(
        *("-f", "lavfi", "-i", "testsrc2=size=320x240:rate=10:duration=45"),
        *("-f", "lavfi", "-i", "sine=frequency=440:duration=45"),
        *("-vf", "select='lt(t,2)+between(t,22,24)+between(t,41,42)'", "-fps_mode", "vfr"),
        *("-c:v", "libx264", "-bf", "0", "-c:a", "aac", str(source)),
    )
    spans, report = cut(source, length_s, stride_s, tmp_path / "out")
    assert report.account is not None
    assert report.account.num_decoded == 52 == report.account.num_in_clips + report.account.num_outside
    assert report.account.num_held == sum(clip.num_held for clip in report.clips) > 0
    for span, clip in zip(spans, report.clips, strict=True):
        assert clip.path is not None
        assert clip.start_s == pytest.approx(span.start_s, abs=1e-3)
        if span.end_s < 42:
            assert_as_long_as_its_span(clip.path, span)
            assert clip.end_s == pytest.approx(span.end_s, abs=0.1)


@pytest.mark.parametrize("seed", range(4))
def test_random_pauses(tmp_path, seed):
    chosen = random.Random(seed)
    bounds = sorted(chosen.sample(range(1, 240), 8))
    keep = "+".join(f"between(n,{first},{last})" for first, last in zip(bounds[::2], bounds[1::2], strict=True))
    source = recording(tmp_path / "pauses.mp4", f"eq(n,0)+{keep}+gt(n,245)")
    length_s, stride_s = chosen.choice([(2.0, 2.0), (2.0, 0.9), (1.5, 2.4), (3.0, 3.0)])
    times_s, numbers = frame_times(source), frame_numbers(source)
    spans, report = cut(source, length_s, stride_s, tmp_path / "out")
    for span, clip in zip(spans, report.clips, strict=True):
        assert clip.path is not None
        shown_at = [number for time_s, number in zip(times_s, numbers, strict=True) if time_s < clip.start_s + 0.001]
        assert frame_numbers(clip.path)[0] == shown_at[-1]
        assert 0 <= clip.start_s - span.start_s + 0.001 <= 0.101
        inside = [
            number
            for time_s, number in zip(times_s, numbers, strict=True)
            if span.start_s - 0.001 <= time_s < span.end_s - 0.001
        ]
        assert [n for n in dict.fromkeys(frame_numbers(clip.path)) if n in inside] == inside
        assert clip.num_frames - clip.num_held == len(inside)
        if clip.start_s == span.start_s and span.end_s <= spans[-1].start_s:
            assert_as_long_as_its_span(clip.path, span)


def test_a_pause_at_the_last_clip_wanted(tmp_path):
    source = recording(tmp_path / "long.mp4", "lt(n,10)+gt(n,245)")
    info = probe_video(source)
    (tmp_path / "out").mkdir()
    (clip,) = cut_clips(info, [Span(0, 0.0, 2.0)], TranscodeSettings(), tmp_path / "out").clips
    assert (clip.num_frames, clip.num_held) == (11, 1)
    assert_as_long_as_its_span(clip.path, Span(0, 0.0, 2.0))


def test_nothing_is_held_behind_the_last_frame(tmp_path):
    source = recording(tmp_path / "ends.mp4", "lt(n,30)", num_frames=100)
    (tmp_path / "out").mkdir()
    clips = cut_clips(
        probe_video(source), [Span(0, 0.0, 2.0), Span(1, 2.0, 4.0)], TranscodeSettings(), tmp_path / "out"
    ).clips
    assert [(clip.num_frames, clip.reason) for clip in clips] == [(30, None), (0, "no-frames")]


def test_a_frame_every_ten_seconds_is_no_sign_of_missing_frames(tmp_path):
    source = tmp_path / "slow.mp4"
    run_ffmpeg("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=1/10:duration=60", "-c:v", "libx264", str(source))
    spans, report = cut(source, 10.0, 10.0, tmp_path / "out")
    assert (len(spans), report.account.num_in_clips, report.account.num_held) == (6, 6, 5)
    assert report.warnings == ()


def test_pauses_longer_than_allowed_are_left_out(tmp_path):
    source = recording(tmp_path / "pauses.mp4", "lt(n,10)+between(n,65,70)+gt(n,200)")
    _, report = cut(source, 2.0, 2.0, tmp_path / "out", max_hold_s=0.8)
    assert [(clip.num_held, clip.reason) for clip in report.clips] == [
        (0, None), (1, None), (0, "no-frames"), (0, "no-frames"), (0, None)
    ]  # fmt: skip
    (_, end_s), (_, sound_end_s) = starts_and_ends(report.clips[0].path).values()
    assert end_s < 2.001
    assert sound_end_s == pytest.approx(2.0, abs=PACKET_S + 0.001)


def test_short_pauses_at_borders_are_held(tmp_path):
    """Frames at 1.72 and 2.24 s: the second span begins with the first of them, and with its sound."""
    source = recording(tmp_path / "short.mp4", "not(between(n,44,55))", num_frames=150)
    spans, report = cut(source, 2.0, 2.0, tmp_path / "out")
    first, second, _ = report.clips
    assert (first.num_held, second.num_held) == (0, 1)
    assert frame_numbers(second.path)[:2] == [43, 56]
    for span, clip in zip(spans[:2], (first, second), strict=True):
        assert_as_long_as_its_span(clip.path, span)


@pytest.mark.parametrize(
    ("name", "told"),
    [("a.mp4", "packets could not be decoded, so some pauses"), ("a.mkv", "only if the file has lost packets there")],
)
def test_a_hole_that_may_be_damage_is_not_taken_for_a_pause(tmp_path, name, told):
    """An MP4 file lists its packets in its header, so that none is lost without a word; in Matroska they are just gone."""
    raw = recording(tmp_path / "whole.mp4", "1")
    source = tmp_path / name
    run_ffmpeg("-i", str(raw), "-c", "copy", str(source))
    with av.open(str(source)) as container:
        gone = [p for p in container.demux(video=0) if p.pos and 2.5 < p.pts * p.time_base < 3.6]
        places = [(packet.pos, packet.size) for packet in gone]
    content = bytearray(source.read_bytes())
    for at, size in places:
        content[at : at + size] = bytes(size)
    source.write_bytes(content)
    _, report = cut(source, 3.0, 3.0, tmp_path / "out", max_error_rate=0.5)
    assert report.account.num_held > 0
    assert [told in warning for warning in report.warnings].count(True) == 1
