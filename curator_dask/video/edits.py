"""Edits that are common in copies of videos. They measure which copies an embedding still recognises."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from curator_dask.errors import MediaError
from curator_dask.video.probe import VideoInfo
from curator_dask.video.process import ffmpeg, sandbox
from curator_dask.video.process.machine_faults import raise_if_machine_failed

_EVEN = "scale=trunc(iw/2)*2:trunc(ih/2)*2"
_ENCODER = ("-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-threads:v", "1", "-an", "-bf", "0")
_TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True)
class Edit:
    """One way to alter a clip."""

    name: str
    kind: Literal["light", "hard", "late"]
    """``light`` keeps the whole picture; ``hard`` covers, cuts off or moves a part of it; ``late`` begins much later."""
    filters: str = ""
    """ffmpeg video filters, with sizes relative to the clip's own."""
    crf: int = 23
    trim_s: tuple[float, float] = (0.0, 0.0)
    """Seconds that are cut off at the start and at the end."""


EDITS = (
    Edit("re-encoded at CRF 38", "light", crf=38),
    Edit("half size", "light", "scale=iw/2:ih/2"),
    Edit("grey", "light", "hue=s=0"),
    Edit("brighter", "light", "eq=brightness=0.12"),
    Edit("more contrast", "light", "eq=contrast=1.4"),
    Edit("blurred", "light", "gblur=sigma=3"),
    Edit("noisy", "light", "noise=alls=24:allf=t:all_seed=7"),
    Edit("10 fps", "light", "fps=10"),
    Edit("start cut by 0.4 s", "light", trim_s=(0.4, 0.0)),
    Edit("end cut by 0.4 s", "light", trim_s=(0.0, 0.4)),
    Edit("cut by 0.4 s and 0.2 s", "light", trim_s=(0.4, 0.2)),
    Edit("logo of 20 % x 15 %", "hard", "drawbox=x=iw*0.75:y=ih*0.05:w=iw*0.20:h=ih*0.15:color=white:t=fill"),
    Edit("banner over the lowest 15 %", "hard", "drawbox=x=0:y=ih*0.85:w=iw:h=ih*0.15:color=black:t=fill"),
    Edit("cropped by 5 % a side", "hard", "crop=iw*0.9:ih*0.9"),
    Edit("letterboxed to 4:3 of its height", "hard", "pad=iw:ih*4/3:0:(oh-ih)/2"),
)
"""Every edit is encoded again, at CRF 23 unless its name says otherwise."""

LATE = (
    Edit("begins 1.5 s later", "late", trim_s=(1.5, 0.0)),
    Edit("begins 3.7 s later", "late", trim_s=(3.7, 0.0)),
)
"""A vector stands for a whole clip, so it may not tell that these are copies. Tracks do."""


def write_edit(info: VideoInfo, edit: Edit, path: Path) -> None:
    """Write an edited copy of the clip of ``info`` to ``path`` (MP4). It needs an ffmpeg with libx264.

    One version of ffmpeg always writes the same bytes. Raises MediaError (``edit-failed``, ``timeout``).
    """
    start_s, end_s = edit.trim_s
    length = (
        ["-t", f"{max(info.duration_s - start_s - end_s, 0.1):.6f}"] if any(edit.trim_s) and info.duration_s else []
    )
    finished = sandbox.run(
        [
            *ffmpeg.global_args(),
            *ffmpeg.input_args(info.path),
            *("-ss", f"{start_s:g}", *length, "-map", f"0:{info.video_stream}"),
            *("-vf", ",".join([*([edit.filters] if edit.filters else []), _EVEN]), *_ENCODER, "-crf", str(edit.crf)),
            str(path),
        ],
        timeout_s=_TIMEOUT_S,
    )
    raise_if_machine_failed(finished, f"{str(info.path)!r}, {edit.name}")
    if finished.returncode != 0:
        raise MediaError("edit-failed", f"{str(info.path)!r}, {edit.name}: {finished.stderr_tail.strip()[-300:]}")
