"""Which ffmpeg program is found, and how it opens files."""

from __future__ import annotations

from pathlib import Path

import pytest

from curator_dask.errors import ToolError
from curator_dask.video.process import ffmpeg, sandbox


@pytest.fixture
def fresh_path(monkeypatch: pytest.MonkeyPatch):
    ffmpeg.ffmpeg_path.cache_clear()
    yield monkeypatch
    ffmpeg.ffmpeg_path.cache_clear()


def test_the_default_encoder_works_and_the_version_is_told() -> None:
    assert ffmpeg.encoder_works("libopenh264")
    assert ffmpeg.encoder_failure("libopenh264") is None
    assert ffmpeg.ffmpeg_version().startswith("ffmpeg version ")


def test_an_encoder_that_does_not_exist_has_a_reason() -> None:
    assert not ffmpeg.encoder_works("no_such_encoder")
    assert "no_such_encoder" in str(ffmpeg.encoder_failure("no_such_encoder"))


def test_the_environment_chooses_the_program(fresh_path: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "my ffmpeg"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    fresh_path.setenv(ffmpeg.FFMPEG_VARIABLE, str(program))
    assert ffmpeg.ffmpeg_path() == str(program)


def test_a_wrong_program_in_the_environment_is_an_error(fresh_path: pytest.MonkeyPatch) -> None:
    fresh_path.setenv(ffmpeg.FFMPEG_VARIABLE, "/nowhere/ffmpeg")
    with pytest.raises(ToolError, match=r"CURATOR_DASK_FFMPEG=/nowhere/ffmpeg"):
        ffmpeg.ffmpeg_path()


@pytest.mark.parametrize(
    "name", ["concat:a|b.mp4", "http://host/x.mp4", "-version", "subfile,,start,0,end,9,,:x", "data:text,x"]
)
def test_a_name_is_never_read_as_protocol_or_option(name: str) -> None:
    url = ffmpeg.input_url(Path(name))
    assert url.startswith("file:/")
    assert ffmpeg.input_args(Path(name))[-2:] == ["-i", url]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("playlist.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{target}\n#EXT-X-ENDLIST\n"),
        ("list.ffconcat", "ffconcat version 1.0\nfile {target}\n"),
        ("session.sdp", "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n"),
    ],
    ids=["hls", "concat", "sdp"],
)
def test_playlists_are_not_followed(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content.format(target="secret.ts"))
    command = [*ffmpeg.global_args(), *ffmpeg.input_args(tmp_path / name), "-f", "null", "-"]
    finished = sandbox.run(command, timeout_s=20)
    assert finished.returncode != 0
    assert "whitelist" in finished.stderr_tail
