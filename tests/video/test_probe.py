"""The result of `probe_video` for real, broken and hostile files."""

from __future__ import annotations

import json
import os
import shutil
import struct
from fractions import Fraction
from pathlib import Path

import pytest

from curator_dask.errors import MediaError
from curator_dask.video import probe
from curator_dask.video.probe import AudioTrack, VideoInfo, probe_video
from tests.video.cut import test_transcode_real
from tests.video.videotools import numbered_video, run_ffmpeg

H264 = ("-c:v", "libx264", "-qp", "10", "-pix_fmt", "yuv420p")
NAMES = [
    "with spaces.mp4",
    "имя-日本語-é.mp4",
    "new\nline.mp4",
    "-dash-first.mp4",
    "pct_%03d_%s.mp4",
    "quote'dq\"$(id)`.mp4",
    "colon:pipe|star*.mp4",
    "http:__x.mp4",
    "brackets[0]{a}.mp4",
    "a" * 240 + ".mp4",
    os.fsdecode(b"bad_utf8_\xff\xfe.mp4"),
]


def manifest(folder: Path) -> dict[str, dict]:
    return {entry["file"]: entry for entry in json.loads((folder / "MANIFEST.json").read_text())["files"]}


def reason(path: Path) -> str:
    with pytest.raises(MediaError) as caught:
        probe_video(path)
    assert str(caught.value).isprintable()
    return caught.value.reason


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return numbered_video(tmp_path_factory.mktemp("probe") / "small.mp4", num_frames=50, extra=H264)


def test_a_plain_video(small: Path) -> None:
    info = probe_video(small)
    assert (info.codec, info.width, info.height, info.rotation_deg) == ("h264", 64, 48, 0)
    assert (info.fps, info.framerate, info.duration_s, info.num_frames) == (Fraction(25), 25.0, 2.0, 50)
    assert (info.video_stream, info.audio_tracks) == (0, ())
    assert info.size_bytes == small.stat().st_size
    assert not info.is_scanned
    assert not info.needs_generated_timestamps


@pytest.mark.shared
def test_real_files_agree_with_their_manifest(real_videos: Path) -> None:
    for name, expected in manifest(real_videos).items():
        info = probe_video(real_videos / name)
        turned = expected["rotation_ccw_deg"] % 180 != 0
        size = (expected["width"], expected["height"])
        assert (info.width, info.height) == (size[::-1] if turned else size), name
        assert info.rotation_deg == expected["rotation_ccw_deg"] % 360, name
        assert info.start_s == pytest.approx(expected["start_s"], abs=0.2), name
        assert info.duration_s == pytest.approx(expected["duration_s"], abs=0.7), name
        assert info.num_frames == (expected["frames_decoded"] if info.is_scanned else expected["frames_header"]), name
        assert info.needs_generated_timestamps == name.endswith(".avi"), name
        assert bool(info.audio_tracks) == bool(expected["audio"]), name
        assert info.is_scanned == name.endswith(".ts"), name


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("iphone_rot90_gps.mov", "video_stream", 1),
        ("iphone_rot90_gps.mov", "audio_tracks", (AudioTrack(0, "aac", has_header=True),)),
        ("hdr10_av1_10bit_portrait.mp4", "color_transfer", "smpte2084"),
        ("hdr10_av1_10bit_portrait.mp4", "codec", "av1"),
        ("hevc10_editlist_rot90.mp4", "pixel_format", "yuv420p10le"),
        ("bottle_40s_360p29_83.mp4", "fps", Fraction(179, 6)),
        ("bbb_firstpts10_sar.mp4", "sample_aspect_ratio", Fraction(1137, 800)),
        ("bbb_firstpts10_sar.mp4", "start_s", 10.0),
        ("pancake_10s.mkv", "duration_s", 10.333),
    ],
)
def test_single_facts_of_real_files(real_videos: Path, name: str, field: str, value: object) -> None:
    assert getattr(probe_video(real_videos / name), field) == value


BAD = {
    "zero_bytes.mp4": "empty",
    "text_renamed.mp4": "not-a-video",
    "html_renamed.mp4": "not-a-video",
    "png_renamed.mp4": "format-not-allowed",
    "random_bytes.mp4": "not-a-video",
    "only_ftyp.mp4": "not-a-video",
    "truncated_no_moov.mp4": "not-a-video",
    "no_moov.mp4": "not-a-video",
    "bomb_8192x8192_60f.mp4": "too-many-pixels",
    "audio_only.mp4": "no-video-stream",
    "wav_renamed.mp4": "format-not-allowed",
    "mp3_coverart.mp4": "not-a-video",
    "chunk_out_of_range.mp4": "not-a-video",
    "zero_empty_stsc.mp4": "no-decodable-frame",
    "quicktime_jpeg_truncated.mov": "no-decodable-frame",
    "one_by_one_pixel_yuv444.mp4": "too-small",
    "hls_ssrf.mp4": "not-a-video",
    "hls_ssrf.m3u8": "format-not-allowed",
    "hls_local_media.mp4": "not-a-video",
    "hls_local_media.m3u8": "format-not-allowed",
    "hls_concat_leak.mp4": "not-a-video",
    "concat_script.mp4": "format-not-allowed",
    "concat_script.ffconcat": "format-not-allowed",
    "dash_mpd.mp4": "not-a-video",
    "sdp.mp4": "format-not-allowed",
    "imf_cpl.mp4": "not-a-video",
}


@pytest.mark.shared
def test_bad_files_are_rejected_with_a_reason(bad_videos: Path) -> None:
    assert {name: reason(bad_videos / name) for name in BAD} == BAD


@pytest.mark.shared
def test_every_broken_file_is_rejected_here_or_cut_elsewhere(bad_videos: Path) -> None:
    """The others can be decoded in part; test_transcode_real cuts each of them."""
    cut = {*test_transcode_real.PARTIAL, *test_transcode_real.GIVEN_UP, "bitflip_seed15.ts", "decord_corrupted.mp4"}
    assert cut | BAD.keys() == manifest(bad_videos).keys()


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "duration_s", "is_scanned"),
    [
        ("lying_duration.mp4", 39.855, False),
        ("lying_stts_delta.mp4", 1.0, True),
        ("truncated.avi", 12.4, True),
        ("exact_10s.mp4", 10.089, False),
    ],
)
def test_headers_that_lie(bad_videos: Path, name: str, duration_s: float, is_scanned: bool) -> None:
    info = probe_video(bad_videos / name)
    assert info.duration_s == pytest.approx(duration_s, abs=0.001)
    assert info.is_scanned == is_scanned
    assert 0.1 <= info.framerate <= 1000


@pytest.mark.shared
def test_the_true_size_counts(bad_videos: Path) -> None:
    info = probe_video(bad_videos / "lying_65535x65535.mp4")
    assert (info.width, info.height) == (320, 240)


def test_a_live_webm_without_duration_is_scanned(tmp_path: Path) -> None:
    path = numbered_video(tmp_path / "live.mkv", num_frames=60, extra=(*H264, "-live", "1"))
    info = probe_video(path)
    assert info.is_scanned
    assert (info.num_frames, info.duration_s) == (60, pytest.approx(2.4, abs=0.002))


def test_the_larger_video_is_chosen_and_a_cover_never(tmp_path: Path) -> None:
    numbered_video(tmp_path / "a.mp4", num_frames=10, extra=H264)
    run_ffmpeg("-f", "lavfi", "-i", "color=red:size=640x480", "-frames:v", "1", str(tmp_path / "cover.png"))
    inputs = ("-i", str(tmp_path / "cover.png"), "-i", str(tmp_path / "a.mp4"))
    options = ("-map", "0", "-map", "1", "-c", "copy", "-disposition:v:0", "attached_pic")
    run_ffmpeg(*inputs, *options, str(tmp_path / "both.mp4"))
    info = probe_video(tmp_path / "both.mp4")
    assert (info.codec, info.width, info.height) == ("h264", 64, 48)


def test_a_video_that_is_only_a_cover_is_rejected(tmp_path: Path) -> None:
    run_ffmpeg("-f", "lavfi", "-i", "color=red:size=64x48", "-frames:v", "1", str(tmp_path / "cover.png"))
    run_ffmpeg("-f", "lavfi", "-i", "sine=duration=1", "-c:a", "aac", str(tmp_path / "sound.m4a"))
    inputs = ("-i", str(tmp_path / "sound.m4a"), "-i", str(tmp_path / "cover.png"))
    run_ffmpeg(
        *inputs, "-map", "0", "-map", "1", "-c", "copy", "-disposition:v:0", "attached_pic", str(tmp_path / "x.m4a")
    )
    assert reason(tmp_path / "x.m4a") == "no-video-stream"


@pytest.mark.parametrize("name", NAMES, ids=[ascii(name)[:20] for name in NAMES])
def test_any_name_works(small: Path, tmp_path: Path, name: str) -> None:
    shutil.copy(small, tmp_path / name)
    assert probe_video(tmp_path / name).num_frames == 50


def test_a_relative_path_works(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(small.parent)
    assert probe_video(Path("small.mp4")).num_frames == 50


def test_modules_in_the_current_folder_are_not_imported(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "av.py").write_text("raise SystemExit('a stranger was imported')")
    monkeypatch.chdir(tmp_path)
    assert probe_video(small).num_frames == 50


def test_what_is_no_regular_file_is_rejected_without_opening_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "dangling.mp4").symlink_to(tmp_path / "nothing")
    (tmp_path / "device.mp4").symlink_to("/dev/zero")
    found = {path.stem: reason(path) for path in tmp_path.iterdir()}
    assert found == {"pipe": "not-a-file", "folder": "not-a-file", "dangling": "missing", "device": "not-a-file"}
    assert reason(tmp_path / "absent.mp4") == "missing"


def test_a_text_behind_a_link_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n" * 50)
    (tmp_path / "link.mp4").symlink_to(tmp_path / "passwd")
    assert reason(tmp_path / "link.mp4") == "not-a-video"


def test_the_time_limit_is_kept(small: Path) -> None:
    with pytest.raises(MediaError) as caught:
        probe_video(small, timeout_s=0.001)
    assert caught.value.reason == "timeout"


def test_a_crash_of_the_decoder_is_one_rejected_video(
    small: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    crash = tmp_path / "crash.py"
    crash.write_text("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    monkeypatch.setattr(probe, "_PROBE_CHILD", crash)
    with pytest.raises(MediaError, match="the signal SIGSEGV") as caught:
        probe_video(small)
    assert caught.value.reason == "killed"


def test_the_record_is_frozen(small: Path) -> None:
    info = probe_video(small)
    assert isinstance(info, VideoInfo)
    with pytest.raises(AttributeError):
        info.width = 1  # type: ignore[misc]


def test_what_the_header_says_of_the_duration_is_not_believed(small: Path, tmp_path: Path) -> None:
    """A thousand hours, or nothing; a transport stream with a long tail of zeros, as recorders leave."""
    flv, live, zeros = tmp_path / "long.flv", tmp_path / "live.mkv", tmp_path / "zeros.ts"
    for path in (flv, zeros):
        run_ffmpeg("-i", str(small), "-c", "copy", str(path))
    run_ffmpeg("-i", str(small), "-c", "copy", "-f", "matroska", "-live", "1", str(live))
    content = flv.read_bytes()
    at = content.index(b"duration") + 9
    flv.write_bytes(content[:at] + struct.pack(">d", 3_600_000.0) + content[at + 8 :])
    os.truncate(zeros, zeros.stat().st_size + (20 << 20))
    for path in (flv, live, zeros):
        info = probe_video(path)
        assert (info.num_frames, info.is_scanned) == (50, True), path
        assert info.duration_s == pytest.approx(2.0, abs=0.05), path
