"""The track of a mirrored clip, made from numbers alone, is the track of the mirrored frames."""

from __future__ import annotations

import numpy as np

from curator_dask.dedup.align.line import ClipTrack
from curator_dask.dedup.align.mirror import mirrored
from curator_dask.models.pdqf.tracker import Tracker


def test_it_is_the_track_of_the_mirrored_frames() -> None:
    random = np.random.default_rng(5)
    scenes = np.kron(random.integers(0, 255, (30, 8, 8)), np.ones((2, 8, 8))).astype(np.uint8)
    frames = np.repeat(scenes[..., None], 3, axis=3)  # 2 pictures a second of blocks, then one that stands still
    frames = np.concatenate([np.repeat(frames, 2, axis=0)[:60], np.repeat(frames[-1:], 60, axis=0)])

    found = mirrored(clip_track(frames))

    wanted = clip_track(frames[:, :, ::-1])
    assert len(wanted.stills) == 1
    assert np.abs(wanted.windows).max() > 100
    assert np.array_equal(found.windows, wanted.windows)
    assert np.array_equal(found.pictures, wanted.pictures)
    assert not np.array_equal(found.windows, clip_track(frames).windows)


def clip_track(frames: np.ndarray) -> ClipTrack:
    track = Tracker().track(np.ascontiguousarray(frames))
    return ClipTrack(0.0, track.windows, track.usable, track.stills, track.pictures)
