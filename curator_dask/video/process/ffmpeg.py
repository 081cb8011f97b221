"""The ffmpeg program: where it is, what it can do, and how it is allowed to open a stranger's file."""

from __future__ import annotations

import functools
import os
import shutil
from pathlib import Path

from curator_dask.errors import MediaError, ToolError
from curator_dask.video.process import sandbox

FORMAT_WHITELIST = "mov,matroska,avi,mpegts,mpeg,flv,ogg,asf"
"""Demuxers that read one file of media. Playlists (HLS, DASH, concat, SDP) would open further files and sockets, and
images are no videos; none of these is here."""
PROTOCOL_WHITELIST = "file"
MAX_PIXELS = 8192 * 4320
FFMPEG_VARIABLE = "CURATOR_DASK_FFMPEG"
_PROBE_TIMEOUT_S = 30.0


@functools.cache
def ffmpeg_path() -> str:
    """The ffmpeg to use: ``$CURATOR_DASK_FFMPEG`` if set, else the one that imageio-ffmpeg brings. Raises ToolError."""
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
    """The first line of ``ffmpeg -version``, for the record: another version may give other bytes. Raises ToolError."""
    finished = sandbox.run([ffmpeg_path(), "-hide_banner", "-version"], timeout_s=_PROBE_TIMEOUT_S)
    if finished.returncode != 0:
        raise ToolError(f"{ffmpeg_path()} -version failed with code {finished.returncode}: {finished.stderr_tail}")
    return finished.stdout.decode("utf-8", "replace").partition("\n")[0].strip()


def global_args(log_level: str = "error") -> list[str]:
    """What stands before all else in every command: the program, no terminal, how much to say on stderr."""
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
    """``file:`` and the absolute path: a bare name such as ``concat:a|b`` or ``-x`` would be read as protocol or
    option."""
    return f"file:{os.path.abspath(path)}"  # noqa: PTH100 - resolve() would follow links, absolute() keeps ".."


def input_args(path: Path, *, decoder_threads: int = 1, max_error_rate: float | None = None) -> list[str]:
    """Open ``path`` as one local media file and nothing else: no network, no playlist, no image, no giant picture.

    ``max_error_rate`` is the share of broken frames at which ffmpeg gives up with code 69; None is its default of 2/3.
    """
    tolerance = [] if max_error_rate is None else ["-max_error_rate", f"{max_error_rate:g}"]
    return [
        *("-protocol_whitelist", PROTOCOL_WHITELIST, "-format_whitelist", FORMAT_WHITELIST),
        *("-max_pixels", str(MAX_PIXELS), *tolerance, "-threads", str(decoder_threads)),
        *("-i", input_url(path)),
    ]


def encoder_works(name: str) -> bool:
    """Whether this ffmpeg on this machine can encode with ``name``, found out by encoding one small frame (cached)."""
    return encoder_failure(name) is None


@functools.cache
def encoder_failure(name: str) -> str | None:
    """Why ``name`` does not encode here, in ffmpeg's words (``"Cannot load libcuda.so.1"``); None if it does.
    Cached."""
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
