"""What came of cutting one video: a clip per span, or why there is none, and what was seen on the way."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from curator_dask.video.cut.accounting import FrameAccount
from curator_dask.video.probe import VideoInfo
from curator_dask.video.spans import LATE_FRAMES_S


@dataclass(frozen=True, slots=True)
class CutClip:
    """One span's clip, or why there is none. Times are in seconds from the video's first frame."""

    span_index: int
    path: Path | None
    start_s: float
    """Time of the first frame; with ``copy`` that is a key frame at or after the span's start."""
    end_s: float
    """Time of the last frame and how long it is shown."""
    num_frames: int
    width: int
    height: int
    framerate: float
    codec: str
    num_bytes: int
    reason: str | None = None
    """``no-frames``: the source has none in the span. ``no-key-frame``: ``copy`` had nowhere to cut. None: all is
    well."""
    message: str | None = None
    num_held: int = 0
    """How many of the frames are copies of a picture that is held over a pause."""


@dataclass(frozen=True, slots=True)
class CutReport:
    """All clips of one video, one per span in order, and what was seen while cutting."""

    clips: tuple[CutClip, ...]
    warnings: tuple[str, ...]
    """Damage, lost audio, scaling: sentences for people."""
    notes: tuple[str, ...]
    """What was chosen or changed in a sound but unusual video: sentences for people."""
    num_packets: int | None
    """Video packets read; None where this ffmpeg does not say."""
    num_frames_decoded: int | None
    num_decode_errors: int
    account: FrameAccount | None
    """Where the decoded frames went; None with ``copy``, which decodes none."""
    ffmpeg_argv: tuple[str, ...]
    """The command that made the files, for the record."""

    def outlasts(self, info: VideoInfo) -> bool:
        """Whether there are frames more than a second behind the end that the plan was made for."""
        end_s = 0.0 if self.account is None else self.account.end_s
        return info.duration_s is not None and end_s > info.duration_s + LATE_FRAMES_S

    def correct(self, info: VideoInfo) -> VideoInfo:
        """The video with the duration that its decoded frames have, and a warning that says so."""
        end_s = 0.0 if self.account is None else self.account.end_s
        warning = f"the header says {info.duration_s:.2f} s, the frames last {end_s:.2f} s: all of them were cut"
        return dataclasses.replace(info, duration_s=end_s, warnings=(*info.warnings, warning))
