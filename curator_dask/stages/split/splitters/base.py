"""What every splitting algorithm is: it gives each video a planner of its spans."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from curator_dask.files.video_listing import SourceVideo, VideoListing
from curator_dask.video.probe import VideoInfo
from curator_dask.video.shots.shots import MaxLengthMode
from curator_dask.video.spans import SpanPlan


class SpanPlanner(ABC):
    """Plans the spans of one video. It travels to a worker."""

    @abstractmethod
    def plan(self, info: VideoInfo) -> SpanPlan:
        """The spans of a video. Raises MediaError if they cannot be known."""

    def inputs(self) -> list[Any]:
        """What the plan of this video depends on, beside the video and the parameters."""
        return []


class Splitter(ABC):
    """A splitting algorithm with its parameters."""

    @abstractmethod
    def of(self, video: SourceVideo) -> SpanPlanner:
        """The planner for one video, with what concerns this video and nothing else."""

    def check(self) -> None:  # noqa: B027  most algorithms read no file
        """Refuse a file that cannot be used, before any work. Raises InputError."""

    def for_videos(self, listing: VideoListing) -> tuple[Splitter, VideoListing]:
        """The splitter with what it has to know of these videos, and those of them that it cuts."""
        return self, listing

    @property
    def counts(self) -> Mapping[str, int]:
        """Counts of its own for the result of the stage."""
        return {}

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should know of its own input."""
        return ()


class SameForAll(Splitter, SpanPlanner):
    """An algorithm that knows nothing of single videos: it is the planner of each."""

    def of(self, video: SourceVideo) -> SpanPlanner:
        return self


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
    transnetv2_refine: bool = True
    limit_clips: int = 0
    model_dir: str = "./models"
    torch_device: str = "auto"
    spans: str | None = None
    input_storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)


MakeSplitter = Callable[[SplittingParameters], Splitter]
"""Raises ParameterError for impossible values."""
