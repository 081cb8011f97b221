"""The right frames reach the models, from our own clips and from any other file."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import psutil
import pytest

from curator_dask.errors import MediaError, ParameterError
from curator_dask.video.cut.encoders import TranscodeSettings
from curator_dask.video.cut.transcode import cut_clips
from curator_dask.video.frames import read as frames_module
from curator_dask.video.frames.read import (
    read_clip_frames,
    read_ready_clip,
    read_ready_clip_by_rules,
    read_source_by_rules,
    read_source_frames,
    whole_video_span,
)
from curator_dask.video.frames.sampling import FrameRule, select_frames, shown_duration_s
from curator_dask.video.probe import probe_video
from curator_dask.video.spans import Span, fixed_stride_spans

RULES = {
    "rate": FrameRule.rate(15, width=64, height=64),
    "spread": FrameRule.spread(8, width=96, height=64),
    "prefix": FrameRule.prefix(4, width=64, height=64),
}
GAPS_MS = [40, 34, 33, 100, 33, 33, 400, 16, 17, 17, 250, 33, 33, 900, 33, 33, 33, 40, 40, 40] * 4
NUMBERED_TIMES_S = np.cumsum([0, *GAPS_MS]) / 1000  # none within 2 ms of a span's bounds, where tolerances rule

SLIDE_STEP = 30
SLIDE_TIMES_S = [0, 0.1, 0.2, 6, 6.1, 6.2, 12.9, 31]


@pytest.fixture(scope="module")
def numbered(tmp_path_factory):
    """A video whose frame n is of grey level 3 n, coded without loss, at uneven times from 5 s on the file's clock."""
    return write_numbered(tmp_path_factory.mktemp("numbered") / "numbered.mkv", NUMBERED_TIMES_S)


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    """The same with long pauses: frames at 0, .1 and .2 s, at 6, 6.1 and 6.2 s, at 12.9 s and at 31 s."""
    return write_numbered(tmp_path_factory.mktemp("slides") / "slides.mkv", SLIDE_TIMES_S, step=SLIDE_STEP)


def write_numbered(path, times_s, *, step=3):
    millisecond = Fraction(1, 1000)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"qp": "0", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        stream.codec_context.color_range = 2
        stream.codec_context.time_base = stream.time_base = millisecond
        for number, time_s in enumerate(times_s):
            picture = np.full((96, 64), 128, np.uint8)
            picture[:64] = step * number
            frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
            frame.pts, frame.time_base = round(time_s * 1000) + 5000, millisecond
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def numbers_of(frames, *, step=3):
    return np.rint(frames.mean(axis=(1, 2, 3)) / step).astype(int).tolist()


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize(
    "spans",
    [
        pytest.param([Span(0, 0, 2), Span(1, 2, 4), Span(2, 4, 6)], id="touching"),
        pytest.param([Span(0, 0, 3), Span(1, 1, 4), Span(2, 2, 5), Span(3, 3, 6)], id="overlapping"),
        pytest.param([Span(0, 0.5, 1), Span(1, 3, 4)], id="gaps"),
        pytest.param([Span(0, 0, 6), Span(1, 1, 2)], id="one-within-another"),
        pytest.param([Span(0, 0, 100)], id="beyond-the-end"),
    ],
)
def test_each_span_gets_the_frames_its_rule_takes(numbered, spans, name):
    rule = RULES[name]
    got = list(read_source_frames(probe_video(numbered), spans, rule, max_hold_s=0))
    assert [span for span, _ in got] == spans
    for span, frames in got:
        inside = np.flatnonzero((span.start_s <= NUMBERED_TIMES_S) & (span.end_s > NUMBERED_TIMES_S))
        times_s = NUMBERED_TIMES_S[inside]
        duration_s = span.length_s if rule.kind == "spread" else shown_duration_s(times_s)
        assert frames.shape[1:] == (rule.height, rule.width, 3)
        assert frames.dtype == np.uint8
        assert numbers_of(frames) == inside[select_frames(times_s, rule, duration_s)].tolist()


def test_a_span_without_frames_is_an_error_and_the_others_are_not(numbered):
    spans = [Span(0, 0, 1), Span(1, 1.1, 1.15), Span(2, 2, 3), Span(3, 50, 60)]
    got = [frames for _, frames in read_source_frames(probe_video(numbered), spans, RULES["rate"])]
    assert [frames.reason if isinstance(frames, MediaError) else "ok" for frames in got] == [
        "ok",
        "no-frames",
        "ok",
        "no-frames",
    ]


def test_no_spans_start_nothing(numbered):
    assert list(read_source_frames(probe_video(numbered), [], RULES["rate"])) == []


def test_spans_out_of_order_are_refused(numbered):
    with pytest.raises(ParameterError, match="in order"):
        list(read_source_frames(probe_video(numbered), [Span(0, 2, 3), Span(1, 0, 1)], RULES["rate"]))


def test_leaving_early_ends_the_decoder(numbered):
    reader = read_source_frames(probe_video(numbered), [Span(0, 0, 1), Span(1, 1, 2)], RULES["rate"])
    before = set(psutil.Process().children())  # the suite's own cluster
    next(reader)
    assert set(psutil.Process().children()) - before
    reader.close()
    assert not set(psutil.Process().children()) - before


def test_a_decoder_out_of_time_fails_the_spans_still_open(numbered):
    got = list(read_source_frames(probe_video(numbered), [Span(0, 0, 1), Span(1, 1, 2)], RULES["rate"], timeout_s=1e-3))
    assert [frames.reason for _, frames in got] == ["timeout", "timeout"]


def test_a_clip_beyond_the_memory_bound_is_an_error(numbered, monkeypatch):
    monkeypatch.setattr(frames_module, "MAX_CLIP_BYTES", 20 * 64 * 64 * 3)
    spans = [Span(0, 0, 1), Span(1, 0, 6), Span(2, 5, 6)]
    got = [frames for _, frames in read_source_frames(probe_video(numbered), spans, RULES["rate"])]
    assert [frames.reason if isinstance(frames, MediaError) else "ok" for frames in got] == [
        "ok",
        "clip-too-long",
        "ok",
    ]


@pytest.mark.shared
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("made_vfr_640x360.mp4", id="variable-rate"),
        pytest.param("bbb_firstpts10_sar.mp4", id="starts-at-10-s"),
        pytest.param("hevc10_editlist_rot90.mp4", id="edit-list-10-bit-rotated"),
        pytest.param("tiny_66x50_60fps_editlist.mov", id="edit-list-60-fps"),
        pytest.param("bunny_1080p60.ts", id="transport-stream"),
        pytest.param("made_odd_641x361_vp9.webm", id="odd-size"),
        pytest.param("xvid_bframes_nomono.avi", id="avi-without-times"),
    ],
)
def test_real_files_give_what_a_decode_in_order_gives(real_videos, name):
    info, rule = probe_video(real_videos / name), FrameRule.spread(8, width=64, height=64)
    pictures, times_s = _decoded_in_order(info, rule)
    plan = fixed_stride_spans(info.duration_s, length_s=4, min_length_s=0, framerate=info.framerate)
    spans = plan.spans[:3]
    for span, frames in read_source_frames(info, spans, rule):
        inside = np.flatnonzero((times_s >= span.start_s - 0.001) & (times_s < span.end_s - 0.001))
        expected = pictures[inside[select_frames(times_s[inside], rule, span.length_s)]]
        assert np.abs(frames.astype(int) - expected).mean() < 2.0


def _decoded_in_order(info, rule):
    with av.open(str(info.path)) as container:
        decoded = [
            (frame.time, np.rot90(_resized(frame, rule, info.rotation_deg), info.rotation_deg // 90))
            for frame in container.decode(container.streams.best("video"))
        ]
    times_s = np.array([np.nan if time is None else time for time, _ in decoded], dtype=float)
    if info.needs_generated_timestamps:
        times_s = np.arange(len(decoded)) / float(info.fps)
    return np.stack([picture for _, picture in decoded]).astype(int), times_s - times_s[0]


def _resized(frame, rule, rotation_deg):
    width, height = (rule.height, rule.width) if rotation_deg in (90, 270) else (rule.width, rule.height)
    return frame.reformat(width, height, format="rgb24", interpolation="BICUBIC").to_ndarray()


@pytest.mark.shared
@pytest.mark.parametrize("rule", [RULES["rate"], RULES["spread"]], ids=["rate", "spread"])
@pytest.mark.parametrize("name", ["bottle_40s_360p29_83.mp4", "made_vfr_640x360.mp4"])
def test_clips_and_spans_give_the_same_frames_up_to_encoding(real_videos, tmp_path, name, rule):
    info = probe_video(real_videos / name)
    spans = fixed_stride_spans(info.duration_s, framerate=info.framerate, limit=2).spans
    report = cut_clips(info, spans, TranscodeSettings(), tmp_path)
    for (span, expected), clip in zip(read_source_frames(info, spans, rule), report.clips, strict=True):
        frames = read_clip_frames(clip.path, rule, duration_s=span.length_s)
        assert frames.shape == expected.shape
        assert np.abs(frames.astype(int) - expected).mean() < 4.0
        assert read_ready_clip(clip.path, rule).shape == expected.shape


@pytest.mark.shared
def test_a_clip_decodes_alike_in_decord_and_ffmpeg(real_videos, tmp_path):
    info = probe_video(real_videos / "bottle_40s_360p29_83.mp4")
    report = cut_clips(info, [Span(0, 0.0, 2.0)], TranscodeSettings(), tmp_path)
    rule = FrameRule.rate(15, width=info.width, height=info.height)
    decord_frames, ffmpeg_frames = (read(report.clips[0].path, rule) for read in (read_clip_frames, read_ready_clip))
    assert np.abs(decord_frames.astype(int) - ffmpeg_frames).mean() < 1.0


@pytest.mark.parametrize("content", [b"", b"no video at all"], ids=["empty", "text"])
def test_a_clip_that_is_none_is_a_media_error(tmp_path, content):
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(MediaError) as caught:
        read_clip_frames(path, RULES["rate"])
    assert caught.value.reason == "unreadable-clip"
    with pytest.raises(MediaError):
        read_ready_clip(path, RULES["rate"])


@pytest.mark.shared
def test_a_truncated_video_gives_the_spans_it_still_has(bad_videos):
    info = probe_video(bad_videos / "truncated_faststart_60pct.mp4")
    spans = fixed_stride_spans(info.duration_s, framerate=info.framerate).spans
    got = [frames for _, frames in read_source_frames(info, spans, RULES["rate"])]
    assert isinstance(got[0], np.ndarray)
    assert isinstance(got[-1], MediaError)


@pytest.mark.shared
def test_a_crafted_gap_of_years_does_not_hang(bad_videos):
    got = list(read_source_frames(probe_video(bad_videos / "lying_duration.mp4"), [Span(0, 0, 10)], RULES["rate"]))
    assert isinstance(got[0][1], np.ndarray)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["hls_local_media.mp4", "no_moov.mp4", "audio_only.mp4", "png_renamed.mp4"])
def test_hostile_files_end_in_an_error_and_never_hang(bad_videos, name):
    with pytest.raises(MediaError) as caught:
        read_ready_clip(bad_videos / name, RULES["spread"], timeout_s=30)
    assert caught.value.reason != "timeout"


def test_a_whole_video_is_one_span(numbered):
    info = probe_video(numbered)
    assert whole_video_span(info) == Span(0, 0.0, info.duration_s)
    assert len(set(numbers_of(read_ready_clip(numbered, FrameRule.rate(1000, width=64, height=64))))) == len(
        NUMBERED_TIMES_S
    )


PAIRS = [
    pytest.param((FrameRule.spread(8, width=96, height=70), RULES["rate"]), id="smaller"),
    pytest.param((RULES["prefix"], FrameRule.rate(15, width=31, height=97)), id="taller"),
]


@pytest.mark.parametrize("rules", PAIRS)
@pytest.mark.parametrize("name", ["numbered", "slides"])
def test_one_decode_gives_each_of_two_rules_what_its_own_decode_gives(request, name, rules):
    path = request.getfixturevalue(name)
    info, spans = probe_video(path), [Span(0, 0, 2), Span(1, 1, 3), Span(2, 3, 4), Span(3, 40, 50)]
    both = list(read_source_by_rules(info, spans, rules, max_hold_s=1.0))
    alone = [list(read_source_frames(info, spans, rule, max_hold_s=1.0)) for rule in rules]
    assert [span for span, _ in both] == spans
    for (_, found), *of_rules in zip(both, *alone, strict=True):
        assert [_same(one, other) for one, (_, other) in zip(found, of_rules, strict=True)] == [True, True]
    assert any(isinstance(frames, np.ndarray) for _, found in both for frames in found)


@pytest.mark.shared
@pytest.mark.parametrize("rules", PAIRS)
@pytest.mark.parametrize(
    "name", ["bbb_642x642_vp9.webm", "xvid_bframes_nomono.avi", "iphone_rot90_gps.mov", "tiny_66x50_60fps_editlist.mov"]
)
def test_one_decode_gives_two_rules_their_frames_of_any_file(real_videos, name, rules):
    both = read_ready_clip_by_rules(real_videos / name, rules)
    assert all(
        np.array_equal(one, read_ready_clip(real_videos / name, rule)) for one, rule in zip(both, rules, strict=True)
    )


def test_one_decode_gives_no_more_than_two_sizes(numbered):
    with pytest.raises(ParameterError, match="one or two sizes, not of 3"):
        read_ready_clip_by_rules(numbered, list(RULES.values()))


@pytest.mark.parametrize("width", [8, 10, 24, 48, 64])
def test_every_width_can_be_had_of_a_clip(numbered, tmp_path, width):
    report = cut_clips(probe_video(numbered), [Span(0, 0.0, 2.0)], TranscodeSettings(), tmp_path)
    frames = read_clip_frames(report.clips[0].path, FrameRule.spread(3, width=width, height=16), duration_s=2.0)
    assert frames.shape == (3, 16, width, 3)


class Taken:
    """A tap that keeps the frames that it gets."""

    rule = RULES["rate"]

    def restart(self):
        self.frames = {}

    def take(self, span, frames):
        self.frames[span.index] = frames


def _frames_tapped_and_read(path, folder, *, length_s=3.0, stride_s=2.0):
    info = probe_video(path)
    plan = fixed_stride_spans(
        info.duration_s, length_s=length_s, stride_s=stride_s, min_length_s=0, framerate=info.framerate
    )
    spans, tap = plan.spans[:6], Taken()
    cut_clips(info, spans, TranscodeSettings(), folder, tap)
    return tap.frames, {span.index: frames for span, frames in read_source_frames(info, spans, tap.rule)}


def _same(tapped, read):
    return type(tapped) is type(read) and (isinstance(read, MediaError) or np.array_equal(tapped, read))


@pytest.mark.parametrize("stride_s", [1.0, 3.0, 4.0], ids=["overlapping", "touching", "gaps"])
def test_a_tapped_cut_gives_the_frames_of_a_decode_alone(numbered, tmp_path, stride_s):
    tapped, read = _frames_tapped_and_read(numbered, tmp_path, stride_s=stride_s)
    assert tapped.keys() == read.keys()
    assert any(isinstance(frames, np.ndarray) for frames in read.values())
    assert [index for index in read if not _same(tapped[index], read[index])] == []


@pytest.mark.parametrize(
    ("max_hold_s", "expected"),
    [
        pytest.param(None, [[0, 1, 2, 2], [2, 2], [2, 3, 4, 5, 5], [5, 5], [5, 6, 6]], id="held"),
        pytest.param(2.3, [[0, 1, 2], [], [2, 3, 4, 5, 5], [], [5, 6, 6]], id="held-for-a-while"),
        pytest.param(0.0, [[0, 1, 2], [], [3, 4, 5], [], [6]], id="not-held"),
    ],
)
def test_a_held_picture_is_a_frame_of_its_span(slides, tmp_path, max_hold_s, expected):
    info, tap = probe_video(slides), Taken()
    tap.rule = FrameRule.rate(1000, width=64, height=64)  # every frame, as often as it is shown
    spans = [Span(0, 0.0, 2.7), Span(1, 2.7, 5.4), Span(2, 5.4, 8.1), Span(3, 8.1, 10.8), Span(4, 10.8, 13.5)]
    report = cut_clips(info, spans, TranscodeSettings(max_hold_s=max_hold_s), tmp_path, tap)
    read = read_source_frames(info, spans, tap.rule, max_hold_s=max_hold_s)
    for (_, frames), tapped, clip, numbers in zip(read, tap.frames.values(), report.clips, expected, strict=True):
        assert _same(tapped, frames)
        assert clip.num_frames == len(numbers)
        if not numbers:
            assert (clip.reason, frames.reason) == ("no-frames", "no-frames")
            continue
        assert sorted(set(numbers_of(frames, step=SLIDE_STEP))) == sorted(set(numbers))
        decoded = read_clip_frames(clip.path, tap.rule)
        assert len(decoded) == pytest.approx(len(frames), abs=2)
        assert sorted(set(numbers_of(decoded, step=SLIDE_STEP))) == sorted(set(numbers))


@pytest.mark.shared
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("made_vfr_640x360.mp4", id="variable-rate-cut-twice"),
        pytest.param("xvid_bframes_nomono.avi", id="avi-without-times"),
        pytest.param("hevc10_editlist_rot90.mp4", id="10-bit-rotated"),
        pytest.param("iphone_rot90_gps.mov", id="rotated"),
        pytest.param("made_odd_641x361_vp9.webm", id="odd-size"),
    ],
)
def test_a_tapped_cut_of_a_real_file_gives_the_frames_of_a_decode_alone(real_videos, tmp_path, name):
    tapped, read = _frames_tapped_and_read(real_videos / name, tmp_path)
    assert tapped.keys() == read.keys()
    assert any(isinstance(frames, np.ndarray) for frames in read.values())
    assert [index for index in read if not _same(tapped[index], read[index])] == []


def test_a_tap_leaves_the_clips_as_they_are(numbered, tmp_path):
    info, spans = probe_video(numbered), [Span(0, 0.0, 3.0), Span(1, 2.0, 5.0)]
    written = []
    for name, tap in (("with", Taken()), ("without", None)):
        (tmp_path / name).mkdir()
        report = cut_clips(info, spans, TranscodeSettings(), tmp_path / name, tap)
        written.append([clip.path.read_bytes() for clip in report.clips])
    assert written[0] == written[1]


def test_a_copy_cannot_be_tapped(numbered, tmp_path):
    with pytest.raises(ParameterError, match="copy"):
        cut_clips(probe_video(numbered), [Span(0, 0.0, 3.0)], TranscodeSettings(encoder="copy"), tmp_path, Taken())
