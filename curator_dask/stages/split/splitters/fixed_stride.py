"""``fixed_stride``: clips of one length at equal distances, whatever the video shows."""

from __future__ import annotations

from dataclasses import dataclass

from curator_dask.stages.split.splitters.base import SameForAll, SplittingParameters
from curator_dask.video.probe import VideoInfo
from curator_dask.video.spans import FixedStride, SpanPlan


@dataclass(frozen=True)
class FixedStrideSplitter(SameForAll):
    spans: FixedStride

    def plan(self, info: VideoInfo) -> SpanPlan:
        return self.spans.plan(info.duration_s, info.framerate)


def make(parameters: SplittingParameters) -> FixedStrideSplitter:
    return FixedStrideSplitter(
        FixedStride(
            parameters.fixed_stride_split_duration,
            parameters.fixed_stride_stride,
            parameters.fixed_stride_min_clip_length_s,
            parameters.limit_clips,
        )
    )
