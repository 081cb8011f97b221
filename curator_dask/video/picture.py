"""A picture as a video that stands still, so that models see it as they see clips."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from curator_dask.errors import MediaError
from curator_dask.files.names import printable
from curator_dask.files.temporary.temporary_folders import temporary_folder
from curator_dask.video.process import sandbox
from curator_dask.video.process.ffmpeg import PROTOCOL_WHITELIST, global_args

PICTURE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_BEGINNINGS = {
    b"\x89PNG": "png_pipe",
    b"\xff\xd8": "jpeg_pipe",
    b"RIFF": "webp_pipe",
    b"BM": "bmp_pipe",
    b"II*\0": "tiff_pipe",
    b"MM\0*": "tiff_pipe",
}
"""How the files of each kind begin, and the demuxer that reads a single one of them and opens no other file."""
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
    demuxer = _demuxer(path)
    with temporary_folder() as folder:
        video = folder / "picture.mkv"
        side = f"min({LONGEST_SIDE_PX},iw)"
        shown = f"loop=loop=-1:size=1:start=0,setpts=N/{FRAMES_PER_SECOND}/TB,scale='{side}':-2,format=yuv444p"
        command = [
            *global_args(),
            *("-f", demuxer, "-protocol_whitelist", PROTOCOL_WHITELIST, "-i", f"file:{path}"),
            *("-vf", shown, "-r", str(FRAMES_PER_SECOND), "-frames:v", str(FRAMES), "-c:v", "ffv1", str(video)),
        ]
        done = sandbox.run(command, timeout_s=TIMEOUT_S)
        if done.returncode != 0:
            raise _no_picture(path, done.stderr_tail.strip())
        yield video


def _demuxer(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(max(map(len, _BEGINNINGS)))
    for beginning, demuxer in _BEGINNINGS.items():
        if start.startswith(beginning):
            return demuxer
    raise _no_picture(path, "it does not begin as one")


def _no_picture(path: Path, why: str) -> MediaError:
    return MediaError("not-a-picture", f"{printable(str(path))!r} cannot be read as a picture: {why}")
