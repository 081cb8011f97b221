"""Sound of clips, decoded in full with PyAV: which tracks, and none that a change of configuration makes unreadable."""

from __future__ import annotations

import random
from pathlib import Path

import av
import pytest

from curator_dask.errors import ParameterError
from curator_dask.video.cut.cut_report import CutReport
from curator_dask.video.cut.encoders import TranscodeSettings
from curator_dask.video.cut.sound.tracks import adts_configurations
from curator_dask.video.cut.transcode import cut_clips
from curator_dask.video.probe import probe_video
from curator_dask.video.spans import fixed_stride_spans
from tests.video.videotools import run_ffmpeg

CLIP_S = 3.0
CHANGES = "changes its channels: it was encoded anew"


def part(path: Path, *, channels: int = 2, rate: int = 44_100, start_s: float = 0.0, length_s: float = 4.0) -> bytes:
    """The bytes of a file with H.264 and AAC of one configuration."""
    picture = f"testsrc2=size=64x48:rate=25:duration={length_s}"
    tone = f"sine=frequency=440:sample_rate={rate}:duration={length_s}"
    codecs = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-c:a", "aac", "-ac", str(channels))
    run_ffmpeg(
        "-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", tone, *codecs, "-output_ts_offset", f"{start_s}", str(path)
    )
    return path.read_bytes()


def with_tones(path: Path, *tones: tuple[str, ...]) -> Path:
    """A video of 4 s with one sound track per codec; the tracks sound at 300, 600, 900 … Hz."""
    sources = [
        word
        for number in range(1, len(tones) + 1)
        for word in ("-f", "lavfi", "-i", f"sine=frequency={300 * number}:sample_rate=48000:duration=4")
    ]
    tracks = [
        word for number, codec in enumerate(tones) for word in ("-map", f"{number + 1}:a", f"-c:a:{number}", *codec)
    ]
    picture = ("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25:duration=4")
    run_ffmpeg(*picture, *sources, "-map", "0:v", *tracks, "-c:v", "libx264", "-preset", "ultrafast", str(path))
    return path


def cut(path: Path, work_dir: Path, audio: str = "1") -> CutReport:
    work_dir.mkdir()
    info = probe_video(path)
    assert info.duration_s is not None
    spans = fixed_stride_spans(
        info.duration_s, framerate=info.framerate, length_s=CLIP_S, stride_s=CLIP_S, min_length_s=0.5
    ).spans
    return cut_clips(info, spans, TranscodeSettings(audio=audio), work_dir)


def sounds(path: Path | None) -> list[tuple[float, int]]:
    """Seconds and pitch in Hz of each sound track of a clip. PyAV raises an error where a packet cannot be decoded."""
    assert path is not None
    with av.open(str(path)) as container:
        streams = [stream.index for stream in container.streams.audio]
    return [_sound(path, stream) for stream in streams]


def _sound(path: Path, stream: int) -> tuple[float, int]:
    num_samples, num_crossings = 0, 0
    with av.open(str(path)) as container:
        for frame in container.decode(container.streams[stream]):
            samples = frame.to_ndarray()[0]
            num_samples += frame.samples
            num_crossings += int(((samples[1:] >= 0) & (samples[:-1] < 0)).sum())
        rate = frame.sample_rate
    return num_samples / rate, round(num_crossings * rate / num_samples / 100) * 100


def assert_whole_sound(report: CutReport) -> None:
    for clip in report.clips:
        ((length_s, _),) = sounds(clip.path)
        # Where parts join, the sources have neither pictures nor sound for a moment.
        assert length_s == pytest.approx(clip.num_frames / 25, abs=0.25), clip


def joined(folder: Path, shapes: list[tuple[int, int]]) -> Path:
    """One transport stream, a part of 4 s for each number of channels and sample rate."""
    parts = (
        part(folder / f"{number}.ts", channels=channels, rate=rate, start_s=4.1 * number)
        for number, (channels, rate) in enumerate(shapes)
    )
    (folder / "joined.ts").write_bytes(b"".join(parts))
    return folder / "joined.ts"


@pytest.mark.parametrize("seed", [0, 1])
def test_joined_channels_decode_in_full(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    rate = draw.choice((32_000, 44_100, 48_000))
    shapes = [(draw.choice((1, 2, 6)), rate) for _ in range(2 + seed)]
    report = cut(joined(tmp_path, shapes), tmp_path / "out")
    assert len(report.clips) == -(-4 * len(shapes) // 3)
    assert_whole_sound(report)
    assert report.notes == (f"the sound (stream 1) {CHANGES}",) * (len(set(shapes)) > 1)


def test_a_new_sample_rate_decodes_and_is_said(tmp_path: Path) -> None:
    report = cut(joined(tmp_path, [(2, 32_000), (2, 48_000)]), tmp_path / "out")
    assert "changes its sample rate or profile, and may be out of step" in report.notes[0]
    assert all(length_s > 0 for clip in report.clips for length_s, _ in sounds(clip.path))


def test_one_configuration_is_copied(tmp_path: Path) -> None:
    part(tmp_path / "in.ts", rate=32_000)
    report = cut(tmp_path / "in.ts", tmp_path / "out")
    with av.open(str(report.clips[0].path)) as container:
        assert container.streams.audio[0].sample_rate == 32_000
    assert report.notes == ()
    assert_whole_sound(report)


def with_a_new_header(path: Path) -> Path:
    """A Flash video whose sound turns from stereo to 5.1 at 4.1 s."""
    first, second = part(path.with_name("0.flv")), part(path.with_name("1.flv"), channels=6, start_s=4.1)
    header_bytes, stated = 13, first.index(b"duration\0") + 9
    no_duration = first[:stated] + bytes(8) + first[stated + 8 :]
    path.write_bytes(no_duration + second[header_bytes:])
    return path


@pytest.mark.parametrize("ending", ["flv", "mp4"])
def test_a_new_header_in_mid_file(tmp_path: Path, ending: str) -> None:
    """FFmpeg writes two descriptions of the sound into the MP4 file."""
    source = with_a_new_header(tmp_path / "in.flv")
    if ending == "mp4":
        run_ffmpeg("-i", str(source), "-c", "copy", str(source.with_suffix(".mp4")))
    report = cut(source.with_suffix(f".{ending}"), tmp_path / "out")
    assert_whole_sound(report)
    assert [note.endswith(CHANGES) for note in report.notes] == [True]


@pytest.mark.parametrize(
    ("audio", "pitches"),
    [("1", [300]), ("2", [600]), ("all", [300, 600, 900]), ("none", []), ("4", [])],
)
def test_tracks_are_chosen(tmp_path: Path, audio: str, pitches: list[int]) -> None:
    source = with_tones(tmp_path / "in.mkv", ("aac",), ("libopus",), ("flac",))
    report = cut(source, tmp_path / "out", audio)
    for clip in report.clips:
        found = sounds(clip.path)
        assert [pitch for _, pitch in found] == pitches
        assert [length_s for length_s, _ in found] == pytest.approx([clip.end_s - clip.start_s] * len(pitches), abs=0.1)
    assert report.notes == (("it has no sound track 4, only 3: clips have no sound",) if audio == "4" else ())


@pytest.mark.parametrize("audio", ["0", "first", "-1", ""])
def test_impossible_tracks_are_refused(audio: str) -> None:
    with pytest.raises(ParameterError, match="must be all, none or the number of a track"):
        TranscodeSettings(audio=audio)


def adts_frame(num_bytes: int, *, rate: int = 4, channels: int = 2) -> bytes:
    length = 7 + num_bytes
    header = (
        0xFF,
        0xF1,
        0x40 | rate << 2 | channels >> 2,
        (channels & 3) << 6 | length >> 11,
        length >> 3 & 0xFF,
        (length & 7) << 5 | 0x1F,
        0xFC,
    )
    return bytes(header) + b"\xff" * num_bytes


@pytest.mark.parametrize("block_bytes", [1, 7, 10, 1000])
def test_headers_are_found_in_blocks_of_any_size(block_bytes: int) -> None:
    def found(stream: bytes) -> int | None:
        blocks = (stream[at : at + block_bytes] for at in range(0, len(stream), block_bytes))
        configurations = adts_configurations(blocks)
        return None if configurations is None else len(configurations)

    same = adts_frame(100) + adts_frame(0) + adts_frame(33)
    assert found(same) == 1
    assert found(same + adts_frame(5, channels=6)) == 2
    assert found(same + adts_frame(5, rate=3)) == 2
    assert found(same + b"\0" * 9) is None
    assert found(adts_frame(5, channels=0)) is None
    described = adts_frame(0, channels=0)[:4] + b"\x02\x80\xfc" + b"\xa5" * 13  # 20 bytes long
    assert found(described + adts_frame(20, channels=0) + described) == 1
    assert found(described + described[:10] + b"\0" * 10) == 2
    assert found(b"") is None
