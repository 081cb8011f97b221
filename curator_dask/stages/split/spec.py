"""What the workers of the split stage are told."""

from __future__ import annotations

from dataclasses import dataclass, replace

from curator_dask.files.folder import Folder
from curator_dask.files.video_listing import SourceVideo
from curator_dask.stages.embed.spec import EmbedSpec
from curator_dask.stages.split.splitters.base import SpanPlanner
from curator_dask.video.cut.encoders import TranscodeSettings
from curator_dask.video.original_ids import OriginalTimes

SPLIT = "split"
"""The stage's name in records and folders."""


@dataclass(frozen=True)
class SplitSpec:
    """How videos are cut, and where the clips go."""

    output: Folder
    settings: TranscodeSettings
    writes_clips: bool
    """False: clips are planned and recorded, but not cut."""
    relative_ids: bool
    """Make clip ids from paths relative to the folder of the videos, so that ids stay when the videos are moved."""
    original_times: OriginalTimes | None
    """Make clip ids from the times that the original workflow computes; None: from the times of the spans."""
    max_video_hours: float | None
    """Longer videos are refused; None: there is no limit."""
    embed: EmbedSpec | None
    """How to embed the frames of the cutting process; None: the embed stage computes all vectors later."""
    tracks: bool = False
    """Keep the tracks of the clips for the embed stage, whose model sees other frames."""
    part_s: float = 0.0
    """Videos that last longer are cut in parts of about this many seconds; 0: none is."""


@dataclass(frozen=True)
class SplitTask:
    """One unit: one video to split, or a part of it, or the record of all its parts."""

    spec: SplitSpec
    folder: Folder
    """The folder of the source videos."""
    video: SourceVideo
    planner: SpanPlanner
    part: int = 0
    """The number of the part, for a unit that is one."""

    def without_taps(self) -> SplitTask:
        """The same without what takes frames out of the cutting process: the embed stage can make vectors and tracks later."""
        return replace(self, spec=replace(self.spec, embed=None, tracks=False))

    @property
    def name_in_ids(self) -> str:
        """The name of the video that its clip ids are made from."""
        return self.video.relative_path if self.spec.relative_ids else self.video.path
