"""``content``: as ``fixed_stride``, but the clips of each shot begin with the shot, and none goes beyond it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curator_dask.errors import ParameterError
from curator_dask.stages.split.splitters.base import SameForAll, Splitter, SplittingParameters
from curator_dask.stages.split.splitters.fixed_stride import make as make_fixed_stride
from curator_dask.video.probe import VideoInfo
from curator_dask.video.shots.content import mark_content_changes, measure
from curator_dask.video.shots.shots import ShotLengths, shots_between
from curator_dask.video.shots.small_frames import SmallFrames
from curator_dask.video.spans import SpanPlan


@dataclass(frozen=True)
class ContentSplitter(SameForAll):
    lengths: ShotLengths
    threshold: float

    def plan(self, info: VideoInfo) -> SpanPlan:
        frames = SmallFrames(info)
        marks = mark_content_changes(measure(frames.blocks()), self.threshold)
        return self.lengths.plan(shots_between(marks), np.array(frames.times_s), info.framerate)


def make(parameters: SplittingParameters) -> Splitter:
    if not parameters.content_threshold > 1:
        raise ParameterError(f"content_threshold ({parameters.content_threshold}) must be > 1")
    usual = make_fixed_stride(parameters).spans  # its checks name the flags
    lengths = ShotLengths(
        max_length_s=usual.length_s, stride_s=usual.stride_s, min_length_s=usual.min_length_s, limit=usual.limit
    )
    return ContentSplitter(lengths, parameters.content_threshold)
