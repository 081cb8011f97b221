"""Tracks for clips whose model does not give them: networks, functions of the user's, and models that leave bars on.

The track is the same as beside the default model. It costs the decoding of the clip at 64x64, unless the model sees
frames of that rule itself, and the descriptors of 15 frames per second.
"""

from __future__ import annotations

from curator_dask.models.base import Frames
from curator_dask.models.device import device_of
from curator_dask.models.pdqf import pdq
from curator_dask.models.pdqf.letterbox import without_bars
from curator_dask.models.pdqf.track import FRAMES_PER_SECOND, Track, track_of_frames
from curator_dask.video.frames.sampling import FrameRule

TRACK_RULE = FrameRule.rate(FRAMES_PER_SECOND, width=pdq.SIDE, height=pdq.SIDE)
"""The frames that a track is made of."""


class Tracker:
    """Makes the track of a clip from its frames."""

    def __init__(self, device: str = "cpu") -> None:
        self._device = device_of(device)

    def track(self, frames: Frames) -> Track:
        """The track of (T, 64, 64, 3) uint8 RGB frames, T >= 1, which :data:`TRACK_RULE` chose."""
        import torch

        pictures = torch.from_numpy(without_bars(frames)).to(self._device)
        return track_of_frames(pdq.describe_frames(pictures), pdq.luma(pictures))
