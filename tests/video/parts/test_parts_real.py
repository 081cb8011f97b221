"""A video that is cut in parts has the frames, times and sound of one that is cut in one go; PyAV decodes the clips."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass
from pathlib import Path

import av
import pytest

from curator_dask.video.cut.cut_report import CutClip
from curator_dask.video.cut.encoders import TranscodeSettings
from curator_dask.video.cut.transcode import cut_clips
from curator_dask.video.parts.plan import PartPlan, plan_parts
from curator_dask.video.probe import VideoInfo, probe_video
from curator_dask.video.spans import FixedStride, Span
from tests.video.videotools import run_ffmpeg

PACKET_S = 0.022
PART_S = 8.0


@dataclass(frozen=True)
class Kind:
    """How a video of 24 s is made: the options of its picture's source, of its sound, and of its codecs."""

    codecs: tuple[str, ...]
    name: str = "in.mp4"
    picture: str = "size=64x48:rate=25"
    before: tuple[str, ...] = ()
    sound: int = 1


X264 = ("-c:v", "libx264", "-preset", "veryfast", "-g", "20")
PAUSES = "lt(mod(t,9),2)+between(mod(t,9),4,5)"
KINDS = {
    "b-frames": Kind((*X264, "-bf", "3", "-c:a", "aac")),
    "milliseconds": Kind((*X264, "-c:a", "aac"), "in.mkv", "size=64x48:rate=30000/1001"),
    "pauses": Kind((*X264, "-vf", f"select='{PAUSES}'", "-fps_mode", "vfr", "-bf", "0", "-c:a", "aac"), "in.mkv"),
    "slow": Kind((*X264, "-c:a", "aac"), picture="size=64x48:rate=2"),
    "late": Kind((*X264, "-c:a", "aac"), before=("-itsoffset", "3")),
    "encoded-sound": Kind((*X264, "-c:a", "libopus"), "in.mkv"),
    "two-tracks": Kind(("-c:v", "mpeg4", "-bf", "2", "-g", "25", "-c:a", "libmp3lame"), sound=2),
    "open-groups-of-hevc": Kind(
        (
            "-c:v",
            "libx265",
            "-preset",
            "ultrafast",
            "-x265-params",
            "log-level=none:open-gop=1:keyint=30",
            "-c:a",
            "aac",
        )
    ),
    "hidden-frames": Kind(
        ("-c:v", "libvpx", "-b:v", "200k", "-g", "30", "-auto-alt-ref", "1", "-lag-in-frames", "8"), "in.webm", sound=0
    ),
    "fragments": Kind((*X264, "-c:a", "aac", "-movflags", "frag_keyframe+empty_moov")),
}
EVEN = FixedStride(2.0)
SPANS = {"touching": EVEN, "overlaps": FixedStride(2.0, 0.8), "gaps": FixedStride(1.0, 1.7, 0.5)}


def make(folder: Path, kind: Kind) -> VideoInfo:
    sources = [*kind.before, "-f", "lavfi", "-i", f"testsrc2={kind.picture}:duration=24"]
    sources += ["-f", "lavfi", "-i", "sine=frequency=300:duration=27"] * kind.sound
    maps = [word for number in range(kind.sound + 1) for word in ("-map", str(number))]
    run_ffmpeg(*sources, *maps, *kind.codecs, str(folder / kind.name))
    return probe_video(folder / kind.name)


def assert_parts_equal_whole(
    info: VideoInfo, spans: tuple[Span, ...], folder: Path, audio: str = "1"
) -> tuple[list[CutClip], PartPlan]:
    """Cut in one go and in parts, compare clip by clip, and return the clips of the parts."""
    settings = TranscodeSettings(audio=audio)
    plan = plan_parts(info, spans, settings, PART_S)
    assert len(plan.parts) == 3, plan.why_whole
    (folder / "whole").mkdir()
    whole = cut_clips(info, spans, settings, folder / "whole").clips
    clips: list[CutClip] = []
    for number, part in enumerate(plan.parts):
        (folder / str(number)).mkdir()
        clips += cut_clips(info, spans, settings, folder / str(number), None, part).clips
    for one, other in zip(whole, clips, strict=True):
        assert_same(one, other)
    return clips, plan


def assert_same(one: CutClip, other: CutClip) -> None:
    assert (one.span_index, one.reason, one.num_frames, one.num_held) == (
        other.span_index, other.reason, other.num_frames, other.num_held,
    )  # fmt: skip
    assert one.start_s == pytest.approx(other.start_s, abs=1e-5)
    assert one.framerate == pytest.approx(other.framerate, rel=1e-4)
    if one.path is None or other.path is None:
        assert one.path == other.path
        return
    (times, pictures), (other_times, other_pictures) = decoded(one.path), decoded(other.path)
    assert pictures == other_pictures
    assert times == pytest.approx(other_times, abs=1e-4)
    assert sound_ends(one.path) == pytest.approx(sound_ends(other.path), abs=PACKET_S)


def decoded(path: Path) -> tuple[list[float], list[str]]:
    """Times and digests of the frames."""
    with av.open(str(path)) as container:
        frames = [(frame.pts * frame.time_base, frame.to_ndarray().tobytes()) for frame in container.decode(video=0)]
    return [float(time) for time, _ in frames], [hashlib.md5(data).hexdigest() for _, data in frames]


def sound_ends(path: Path) -> list[float]:
    """When the first and the last packet of each track start."""
    with av.open(str(path)) as container:
        starts = [
            [float(packet.pts * packet.time_base) for packet in container.demux(track) if packet.pts is not None]
            for track in container.streams.audio
            if container.seek(0) is None
        ]
    return [time for times in starts for time in (times[0], times[-1])]


@pytest.mark.parametrize("name", list(KINDS))
def test_parts_have_the_frames_of_the_whole(name, tmp_path):
    info = make(tmp_path, KINDS[name])
    spans = EVEN.plan(info.duration_s, info.framerate).spans
    clips, plan = assert_parts_equal_whole(info, spans, tmp_path, audio="all" if KINDS[name].sound > 1 else "1")
    assert [part.first for part in plan.parts[1:]] == [part.after for part in plan.parts[:-1]]
    if name != "pauses":  # it has copies of held pictures, and frames outside
        with av.open(str(tmp_path / KINDS[name].name)) as container:
            num_frames = sum(1 for _ in container.decode(video=0))
        assert sum(clip.num_frames - clip.num_held for clip in clips) == num_frames


@pytest.mark.parametrize("name", list(SPANS))
@pytest.mark.parametrize("kind", ["milliseconds", "pauses"])
def test_spans_that_overlap_or_leave_gaps(kind, name, tmp_path):
    info = make(tmp_path, KINDS[kind])
    assert_parts_equal_whole(info, SPANS[name].plan(info.duration_s, info.framerate).spans, tmp_path)


def test_spans_of_any_lengths(tmp_path):
    info = make(tmp_path, KINDS["b-frames"])
    starts = [0.2, 1.0, 2.48, 3.0, 5.2, 7.0, 7.96, 9.2, 11.0, 12.0, 14.4, 15.0, 17.0, 18.2, 20.0, 21.0]
    ends = [*(end - 0.2 * (number % 3) + 0.3 * (number % 5 == 0) for number, end in enumerate(starts[1:])), 24.0]
    spans = tuple(Span(number, *span) for number, span in enumerate(zip(starts, ends, strict=True)))
    assert any(after.start_s < before.end_s for before, after in itertools.pairwise(spans))
    assert_parts_equal_whole(info, spans, tmp_path)


def test_an_edit_list_is_kept(tmp_path):
    make(tmp_path, Kind((*X264, "-bf", "2", "-c:a", "aac"), "all.mp4"))
    run_ffmpeg("-ss", "0.5", "-i", str(tmp_path / "all.mp4"), "-c", "copy", str(tmp_path / "edited.mp4"))
    info = probe_video(tmp_path / "edited.mp4")
    assert_parts_equal_whole(info, EVEN.plan(info.duration_s, info.framerate).spans, tmp_path)


WHOLE = {
    "transport-stream": (Kind((*X264, "-c:a", "aac"), "in.ts"), "only known by reading from the start"),
    "no-times": (Kind((*X264, "-bf", "0", "-c:a", "mp3"), "in.avi"), "only known by reading from the start"),
    "slow-refresh": (
        Kind(("-c:v", "libx264", "-x264-params", "intra-refresh=1:keyint=60")),
        "no place was found where decoding can begin",
    ),
}


@pytest.mark.parametrize("name", list(WHOLE))
def test_other_videos_are_cut_in_one_go_and_it_is_said(name, tmp_path):
    kind, why = WHOLE[name]
    info = make(tmp_path, kind)
    plan = plan_parts(info, EVEN.plan(info.duration_s, info.framerate).spans, TranscodeSettings(), PART_S)
    assert plan.parts == ()
    assert why in plan.why_whole


def test_short_videos_and_copies_have_no_parts(tmp_path):
    info = make(tmp_path, KINDS["b-frames"])
    spans = EVEN.plan(info.duration_s, info.framerate).spans
    for settings, part_s in ((TranscodeSettings(), 24.0), (TranscodeSettings(), 0.0), (TranscodeSettings("copy"), 8.0)):
        assert plan_parts(info, spans, settings, part_s) == PartPlan()
    assert plan_parts(info, (), TranscodeSettings(), 8.0) == PartPlan()
    assert plan_parts(info, spans[:4], TranscodeSettings(), 8.0) == PartPlan()  # a limit of clips ends within the bound
