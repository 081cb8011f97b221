"""Frames of all spans of a video out of the process that cuts it, for whoever else wants them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from curator_dask.errors import MediaError
from curator_dask.video.frames import pipe as frame_pipe
from curator_dask.video.frames.pipe import Frames
from curator_dask.video.frames.read import SpanFrames
from curator_dask.video.frames.sampling import FrameRule
from curator_dask.video.probe import VideoInfo
from curator_dask.video.process import sandbox
from curator_dask.video.spans import Span


class FrameTap(Protocol):
    """Takes the frames of every span out of the process that cuts them: one decoding serves both."""

    @property
    def rule(self) -> FrameRule:
        """Which frames, and their size."""

    def restart(self) -> None:
        """Forget what came so far: the video is decoded (again) from its start."""

    def take(self, span: Span, frames: Frames | MediaError) -> None:
        """The (T, H, W, 3) uint8 RGB frames of a span, as ``frames.read_source_frames`` gives them; in order."""


@dataclass(frozen=True, slots=True)
class Pour:
    """Carries the frames of a running cut to the tap."""

    info: VideoInfo
    spans: Sequence[Span]
    tap: FrameTap
    max_hold_s: float | None
    zero_s: float | None
    """Time of the video's first frame by the clock of the cut, where it is a part; else None."""

    def pour(self, child: sandbox.Child, times_path: Path) -> None:
        self.tap.restart()
        gatherer = SpanFrames(self.info, self.spans, self.tap.rule, self.max_hold_s)
        for time_s, (frame,) in frame_pipe.read_frames(child, times_path, [self.tap.rule], self.zero_s):
            for span, frames in gatherer.offer(time_s, frame):
                self.tap.take(span, frames)
        for span, frames in gatherer.rest():
            self.tap.take(span, frames)
