"""Cutting made videos, whose frames show their own numbers: every frame in its clip, once, in order, at its time."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path

import av
import numpy as np
import pytest
from scipy.signal import correlate

from curator_dask.errors import MediaError, ParameterError, ToolError
from curator_dask.video.cut.command import CutJob, arguments
from curator_dask.video.cut.cut_report import CutReport
from curator_dask.video.cut.encoders import TranscodeSettings
from curator_dask.video.cut.plan import plan_lanes
from curator_dask.video.cut.transcode import cut_clips
from curator_dask.video.probe import AudioTrack, probe_video
from curator_dask.video.process import ffmpeg
from curator_dask.video.spans import Span, fixed_stride_spans
from tests.video.videotools import frame_numbers, frame_times, numbered_video, run_ffmpeg

H264 = ("-c:v", "libx264", "-qp", "10", "-pix_fmt", "yuv420p")
TOLERANCE_S = 0.001


def plan(path: Path, length_s: float, stride_s: float, min_length_s: float = 0.0, limit: int = 0) -> tuple[Span, ...]:
    info = probe_video(path)
    assert info.duration_s is not None
    return fixed_stride_spans(
        info.duration_s,
        framerate=info.framerate,
        length_s=length_s,
        stride_s=stride_s,
        min_length_s=min_length_s,
        limit=limit,
    ).spans


def cut(path: Path, spans: tuple[Span, ...], work_dir: Path, **settings: object) -> CutReport:
    work_dir.mkdir(exist_ok=True)
    return cut_clips(probe_video(path), spans, TranscodeSettings(**settings), work_dir)


def assert_exact(path: Path, spans: tuple[Span, ...], report: CutReport, *, holds: bool = True) -> None:
    """Every source frame within a span is in its clip, at its time, and pictures that are held over a pause; no other is."""
    frames = list(zip(frame_times(path), frame_numbers(path), strict=True))
    assert [clip.span_index for clip in report.clips] == [span.index for span in spans]
    for span, clip in zip(spans, report.clips, strict=True):
        shown, num_held = shown_in(frames, span, holds=holds)
        assert (clip.num_frames, clip.num_held) == (len(shown), num_held)
        if not shown:
            assert (clip.path, clip.reason) == (None, "no-frames")
            continue
        assert clip.path is not None
        assert frame_numbers(clip.path) == [number for _, number in shown]
        assert clip.start_s == pytest.approx(shown[0][0], abs=TOLERANCE_S)
        assert frame_times(clip.path) == pytest.approx([time - shown[0][0] for time, _ in shown], abs=TOLERANCE_S)
        assert clip.num_bytes == clip.path.stat().st_size


def shown_in(frames: list[tuple[float, int]], span: Span, *, holds: bool) -> tuple[list[tuple[float, int]], int]:
    """Time and number of what a clip of the span shows, and how many of these are copies of a held picture."""
    shown = [frame for frame in frames if span.start_s - TOLERANCE_S <= frame[0] < span.end_s - TOLERANCE_S]
    before = [frame for frame in frames if frame[0] < span.start_s - TOLERANCE_S]
    goes_on = holds and frames[-1][0] >= span.end_s - TOLERANCE_S
    num_inside = len(shown)
    if holds and before and (shown or goes_on) and (shown[0][0] if shown else span.end_s) - span.start_s > 0.1:
        shown = [(span.start_s, before[-1][1]), *shown]
    if goes_on and shown and span.end_s - shown[-1][0] > 0.5:
        shown = [*shown, (span.end_s - 0.04, shown[-1][1])]
    return shown, len(shown) - num_inside


@pytest.fixture(scope="module")
def eight_seconds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of 200 frames at 25 per second."""
    return numbered_video(tmp_path_factory.mktemp("cut") / "eight.mp4", extra=H264)


@pytest.mark.parametrize(
    ("length_s", "stride_s", "min_length_s", "limit"),
    [
        (2, 2, 0, 0),
        (3, 3, 2.5, 0),
        (2, 1, 0, 0),
        (3, 2, 1.5, 0),
        (1, 2, 0, 0),
        (2.5, 3.3, 0.5, 0),
        (1, 0.37, 0.5, 0),
        (2, 0.13, 1, 20),
        (10, 10, 0, 0),
        (2, 2, 0, 2),
        (0.1, 0.1, 0, 25),
        (0.04, 0.04, 0, 10),
    ],
    ids=lambda value: str(value),
)
def test_strides(
    eight_seconds: Path, tmp_path: Path, length_s: float, stride_s: float, min_length_s: float, limit: int
) -> None:
    spans = plan(eight_seconds, length_s, stride_s, min_length_s, limit)
    report = cut(eight_seconds, spans, tmp_path / "out")
    assert_exact(eight_seconds, spans, report)
    assert report.num_frames_decoded == 200 or limit
    assert report.warnings == ()
    assert len({clip.path for clip in report.clips}) == len(spans)


KEEP = {
    "one-hole": "lt(t,1.3)+gt(t,5.1)",
    "many-holes": "lt(mod(t,3.1),0.5)",
    "irregular": "gt(mod(n*7,11),4)",
    "late-start": "gt(t,3.3)",
}


@pytest.fixture(scope="module", params=list(KEEP))
def variable_rate(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vfr") / f"{request.param}.mkv"
    return numbered_video(path, num_frames=250, keep=KEEP[request.param], extra=H264)


@pytest.mark.parametrize("max_hold_s", [None, 0], ids=["held", "not-held"])
@pytest.mark.parametrize(("length_s", "stride_s"), [(2, 2), (2, 1), (0.5, 2)], ids=["touch", "overlap", "gaps"])
def test_holes_longer_than_the_stride(
    variable_rate: Path, tmp_path: Path, length_s: float, stride_s: float, max_hold_s: float | None
) -> None:
    spans = plan(variable_rate, length_s, stride_s)
    report = cut(variable_rate, spans, tmp_path / "out", max_hold_s=max_hold_s)
    assert_exact(variable_rate, spans, report, holds=max_hold_s is None)


def test_an_extra_key_frame_behind_a_hole_is_noticed_and_cut_again(tmp_path: Path) -> None:
    path = numbered_video(tmp_path / "x.mp4", num_frames=250, keep=KEEP["one-hole"], extra=H264)
    spans = plan(path, 2, 2)
    report = cut(path, spans, tmp_path / "out", max_hold_s=0)
    assert "-segment_times" in report.ffmpeg_argv
    assert_exact(path, spans, report, holds=False)


def test_a_frame_a_millisecond_before_a_boundary_is_in_one_clip(tmp_path: Path) -> None:
    """A frame at 65.999 s and a clip that begins at 20 * 3.3 s: ffmpeg's arithmetic and ours may differ in the last bit."""
    source = "testsrc2=size=64x48:rate=30000/1001:duration=70"
    run_ffmpeg("-f", "lavfi", "-i", source, "-c:v", "libx264", "-preset", "ultrafast", str(tmp_path / "in.mkv"))
    report = cut(tmp_path / "in.mkv", plan(tmp_path / "in.mkv", 3.3, 3.3), tmp_path / "out")
    frames = [frame_times(clip.path) for clip in report.clips if clip.path is not None]
    assert len(frames) == len(report.clips) == 22
    assert sum(map(len, frames)) == len(frame_times(tmp_path / "in.mkv"))
    assert report.clips[20].start_s in (pytest.approx(65.999), pytest.approx(66.033))


def test_reading_stops_early_when_the_rest_is_not_wanted(tmp_path: Path) -> None:
    path = tmp_path / "long.mp4"
    run_ffmpeg("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=10:duration=120", *H264, str(path))
    report = cut(path, plan(path, 5, 5, limit=2), tmp_path / "out")
    assert [clip.num_frames for clip in report.clips] == [50, 50]
    assert report.num_packets is not None
    assert report.num_packets < 300


def test_a_size_that_changes_in_mid_stream_is_kept_steady(tmp_path: Path) -> None:
    first = numbered_video(tmp_path / "a.ts", num_frames=100, extra=H264)
    larger = ("-vf", "scale=128:96", "-output_ts_offset", "4")
    second = numbered_video(tmp_path / "b.ts", num_frames=100, extra=(*larger, *H264))
    (tmp_path / "ab.ts").write_bytes(first.read_bytes() + second.read_bytes())
    report = cut(tmp_path / "ab.ts", (Span(0, 0.0, 3.0), Span(1, 3.0, 6.0), Span(2, 6.0, 8.0)), tmp_path / "out")
    numbers = [number for clip in report.clips if clip.path for number in frame_numbers(clip.path)]
    assert numbers == [*range(100), *range(100)]
    assert {(clip.width, clip.height) for clip in report.clips} == {(64, 48)}


@pytest.mark.parametrize("container", ["mp4", "mkv", "avi", "ts", "flv", "mov"])
def test_containers(tmp_path: Path, container: str) -> None:
    bframes = ("-bf", "2") if container != "avi" else ("-bf", "0")
    path = numbered_video(tmp_path / f"in.{container}", num_frames=100, extra=(*H264, *bframes))
    report = cut(path, plan(path, 1.5, 1.5), tmp_path / "out")
    assert [number for clip in report.clips if clip.path for number in frame_numbers(clip.path)] == list(range(100))


def test_a_clip_says_what_it_is(eight_seconds: Path, tmp_path: Path) -> None:
    clip = cut(eight_seconds, plan(eight_seconds, 3, 3), tmp_path / "out").clips[1]
    assert (clip.span_index, clip.start_s, clip.end_s, clip.num_frames) == (1, 3.0, 6.0, 75)
    assert (clip.width, clip.height, clip.framerate, clip.codec, clip.reason) == (64, 48, 25.0, "h264", None)
    assert clip.path == tmp_path / "out" / "clip_000001.mp4"


@pytest.mark.parametrize(("threads", "stride_s"), [(1, 3), (2, 3), (2, 1)], ids=["again", "threads", "overlap"])
def test_bytes_are_the_same_each_time(eight_seconds: Path, tmp_path: Path, threads: int, stride_s: float) -> None:
    spans = plan(eight_seconds, 3, stride_s)
    once = cut(eight_seconds, spans, tmp_path / "a")
    copy = tmp_path / "another name.mp4"
    shutil.copy(eight_seconds, copy)
    again = cut(copy, spans, tmp_path / "b %03d", encoder_threads=threads)
    for first, second in zip(once.clips, again.clips, strict=True):
        assert first.path is not None
        assert second.path is not None
        assert first.path.read_bytes() == second.path.read_bytes()


def test_names_do_not_reach_the_output(eight_seconds: Path, tmp_path: Path) -> None:
    for number, name in enumerate(
        ["pct_%03d.mp4", "new\nline.mp4", "-dash.mp4", os.fsdecode(b"\xff.mp4"), "q'\"$(id).mp4"]
    ):
        shutil.copy(eight_seconds, tmp_path / name)
        report = cut(tmp_path / name, (Span(0, 0.0, 1.0),), tmp_path / f"out{number}")
        assert report.clips[0].num_frames == 25


def test_other_files_in_the_folder_are_left_alone(eight_seconds: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep me")
    cut(eight_seconds, (Span(0, 0.0, 1.0),), tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "keep me"


def test_x264(eight_seconds: Path, tmp_path: Path) -> None:
    spans = plan(eight_seconds, 3, 2)
    assert_exact(eight_seconds, spans, cut(eight_seconds, spans, tmp_path / "out", encoder="libx264"))


def test_a_bit_rate_is_obeyed(tmp_path: Path) -> None:
    path = tmp_path / "noise.mp4"
    noise = "nullsrc=size=320x240:rate=25:duration=4,geq=lum='random(1)*255':cb=128:cr=128"
    run_ffmpeg("-f", "lavfi", "-i", noise, "-c:v", "libx264", "-preset", "ultrafast", str(path))
    low, high = (cut(path, (Span(0, 0.0, 4.0),), tmp_path / rate, bit_rate=rate).clips[0] for rate in ("100k", "3M"))
    assert (low.num_frames, high.num_frames) == (100, 100)
    assert low.num_bytes < high.num_bytes


def test_a_picture_too_large_for_the_encoder_is_scaled_down_and_that_is_said(tmp_path: Path) -> None:
    path = tmp_path / "large.mp4"
    source = "color=gray:size=5120x2880:rate=5:duration=0.4"
    run_ffmpeg("-f", "lavfi", "-i", source, "-c:v", "libx264", "-preset", "ultrafast", str(path))
    report = cut(path, (Span(0, 0.0, 0.4),), tmp_path / "out")
    assert (report.clips[0].width, report.clips[0].height) == (4096, 2304)
    assert report.warnings == ("scaled from 5120x2880 down to 4096x2304, libopenh264's limit",)


def copy_source(tmp_path: Path) -> Path:
    """A video with key frames at 0, 1.6, 3.2, 4.8 and 6.4 s."""
    keys = ("-g", "40", "-sc_threshold", "0", "-bf", "2")
    return numbered_video(tmp_path / "keys.mp4", extra=(*H264, *keys))


def test_copy_cuts_at_key_frames_and_says_where(tmp_path: Path) -> None:
    path = copy_source(tmp_path)
    report = cut(path, plan(path, 1, 1), tmp_path / "out", encoder="copy")
    made = [clip for clip in report.clips if clip.path]
    assert [clip.span_index for clip in made] == [0, 1, 3, 4, 6]
    assert [(clip.start_s, clip.end_s) for clip in made] == [
        pytest.approx((start, start + 1.6)) for start in (0, 1.6, 3.2, 4.8, 6.4)
    ]
    assert [number for clip in made for number in frame_numbers(clip.path)] == list(range(200))
    assert {clip.reason for clip in report.clips if clip.path is None} == {"no-key-frame"}


def test_copy_needs_spans_that_touch(tmp_path: Path) -> None:
    path = copy_source(tmp_path)
    with pytest.raises(ParameterError, match="stride = length"):
        cut(path, plan(path, 2, 1), tmp_path / "out", encoder="copy")


def test_copy_refuses_what_mp4_cannot_hold(tmp_path: Path) -> None:
    path = numbered_video(tmp_path / "x.webm", num_frames=20, extra=("-c:v", "libvpx", "-pix_fmt", "yuv420p"))
    with pytest.raises(MediaError, match="vp8") as caught:
        cut(path, (Span(0, 0.0, 0.8),), tmp_path / "out", encoder="copy")
    assert caught.value.reason == "codec-not-in-mp4"


def test_nvenc_is_told_to_make_forced_key_frames_idr(eight_seconds: Path) -> None:
    info = probe_video(eight_seconds)
    job = CutJob(info, tuple(plan_lanes([Span(0, 0.0, 4.0), Span(1, 4.0, 8.0)])), TranscodeSettings("h264_nvenc"), ())
    words = arguments(job)
    assert words[words.index("-c:v") + 1] == "h264_nvenc"
    assert words[words.index("-forced-idr") + 1] == "1"
    assert words[words.index("-no-scenecut") + 1] == "1"


@pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="there is a GPU here")
def test_nvenc_without_a_gpu_names_the_way_out(eight_seconds: Path, tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"h264_nvenc does not work here .*libopenh264"):
        cut(eight_seconds, (Span(0, 0.0, 1.0),), tmp_path / "out", encoder="h264_nvenc")


def with_chirp(path: Path, video: Path, *sound: str, offset_s: float = 0.0) -> Path:
    """Sound whose pitch tells its time: 300 Hz and 100 Hz more each second."""
    chirp = "aevalsrc='0.5*sin(2*PI*(300*t+50*t*t))':s=48000:d=8"
    inputs = ("-i", str(video), "-itsoffset", str(offset_s), "-f", "lavfi", "-i", chirp)
    run_ffmpeg(*inputs, "-map", "0:v", "-map", "1:a", "-c:v", "copy", *sound, str(path))
    return path


def sound_of(path: Path) -> tuple[np.ndarray, float]:
    """Mono samples at 48 kHz, and the time of the first, counted from the first video frame."""
    with av.open(str(path)) as container:
        first_frame = next(container.decode(video=0))
    with av.open(str(path)) as container:
        frames = list(container.decode(audio=0))
    samples = np.concatenate([frame.to_ndarray().astype(np.float64).mean(axis=0) for frame in frames])
    start_s = float(frames[0].pts * frames[0].time_base) - float(first_frame.pts * first_frame.time_base)
    return samples, start_s


def lag_s(clip: Path, clip_start_s: float, source: Path) -> float:
    """How late the clip's sound is against the source's, by correlation over half a second near its start."""
    (heard, heard_start_s), (wanted, wanted_start_s) = sound_of(clip), sound_of(source)
    first = max(0, round((0.2 - heard_start_s) * 48_000))
    piece = heard[first : first + 24_000]
    margin = 4_800
    at = round((clip_start_s + heard_start_s - wanted_start_s) * 48_000) + first
    window = wanted[at - margin : at + len(piece) + margin]
    return (int(np.argmax(correlate(window, piece, "valid", method="fft"))) - margin) / -48_000


AAC, OPUS = ("aac.mp4", ("-c:a", "aac")), ("opus.mkv", ("-c:a", "libopus"))
TOUCH, OVERLAP, GAPS = (3, 3), (2, 1.5), (1.5, 2.5)


@pytest.mark.parametrize(
    ("named_sound", "length_and_stride"),
    [
        pytest.param(AAC, TOUCH, id="aac-touch"),
        pytest.param(AAC, OVERLAP, id="aac-overlap"),
        pytest.param(AAC, GAPS, id="aac-gaps"),
        pytest.param(OPUS, TOUCH, id="opus-touch"),
        pytest.param(OPUS, OVERLAP, id="opus-overlap"),
        pytest.param(OPUS, GAPS, id="opus-gaps"),
        pytest.param(("aac.ts", ("-c:a", "aac")), TOUCH, id="aac-in-ts"),
        pytest.param(("pcm.mov", ("-c:a", "pcm_s16le")), TOUCH, id="pcm"),
        pytest.param(("surround.mkv", ("-c:a", "ac3", "-ac", "6")), TOUCH, id="surround"),
    ],
)
def test_sound_stays_in_step(
    eight_seconds: Path,
    tmp_path: Path,
    named_sound: tuple[str, tuple[str, ...]],
    length_and_stride: tuple[float, float],
) -> None:
    name, sound = named_sound
    source = with_chirp(tmp_path / name, eight_seconds, *sound)
    report = cut(source, plan(source, *length_and_stride, 1.0), tmp_path / "out")
    assert report.warnings == ()
    for clip in report.clips:
        assert clip.path is not None
        samples, start_s = sound_of(clip.path)
        packet_s = 1024 / 48_000
        assert start_s == pytest.approx(0, abs=2 * packet_s)
        assert len(samples) / 48_000 == pytest.approx(clip.end_s - clip.start_s, abs=3 * packet_s)
        assert lag_s(clip.path, clip.start_s, source) == pytest.approx(0, abs=0.002)


def test_sound_that_outlasts_the_pictures_ends_with_them(tmp_path: Path) -> None:
    short = numbered_video(tmp_path / "short.mp4", num_frames=50, extra=H264)
    source = with_chirp(tmp_path / "in.mp4", short, "-c:a", "aac")
    (clip,) = cut(source, plan(source, 10, 10), tmp_path / "out").clips
    assert clip.path is not None
    assert len(sound_of(clip.path)[0]) / 48_000 == pytest.approx(2.0, abs=0.1)


def test_sound_can_be_left_out(eight_seconds: Path, tmp_path: Path) -> None:
    source = with_chirp(tmp_path / "in.mp4", eight_seconds, "-c:a", "aac")
    report = cut(source, (Span(0, 0.0, 2.0),), tmp_path / "out", audio="none")
    with av.open(str(report.clips[0].path)) as container:
        assert not container.streams.audio


def test_sound_that_breaks_the_cut_is_left_out_and_that_is_said(eight_seconds: Path, tmp_path: Path) -> None:
    source = with_chirp(tmp_path / "in.mkv", eight_seconds, "-c:a", "libopus")
    # An MP4 that should hold raw Opus packets as AAC: what a file does whose header misnames its sound.
    info = dataclasses.replace(probe_video(source), audio_tracks=(AudioTrack(7, "aac", has_header=True),))
    (tmp_path / "out").mkdir()
    report = cut_clips(info, plan(source, 4, 4), TranscodeSettings(), tmp_path / "out")
    assert [clip.num_frames for clip in report.clips] == [100, 100]
    assert report.warnings[0].startswith("the sound was left out")


def test_ffmpeg_runs_within_its_time(tmp_path: Path) -> None:
    assert ffmpeg.encoder_works("libopenh264")
    long = numbered_video(tmp_path / "long.mp4", num_frames=2000, extra=H264)
    # Sixteen clips at a time take long enough, however late a busy machine looks.
    many = tuple(Span(number, number / 25, 80.0) for number in range(16))
    with pytest.raises(MediaError) as caught:
        cut(long, many, tmp_path / "out", timeout_s=0.01)
    assert caught.value.reason == "timeout"
