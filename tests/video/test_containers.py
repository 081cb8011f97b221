"""Each ending that is listed as a video's is one of a file that is cut frame by frame."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from curator_dask.files.video_listing import VIDEO_SUFFIXES
from curator_dask.video.cut.encoders import TranscodeSettings
from curator_dask.video.cut.transcode import cut_clips
from curator_dask.video.probe import probe_video
from curator_dask.video.process.ffmpeg import FORMAT_WHITELIST
from curator_dask.video.spans import fixed_stride_spans
from tests.video.videotools import frame_numbers, run_ffmpeg

NUM_FRAMES = 36
SOUND = f"sine=sample_rate=48000:duration={NUM_FRAMES / 25}"
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-c:a", "aac")
MPEG2 = ("-c:v", "mpeg2video", "-bf", "2", "-c:a", "mp2")
SILENT = ("-map", "0:v")

# FFmpeg's demuxer: its endings, its muxer and codecs.
CONTAINERS = {
    "mov": (".mp4 .m4v .mov .qt .3gp .3g2 .f4v .ismv", ("-f", "mov", *H264)),
    "mov, JPEG 2000": (".mj2", ("-f", "mp4", "-c:v", "libopenjpeg", *SILENT)),
    "matroska": (".mkv .mk3d .webm", ("-f", "matroska", "-c:v", "libvpx", "-c:a", "libvorbis")),
    "avi": (".avi .divx", ("-f", "avi", "-c:v", "mpeg4", "-bf", "2", "-c:a", "libmp3lame")),
    "mpegts": (".ts .m2t .trp .tod", ("-f", "mpegts", *H264)),
    "mpegts, Blu-ray": (".mts .m2ts", ("-f", "mpegts", "-mpegts_m2ts_mode", "1", *H264)),
    "mpeg": (".mpg .mpeg .mpe .m2p", ("-f", "mpeg", *MPEG2)),
    "mpeg, DVD": (".vob .mod", ("-f", "vob", "-c:v", "mpeg2video", "-c:a", "ac3")),
    "mpegvideo": (".m2v .mpv", ("-f", "mpeg2video", *MPEG2, *SILENT)),
    "mpegvideo, MPEG-1": (".m1v", ("-f", "mpeg1video", "-c:v", "mpeg1video", *SILENT)),
    "flv": (".flv", ("-f", "flv", "-c:v", "flv", "-c:a", "libmp3lame", "-ar", "44100")),
    "ogg": (".ogv .ogm", ("-f", "ogg", "-c:v", "libtheora", "-q:v", "9", "-c:a", "libvorbis")),
    "asf": (".wmv .asf", ("-f", "asf", "-c:v", "wmv2", "-c:a", "wmav2")),
    "mxf": (".mxf", ("-f", "mxf", *MPEG2, "-c:a", "pcm_s16le")),
    "gif": (".gif", ("-f", "gif")),
    "dv": (".dv", ("-target", "pal-dv")),
    "rm": (".rm .rmvb", ("-f", "rm", "-c:v", "rv20", "-s", "176x144", "-c:a", "ac3")),
    "wtv": (".wtv", ("-f", "wtv", *MPEG2)),
}  # fmt: skip


def test_all_endings_and_all_demuxers_are_tried():
    assert sorted(" ".join(endings for endings, _ in CONTAINERS.values()).split()) == sorted(VIDEO_SUFFIXES)
    assert {name.partition(",")[0] for name in CONTAINERS} == set(FORMAT_WHITELIST.split(","))


@pytest.mark.parametrize("name", CONTAINERS)
def test_every_frame_is_in_a_clip(tmp_path, numbered_source, name):
    endings, how = CONTAINERS[name]
    first, *others = (tmp_path / f"video{ending}" for ending in endings.split())
    run_ffmpeg("-i", str(numbered_source), "-f", "lavfi", "-i", SOUND, *how, str(first))
    info = probe_video(first)
    assert info.container.partition(",")[0] == name.partition(",")[0]
    for other in others:
        assert probe_video(shutil.copy(first, other)).container == info.container
    spans = fixed_stride_spans(info.duration_s or 0, length_s=0.6, min_length_s=0.2, framerate=info.framerate).spans
    report = cut_clips(info, spans, TranscodeSettings(), tmp_path)
    shown = [frame_numbers(clip.path) for clip in report.clips if clip.path]
    assert shown == [list(range(15)), list(range(15, 30)), list(range(30, NUM_FRAMES))]


@pytest.fixture(scope="module")
def numbered_source(tmp_path_factory) -> Path:
    """Frame N shows N as two grey levels."""
    path = tmp_path_factory.mktemp("containers") / "source.mkv"
    digit = "16+14*if(lt(X,W/2),mod(N,16),floor(N/16))"
    source = f"color=black:size=128x96:rate=25:duration={NUM_FRAMES / 25},format=gray,geq=lum='{digit}'"
    run_ffmpeg("-f", "lavfi", "-i", source, "-c:v", "ffv1", str(path))
    return path
