"""What every splitting algorithm is: it plans the spans of one video."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from curator_dask.video.probe import VideoInfo
from curator_dask.video.shots.shots import MaxLengthMode
from curator_dask.video.spans import SpanPlan


class Splitter(Protocol):
    """A splitting algorithm with its parameters. It travels to workers."""

    def plan(self, info: VideoInfo) -> SpanPlan:
        """The spans of a video. Raises MediaError if they cannot be known."""


@dataclass(frozen=True)
class SplittingParameters:
    """The parameters of all algorithms; `SplitStage` says what they mean."""

    fixed_stride_split_duration: float = 10.0
    fixed_stride_stride: float | None = None
    fixed_stride_min_clip_length_s: float = 2.0
    content_threshold: float = 3.0
    transnetv2_threshold: float = 0.4
    transnetv2_min_length_s: float = 2.0
    transnetv2_max_length_s: float = 10.0
    transnetv2_max_length_mode: MaxLengthMode = "stride"
    transnetv2_crop_s: float = 0.5
    limit_clips: int = 0
    model_dir: str = "./models"
    torch_device: str = "auto"


MakeSplitter = Callable[[SplittingParameters], Splitter]
"""Raises ParameterError for impossible values."""
