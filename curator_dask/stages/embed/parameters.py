"""The parameters of the embed stage that a whole run takes too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from curator_dask.errors import ParameterError
from curator_dask.keywords import with_suggestions
from curator_dask.models.registry import DEFAULT_MODEL

FRAMES_FROM = ("auto", "clips", "source")
FOLLOW_WORKERS = "auto"
"""The `torch_device` that leaves the choice to the workers."""


@with_suggestions
@dataclass(frozen=True, kw_only=True)
class EmbedParameters:
    """Which model computes the vectors, from which frames, and how it runs."""

    embedding_algorithm: str = field(default=DEFAULT_MODEL, kw_only=False)
    """The name of the embedding model, or ``hf:FOLDER``, or ``onnx:FILE``."""
    model_dir: str = field(default="./models", kw_only=False)
    """Folder with the weights of the models."""
    frame_sampling: str = "uniform"
    """Which frames the model sees. ``uniform``: spread over the whole clip. ``prefix``: as older vectors were made, for
    models that look at a fixed number of frames."""
    frames_from: str = "auto"
    """``clips``: the clip files are decoded. ``source``: the same spans of the source videos are decoded; done while the
    videos are cut, that saves decoding the clips. ``auto``: the choice that made existing vectors, else ``source`` if
    the source videos are known and the model is a light one, else ``clips``. Without clip files, it is always the
    source."""
    dtype: str = "auto"
    """Number type of a network's arithmetic: ``auto``, ``float32``, ``bfloat16`` or ``float16``."""
    torch_device: str = FOLLOW_WORKERS
    """Where the model runs: a device of torch's; ``auto``: ``cuda`` on GPU workers unless the model is light, else
    ``cpu``. The `dtype` ``auto`` depends on the device. In a folder that holds vectors, both are the ones that made
    them."""
    trust_remote_code: bool = False
    """Allow Python code from the model's folder to run."""
    model_settings: Mapping[str, Any] | Sequence[str] | None = None
    """Settings that only the model understands, as a mapping or as texts ``NAME=VALUE``; those of ``onnx:FILE`` go over
    those in ``FILE.yaml``."""
    decode_threads: int | None = None
    """Clips decoded at the same time, ahead of the model. None: one; for a model on a GPU, its share of the cores."""

    tracks: bool = True
    """Write a track beside each vector: what the clip shows every half second, under 200 bytes per second. It costs
    little beside the default model and its kin. For other models it makes cutting about a fifth slower, if the videos are
    cut in the same run; else it costs one more decode of each clip."""

    def __post_init__(self) -> None:
        if self.frames_from not in FRAMES_FROM:
            raise ParameterError(f"frames_from ({self.frames_from!r}) must be one of {', '.join(FRAMES_FROM)}")
        if self.decode_threads is not None and self.decode_threads < 1:
            raise ParameterError(f"decode_threads ({self.decode_threads}) must be at least 1")
