"""Any image model in an ONNX file (``onnx:FILE``): DINOv2, SSCD, MobileCLIP or one's own, run by onnxruntime.

Frames are spread over the clip and squeezed to the model's size. Each becomes a vector; the vectors are scaled to unit
length, so that no frame dominates, and so is their mean. What the file does not say stands in ``FILE.yaml``, see
`settings`.

Each clip goes through the model by itself, in groups of frames whose sizes depend on the number of its frames only. So its
vector never depends on its neighbours, not in a single bit.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from curator_dask.errors import ModelError, ParameterError
from curator_dask.models.base import JSON, Frames, ModelOptions, Unusable, Vector
from curator_dask.models.local_folder import find_file
from curator_dask.models.onnx.files import digests
from curator_dask.models.onnx.pictures import picture_input, picture_output, vectors_of
from curator_dask.models.onnx.session import Session
from curator_dask.models.onnx.settings import Settings, read_settings
from curator_dask.models.onnx.trial import try_in_child
from curator_dask.models.unit_vector import pool_frames

ALGORITHM_VERSION = 1
"""Raise this number with any change to the vectors."""
_FRAMES_AT_ONCE_CPU = 2  # what the first layers make of more frames is larger than caches are
_FRAMES_AT_ONCE_GPU = 64


def load_file(name: str, options: ModelOptions) -> OnnxModel:
    """Load the model in the file `name`, which is below ``model_dir`` or is a path itself.

    Raises ModelError if the file is missing, broken or no image model, or a library is not installed; ParameterError if the
    settings do not fit; DeviceError if the device is missing.
    """
    path = find_file(name, options)
    held = digests(path)
    settings = read_settings(path, options.settings)
    if multiprocessing.parent_process() is None:
        # Before a run starts, so that a file that crashes the library costs a message. Workers need no trial of their own.
        try_in_child(path, options.device, json.dumps(dict(options.settings)), json.dumps(held))
    return OnnxModel(f"onnx:{name}", path, held, settings, options)


class OnnxModel:
    """An image model with the settings of its pictures."""

    light = False

    def __init__(self, name: str, path: Path, held: dict[str, JSON], settings: Settings, options: ModelOptions) -> None:
        self.name = name
        self.default_eps = settings.eps
        self._path, self._held, self._settings = path, held, settings
        self._session = Session(path, options.device)
        with self._named():
            self._input = picture_input(self._session.inputs(), settings)
            self._output = picture_output(self._session.outputs(), settings)
            if options.dtype not in ("auto", self._input.dtype):
                raise ParameterError(
                    f"dtype is {options.dtype}, and the file computes as it was made: leave it at auto"
                )
        on_cpu = options.device == "cpu"
        self._frames_at_once = self._input.batch or (_FRAMES_AT_ONCE_CPU if on_cpu else _FRAMES_AT_ONCE_GPU)
        size = {"width": self._input.width, "height": self._input.height}
        self.frame_rule = options.frame_rule(settings.frames, **size)
        noise = np.random.default_rng(0).integers(0, 256, (2, size["height"], size["width"], 3), np.uint8)
        self.dimension = self.frame_vectors(noise).shape[1]

    def fingerprint(self) -> dict[str, JSON]:
        """See :class:`~curator_dask.models.base.EmbeddingModel`. The digests are computed from whole files.

        The version of onnxruntime is left out: it changes the last bits only.
        """
        settings = {
            name: value for name, value in asdict(self._settings).items() if name not in ("eps", "frames", "size")
        }
        return {
            "model": "onnx",
            **self._held,
            "settings": {**_as_json(settings), "layout": self._input.layout, "output": self._output},
            "dimension": self.dimension,
            "dtype": self._input.dtype,
            "frame_rule": dict(self.frame_rule.describe()),
            "pooling": "mean of unit vectors",
            "algorithm_version": ALGORITHM_VERSION,
        }

    def embed(self, clips: Sequence[Frames]) -> list[Vector | Unusable]:
        """Make (D,) float32 unit vectors from clips of (T, H, W, 3) uint8 frames of the model's size, T >= 1.

        A clip is unusable if the model gives numbers that are not finite (``not-finite``), or if its frames cancel each
        other out (``zero-vector``). Raises ModelError if the model fails, DeviceError if memory runs out.
        """
        rule = self.frame_rule
        for clip in clips:
            if clip.dtype != np.uint8 or clip.shape[1:] != (rule.height, rule.width, 3) or len(clip) == 0:
                raise ParameterError(
                    f"a clip must be (T, {rule.height}, {rule.width}, 3) uint8 with T >= 1, not {clip.shape} {clip.dtype}"
                )
        return [pool_frames(self.frame_vectors(clip)) for clip in clips]

    def frame_vectors(self, frames: Frames) -> npt.NDArray[np.float32]:
        """(T, H, W, 3) uint8 RGB frames → (T, D) float32, of any length."""
        pixels, size = self._input.pixels(frames, self._settings), self._frames_at_once
        parts = [self._vectors(pixels[start : start + size]) for start in range(0, len(pixels), size)]
        return np.concatenate(parts)

    def _vectors(self, pixels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """A model of a fixed number of pictures gets black ones beside too few."""
        count, fixed = len(pixels), self._input.batch or len(pixels)
        if count < fixed:
            pixels = np.concatenate([pixels, np.zeros((fixed - count, *pixels.shape[1:]), pixels.dtype)])
        output = self._session.run(self._input.name, pixels, self._output)
        with self._named():
            return vectors_of(output, fixed, self._input.layout, self._settings.pooling)[:count]

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """Errors of the block name the file."""
        try:
            yield
        except (ModelError, ParameterError) as error:
            raise type(error)(f"{self._path}: {error}") from error


def _as_json(values: dict[str, Any]) -> dict[str, JSON]:
    content: dict[str, JSON] = json.loads(json.dumps(values))
    return content
