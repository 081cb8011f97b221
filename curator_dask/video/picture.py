"""A picture as a video that stands still, so that models see it as they see clips."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from curator_dask.errors import MediaError
from curator_dask.video.process import sandbox
from curator_dask.video.process.ffmpeg import PROTOCOL_WHITELIST, global_args

PICTURE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_FORMATS = "bmp_pipe,jpeg_pipe,png_pipe,tiff_pipe,webp_pipe"
"""Demuxers that read a single picture, and open no other file."""
FRAMES, FRAMES_PER_SECOND = 30, 15
LONGEST_SIDE_PX = 1024
"""Models look at far fewer pixels."""
TIMEOUT_S = 60.0


def is_picture(path: Path) -> bool:
    """Whether a file is a picture, by its name."""
    return path.suffix.lower() in PICTURE_SUFFIXES


@contextlib.contextmanager
def as_video(path: Path) -> Iterator[Path]:
    """A temporary video of two seconds that shows a picture. Raises MediaError if it cannot be read."""
    with tempfile.TemporaryDirectory(prefix="curator-dask-") as folder:
        video = Path(folder, "picture.mkv")
        side = f"min({LONGEST_SIDE_PX},iw)"
        shown = f"loop=loop=-1:size=1:start=0,setpts=N/{FRAMES_PER_SECOND}/TB,scale='{side}':-2,format=yuv444p"
        command = [
            *global_args(),
            *("-format_whitelist", _FORMATS, "-protocol_whitelist", PROTOCOL_WHITELIST, "-i", f"file:{path}"),
            *("-vf", shown, "-r", str(FRAMES_PER_SECOND), "-frames:v", str(FRAMES), "-c:v", "ffv1", str(video)),
        ]
        done = sandbox.run(command, timeout_s=TIMEOUT_S)
        if done.returncode != 0:
            raise MediaError("not-a-picture", f"{str(path)!r} cannot be read as a picture: {done.stderr_tail.strip()}")
        yield video
