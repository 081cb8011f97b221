"""What the workers of the split stage are told."""

from __future__ import annotations

from dataclasses import dataclass

from curator_dask.files import layout
from curator_dask.files.folder import Folder
from curator_dask.files.video_listing import SourceVideo
from curator_dask.stages.embed.spec import EmbedSpec
from curator_dask.video.cut.encoders import TranscodeSettings
from curator_dask.video.spans import Splitter

SPLIT = "split"
"""The stage's name in records and folders."""


@dataclass(frozen=True)
class SplitSpec:
    """How videos are cut, and where the clips go."""

    output: Folder
    splitter: Splitter
    settings: TranscodeSettings
    writes_clips: bool
    """False: plan and record the clips, cut nothing."""
    relative_ids: bool
    """Ids name the video by its path relative to the input folder."""
    embed: EmbedSpec | None
    """How vectors are computed from the frames of the cutting process; None: the embed stage does it later."""


@dataclass(frozen=True)
class SplitTask:
    """One video to split."""

    spec: SplitSpec
    folder: Folder
    """The folder of the source videos."""
    video: SourceVideo

    @property
    def name_in_ids(self) -> str:
        return self.video.relative_path if self.spec.relative_ids else self.video.path

    @property
    def relative_name(self) -> str:
        """The path of the video's records: safe on every disk."""
        return layout.safe_relative(self.video.relative_path)
