"""The interface of every embedding model, and the options that models are loaded with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from curator_dask.errors import ParameterError
from curator_dask.video.frames.sampling import FrameRule

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

JSON: TypeAlias = "str | int | float | bool | list[JSON] | dict[str, JSON] | None"
Frames: TypeAlias = "npt.NDArray[np.uint8]"
Vector: TypeAlias = "npt.NDArray[np.float32]"

FRAME_SAMPLINGS = ("uniform", "prefix")
DTYPES = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """Options for loading a model. Raises ParameterError for values that cannot be meant."""

    model_dir: Path | None = None
    """The folder that holds the models' own folders of weights."""
    device: str = "cpu"
    """A device of torch: ``cpu``, ``cuda``, ``cuda:1``."""
    frame_sampling: str = "uniform"
    """``uniform``: frames from the whole clip. ``prefix``: as older vectors were made; the end of the clip may go unseen."""
    dtype: str = "auto"
    """Number type of a network's arithmetic; ``auto`` suits the model and the device. Vectors are always float32."""
    trust_remote_code: bool = False
    """Whether Python code from a model folder, or named by the user, may run."""
    start_dir: Path = Path()
    """The folder that relative paths of models start from. A worker may run in another folder than its user."""
    settings: tuple[tuple[str, str], ...] = ()
    """Names and values, as YAML, that only the model itself understands; see :func:`settings_as_text`."""

    def __post_init__(self) -> None:
        _require_choice("frame_sampling", self.frame_sampling, FRAME_SAMPLINGS)
        _require_choice("dtype", self.dtype, DTYPES)

    def frame_rule(self, num_frames: int, *, width: int, height: int) -> FrameRule:
        """The rule of a model that sees a fixed number of frames."""
        make = FrameRule.prefix if self.frame_sampling == "prefix" else FrameRule.spread
        return make(num_frames, width=width, height=height)


def settings_as_text(given: Mapping[str, Any] | Sequence[str] | None) -> tuple[tuple[str, str], ...]:
    """Settings of a model for :class:`ModelOptions`, from a mapping or from texts ``NAME=VALUE``; the last of a name counts.

    Raises ParameterError for a text without a name.

    >>> settings_as_text(["size=224", "std=1"])
    (('size', '224'), ('std', '1'))
    >>> settings_as_text({"mean": [0.5, 0.5, 0.5]})
    (('mean', '[0.5, 0.5, 0.5]'),)
    """
    if isinstance(given, Mapping):
        return tuple((str(name), one if isinstance(one, str) else json.dumps(one)) for name, one in given.items())
    pairs = [text.partition("=") for text in given or ()]
    for name, equals, value in pairs:
        if not (name and equals):
            raise ParameterError(f"the model setting {name + equals + value!r} is not NAME=VALUE")
    return tuple({name: value for name, _, value in pairs}.items())


def _require_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ParameterError(f"{name} ({value!r}) must be one of {', '.join(choices)}")


@dataclass(frozen=True, slots=True)
class Unusable:
    """The reason why a clip has no vector. Such a clip is recorded and gets no row of zeros: rows of zeros would match.

    It counts as a plain clip, unless the model itself went wrong.
    """

    reason: str
    """A short stable code, to group by."""
    message: str
    broken: bool = False
    """True if the model gave no numbers that can be used (``not-finite``): then the clip has failed."""


class EmbeddingModel(Protocol):
    """Turns the frames of clips into vectors. One instance per worker; threads cannot share it."""

    @property
    def name(self) -> str:
        """The name in the registry."""

    @property
    def dimension(self) -> int:
        """D, the length of a vector."""

    @property
    def frame_rule(self) -> FrameRule:
        """The frames that :meth:`embed` expects."""

    @property
    def default_eps(self) -> float:
        """The cosine distance up to which two clips count as duplicates, unless the user says otherwise."""

    @property
    def light(self) -> bool:
        """Whether the arithmetic is cheap beside decoding, even on a CPU. Then it may run in the process that cuts."""

    def fingerprint(self) -> dict[str, JSON]:
        """Everything that the vectors depend on, as plain JSON. Vectors with different fingerprints are never compared.

        It holds no path, and no library version unless it changes results.
        """

    def embed(self, clips: Sequence[Frames]) -> list[Vector | Unusable]:
        """One (D,) float32 unit vector per clip, or the reason why there is none, in the order of ``clips``.

        Each clip is (T, H, W, 3) uint8 RGB, with the frames that ``frame_rule`` takes.

        Raises ParameterError for other shapes and types.
        """
