"""InternVideo2 (stage 2, 1B) turns 4 frames of a clip into 512 numbers. It is a model for GPUs.

It loads the released checkpoint in ``{model_dir}/OpenGVLab/InternVideo2-Stage2_1B-224p-f4/`` into this package's own
network, and runs no other code. The preprocessing is that of other video curation pipelines with this model: each frame
is squeezed to 224x224 (neither cropped nor filtered) and scaled by ImageNet's mean and deviation.

On a CPU a clip takes about 57 s in float32, measured at full size on two shared cores. bfloat16 halves the memory there.
Its speed depends on the CPU's instructions: 35 s on one CPU, several times as slow as float32 on another.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from curator_dask.errors import ModelError, ParameterError
from curator_dask.models.base import JSON, Frames, ModelOptions, Unusable, Vector
from curator_dask.models.device import Batches, usable_device
from curator_dask.models.internvideo2.network import NOT_NEEDED, InternVideo2Network, make_empty, sizes_of
from curator_dask.models.local_folder import LocalFolder
from curator_dask.models.unit_vector import unit_vector
from curator_dask.models.weights import load_weights, open_weights

ALGORITHM_VERSION = 1
"""Raise this number with any change to the vectors."""
REPOSITORY = "OpenGVLab/InternVideo2-Stage2_1B-224p-f4"
REVISION = "4362e1f88a992e7edbfd7696f7f78b7f79426dfd"
FILE_STEM = "InternVideo2-stage2_1b-224p-f4"
DEFAULT_EPS = 0.07
"""A careful guess, NOT calibrated, because released weights were not available. ``curator-dask calibrate`` finds the value
for your clips; look at pairs before you delete anything."""
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
_CLIPS_PER_BATCH_CPU = 1  # a clip's vector then does not depend on its neighbours, and one clip fills a CPU
_CLIPS_PER_BATCH_GPU = 16
_RESIZE_BITS = 11

logger = logging.getLogger(__name__)


def load(options: ModelOptions) -> InternVideo2:
    """Load ``internvideo2``. ``dtype="auto"`` is bfloat16, the checkpoint's own type, on a GPU and float32 on a CPU.

    Raises ModelError if the file is missing or does not fit, DeviceError if the device is missing or too small.
    """
    device = usable_device(options.device)
    path = find_weights(options.model_dir)
    with open_weights(path) as weights:
        network = make_empty(sizes_of(weights, **_num_heads(LocalFolder(path.parent))))
        digest = load_weights(network, weights, ignorable=NOT_NEEDED, device=device, dtype=_dtype(options, device))
    if device.type == "cpu":
        logger.warning(
            "internvideo2 is a model for GPUs: on a CPU a clip takes about 57 s, as measured in float32 on 2 cores. "
            "With a GPU, set the device to cuda; without one, pdqf_tmk takes milliseconds"
        )
    return InternVideo2(network, digest, options)


class InternVideo2:
    """A loaded network with its preprocessing.

    `weights_sha256` is the result of :func:`~curator_dask.models.weights.load_weights`. Only the frame sampling of the
    options is used. `clips_per_batch` depends on the device by default, and is halved for good whenever memory runs out.
    """

    name = "internvideo2"
    light = False
    default_eps = DEFAULT_EPS

    def __init__(
        self,
        network: InternVideo2Network,
        weights_sha256: str,
        options: ModelOptions,
        *,
        clips_per_batch: int | None = None,
    ) -> None:
        self._network = network
        self._weights_sha256 = weights_sha256
        self._device = network.vision_proj.weight.device
        self._dtype = network.vision_proj.weight.dtype
        self._sizes = network.sizes
        usual = _CLIPS_PER_BATCH_CPU if self._device.type == "cpu" else _CLIPS_PER_BATCH_GPU
        self._batches = Batches(clips_per_batch or usual)
        self.dimension = self._sizes.dimension
        side = self._sizes.side_px
        self.frame_rule = options.frame_rule(self._sizes.num_frames, width=side, height=side)

    def fingerprint(self) -> dict[str, JSON]:
        """See :class:`~curator_dask.models.base.EmbeddingModel`.

        The digest is computed from the tensors, so it is the same for the released file and its conversion to safetensors.
        """
        return {
            "model": self.name,
            "weights_sha256": self._weights_sha256,
            "num_heads": [self._sizes.num_heads, self._sizes.num_pool_heads],
            "dimension": self.dimension,
            "dtype": str(self._dtype).removeprefix("torch."),
            "frame_rule": dict(self.frame_rule.describe()),
            "algorithm_version": ALGORITHM_VERSION,
        }

    def embed(self, clips: Sequence[Frames]) -> list[Vector | Unusable]:
        """Make (512,) float32 unit vectors from clips of (4, H, W, 3) uint8 frames. Other sizes than 224x224 are resized.

        A clip is unusable if it has fewer frames (``too-few-frames``), or if the network gives numbers that are not
        finite (``not-finite``) or zeros (``zero-vector``). Raises DeviceError if a single clip does not fit into memory.
        """
        num_frames = self._sizes.num_frames
        for clip in clips:
            if clip.dtype != np.uint8 or clip.ndim != 4 or len(clip) > num_frames or clip.shape[-1] != 3:
                raise ParameterError(f"a clip must be ({num_frames}, H, W, 3) uint8, not {clip.shape} {clip.dtype}")
            if 0 in clip.shape[1:3]:
                raise ParameterError(f"a clip's frames must have pixels, not {clip.shape}")
        vectors = iter(self._batches.run(self._embed_batch, [clip for clip in clips if len(clip) == num_frames]))
        return [next(vectors) if len(clip) == num_frames else self._too_few(len(clip)) for clip in clips]

    def preprocess(self, clips: Sequence[Frames]) -> torch.Tensor:
        """Turn clips of (T, H, W, 3) uint8 RGB frames into (B, T, 3, S, S) float32 on the model's device."""
        side = self._sizes.side_px
        frames = torch.from_numpy(np.stack([resize_bilinear(clip, side, side) for clip in clips])).to(self._device)
        mean, std = (torch.tensor(values, device=self._device) for values in (MEAN, STD))
        return ((frames.float() / 255 - mean) / std).permute(0, 1, 4, 2, 3)

    def _embed_batch(self, clips: Sequence[Frames]) -> list[Vector | Unusable]:
        with torch.inference_mode():
            rows = self._network(self.preprocess(clips).to(self._dtype))
        return [unit_vector(row) for row in rows.double().cpu().numpy()]

    def _too_few(self, count: int) -> Unusable:
        return Unusable("too-few-frames", f"the clip has {count} frames; {self.name} needs {self._sizes.num_frames}")


def find_weights(model_dir: Path | None) -> Path:
    """The weight file below `model_dir`: the safetensors file if there is one, else the released ``.pt``.

    Raises ModelError, which says how to get the file, if there is none.
    """
    if model_dir is None:
        raise ModelError(f"internvideo2 needs weights: give the model_dir that holds {REPOSITORY}")
    paths = [model_dir.expanduser() / REPOSITORY / f"{FILE_STEM}{suffix}" for suffix in (".safetensors", ".pt")]
    for path in paths:
        if path.is_file():
            return path
    raise ModelError(
        f"there is neither {paths[0]} nor {paths[1].name} beside it. Accept the licence of {REPOSITORY} on Hugging Face, "
        f"then, once: hf download {REPOSITORY} {FILE_STEM}.pt --revision {REVISION} --local-dir {paths[0].parent}; and, "
        f"for workers to start faster: curator-dask models convert {paths[1]}"
    )


def resize_bilinear(frames: Frames, height: int, width: int) -> Frames:
    """Resize (T, H, W, 3) uint8 frames to (T, height, width, 3), without a filter against aliasing.

    The result equals that of OpenCV's ``INTER_LINEAR``: whole numbers, 11 bits of weight, the same rounding between.
    """
    if frames.shape[1:3] == (height, width):
        return frames
    (top, bottom, y), (left, right, x) = _neighbours(frames.shape[1], height), _neighbours(frames.shape[2], width)
    one = 1 << _RESIZE_BITS
    y, x = y[:, None, None], x[:, None]

    def across(rows: Frames) -> npt.NDArray[np.int32]:
        return (rows[:, :, left] * (one - x) + rows[:, :, right] * x) >> 4

    upper, lower = across(frames[:, top]) * (one - y), across(frames[:, bottom]) * y
    # 7 + 11 bits of fraction are left: 16 are cut off each part, and 2 are rounded off the sum.
    resized: Frames = (((upper >> 16) + (lower >> 16) + 2) >> 2).astype(np.uint8)
    return resized


def _neighbours(old: int, new: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.int32]]:
    """For each of `new` pixels along an axis of `old`: the old pixels before and after it, and the weight of the latter.

    A pixel's position is its centre. Positions beyond the border take the border pixel.
    """
    places = ((np.arange(new) + 0.5) * (old / new) - 0.5).astype(np.float32)
    before = np.floor(places)
    weights = np.rint((places - before) * np.float32(1 << _RESIZE_BITS)).astype(np.int32)
    at = before.astype(np.intp)
    return at.clip(0, old - 1), (at + 1).clip(0, old - 1), weights


def _dtype(options: ModelOptions, device: torch.device) -> torch.dtype:
    name = options.dtype
    if name == "auto":
        name = "float32" if device.type == "cpu" else "bfloat16"
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def _num_heads(folder: LocalFolder) -> dict[str, int]:
    """The numbers of heads, which shapes do not show: those in a ``config.json`` beside the weights, else 16."""
    config = folder.read_json("config.json") if (folder.path / "config.json").is_file() else {}
    heads = {"num_heads": config.get("num_heads", 16), "num_pool_heads": config.get("attn_pool_num_heads", 16)}
    for name, count in heads.items():
        if not isinstance(count, int) or isinstance(count, bool):
            raise ModelError(f"{folder.path / 'config.json'}: {name} ({count!r}) is not a whole number")
    return {name: count for name, count in heads.items() if isinstance(count, int)}
