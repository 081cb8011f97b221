"""``transnetv2``: the clips of each shot, as the network TransNet V2 finds them, together with what the pictures say."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from curator_dask.errors import ParameterError
from curator_dask.stages.split.splitters.base import SameForAll, Splitter, SplittingParameters
from curator_dask.video.frames.pipe import Frames
from curator_dask.video.probe import VideoInfo
from curator_dask.video.shots.content import Measuring
from curator_dask.video.shots.refine import refine_marks
from curator_dask.video.shots.shots import Marks, ShotLengths, shots_between
from curator_dask.video.shots.small_frames import SmallFrames
from curator_dask.video.spans import SpanPlan


@dataclass(frozen=True)
class TransNetV2Splitter(SameForAll):
    lengths: ShotLengths
    threshold: float
    weights: Path
    device: str
    refine: bool = True
    """Whether the pictures have a say; False: the network alone."""

    def plan(self, info: VideoInfo) -> SpanPlan:
        frames = SmallFrames(info)
        marks = self.marks(frames.blocks())
        return self.lengths.plan(shots_between(marks), np.array(frames.times_s), info.framerate)

    def marks(self, blocks: Iterable[Frames]) -> Marks:
        """(N,) bool: which of the frames, in blocks of (n, 27, 48, 3) uint8 RGB, belong to a change of shots."""
        from curator_dask.models.transnetv2.detect import change_probabilities

        if not self.refine:
            return change_probabilities(blocks, self.weights, self.device) > self.threshold
        measuring = Measuring()
        probabilities = change_probabilities(measuring.passing(blocks), self.weights, self.device)
        return refine_marks(probabilities, self.threshold, measuring.measures())


def make(parameters: SplittingParameters) -> Splitter:
    from curator_dask.models.transnetv2.files import find_weights

    if not 0 < parameters.transnetv2_threshold < 1:
        raise ParameterError(f"transnetv2_threshold ({parameters.transnetv2_threshold}) must be between 0 and 1")
    lengths = ShotLengths(
        max_length_s=parameters.transnetv2_max_length_s,
        min_length_s=parameters.transnetv2_min_length_s,
        max_length_mode=parameters.transnetv2_max_length_mode,
        crop_s=parameters.transnetv2_crop_s,
        limit=parameters.limit_clips,
    )
    weights = find_weights(parameters.model_dir)
    return TransNetV2Splitter(
        lengths, parameters.transnetv2_threshold, weights, parameters.torch_device, parameters.transnetv2_refine
    )
