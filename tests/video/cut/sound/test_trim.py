"""The sound of a clip starts with its pictures and ends with its span, within one packet. PyAV reads the clips."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from curator_dask.video.cut.encoders import TranscodeSettings
from curator_dask.video.cut.sound.trim import SoundLimit, last_packet_s, trim_sound
from curator_dask.video.cut.transcode import cut_clips
from curator_dask.video.probe import probe_video
from curator_dask.video.spans import FixedStride
from tests.video.videotools import run_ffmpeg

PACKET_S = 1024 / 48_000
ROUNDING_S = 0.0011
AAC, OPUS = ("-c:a", "aac"), ("-c:a", "libopus")


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Films of 20 s with sound: at a rate that meets no whole second, and with a pause of 4.5 s."""
    folder = tmp_path_factory.mktemp("films")
    sine = ("-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000:duration=20")
    even = ("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=30000/1001:duration=20", *sine, "-c:v", "libx264")
    paused = (*even, "-vf", "select='lt(t,4.2)+gt(t,8.7)'", "-fps_mode", "vfr")
    run_ffmpeg(*even, *AAC, str(folder / "even.mp4"))
    run_ffmpeg(*even, *OPUS, str(folder / "even.mkv"))
    run_ffmpeg(*paused, *AAC, str(folder / "paused.mkv"))
    return {path.name: path for path in folder.iterdir()}


def packets(path: Path, kind: str) -> list[tuple[float, float, int]]:
    """Start, end and size of every packet that is played."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0] if kind == "audio" else container.streams.video[0]
        shown = (packet for packet in container.demux(stream) if packet.pts is not None and not packet.is_discard)
        return [(float(p.pts * p.time_base), float((p.pts + p.duration) * p.time_base), p.size) for p in shown]


@pytest.mark.parametrize("name", ["even.mp4", "even.mkv", "paused.mkv"])
@pytest.mark.parametrize(("length_s", "stride_s"), [(2, 5.5), (2, 1.5), (3, 3), (1.3, 1.9)])
def test_sound_keeps_to_the_span(films, tmp_path, name, length_s, stride_s):
    info = probe_video(films[name])
    spans = FixedStride(length_s, stride_s, 0.5).plan(info.duration_s, info.framerate).spans
    source = packets(films[name], "audio")
    for span, clip in zip(spans, cut_clips(info, spans, TranscodeSettings(), tmp_path).clips, strict=True):
        if clip.path is None:
            continue
        sound = packets(clip.path, "audio")
        wanted_s = min(span.end_s, source[-1][1]) - clip.start_s
        assert sound[0][0] == pytest.approx(0, abs=PACKET_S + ROUNDING_S)
        assert wanted_s - PACKET_S - ROUNDING_S <= sound[-1][1] <= wanted_s + PACKET_S + ROUNDING_S
        assert len(sound) == pytest.approx((sound[-1][1] - sound[0][0]) / PACKET_S, abs=1)
        assert packets(clip.path, "video")[0][0] == 0
        assert clip.num_bytes == clip.path.stat().st_size


def test_trimming_copies_everything_else_as_it_is(films, tmp_path):
    path, untouched = tmp_path / "clip.mp4", tmp_path / "other.mp4"
    for copy in (path, untouched):
        copy.write_bytes(films["even.mp4"].read_bytes())
    pictures, sound = packets(path, "video"), packets(path, "audio")
    trim_sound([SoundLimit(path, 5.0), SoundLimit(untouched, 30.0)])
    assert packets(path, "video") == pictures
    assert packets(path, "audio") == [packet for packet in sound if packet[0] < 5.0]
    assert untouched.read_bytes() == films["even.mp4"].read_bytes()
    assert last_packet_s(path) == pytest.approx(packets(path, "audio")[-1][0], abs=1e-6)


def test_a_clip_without_sound_has_no_last_packet(tmp_path):
    run_ffmpeg("-f", "lavfi", "-i", "color=size=64x48:rate=25:duration=1", str(tmp_path / "mute.mp4"))
    assert last_packet_s(tmp_path / "mute.mp4") is None
