"""Image models in the format of Hugging Face (``hf:FOLDER``): CLIP, SigLIP, DINOv2 and others that make a vector of a
picture. They are loaded from a local folder, without a network, and code in the folder is never run.

Each of 8 frames becomes a vector. The vectors are scaled to unit length, so that no frame dominates, and so is their
mean.

Frames are decoded to the model's size if it is fixed, as for SigLIP, else squeezed to a square of its resize edge. So
the model's own resize changes nothing, and its crop gets a square, as intended. Squeezing shows the model the whole
picture: the centre crop alone would hide 44 % of a 16:9 picture, and clips that differ there would count as duplicates.
Frames of other sizes are accepted too; they go through the model's whole preprocessing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from curator_dask.errors import ModelError, ParameterError
from curator_dask.models.base import JSON, Frames, ModelOptions, Unusable, Vector
from curator_dask.models.device import Batches, usable_device
from curator_dask.models.huggingface.network import (
    PREPROCESSING,
    find_output,
    load_config,
    load_network,
    load_processor,
    processor_kind,
    read_output,
)
from curator_dask.models.local_folder import LocalFolder, as_model_errors, find_folder, quiet_and_offline
from curator_dask.models.unit_vector import pool_frames

if TYPE_CHECKING:
    from curator_dask.video.frames.sampling import FrameRule

NUM_FRAMES = 8
DEFAULT_EPS = 0.05
"""A guess, not measured, because cosines differ from model to model. Look at pairs before you delete anything."""
MAX_SIDE = 4096
_CLIPS_PER_BATCH_CPU = 1  # a clip's vector then does not depend on its neighbours, and 8 frames fill a CPU
_CLIPS_PER_BATCH_GPU = 32


def load_folder(name: str, options: ModelOptions) -> HuggingFaceModel:
    """Load the model in the folder `name`, which is below ``model_dir`` or is a path itself.

    Raises ModelError if files are missing or do not fit or transformers is not installed, DeviceError if the device is
    missing.
    """
    return HuggingFaceModel(f"hf:{name}", find_folder(name, options), options)


class HuggingFaceModel:
    """An image model with its own preprocessing."""

    light = False
    default_eps = DEFAULT_EPS

    def __init__(self, name: str, folder: LocalFolder, options: ModelOptions) -> None:
        self.name = name
        self._folder = folder
        self._device = usable_device(options.device)
        # The dtype is the same on CPU and GPU, so that a run may start on one and continue on the other.
        self._dtype: torch.dtype = getattr(torch, "float32" if options.dtype == "auto" else options.dtype)
        self._batches = Batches(_CLIPS_PER_BATCH_CPU if self._device.type == "cpu" else _CLIPS_PER_BATCH_GPU)
        with quiet_and_offline(), as_model_errors(folder):
            self._config = load_config(folder)
            self._processor = load_processor(folder)
            self._network, absent = load_network(folder, self._config, self._dtype)
            self._network.eval().to(self._device)
            width, height = decoded_size(self._processor, self._config)
            self.frame_rule: FrameRule = options.frame_rule(NUM_FRAMES, width=width, height=height)
            noise = np.random.default_rng(0).integers(0, 256, (1, height, width, 3), np.uint8)
            pixels = self.preprocess(noise).to(self._device, self._dtype)
            self._output = find_output(folder, self._network, self._config.model_type, pixels, absent)
            self.dimension = self._probe(noise)

    def fingerprint(self) -> dict[str, JSON]:
        """See :class:`~curator_dask.models.base.EmbeddingModel`. The digests are computed from whole files.

        The version of transformers is left out: vectors of 4.55 and 5.23 differ by less than 1e-6.
        """
        files = [name for name in PREPROCESSING if (self._folder.path / name).is_file()]
        return {
            "model": "huggingface",
            "model_type": str(self._config.model_type),
            "class": type(self._network).__name__,
            "output": self._output,
            "weights": self._folder.sha256(*self._folder.weight_files()),
            "config": self._folder.sha256("config.json", *files),
            "image_processor": dict(processor_kind(self._processor)),
            "dimension": self.dimension,
            "dtype": str(self._dtype).removeprefix("torch."),
            "frame_rule": dict(self.frame_rule.describe()),
            "pooling": "mean of unit vectors",
        }

    def preprocess(self, frames: Frames) -> torch.Tensor:
        """Turn (N, H, W, 3) uint8 RGB frames into (N, 3, S, S) float32 pixels, as the model's configuration says."""
        output = self._processor(images=list(frames), return_tensors="pt", input_data_format="channels_last")
        pixels: torch.Tensor = output["pixel_values"]
        if pixels.ndim != 4 or len(pixels) != len(frames):
            raise ModelError(f"{self.name} makes {tuple(pixels.shape)} of {len(frames)} frames: it is no image model")
        return pixels

    def frame_embeddings(self, pixels: torch.Tensor) -> torch.Tensor:
        """Turn (N, 3, S, S) pixels into (N, D) float32 vectors of any length, on the CPU."""
        with torch.inference_mode():
            vectors = read_output(self._network, pixels.to(self._device, self._dtype), self._output)
        if vectors.ndim != 2 or len(vectors) != len(pixels):
            raise ModelError(f"{self.name} makes {tuple(vectors.shape)} of {len(pixels)} frames, not a vector for each")
        return vectors.float().cpu()

    def embed(self, clips: Sequence[Frames]) -> list[Vector | Unusable]:
        """Make (D,) float32 unit vectors from clips of (T, H, W, 3) uint8 frames, T >= 1.

        A clip is unusable if the network gives numbers that are not finite (``not-finite``), or if its frames cancel
        each other out (``zero-vector``). Raises DeviceError if a single clip does not fit into memory.
        """
        for clip in clips:
            if clip.dtype != np.uint8 or clip.ndim != 4 or clip.shape[-1] != 3 or clip.size == 0:
                raise ParameterError(f"a clip must be (T, H, W, 3) uint8 with T >= 1, not {clip.shape} {clip.dtype}")
        return self._batches.run(self._embed_batch, clips)

    def _embed_batch(self, clips: Sequence[Frames]) -> list[Vector | Unusable]:
        pixels = torch.cat([self.preprocess(clip) for clip in clips])
        parts = torch.split_with_sizes(self.frame_embeddings(pixels), [len(clip) for clip in clips])
        return [pool_frames(part.numpy()) for part in parts]

    def _probe(self, noise: Frames) -> int:
        """The dimension of the vector of a frame of noise."""
        result = self.embed([noise])[0]
        if isinstance(result, Unusable):
            raise ModelError(f"{self._folder.path} gives no usable vector for a frame of noise: {result.message}")
        return len(result)


def decoded_size(processor: Any, config: Any) -> tuple[int, int]:
    """The (width, height) to decode frames to: the model's fixed size, or a square of its resize edge."""
    resized, cropped = getattr(processor, "size", None), getattr(processor, "crop_size", None)
    width, height = _entry(resized, "width"), _entry(resized, "height")
    if not (width and height):
        # ConvNeXt enlarges by 1 / crop_pct before it crops.
        edge = _entry(resized, "shortest_edge") / (getattr(processor, "crop_pct", None) or 1.0)
        width = height = max(int(edge), _entry(cropped, "width"), _entry(cropped, "height"))
    if not width:
        width = height = int(getattr(getattr(config, "vision_config", config), "image_size", 0) or 0)
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise ModelError(f"the image size {width}x{height} of the model's configuration is not within 1 to {MAX_SIDE}")
    return width, height


def _entry(size: Any, key: str) -> int:
    value = size.get(key) if isinstance(size, dict) else getattr(size, key, None)
    return int(value) if value else 0
