"""Random time lines: every decodable frame is in its clip, and clips last as long as their spans. PyAV reads both sides.

The suite tries a few. `ODD_VIDEOS=300 pytest tests/video/cut/test_any_time_line.py` tries 300.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import av
import pytest

from curator_dask.video.cut.cut_report import CutClip, CutReport
from curator_dask.video.cut.encoders import TranscodeSettings
from curator_dask.video.cut.plan import PRIMING_S
from curator_dask.video.cut.transcode import cut_clips
from curator_dask.video.pauses import PAUSE_S
from curator_dask.video.probe import probe_video
from curator_dask.video.spans import LATE_FRAMES_S, FixedStride, Span
from tests.video.videotools import LEVELS, STEP, frame_numbers, run_ffmpeg

NUM_VIDEOS = int(os.environ.get("ODD_VIDEOS", "10"))
STRAYS = 40
"""A join behind which one frame has the time of another clock."""
PACKET_S = 1024 / 44_100
TOLERANCE_S = 0.001
CLIP_LENGTHS_S = ((2.0, 2.0), (1.5, 1.5), (2.0, 1.0), (1.2, 2.0), (3.0, 3.0))
"""Length and stride."""


@dataclass(frozen=True)
class Made:
    """A video, and the numbers that its frames show with their times; no times where the clock of the file jumps."""

    path: Path
    numbers: list[int]
    times_s: list[float] | None
    frame_s: float
    """How far the start and the end of a clip may be from its span: a frame, or a pause that is too short to be held."""
    sound_s: tuple[float, float] | None
    """From when to when it has sound, in seconds from the first frame; None: not known."""


def part(
    path: Path, chosen: random.Random, *, first: int, num_frames: int, rate: str, extra: tuple[str, ...] = (),
    filters: str = "", late_s: tuple[float, float] = (0.0, 0.0), timing: tuple[str, ...] = (),
) -> Path:  # fmt: skip
    """A video with a tone. Its frames show numbers that count from `first`."""
    number = f"(N+{first})"
    digit = f"if(lt(X,W/2),mod({number},{LEVELS}),floor({number}/{LEVELS}))"
    seconds = num_frames / rate_per_second(rate)
    picture = f"color=black:size=64x48:rate={rate}:duration={seconds},format=gray,geq=lum='16+{STEP}*{digit}'{filters}"
    codec = ("-c:v", "libx264", "-qp", "10", "-g", str(chosen.choice([5, 12, 30])), "-bf", str(chosen.choice([0, 2])))
    if path.suffix == ".mpg":
        codec = ("-c:v", "mpeg2video", "-q:v", "2", "-g", "12", "-bf", str(chosen.choice([0, 2])))
    sound = ("-c:a", "mp2" if path.suffix == ".mpg" else "aac", "-ar", "44100")
    run_ffmpeg(
        *("-itsoffset", str(late_s[0]), "-f", "lavfi", "-i", picture),
        *(
            "-itsoffset",
            str(late_s[1]),
            "-f",
            "lavfi",
            "-i",
            f"sine=frequency=440:sample_rate=44100:duration={seconds}",
        ),
        *(*timing, *codec, *sound, "-threads", "1", *extra, str(path)),
    )
    return path


def rate_per_second(rate: str) -> float:
    numerator, _, denominator = rate.partition("/")
    return float(numerator) / float(denominator or 1)


def seen(path: Path, sound_s: tuple[float, float] | None = None, pause_s: float = 0.0) -> Made:
    """A video as PyAV decodes it."""
    with av.open(str(path)) as container:
        stamps = [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]
    times_s = [stamp - stamps[0] for stamp in stamps]
    return Made(path, frame_numbers(path), times_s, max(longest_frame_s(times_s), pause_s), sound_s)


def joined(folder: Path, chosen: random.Random) -> Made:
    """Parts joined byte for byte: the clock restarts or jumps, forward or back."""
    suffix, rate = chosen.choice([".ts", ".ts", ".mpg"]), chosen.choice(["10", "25", "30000/1001"])
    numbers: list[int] = []
    whole = folder / f"joined{suffix}"
    with whole.open("wb") as target:
        for _ in range(chosen.randint(2, 4)):
            offset = ("-output_ts_offset", str(chosen.choice([0, 0, 2.5, 40, 3600, 90_000])))
            piece = part(
                folder / f"part{len(numbers)}{suffix}", chosen, first=len(numbers), num_frames=chosen.randint(8, 60),
                rate=rate, extra=offset,
            )  # fmt: skip
            numbers += frame_numbers(piece)
            target.write(piece.read_bytes())
    return Made(whole, numbers, None, 1 / rate_per_second(rate), None)


def late(folder: Path, chosen: random.Random) -> Made:
    """Pictures or sound start later."""
    path = folder / f"late{chosen.choice(['.mp4', '.mkv', '.ts', '.mpg', '.mov', '.flv'])}"
    late_s = chosen.choice([(0.3, 0.0), (2.0, 0.0), (5.0, 0.0), (0.0, 0.4), (0.0, 2.0)])
    num_frames, rate = chosen.randint(60, 200), chosen.choice(["24", "25", "30"])
    timing = ("-fps_mode", "passthrough")
    part(path, chosen, first=0, num_frames=num_frames, rate=rate, late_s=late_s, timing=timing)
    start_s = late_s[1] - late_s[0]
    return seen(path, (start_s, start_s + num_frames / rate_per_second(rate)))


def paused(folder: Path, chosen: random.Random) -> Made:
    """Frames are missing here and there."""
    num_frames = 200
    bounds = sorted(chosen.sample(range(1, num_frames - 10), 2 * chosen.randint(1, 5)))
    gone = "+".join(f"between(n,{first},{last})" for first, last in zip(bounds[::2], bounds[1::2], strict=True))
    path = folder / f"paused{chosen.choice(['.mp4', '.mkv', '.mov'])}"
    timing = ("-fps_mode", "passthrough", "-enc_time_base", "demux")
    part(path, chosen, first=0, num_frames=num_frames, rate="25", filters=f",select='not({gone})'", timing=timing)
    return seen(path, (0.0, num_frames / 25), PAUSE_S)


def edited(folder: Path, chosen: random.Random) -> Made:
    """An edit list hides the frames before the one where the video was cut without encoding."""
    suffix = chosen.choice([".mp4", ".mov"])
    raw = part(folder / f"raw{suffix}", chosen, first=0, num_frames=200, rate="25")
    path = folder / f"edited{suffix}"
    run_ffmpeg("-ss", f"{chosen.uniform(0.1, 3):.2f}", "-i", str(raw), "-c", "copy", str(path))
    return seen(path)


def changing(folder: Path, chosen: random.Random) -> Made:
    """The rate changes in mid-file."""
    path = folder / f"rates{chosen.choice(['.mp4', '.mkv', '.mov'])}"
    turn, faster = chosen.randint(20, 100), chosen.choice([0.35, 0.5, 2.0, 2.4])
    slowed = f",settb=1/90000,setpts='if(lt(N,{turn}),N,{turn}+(N-{turn})*{faster})/25/TB'"
    timing = ("-fps_mode", "passthrough", "-enc_time_base", "1/90000")
    part(path, chosen, first=0, num_frames=150, rate="25", filters=slowed, timing=timing)
    return seen(path)


KINDS: tuple[Callable[[Path, random.Random], Made], ...] = (joined, late, paused, edited, changing)


@pytest.mark.parametrize("seed", sorted({*range(NUM_VIDEOS), STRAYS}))
def test_any_time_line(tmp_path, seed):
    chosen = random.Random(seed)
    video = KINDS[seed % len(KINDS)](tmp_path, chosen)
    length_s, stride_s = chosen.choice(CLIP_LENGTHS_S)
    info = probe_video(video.path)
    spans = FixedStride(length_s, stride_s, 0.5).plan(info.duration_s, info.framerate).spans
    (tmp_path / "clips").mkdir()
    report = cut_clips(info, spans, TranscodeSettings(), tmp_path / "clips")
    assert_no_frame_is_lost(video, report)
    for span, clip in zip(spans, report.clips, strict=True):
        if video.times_s is not None:
            assert_has_its_frames(video, span, clip, takes_rest=span.end_s > info.duration_s - TOLERANCE_S)
        if clip.path is not None:
            assert_lasts(video, span, clip, is_last=span == spans[-1])
    if video.times_s is None and length_s == stride_s:
        # At a join, frames may change places: the repaired clock is exact to one frame there.
        assert len(set(in_clips(report))) == len(in_clips(report)) == report.account.num_in_clips


def in_clips(report: CutReport) -> list[int]:
    return [number for clip in report.clips if clip.path for number in frame_numbers(clip.path)]


def assert_no_frame_is_lost(video: Made, report: CutReport) -> None:
    account = report.account
    assert account is not None
    assert account.num_decoded == len(video.numbers)
    assert account.num_decoded == account.num_in_clips + account.num_outside
    # A copy may show a frame that lies outside the spans.
    assert 0 <= len(set(in_clips(report))) - account.num_in_clips <= account.num_held


def assert_has_its_frames(video: Made, span: Span, clip: CutClip, *, takes_rest: bool) -> None:
    end_s = span.end_s + (LATE_FRAMES_S if takes_rest else 0.0)
    wanted = [
        number
        for number, time_s in zip(video.numbers, video.times_s, strict=True)
        if span.start_s - TOLERANCE_S <= time_s < end_s - TOLERANCE_S
    ]
    if clip.path is None:
        assert not wanted
        return
    shown = list(dict.fromkeys(frame_numbers(clip.path)))
    assert [number for number in shown if number in wanted] == wanted
    assert len(shown) - len(wanted) <= 1  # the picture that is held at its start


def assert_lasts(video: Made, span: Span, clip: CutClip, *, is_last: bool) -> None:
    assert clip.path is not None
    pictures, sound = (played(clip.path, kind) for kind in ("video", "audio"))
    # Sound that starts a little earlier than the first picture of the file stays in the first clip.
    assert 0 <= pictures[0] <= (PRIMING_S if span.index == 0 else 0)
    length_s = span.end_s - clip.start_s
    assert span.start_s - TOLERANCE_S <= clip.start_s <= span.start_s + video.frame_s + TOLERANCE_S
    if not is_last:
        assert pictures[1] - pictures[0] == pytest.approx(length_s, abs=video.frame_s + TOLERANCE_S)
    if video.sound_s is None or not sound:
        return
    begin_s, end_s = max(0.0, video.sound_s[0] - clip.start_s), min(length_s, video.sound_s[1] - clip.start_s)
    if end_s - begin_s > 0.1:
        assert sound[0] == pytest.approx(begin_s, abs=2 * PACKET_S + TOLERANCE_S)  # packets of the source and ours
        assert sound[1] == pytest.approx(end_s, abs=2 * PACKET_S + TOLERANCE_S)


def longest_frame_s(times_s: list[float]) -> float:
    """The longest that a frame is shown, pauses aside."""
    return max((after - before for before, after in pairwise(times_s) if after - before <= PAUSE_S), default=0.04)


def played(path: Path, kind: str) -> tuple[float, ...]:
    """Start and end of what is played; empty where the clip has nothing of this kind."""
    with av.open(str(path)) as container:
        packets = [p for p in container.demux() if p.stream.type == kind and p.pts is not None and not p.is_discard]
        times = [(float(p.pts * p.time_base), float((p.pts + p.duration) * p.time_base)) for p in packets]
    return (min(start for start, _ in times), max(end for _, end in times)) if times else ()
