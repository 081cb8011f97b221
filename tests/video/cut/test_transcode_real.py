"""Cutting the real and the broken files: all frames, in order, upright, and no crash."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from curator_dask.errors import MediaError
from curator_dask.video.cut.cut_report import CutReport
from curator_dask.video.cut.encoders import TranscodeSettings
from curator_dask.video.cut.transcode import cut_clips
from curator_dask.video.probe import VideoInfo, probe_video
from curator_dask.video.spans import fixed_stride_spans

pytestmark = pytest.mark.shared

THUMB = (32, 32)
FIRST_CLIP_ONLY = {
    "bbb_30s_vp8_vorbis.webm": 240,
    "long_363s_1080p30.mp4": 300,
    "neardup_chair22logo.mp4": 300,
    "v2d_122s_1080p30_aac.mp4": 300,
}
"""These take long, so only their first clips are cut, of so many frames."""
REAL = [
    "bbb_30s_vp8_vorbis.webm",
    "bbb_642x642_vp9.webm",
    "bbb_firstpts10_sar.mp4",
    "bottle_40s_360p29_83.mp4",
    "bunny_1080p60.ts",
    "car_30s_432p12_5_aac.mp4",
    "cosmos_30s_480p24.mp4",
    "decord_rot180_3frames.mov",
    "desks_bad_utf8_tag.3gp",
    "fragmented_1s.mp4",
    "h264_in_avi_30s.avi",
    "hdr10_av1_10bit_portrait.mp4",
    "hevc10_editlist_rot90.mp4",
    "iphone_hevc_rot90.mov",
    "iphone_rot90_gps.mov",
    "long_363s_1080p30.mp4",
    "made_odd_641x361_vp9.webm",
    "made_vfr_640x360.mp4",
    "neardup_chair19.mp4",
    "neardup_chair22logo.mp4",
    "pancake_10s.mkv",
    "tiny_66x50_60fps_editlist.mov",
    "v2d_122s_1080p30_aac.mp4",
    "xvid_bframes_nomono.avi",
]
COMPARED = [
    "bunny_1080p60.ts",
    "decord_rot180_3frames.mov",
    "h264_in_avi_30s.avi",
    "hdr10_av1_10bit_portrait.mp4",
    "iphone_hevc_rot90.mov",
    "iphone_rot90_gps.mov",
    "made_odd_641x361_vp9.webm",
    "made_vfr_640x360.mp4",
    "pancake_10s.mkv",
    "tiny_66x50_60fps_editlist.mov",
    "xvid_bframes_nomono.avi",
]


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory):
    """Cut a file into 10 s spans, once for all tests that ask for it."""
    done: dict[Path, tuple[VideoInfo, CutReport]] = {}

    def cut_once(path: Path) -> tuple[VideoInfo, CutReport]:
        if path not in done:
            info = probe_video(path)
            limit = 1 if path.name in FIRST_CLIP_ONLY else 0
            assert info.duration_s is not None
            plan = fixed_stride_spans(info.duration_s, framerate=info.framerate, min_length_s=0.0, limit=limit)
            work_dir = tmp_path_factory.mktemp("clips")
            done[path] = info, cut_clips(info, plan.spans, TranscodeSettings(), work_dir)
        return done[path]

    return cut_once


def manifest(folder: Path) -> dict[str, dict]:
    return {entry["file"]: entry for entry in json.loads((folder / "MANIFEST.json").read_text())["files"]}


def thumbnails(path: Path, *, upright: bool) -> Iterator[np.ndarray]:
    with av.open(str(path), metadata_errors="replace") as container:
        for frame in container.decode(container.streams.best("video")):
            picture = frame.reformat(*THUMB, format="rgb24").to_ndarray().astype(np.int16)
            yield np.rot90(picture, (frame.rotation // 90) % 4) if upright else picture


def packet_count(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for packet in container.demux(video=0) if packet.size)


def test_every_real_file_is_listed(real_videos: Path) -> None:
    assert set(REAL) == manifest(real_videos).keys()


@pytest.mark.parametrize("name", REAL)
def test_no_frame_is_lost_or_doubled(real_videos: Path, cut, name: str) -> None:
    info, report = cut(real_videos / name)
    clips = [clip for clip in report.clips if clip.path is not None]
    assert [packet_count(clip.path) for clip in clips] == [clip.num_frames for clip in clips]
    if name in FIRST_CLIP_ONLY:
        assert [clip.num_frames for clip in clips] == [FIRST_CLIP_ONLY[name]]
        return
    expected = manifest(real_videos)[name]
    assert sum(clip.num_frames for clip in clips) == expected["frames_decoded"]
    assert report.num_decode_errors == 0
    assert report.warnings == ()
    with_sound = [bool(av.open(str(clip.path)).streams.audio) for clip in clips[:1]]
    assert with_sound == [bool(expected["audio"])]
    assert (clips[0].width, clips[0].height) == (info.width // 2 * 2, info.height // 2 * 2)


@pytest.mark.parametrize("name", COMPARED)
def test_pictures_are_those_of_the_source_in_order_and_upright(real_videos: Path, cut, name: str) -> None:
    _, report = cut(real_videos / name)
    source = np.stack(list(thumbnails(real_videos / name, upright=True)))
    clips = [clip for clip in report.clips if clip.path is not None]
    made = np.concatenate([np.stack(list(thumbnails(clip.path, upright=False))) for clip in clips])
    assert made.shape == source.shape
    difference = np.abs(made - source).mean(axis=(1, 2, 3))
    assert difference.max() < 8
    # Where the picture moves, a frame is closest to its own original, not to the one before or after.
    moved = np.abs(np.diff(source, axis=0)).mean(axis=(1, 2, 3))
    moving = np.flatnonzero(moved > 3)
    assert np.all(np.abs(made[moving] - source[moving + 1]).mean(axis=(1, 2, 3)) > difference[moving])
    assert np.all(np.abs(made[moving + 1] - source[moving]).mean(axis=(1, 2, 3)) > difference[moving + 1])


def test_variable_frame_times_are_exact(real_videos: Path, cut) -> None:
    _, report = cut(real_videos / "made_vfr_640x360.mp4")
    with av.open(str(real_videos / "made_vfr_640x360.mp4")) as container:
        source = [frame.pts * frame.time_base for frame in container.decode(video=0)]
    made: list[Fraction] = []
    for clip in report.clips:
        with av.open(str(clip.path)) as container:
            times = [frame.pts * frame.time_base for frame in container.decode(video=0)]
        first = source[len(made)] - source[0]
        assert clip.start_s == pytest.approx(float(first), abs=1e-9)
        assert times[0] == 0
        made += [time + first for time in times]
    assert made == [time - source[0] for time in source]


PARTIAL = {
    "truncated_faststart_60pct.mp4": 732,
    "truncated_faststart_5pct.mp4": 23,
    "truncated.mkv": 140,
    "truncated.webm": 10,
    "truncated.avi": 372,
    "bitflip_mdat_seed11_n20.mp4": 1189,
    "bitflip_mdat_seed12_n200.mp4": 1126,
    "bitflip_mdat_seed13_n3000.mp4": 1144,
    "lying_stts_delta.mp4": 1,
    "lying_duration.mp4": 1189,
    "lying_65535x65535.mp4": 36,
    "single_frame.mp4": 1,
    "two_frames.mp4": 2,
    "exact_10s.mp4": 301,
    "h266_vvc.mp4": 120,
}
WHOLE = {"truncated.avi", "lying_stts_delta.mp4", "lying_duration.mp4", "single_frame.mp4", "two_frames.mp4"}
WHOLE |= {"exact_10s.mp4", "h266_vvc.mp4"}
GIVEN_UP = {"bitflip_moov_seed14_n40.mp4", "zeroed_middle_third.mp4"}


def test_broken_files_give_what_is_left_and_say_so(bad_videos: Path, cut) -> None:
    for name, num_frames in PARTIAL.items():
        _, report = cut(bad_videos / name)
        assert sum(clip.num_frames for clip in report.clips) == num_frames, name
        assert bool(report.warnings) == (name not in WHOLE), (name, report.warnings)
        assert all((clip.path is None) == (clip.reason == "no-frames") for clip in report.clips), name


def test_a_truncated_file_is_called_cut_off(bad_videos: Path, cut) -> None:
    _, report = cut(bad_videos / "truncated_faststart_60pct.mp4")
    assert [clip.reason for clip in report.clips] == [None, None, None, "no-frames"]
    assert any("the header promises 1189 frames, the file holds 733" in warning for warning in report.warnings)


def test_files_damaged_beyond_use_are_given_up(bad_videos: Path, cut) -> None:
    for name in GIVEN_UP:
        with pytest.raises(MediaError, match="cannot be decoded") as caught:
            cut(bad_videos / name)
        assert caught.value.reason == "damaged"


def test_damage_may_be_tolerated(bad_videos: Path, tmp_path: Path) -> None:
    info = probe_video(bad_videos / "zeroed_middle_third.mp4")
    assert info.duration_s is not None
    plan = fixed_stride_spans(info.duration_s, framerate=info.framerate)
    report = cut_clips(info, plan.spans, TranscodeSettings(max_error_rate=0.5), tmp_path)
    assert report.num_decode_errors > 300
    assert report.account is not None
    assert sum(clip.num_frames for clip in report.clips) - report.account.num_held == report.num_frames_decoded


@pytest.mark.parametrize("name", ["bitflip_seed15.ts", "decord_corrupted.mp4"])
def test_damage_is_reported(bad_videos: Path, cut, name: str) -> None:
    _, report = cut(bad_videos / name)
    assert report.warnings
    assert report.account is not None
    assert sum(clip.num_frames for clip in report.clips) - report.account.num_held == report.num_frames_decoded
