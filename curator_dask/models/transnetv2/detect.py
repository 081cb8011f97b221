"""Run TransNet V2 over a video: windows of 100 frames, of which the middle 50 count.

The first and the last frame are repeated, so that every frame of the video is in the middle of a window::

    frames            25 x first | 0 … 49 | 50 … 99 | …           | 25 or more x last
    window 0          |---------- 0 … 49 counts ---|
    window 1                     |--------- 50 … 99 counts ---|
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from curator_dask.models.device import usable_device
from curator_dask.models.transnetv2.network import TransNetV2
from curator_dask.models.transnetv2.weights import load_network
from curator_dask.video.frames.pipe import Frames

WINDOW, STEP = 100, 50
_MARGIN = (WINDOW - STEP) // 2


def change_probabilities(blocks: Iterable[Frames], weights: Path, device: str = "auto") -> npt.NDArray[np.float32]:
    """(N,) float32: the probability of each frame that it is the last one before a change of shots.

    `blocks`: the frames, (n, 27, 48, 3) uint8 RGB, in order. `device`: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``. Raises
    ModelError for other weights, DeviceError for a device that is not there.
    """
    network = _network(weights, _chosen(device))
    counted: list[int] = []
    found = [_run(network, window) for window in windows(_counting(blocks, counted))]
    return np.concatenate([np.empty(0, np.float32), *found])[: sum(counted)]


def windows(blocks: Iterable[Frames]) -> Iterator[Frames]:
    """Yield windows of (100, 27, 48, 3) at steps of 50 frames, as many as it takes for each frame to be in a middle."""
    waiting: Frames | None = None
    num_new = 0
    for block in blocks:
        num_new += len(block)
        waiting = np.concatenate([np.repeat(block[:1], _MARGIN, 0) if waiting is None else waiting, block])
        while len(waiting) >= WINDOW:
            yield waiting[:WINDOW]
            waiting, num_new = waiting[STEP:], num_new - STEP
    while waiting is not None and num_new > 0:
        waiting = np.concatenate([waiting, np.repeat(waiting[-1:], max(WINDOW - len(waiting), 0), 0)])
        yield waiting[:WINDOW]
        waiting, num_new = waiting[STEP:], num_new - STEP


def _counting(blocks: Iterable[Frames], counted: list[int]) -> Iterator[Frames]:
    for block in blocks:
        counted.append(len(block))
        yield block


def _run(network: TransNetV2, window: Frames) -> npt.NDArray[np.float32]:
    frames = torch.from_numpy(np.ascontiguousarray(window))[None].to(network.fc1.weight.device)
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums in one order, however many threads a worker has
    try:
        with torch.inference_mode():
            found: npt.NDArray[np.float32] = network(frames)[0, _MARGIN : _MARGIN + STEP].cpu().numpy()
    finally:
        torch.set_num_threads(num_threads)
    return found


def _chosen(device: str) -> str:
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device


@functools.lru_cache(maxsize=1)
def _network(weights: Path, device: str) -> TransNetV2:
    return load_network(weights, usable_device(device))
