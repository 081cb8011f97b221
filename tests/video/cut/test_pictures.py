"""Pictures of clips, decoded with PyAV: their shape, colours and fields, and what the report says of odd ones."""

from __future__ import annotations

import random
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from curator_dask.errors import ParameterError
from curator_dask.video.cut.cut_report import CutReport
from curator_dask.video.cut.encoders import TranscodeSettings
from curator_dask.video.cut.pictures import LogWatch, PictureSize, fitted_shape
from curator_dask.video.cut.transcode import cut_clips
from curator_dask.video.frames.read import whole_video_span
from curator_dask.video.probe import probe_video
from tests.video.videotools import run_ffmpeg

X264 = ("-c:v", "libx264", "-preset", "ultrafast")


def cut_whole(path: Path, **settings: object) -> CutReport:
    out = path.parent / "out"
    out.mkdir()
    info = probe_video(path)
    return cut_clips(info, [whole_video_span(info)], TranscodeSettings(**settings), out)


def frames_of(path: Path | None) -> list[av.VideoFrame]:
    assert path is not None
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def rgb(frame: av.VideoFrame) -> np.ndarray:
    """(H, W, 3) float64."""
    return frame.to_ndarray(format="rgb24").astype(np.float64)


def lit_box(frame: av.VideoFrame) -> tuple[int, int]:
    """Width and height of what is not black."""
    lit = frame.to_ndarray(format="gray") > 100
    return int(lit.any(axis=0).sum()), int(lit.any(axis=1).sum())


def changing_sizes(folder: Path, sizes: list[tuple[int, int]]) -> Path:
    """White VP8 pictures, five of each size."""
    for number, (width, height) in enumerate(sizes):
        white = f"color=white:size={width}x{height}:rate=10:duration=0.5"
        run_ffmpeg("-f", "lavfi", "-i", white, "-c:v", "libvpx", str(folder / f"{number}.ivf"))
    (folder / "parts.txt").write_text("".join(f"file {number}.ivf\n" for number in range(len(sizes))))
    run_ffmpeg("-f", "concat", "-i", str(folder / "parts.txt"), "-c", "copy", str(folder / "in.mkv"))
    return folder / "in.mkv"


@pytest.mark.parametrize("seed", [0, 1])
def test_pictures_of_changing_sizes_keep_their_shape(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    sizes = [(16 * draw.randint(4, 20), 16 * draw.randint(4, 20)) for _ in range(3)]
    report = cut_whole(changing_sizes(tmp_path, sizes))
    frames = frames_of(report.clips[0].path)
    assert [(frame.width, frame.height) for frame in frames] == [sizes[0]] * 15
    for number, (width, height) in enumerate(sizes):
        scale = min(sizes[0][0] / width, sizes[0][1] / height)
        assert lit_box(frames[5 * number + 2]) == pytest.approx((width * scale, height * scale), abs=3)
    assert f"the size of the pictures changes ({sizes[0][0]}x{sizes[0][1]}, " in report.notes[0]
    assert "with black bars" in report.notes[0]


def test_a_new_size_of_the_same_shape_needs_no_bars(tmp_path: Path) -> None:
    report = cut_whole(changing_sizes(tmp_path, [(128, 96), (256, 192)]))
    assert {lit_box(frame) for frame in frames_of(report.clips[0].path)} == {(128, 96)}
    assert report.notes == ("the size of the pictures changes (128x96, 256x192): all are scaled to the first",)


def test_a_crop_in_the_container_is_obeyed(tmp_path: Path) -> None:
    letterboxed = "color=white:size=128x72:rate=10:duration=1,pad=128:96:0:12,setsar=2"
    run_ffmpeg("-f", "lavfi", "-i", letterboxed, *X264, str(tmp_path / "raw.mkv"))
    content = (tmp_path / "raw.mkv").read_bytes()
    display_size = bytes.fromhex("54b0810854ba810354b28103")  # DisplayWidth 8, DisplayHeight 3, DisplayUnit: a ratio
    assert content.count(display_size) == 1
    crop = bytes.fromhex("54bb810c54aa810c54b28100")  # PixelCropTop 12, PixelCropBottom 12, DisplayUnit: pixels
    (tmp_path / "in.mkv").write_bytes(content.replace(display_size, crop))
    report = cut_whole(tmp_path / "in.mkv")
    assert (report.clips[0].width, report.clips[0].height) == (128, 72)
    assert {lit_box(frame) for frame in frames_of(report.clips[0].path)} == {(128, 72)}
    assert report.notes == ("the file crops its pictures from 128x96 to 128x72, and so do the clips",)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_largest_video_stream_and_the_sound_of_its_programme(tmp_path: Path, order: tuple[int, int]) -> None:
    """Two programmes in a transport stream: 64x48 with mono, 128x96 with stereo."""
    small, large = "testsrc2=size=64x48:rate=10:duration=2", "testsrc2=size=128x96:rate=10:duration=2"
    inputs = [word for picture in (small, large) for word in ("-f", "lavfi", "-i", picture)]
    tone = ("-f", "lavfi", "-i", "sine=duration=2")
    streams = []
    for place, number in enumerate(order):
        streams += ["-map", f"{number}:v", "-map", "2:a", f"-ac:a:{place}", f"{number + 1}"]
    programmes = ("-program", "st=0:st=1", "-program", "st=2:st=3")
    run_ffmpeg(*inputs, *tone, *streams, *X264, "-c:a", "aac", *programmes, str(tmp_path / "in.ts"))
    report = cut_whole(tmp_path / "in.ts")
    with av.open(str(report.clips[0].path)) as container:
        assert (container.streams.video[0].width, container.streams.audio[0].channels) == (128, 2)
    taken = 2 * order.index(1)
    assert report.notes == (f"it has 2 video streams: stream {taken} was taken (128x96)",)


def test_a_track_of_a_few_large_stills_is_no_video(tmp_path: Path) -> None:
    video, stills = "testsrc2=size=64x48:rate=10:duration=2", "testsrc2=size=128x96:rate=1:duration=2"
    run_ffmpeg(
        "-f",
        "lavfi",
        "-i",
        video,
        "-f",
        "lavfi",
        "-i",
        stills,
        "-map",
        "0",
        "-map",
        "1",
        *X264,
        str(tmp_path / "in.mp4"),
    )
    assert cut_whole(tmp_path / "in.mp4").clips[0].width == 64


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", ["in.mp4", "in.gif"])
def test_rgb_keeps_its_colours_and_gets_tags(tmp_path: Path, name: str, seed: int) -> None:
    draw = random.Random(seed)
    colours = [[draw.randrange(256) for _ in range(3)] for _ in range(6)]
    bars = [
        f"color=0x{bytes(colour).hex()}:size=64x64:rate=10:duration=1,format=gbrp[b{i}]"
        for i, colour in enumerate(colours)
    ]
    graph = ";".join(bars) + ";" + "".join(f"[b{i}]" for i in range(6)) + "hstack=6"
    codec = ("-c:v", "libx264rgb", "-qp", "0") if name == "in.mp4" else ()
    run_ffmpeg("-filter_complex", graph, *codec, str(tmp_path / name))
    frame = frames_of(cut_whole(tmp_path / name).clips[0].path)[5]
    shown = rgb(frame)[16:48].reshape(32, 6, 64, 3)[:, :, 16:48].mean(axis=(0, 2))
    assert shown == pytest.approx(np.array(colours, dtype=float), abs=6)
    bt709, limited = 1, 1
    assert (frame.colorspace, frame.color_range) == (bt709, limited)


def interlaced(path: Path) -> Path:
    moving = "testsrc2=size=128x96:rate=20:duration=2,interlace"
    run_ffmpeg("-f", "lavfi", "-i", moving, "-c:v", "libx264", "-qp", "5", "-flags", "+ildct+ilme", str(path))
    return path


def combing(frame: av.VideoFrame) -> float:
    """How much neighbouring lines differ from the lines beyond them."""
    lines = frame.to_ndarray(format="gray").astype(float)
    return float(np.abs(2 * lines[1:-1] - lines[:-2] - lines[2:]).mean())


def test_interlaced_pictures_stay_or_become_whole(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    kept = cut_whole(interlaced(tmp_path / "a" / "in.mp4"))
    whole = cut_whole(interlaced(tmp_path / "b" / "in.mp4"), deinterlace=True)
    assert "clips keep both fields" in kept.notes[0]
    assert "they were deinterlaced" in whole.notes[0]
    kept_frames, whole_frames = frames_of(kept.clips[0].path), frames_of(whole.clips[0].path)
    assert [frame.time for frame in whole_frames] == pytest.approx([frame.time for frame in kept_frames])
    assert len(whole_frames) == 20
    assert combing(whole_frames[10]) < 0.8 * combing(kept_frames[10])


def test_deinterlacing_stands_a_new_size(tmp_path: Path) -> None:
    report = cut_whole(changing_sizes(tmp_path, [(128, 96), (96, 128)]), deinterlace=True)
    assert report.clips[0].num_frames == 10
    with pytest.raises(ParameterError, match="copy changes no pictures"):
        TranscodeSettings(encoder="copy", deinterlace=True)


@pytest.mark.parametrize(("transfer", "code"), [("smpte2084", 16), ("arib-std-b67", 18)])
def test_hdr_keeps_its_tags_and_that_is_said(tmp_path: Path, transfer: str, code: int) -> None:
    tags = f"setparams=color_trc={transfer}:color_primaries=bt2020:colorspace=bt2020nc"
    source = f"testsrc2=size=64x48:rate=10:duration=1,format=yuv420p10le,{tags}"
    run_ffmpeg("-f", "lavfi", "-i", source, *X264, str(tmp_path / "in.mp4"))
    report = cut_whole(tmp_path / "in.mp4")
    frame = frames_of(report.clips[0].path)[0]
    bt2020, bt2020nc = 9, 9
    assert (frame.color_trc, frame.color_primaries, frame.colorspace) == (code, bt2020, bt2020nc)
    assert f"the pictures are HDR ({transfer})" in report.notes[0]


def test_transparency_is_dropped_and_that_is_said(tmp_path: Path) -> None:
    source = "color=red@0.5:size=64x48:rate=10:duration=1,format=yuva420p"
    run_ffmpeg("-f", "lavfi", "-i", source, "-c:v", "libvpx-vp9", str(tmp_path / "in.webm"))
    report = cut_whole(tmp_path / "in.webm")
    assert "drop the transparency" in report.notes[0]
    assert rgb(frames_of(report.clips[0].path)[0]).mean(axis=(0, 1)) == pytest.approx([254, 0, 0], abs=6)


def test_sizes_are_read_from_the_log_and_not_kept() -> None:
    watch = LogWatch()
    line = "[scale@picture @ 0x7f] [verbose] w:%d h:%d fmt:yuv420p csp:unknown range:tv sar:%s -> w:640 h:480 fmt:yuv420p\n"
    for size in ((640, 480, "0/1"), (640, 480, "0/1"), (720, 576, "16/15")):
        assert not watch.keep_line((line % size).encode())
    assert not watch.keep_line(b"[info]   title : " + (line % (1, 1, "0/1")).encode())
    assert watch.keep_line(b"[h264 @ 0x7f] [error] broken\n")
    assert watch.sizes == [PictureSize(640, 480, Fraction(1)), PictureSize(720, 576, Fraction(16, 15))]
    assert fitted_shape(watch.sizes) is None  # both are shown as 4:3
    assert fitted_shape([*watch.sizes, PictureSize(720, 576, Fraction(64, 45))]) == pytest.approx(4 / 3)
