"""Image models in the format of Hugging Face (``hf:FOLDER``): CLIP, SigLIP, DINOv2 and whatever else makes one vector of
one picture. From a local folder, without network, and never with code out of it.

Each of 8 frames becomes a vector; those are scaled to unit length, so that no frame dominates, and their mean is scaled
again.

Frames come squeezed to a square of the model's resize edge, or just at its size if it has a fixed one, as SigLIP. The
model's own resize then changes nothing, and its crop takes what it is meant to from a square. Squeezing shows the model
the whole picture: its own centre crop would hide 44 % of a 16:9 picture, and clips that differ there would count as
duplicates. Frames of any other size may be given too; they go through the model's whole preprocessing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
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

if TYPE_CHECKING:
    from curator_dask.video.frames.sampling import FrameRule

NUM_FRAMES = 8
DEFAULT_EPS = 0.05
"""Not measured: cosines mean another thing in every model. Look at pairs before anything is deleted."""
MAX_SIDE = 4096
_CLIPS_PER_BATCH_CPU = 1  # a clip's vector then does not depend on its neighbours, and 8 frames fill a CPU
_CLIPS_PER_BATCH_GPU = 32


def load_folder(name: str, options: ModelOptions) -> HuggingFaceModel:
    """The model in the folder `name`, which is below ``model_dir`` or a path of its own.

    Raises ModelError where files are missing or do not fit or transformers is not installed, DeviceError where the
    device is not there.
    """
    return HuggingFaceModel(f"hf:{name}", find_folder(name, options), options)


class HuggingFaceModel:
    """An image model and its own preprocessing."""

    light = False
    default_eps = DEFAULT_EPS

    def __init__(self, name: str, folder: LocalFolder, options: ModelOptions) -> None:
        self.name = name
        self._folder = folder
        self._device = usable_device(options.device)
        # The same on CPU and GPU, so that either may go on with what the other began.
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
        """See :class:`~curator_dask.models.base.EmbeddingModel`. The digests are those of whole files.

        Versions of transformers are left out: 4.55 and 5.23 differ by less than 1e-6.
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
        """(N, 3, S, S) float32 pixels of (N, H, W, 3) uint8 RGB frames, by the model's own configuration."""
        output = self._processor(images=list(frames), return_tensors="pt", input_data_format="channels_last")
        pixels: torch.Tensor = output["pixel_values"]
        if pixels.ndim != 4 or len(pixels) != len(frames):
            raise ModelError(f"{self.name} makes {tuple(pixels.shape)} of {len(frames)} frames: it is no image model")
        return pixels

    def frame_embeddings(self, pixels: torch.Tensor) -> torch.Tensor:
        """(N, D) float32 vectors, of any length, on the CPU, of (N, 3, S, S) pixels."""
        with torch.inference_mode():
            vectors = read_output(self._network, pixels.to(self._device, self._dtype), self._output)
        if vectors.ndim != 2 or len(vectors) != len(pixels):
            raise ModelError(f"{self.name} makes {tuple(vectors.shape)} of {len(pixels)} frames, not a vector for each")
        return vectors.float().cpu()

    def embed(self, clips: Sequence[Frames]) -> list[Vector | Unusable]:
        """(D,) float32 unit vectors of clips of (T, H, W, 3) uint8 frames, T >= 1.

        Unusable are clips with numbers that are not finite (``not-finite``) and clips whose frames cancel each other
        out (``zero-vector``). Raises DeviceError if memory does not take one clip.
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
        """The dimension, from a frame of noise that goes all the way."""
        result = self.embed([noise])[0]
        if isinstance(result, Unusable):
            raise ModelError(f"{self._folder.path} gives no usable vector for a frame of noise: {result.message}")
        return len(result)


def pool_frames(rows: npt.NDArray[np.float32]) -> Vector | Unusable:
    """The (D,) float32 unit vector along the mean of (T, D) rows, each scaled to unit length first."""
    vectors = rows.astype(np.float64)
    if not np.isfinite(vectors).all():
        return Unusable("not-finite", "the network gave numbers that are not finite")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    mean = (vectors / np.where(lengths > 0, lengths, 1.0)).mean(axis=0)
    length = float(np.linalg.norm(mean))
    if length < 1e-6:
        return Unusable("zero-vector", "the frames have no direction in common, or none at all")
    vector: Vector = (mean / length).astype(np.float32)
    return vector


def decoded_size(processor: Any, config: Any) -> tuple[int, int]:
    """(width, height) at which frames are wanted: the fixed size, or a square of the edge that is resized to."""
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
