"""How pictures go into a model and vectors come out of it: shapes and types, checked against the settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from curator_dask.errors import ModelError, ParameterError
from curator_dask.models.base import Frames
from curator_dask.models.onnx.session import Tensor
from curator_dask.models.onnx.settings import MAX_SIDE_PX, Settings

MAX_BATCH = 1024
_DTYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}
_FLOATS = ("tensor(float)", "tensor(float16)", "tensor(double)")


@dataclass(frozen=True)
class PictureInput:
    """The input of a model that takes pictures."""

    name: str
    batch: int | None
    """The number of pictures that it takes at a time; None: any."""
    width: int
    height: int
    layout: str
    dtype: str

    def pixels(self, frames: Frames, settings: Settings) -> npt.NDArray[Any]:
        """(N, H, W, 3) uint8 RGB frames → (N, 3, H, W) or (N, H, W, 3) of the model's number type."""
        pictures: npt.NDArray[Any] = frames[..., ::-1] if settings.channels == "BGR" else frames
        if self.dtype != "uint8":
            mean, std = (np.array(values, np.float32) for values in (settings.mean, settings.std))
            scaled = pictures.astype(np.float32) / np.float32(255 / settings.pixel_range)
            pictures = (scaled - mean) / std
        if self.layout == "NCHW":
            pictures = pictures.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(pictures, dtype=self.dtype)


def picture_input(inputs: Sequence[Tensor], settings: Settings) -> PictureInput:
    """The input of an image model. Raises ModelError or ParameterError where it is none, or the settings do not fit."""
    if len(inputs) != 1:
        names = ", ".join(shown_name(one.name) for one in inputs) or "none"
        raise ModelError(f"it has the inputs {names}; an image model has one: export its vision part alone")
    (only,) = inputs
    name, shape = shown_name(only.name), only.shape
    if only.type not in _DTYPES:
        raise ModelError(f"its input {name} is {only.type}; pictures are {', '.join(_DTYPES)}")
    if len(shape) != 4:
        raise ModelError(f"its input {name} has the shape {shown_shape(shape)}; pictures have 4 axes")
    layout = _layout(shape, settings)
    width, height = _size(shape, layout, settings)
    batch = shape[0] if isinstance(shape[0], int) else None
    if batch is not None and not 1 <= batch <= MAX_BATCH:
        raise ModelError(f"its input {name} takes {batch} pictures at a time; {MAX_BATCH} is the most")
    _check_numbers(only, settings)
    return PictureInput(only.name, batch, width, height, layout, _DTYPES[only.type])


def _layout(shape: Sequence[int | str | None], settings: Settings) -> str:
    places = {"NCHW": 1, "NHWC": 3}
    if settings.layout is None:
        found = [layout for layout, place in places.items() if shape[place] == 3]
        if len(found) == 1:
            return found[0]
        raise ModelError(f"its input {shown_shape(shape)} does not say where the colours are: set layout: NCHW or NHWC")
    channels = shape[places[settings.layout]]
    if isinstance(channels, int) and channels != 3:
        raise ModelError(
            f"its input {shown_shape(shape)} has {channels} channels by the layout {settings.layout}, not 3"
        )
    return settings.layout


def _size(shape: Sequence[int | str | None], layout: str, settings: Settings) -> tuple[int, int]:
    """Width and height: of the file where it fixes them, else of the settings."""
    height, width = shape[2:] if layout == "NCHW" else shape[1:3]
    wanted_width, wanted_height = settings.size or (None, None)
    size = [
        wanted if not isinstance(held, int) else held
        for held, wanted in ((width, wanted_width), (height, wanted_height))
    ]
    if None in size:
        raise ModelError(f"its input {shown_shape(shape)} takes pictures of any size: set size, such as size: 224")
    if settings.size is not None and settings.size != tuple(size):
        raise ParameterError(
            f"size is {wanted_width}x{wanted_height}, and the input {shown_shape(shape)} takes {size[0]}x{size[1]} pixels"
        )
    if not all(side is not None and 0 < side <= MAX_SIDE_PX for side in size):
        raise ModelError(f"its input {shown_shape(shape)} is not within 1 to {MAX_SIDE_PX} pixels wide and high")
    return int(size[0] or 0), int(size[1] or 0)


def _check_numbers(held: Tensor, settings: Settings) -> None:
    dtype = _DTYPES[held.type]
    if settings.dtype not in (None, dtype):
        raise ParameterError(f"dtype is {settings.dtype}, and the model's input {shown_name(held.name)} is {dtype}")
    given = settings.mean is not None, settings.std is not None
    if dtype == "uint8" and any(given):
        raise ParameterError("mean and std are set, and the model takes pixels as they are (uint8): leave them out")
    if dtype != "uint8" and not all(given):
        raise ParameterError(
            "mean and std are not set, and vectors of wrongly scaled pictures mean nothing. Write them down as the model "
            "was trained: mostly mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]; where the file scales pixels "
            "itself, mean: 0, std: 1"
        )


def picture_output(outputs: Sequence[Tensor], settings: Settings) -> str:
    """The name of the output that holds the vectors. Raises ModelError or ParameterError where that is not clear."""
    names = ", ".join(shown_name(one.name) for one in outputs)
    found = [one for one in outputs if settings.output in (None, one.name)]
    if not found:
        raise ParameterError(f"output is {shown_name(settings.output or '')}, and the model has {names}")
    if len(found) > 1:
        raise ParameterError(f"the model has the outputs {names}: set output to the one that holds the vectors")
    if found[0].type not in _FLOATS:
        raise ModelError(f"its output {shown_name(found[0].name)} is {found[0].type}; vectors are {', '.join(_FLOATS)}")
    return found[0].name


def vectors_of(
    output: npt.NDArray[Any], num_pictures: int, layout: str, pooling: str | None
) -> npt.NDArray[np.float32]:
    """(N, D) float32, one vector per picture, from what the model gave for N pictures.

    It may be (N, D), (N, tokens, D) or (N, D, H, W). Raises ModelError for other shapes, and ParameterError where the
    pooling is not clear or does not fit.
    """
    shape = np.shape(output)
    if not 2 <= len(shape) <= 4 or shape[0] != num_pictures or 0 in shape:
        raise ModelError(
            f"its output has the shape {shape} for {num_pictures} pictures; it must be (N, D), (N, tokens, D) or a map of "
            "4 axes"
        )
    allowed = {2: ("none",), 3: ("first_token", "mean_token"), 4: ("mean_map",)}[len(shape)]
    chosen = allowed[0] if pooling is None and len(allowed) == 1 else pooling
    if chosen not in allowed:
        said = "is not set" if pooling is None else f"is {pooling}"
        raise ParameterError(f"pooling {said}, and the output has the shape {shape}: set it to {' or '.join(allowed)}")
    rows = _pooled(output.astype(np.float64), chosen, layout)
    if rows.shape[1] < 2:
        raise ModelError(f"its output has the shape {shape}: one number for a picture is no vector")
    return rows.astype(np.float32)


def _pooled(output: npt.NDArray[np.float64], pooling: str, layout: str) -> npt.NDArray[np.float64]:
    rows: npt.NDArray[np.float64] = output
    if pooling == "first_token":
        rows = output[:, 0]
    elif pooling == "mean_token":
        rows = output.mean(axis=1)
    elif pooling == "mean_map":
        rows = output.mean(axis=(2, 3) if layout == "NCHW" else (1, 2))
    return rows


def shown_name(name: str) -> str:
    """A name out of a file, fit to be printed."""
    return ascii(name)[:80]


def shown_shape(shape: Sequence[int | str | None]) -> str:
    """``(any, 3, 224, 224)``."""
    return f"({', '.join(str(one) if isinstance(one, int) else 'any' for one in shape)})"
