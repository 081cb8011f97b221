"""NVIDIA's Cosmos-Embed1 turns 8 frames of a clip into 256 numbers (224p) or 768 (336p, 448p).

It is loaded from the released folder, ``{model_dir}/nvidia/Cosmos-Embed1-224p``. Only the Python code in that folder
defines the network. The code runs with all rights of the user, so the user must allow it (``trust_remote_code``).

Frames are decoded to the square that the variant was made for, so the processor's own resize changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from curator_dask.errors import ModelError, ParameterError
from curator_dask.models.base import JSON, Frames, ModelOptions, Unusable, Vector
from curator_dask.models.cosmos.folder import (
    absent_lookups,
    check_folder,
    class_of,
    code_files,
    linked_copy,
    private_code_cache,
    version_hint,
)
from curator_dask.models.device import Batches, usable_device
from curator_dask.models.local_folder import (
    LocalFolder,
    as_model_errors,
    find_folder,
    load_transformers,
    quiet_and_offline,
    transformers_version,
)
from curator_dask.models.unit_vector import unit_vector

if TYPE_CHECKING:
    from curator_dask.video.frames.sampling import FrameRule

DEFAULT_EPS = 0.05
"""A guess, not measured, because released weights were not available. Look at pairs before you delete anything."""
DIMENSIONS = {"224p": 256, "336p": 768, "448p": 768}
NUM_FRAMES = 8
MAX_FRAMES = 64
MAX_SIDE = 2048
_CLIPS_PER_BATCH_CPU = 1  # a clip's vector then does not depend on its neighbours
_CLIPS_PER_BATCH_GPU = 16
_POSITIONS = "visual_encoder.pos_embed"


def load_224p(options: ModelOptions) -> CosmosEmbed1:
    """Load ``cosmos-embed1-224p``; see :class:`CosmosEmbed1`."""
    return CosmosEmbed1("224p", options)


def load_336p(options: ModelOptions) -> CosmosEmbed1:
    """Load ``cosmos-embed1-336p``; see :class:`CosmosEmbed1`."""
    return CosmosEmbed1("336p", options)


def load_448p(options: ModelOptions) -> CosmosEmbed1:
    """Load ``cosmos-embed1-448p``; see :class:`CosmosEmbed1`."""
    return CosmosEmbed1("448p", options)


class CosmosEmbed1:
    """A variant of the model. Raises ParameterError if its code is not allowed to run, ModelError if it does not load.

    ``dtype="auto"`` is bfloat16 on a GPU, and float32 on a CPU or if the code does not work with bfloat16.
    """

    light = False
    default_eps = DEFAULT_EPS

    def __init__(self, variant: str, options: ModelOptions) -> None:
        self.name = f"cosmos-embed1-{variant}"
        self.dimension = DIMENSIONS[variant]
        self._folder = find_folder(f"nvidia/Cosmos-Embed1-{variant}", options)
        if not options.trust_remote_code:
            raise ParameterError(
                f"{self.name} runs the Python code in {self._folder.path}; look it over, and allow it with "
                "trust_remote_code=True"
            )
        self._device = usable_device(options.device)
        with quiet_and_offline(), private_code_cache(), as_model_errors(self._folder):
            check_folder(self._folder)
            with linked_copy(self._folder) as folder:
                self._processor = _load_processor(folder)
                self._network = _load_network(folder).to(self._device)
        self.frame_rule = self._rule(options)
        self._batches = Batches(_CLIPS_PER_BATCH_CPU if self._device.type == "cpu" else _CLIPS_PER_BATCH_GPU)
        self._dtype = torch.float32
        with as_model_errors(self._folder):
            self._settle_dtype(options.dtype)

    def fingerprint(self) -> dict[str, JSON]:
        """See :class:`~curator_dask.models.base.EmbeddingModel`. The digests are computed from whole files."""
        return {
            "model": self.name,
            "weights": self._folder.sha256(*self._folder.weight_files()),
            "code": self._folder.sha256(*code_files(self._folder)),
            "config": self._folder.sha256("config.json", "processor_config.json"),
            "dimension": self.dimension,
            "dtype": str(self._dtype).removeprefix("torch."),
            "frame_rule": dict(self.frame_rule.describe()),
        }

    def embed(self, clips: Sequence[Frames]) -> list[Vector | Unusable]:
        """Make (D,) float32 unit vectors from clips of (8, H, W, 3) uint8 frames, all of the same size.

        A clip is unusable if the network gives numbers that are not finite (``not-finite``) or only zeros
        (``zero-vector``). Raises DeviceError if a single clip does not fit into memory.
        """
        num_frames = self.frame_rule.num_frames
        for clip in clips:
            if clip.dtype != np.uint8 or clip.ndim != 4 or len(clip) != num_frames or clip.shape[-1] != 3:
                raise ParameterError(f"a clip must be ({num_frames}, H, W, 3) uint8, not {clip.shape} {clip.dtype}")
        return self._batches.run(self._embed_batch, clips)

    def _embed_batch(self, clips: Sequence[Frames]) -> list[Vector | Unusable]:
        videos = np.ascontiguousarray(np.stack(clips).transpose(0, 1, 4, 2, 3))
        # The processor's output is passed on unchanged: processor and network agree on which axis is time.
        ready = self._processor(videos=videos, return_tensors="pt")["videos"].to(self._device, self._dtype)
        with torch.inference_mode():
            rows = self._network.get_video_embeddings(videos=ready).visual_proj
        if rows.shape != (len(clips), self.dimension):
            raise ModelError(
                f"{self._folder.path} makes {tuple(rows.shape)} of {len(clips)} clips, not {self.dimension} each"
            )
        return [unit_vector(row) for row in rows.double().cpu().numpy()]

    def _rule(self, options: ModelOptions) -> FrameRule:
        raw = self._folder.read_json("processor_config.json")
        size = raw.get("resolution")
        height, width = size if isinstance(size, list) and len(size) == 2 else (size, size)
        num_frames = self._require_count(raw.get("num_video_frames", NUM_FRAMES), "num_video_frames", MAX_FRAMES)
        height, width = (self._require_count(value, "resolution", MAX_SIDE) for value in (height, width))
        return options.frame_rule(num_frames, width=width, height=height)

    def _require_count(self, value: JSON, name: str, most: int) -> int:
        if not isinstance(value, int) or not 1 <= value <= most:
            raise ModelError(f"{self._folder.path}: {name} ({value!r}) in its configuration is not within 1 to {most}")
        return value

    def _settle_dtype(self, wanted: str) -> None:
        """Choose the first dtype with which the model embeds a clip of noise."""
        auto = ["bfloat16", "float32"] if self._device.type == "cuda" else ["float32"]
        choices = auto if wanted == "auto" else [wanted]
        for at, choice in enumerate(choices):
            self._dtype = getattr(torch, choice)
            self._network.to(self._dtype)
            try:
                self._probe()
                return
            except RuntimeError:  # some layers of some revisions mix types
                if at == len(choices) - 1:
                    raise

    def _probe(self) -> None:
        rule = self.frame_rule
        noise = np.random.default_rng(0).integers(0, 256, (rule.num_frames, rule.height, rule.width, 3), np.uint8)
        result = self.embed([noise])[0]
        if isinstance(result, Unusable):
            raise ModelError(f"{self._folder.path} gives no usable vector for a clip of noise: {result.message}")


def _load_processor(folder: LocalFolder) -> Any:
    """Load the folder's own processor; it does not support a separate tokenizer and image processor."""
    processor = class_of(folder, "processor_config.json", "AutoProcessor")
    return processor.from_pretrained(folder.path, trust_remote_code=True, local_files_only=True)


def _load_network(folder: LocalFolder) -> Any:
    """Load in float32, which holds the stored bfloat16 exactly. A mismatched size is an error: its weights would be random."""
    try:
        config = class_of(folder, "config.json", "AutoConfig").from_pretrained(folder.path, local_files_only=True)
        network, info = class_of(folder, "config.json", "AutoModel").from_pretrained(
            folder.path,
            config=config,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            **{"dtype" if transformers_version() >= (4, 56) else "torch_dtype": torch.float32},
        )
    except Exception as error:
        version = load_transformers().__version__
        remedies = absent_lookups(folder) or [f"if its code is older than the library: {version_hint()}"]
        raise ModelError(
            f"{folder.path} cannot be loaded with transformers {version}; {'; '.join(remedies)}. "
            f"What was said: {type(error).__name__}: {error}"
        ) from error
    absent = [*info["missing_keys"], *info["mismatched_keys"]]
    empty = [key for key, tensor in [*network.named_parameters(), *network.named_buffers()] if tensor.is_meta]
    if absent or empty:
        raise ModelError(
            f"{folder.path}: {len(absent) + len(empty)} weights were not loaded, such as {(absent + empty)[0]}; {version_hint()}"
        )
    _check_positions(folder, network)
    return network.eval()


def _check_positions(folder: LocalFolder, network: Any) -> None:
    """Raise ModelError if the position embedding is not that of the file, enlarged to the variant's grid.

    All variants store it for 224 pixels (257 rows). Some versions skip the hook that enlarges it: it is random then.
    """
    loaded = next((tensor for key, tensor in network.state_dict().items() if key.endswith(_POSITIONS)), None)
    stored = _stored_positions(folder)
    if loaded is None or stored is None:
        return
    loaded, stored = loaded.float().cpu(), stored.float()
    if loaded.shape != stored.shape:
        stored = _enlarge(stored, loaded.shape[1])
    likeness = torch.nn.functional.cosine_similarity(loaded.flatten(), stored.flatten(), dim=0)
    if not likeness > 0.9:
        raise ModelError(f"{folder.path}: {_POSITIONS} was not loaded from the file; {version_hint()}")


def _stored_positions(folder: LocalFolder) -> torch.Tensor | None:
    from safetensors import safe_open

    for name in folder.weight_files():
        with safe_open(folder.path / name, "pt") as file:
            key = next((key for key in file.keys() if key.endswith(_POSITIONS)), None)  # noqa: SIM118 - no dictionary
            if key is not None:
                tensor: torch.Tensor = file.get_tensor(key)
                return tensor
    return None


def _enlarge(positions: torch.Tensor, num_rows: int) -> torch.Tensor:
    """Resize (1, n, D) to another square grid. The first row belongs to the class token and does not change."""
    first, grid = positions[:, :1], positions[:, 1:]
    old, new = round(grid.shape[1] ** 0.5), round((num_rows - 1) ** 0.5)
    if old * old != grid.shape[1] or new * new != num_rows - 1:
        raise ModelError(f"a position embedding of {positions.shape[1]} rows does not fit a network of {num_rows}")
    square = grid.reshape(1, old, old, -1).permute(0, 3, 1, 2)
    resized = torch.nn.functional.interpolate(square, size=(new, new), mode="bicubic", align_corners=False)
    return torch.cat([first, resized.permute(0, 2, 3, 1).reshape(1, new * new, -1)], dim=1)
