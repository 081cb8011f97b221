"""Find the ffmpeg program, test its encoders, and build arguments that open untrusted files safely."""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from curator_dask.errors import MediaError, ToolError
from curator_dask.video.process import sandbox

FORMAT_WHITELIST = "mov,matroska,avi,mpegts,mpeg,mpegvideo,flv,ogg,asf,mxf,gif,dv,rm,wtv"
"""Demuxers that read a single media file. Playlists (HLS, DASH, concat, SDP) are left out, because they open further
files and sockets; so are images, because they are no videos. A new one here needs its endings in `files/video_listing`."""
PROTOCOL_WHITELIST = "file"
MAX_PIXELS = 8192 * 4320
FFMPEG_VARIABLE = "CURATOR_DASK_FFMPEG"
LONGEST_VALUE = 100_000
"""Characters of an option's value; the limit of Linux is 131,071 bytes."""
_PROBE_TIMEOUT_S = 30.0


@functools.cache
def ffmpeg_path() -> str:
    """Find ffmpeg: ``$CURATOR_DASK_FFMPEG`` if set, else the one in imageio-ffmpeg. Raises ToolError."""
    chosen = os.environ.get(FFMPEG_VARIABLE)
    if chosen:
        found = shutil.which(chosen)
        if found is None:
            raise ToolError(f"{FFMPEG_VARIABLE}={chosen} is not a program that can be run; correct it or unset it")
        return found
    import imageio_ffmpeg

    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise ToolError(
            f"no ffmpeg: pip install imageio-ffmpeg, or set {FFMPEG_VARIABLE} to one with libopenh264"
        ) from error


@functools.cache
def ffmpeg_version() -> str:
    """Return the first line of ``ffmpeg -version``: other versions may write other bytes. Raises ToolError."""
    finished = sandbox.run([ffmpeg_path(), "-hide_banner", "-version"], timeout_s=_PROBE_TIMEOUT_S)
    if finished.returncode != 0:
        raise ToolError(f"{ffmpeg_path()} -version failed with code {finished.returncode}: {finished.stderr_tail}")
    return finished.stdout.decode("utf-8", "replace").partition("\n")[0].strip()


def global_args(log_level: str = "error") -> list[str]:
    """Return the start of every command: the program, no terminal, and the level of messages on stderr."""
    return [
        ffmpeg_path(),
        "-nostdin",
        "-nostats",
        "-hide_banner",
        "-v",
        log_level,
        "-y",
        "-filter_complex_threads",
        "1",
    ]


def input_url(path: Path) -> str:
    """Return ``file:`` and the absolute path. ffmpeg would take a bare ``concat:a|b`` for a protocol and ``-x`` for an
    option."""
    return f"file:{os.path.abspath(path)}"  # noqa: PTH100 - resolve() would follow links, absolute() keeps ".."


def input_args(path: Path, *, decoder_threads: int = 1, max_error_rate: float | None = None) -> list[str]:
    """Return options that open ``path`` only as a local media file: no network, playlist, image or giant picture.

    ``max_error_rate`` is the share of broken frames at which ffmpeg stops with code 69; None means its default, 2/3.
    """
    tolerance = [] if max_error_rate is None else ["-max_error_rate", f"{max_error_rate:g}"]
    return [
        *("-protocol_whitelist", PROTOCOL_WHITELIST, "-format_whitelist", FORMAT_WHITELIST),
        *("-max_pixels", str(MAX_PIXELS), *tolerance, "-threads", str(decoder_threads)),
        *("-i", input_url(path)),
    ]


def with_long_values_in_files(argv: Sequence[str], folder: Path) -> list[str]:
    """Return the command with each value that Linux would refuse, as it is over 128 KiB, in a file in ``folder``, from
    where it is run."""
    words = list(argv)
    for number, word in enumerate(words):
        if len(word) > LONGEST_VALUE:
            name = f"value{number}.txt"
            (folder / name).write_text(word, encoding="utf-8")
            words[number - 1 : number + 1] = [f"-/{words[number - 1][1:]}", name]
    return words


def encoder_works(name: str) -> bool:
    """Whether ffmpeg can encode with ``name`` on this machine. One small frame is encoded to find out (cached)."""
    return encoder_failure(name) is None


@functools.cache
def encoder_failure(name: str) -> str | None:
    """Return ffmpeg's message if ``name`` cannot encode here (``"Cannot load libcuda.so.1"``), else None. Cached."""
    source = ["-f", "lavfi", "-i", "color=black:size=256x256:rate=1", "-frames:v", "1", "-pix_fmt", "yuv420p"]
    try:
        finished = sandbox.run(
            [*global_args(), *source, "-c:v", name, "-f", "null", "-"],
            timeout_s=_PROBE_TIMEOUT_S,
            memory_limit_bytes=None,  # CUDA reserves far more address space than memory
        )
    except MediaError as error:
        return str(error)
    if finished.returncode == 0:
        return None
    lines = [line.strip() for line in finished.stderr_tail.splitlines() if line.strip()]
    return lines[0] if lines else f"ffmpeg ended with code {finished.returncode}"
