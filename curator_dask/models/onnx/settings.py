"""What an ONNX file does not say of itself: how its pictures are scaled, and which of its numbers are the vector.

The settings stand in ``FILE.yaml`` beside ``FILE``; those of the user (``--model-setting KEY=VALUE``) go over them::

    size: 224                      # width and height, or 320x180
    mean: [0.485, 0.456, 0.406]    # of pixel values between 0 and 1, in the order of channels
    std: [0.229, 0.224, 0.225]
    pooling: first_token           # where the output has one vector per token
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curator_dask.errors import ParameterError

MAX_SIDE_PX = 4096
MAX_FRAMES = 1000
MAX_YAML_BYTES = 64 << 10
DEFAULT_EPS = 0.05
"""A guess, as cosines differ from model to model. ``curator-dask calibrate`` finds the value for a model."""
LAYOUTS = ("NCHW", "NHWC")
CHANNELS = ("RGB", "BGR")
NUMBER_TYPES = ("float32", "float16", "uint8")
POOLINGS = ("none", "first_token", "mean_token", "mean_map")


@dataclass(frozen=True)
class Settings:
    """None stands for what the file itself says."""

    size: tuple[int, int] | None = None
    """Width and height in pixels."""
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    pixel_range: int = 1
    """The value of white before `mean` and `std`: 1 or 255."""
    layout: str | None = None
    channels: str = "RGB"
    dtype: str | None = None
    output: str | None = None
    pooling: str | None = None
    frames: int = 8
    """Frames of a clip that the model sees."""
    eps: float = DEFAULT_EPS
    """The cosine distance up to which clips count as duplicates, unless the user says otherwise."""


def read_settings(path: Path, given: Sequence[tuple[str, str]]) -> Settings:
    """The settings of the model file `path`: of the YAML file beside it, with those `given`, as YAML, over them.

    Raises ParameterError for names that do not exist and values that cannot be meant.
    """
    beside = yaml_beside(path)
    in_file = _read_yaml(beside) if beside.exists() else {}
    return Settings(**{**_parsed(in_file, str(beside)), **_parsed(_read_given(given), "model_settings")})


def yaml_beside(path: Path) -> Path:
    """``model.onnx.yaml`` for ``model.onnx``."""
    return path.with_name(f"{path.name}.yaml")


def _read_given(given: Sequence[tuple[str, str]]) -> dict[str, Any]:
    import yaml

    try:
        return {name: yaml.safe_load(text) for name, text in given}
    except yaml.YAMLError as error:
        raise ParameterError(f"model_settings {given!r} cannot be read: {error}") from error


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        if path.stat().st_size > MAX_YAML_BYTES:
            raise ParameterError(f"{path} has {path.stat().st_size} bytes: that is no list of settings")
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ParameterError(f"{path} cannot be read as YAML: {error}") from error
    if not isinstance(values, dict):
        raise ParameterError(f"{path} must hold 'name: value' lines, not a {type(values).__name__}")
    return {str(name): value for name, value in values.items()}


def _parsed(values: Mapping[str, Any], origin: str) -> dict[str, Any]:
    return {name: _parse(name, value, origin) for name, value in values.items()}


def _parse(name: str, value: Any, origin: str) -> Any:
    if name not in _PARSERS:
        near = difflib.get_close_matches(name, _PARSERS, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ParameterError(f"{origin} sets {ascii(name)[:80]}; there are {', '.join(_PARSERS)}{hint}")
    try:
        return _PARSERS[name](value)
    except (ValueError, TypeError, OverflowError) as error:
        raise ParameterError(f"{origin}: {name} ({ascii(value)[:80]}) must be {error}") from error


def _size(value: Any) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,4})(?:x(\d{1,4}))?", str(value))
    width, height = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not (0 < width <= MAX_SIDE_PX and 0 < height <= MAX_SIDE_PX):
        raise ValueError(f"a side in pixels such as 224, or WIDTHxHEIGHT, within 1 to {MAX_SIDE_PX}")
    return width, height


def _three(value: Any) -> tuple[float, ...]:
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
    try:
        numbers = tuple(float(part) for part in (parts * 3 if len(parts) == 1 else parts))
    except (ValueError, TypeError):
        numbers = ()
    if len(numbers) != 3 or not all(map(math.isfinite, numbers)):
        raise ValueError("one number, or three with commas, one for each channel")
    return numbers


def _above_zero(value: Any) -> tuple[float, ...]:
    numbers = _three(value)
    if min(numbers) <= 0:
        raise ValueError("above 0 in each channel")
    return numbers


def _one_of(*choices: str) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"one of {', '.join(choices)}")
        return str(value)

    return parse


def _whole(most: int) -> Callable[[Any], int]:
    def parse(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise ValueError(f"a whole number from 1 to {most}")
        return value

    return parse


def _pixel_range(value: Any) -> int:
    if value not in (1, 255) or isinstance(value, bool):
        raise ValueError("1 or 255, the value of white before mean and std")
    return int(value)


def _eps(value: Any) -> float:
    try:
        eps = float(value)
    except (ValueError, TypeError):
        eps = math.nan
    if not 0 <= eps <= 2:
        raise ValueError("a cosine distance, between 0 and 2")
    return eps


def _text(value: Any) -> str:
    if not isinstance(value, str | int) or value == "":
        raise ValueError("the name of an output")
    return str(value)


_PARSERS: dict[str, Callable[[Any], Any]] = {
    "size": _size,
    "mean": _three,
    "std": _above_zero,
    "pixel_range": _pixel_range,
    "layout": _one_of(*LAYOUTS),
    "channels": _one_of(*CHANNELS),
    "dtype": _one_of(*NUMBER_TYPES),
    "output": _text,
    "pooling": _one_of(*POOLINGS),
    "frames": _whole(MAX_FRAMES),
    "eps": _eps,
}
