"""ffmpeg that is killed, or that finds a full disk or too little memory: never the video's fault."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from curator_dask.errors import MediaError
from curator_dask.runtime.failing.final_reasons import is_final
from curator_dask.video.cut.encoders import TranscodeSettings
from curator_dask.video.cut.transcode import cut_clips
from curator_dask.video.frames.read import read_ready_clip
from curator_dask.video.frames.sampling import FrameRule
from curator_dask.video.probe import probe_video
from curator_dask.video.process import ffmpeg
from curator_dask.video.spans import fixed_stride_spans
from tests.video.videotools import numbered_video

Break = Callable[[str], None]


@pytest.fixture
def break_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Break]:
    """Puts a program in the place of ffmpeg: it does the work, or a part of it, and then what the shell script says."""
    real = ffmpeg.ffmpeg_path()
    assert ffmpeg.encoder_works("libopenh264"), "this is known before ffmpeg breaks"

    def put(script: str) -> None:
        program = tmp_path / "ffmpeg.sh"
        program.write_text(f'#!/bin/sh\nreal() {{ {real} "$@"; }}\n{script}\n')
        program.chmod(0o755)
        monkeypatch.setenv(ffmpeg.FFMPEG_VARIABLE, str(program))
        ffmpeg.ffmpeg_path.cache_clear()

    yield put
    monkeypatch.undo()
    ffmpeg.ffmpeg_path.cache_clear()


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return numbered_video(tmp_path_factory.mktemp("faults") / "v.mp4", num_frames=30, extra=("-c:v", "libx264"))


BROKEN = [
    ("kill -KILL $$", "killed"),
    ("kill -SEGV $$", "killed"),
    ('real "$@"; kill -TERM $$', "killed"),
    ("exit 137", "killed"),
    ("exit 255", "killed"),
    ("exit 228", "no-space"),
    ('real "$@"; echo "[error] av_interleaved_write_frame(): No space left on device" >&2; exit 1', "no-space"),
    ("exit 244", "out-of-memory"),
    ('echo "[error] Cannot allocate memory" >&2; exit 1', "out-of-memory"),
]


@pytest.mark.parametrize(("script", "reason"), BROKEN)
def test_a_cut_that_the_machine_ended_is_open(
    break_ffmpeg: Break, video: Path, tmp_path: Path, script: str, reason: str
) -> None:
    break_ffmpeg(script)
    assert _reason_of_cut(video, tmp_path) == reason
    assert not is_final(reason)


@pytest.mark.parametrize(("script", "reason"), BROKEN)
def test_a_clip_whose_reading_the_machine_ended_is_open(
    break_ffmpeg: Break, video: Path, script: str, reason: str
) -> None:
    break_ffmpeg(script)
    with pytest.raises(MediaError) as caught:
        read_ready_clip(video, FrameRule.rate(2.0, width=32, height=32))
    assert caught.value.reason == reason


@pytest.mark.parametrize("cut_to", ["truncate -s -1", "truncate -s 60"])
def test_a_list_of_frames_that_was_cut_short_is_open(
    break_ffmpeg: Break, video: Path, tmp_path: Path, cut_to: str
) -> None:
    break_ffmpeg(f'real "$@"; find {tmp_path} -name "*.stats" -exec {cut_to} {{}} +; exit 0')
    assert _reason_of_cut(video, tmp_path) == "list-cut-short"


def test_a_file_of_nonsense_stays_the_files_fault(break_ffmpeg: Break, video: Path) -> None:
    break_ffmpeg('echo "Invalid data found when processing input" >&2; exit 183')
    with pytest.raises(MediaError) as caught:
        read_ready_clip(video, FrameRule.rate(2.0, width=32, height=32))
    assert is_final(caught.value.reason)


def _reason_of_cut(video: Path, folder: Path) -> str:
    info = probe_video(video)
    spans = fixed_stride_spans(1.2, framerate=25.0, length_s=1.2, stride_s=1.2, min_length_s=0.0, limit=0).spans
    with pytest.raises(MediaError) as caught:
        cut_clips(info, spans, TranscodeSettings(), folder)
    return caught.value.reason
