"""What every embedding model offers, whatever it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

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
    """What a model is loaded with. Raises ParameterError for values that cannot be meant."""

    model_dir: Path | None = None
    """The folder that holds the models' own folders of weights."""
    device: str = "cpu"
    """One of torch's: ``cpu``, ``cuda``, ``cuda:1``."""
    frame_sampling: str = "uniform"
    """``uniform``: frames from the whole clip. ``prefix``: as older vectors were made, blind to the clip's end."""
    dtype: str = "auto"
    """Of a network's arithmetic; ``auto`` is what suits the model and the device. Vectors are float32 always."""
    trust_remote_code: bool = False
    """Whether Python code out of a model folder, or named by the user, may run."""
    start_dir: Path = Path()
    """Where a relative path of a model folder starts: a worker may run in another folder than its user."""

    def __post_init__(self) -> None:
        _require_choice("frame_sampling", self.frame_sampling, FRAME_SAMPLINGS)
        _require_choice("dtype", self.dtype, DTYPES)

    def frame_rule(self, num_frames: int, *, width: int, height: int) -> FrameRule:
        """The rule of a model that sees a fixed number of frames."""
        make = FrameRule.prefix if self.frame_sampling == "prefix" else FrameRule.spread
        return make(num_frames, width=width, height=height)


def _require_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ParameterError(f"{name} ({value!r}) must be one of {', '.join(choices)}")


@dataclass(frozen=True, slots=True)
class Unusable:
    """Why a clip has no vector. Such a clip is recorded, never given a row of zeros: those would match each other."""

    reason: str
    """A short stable code, to group by."""
    message: str


class EmbeddingModel(Protocol):
    """Turns the frames of clips into vectors. One instance a worker; not safe to share between threads."""

    @property
    def name(self) -> str:
        """As in the registry."""

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
        """Whether the arithmetic costs little beside decoding even on a CPU: it may run in the process that cuts."""

    def fingerprint(self) -> dict[str, JSON]:
        """All that the vectors depend on, as plain JSON: vectors of different fingerprints are never compared.

        Holds no path and no library version, unless that changes results.
        """

    def embed(self, clips: Sequence[Frames]) -> list[Vector | Unusable]:
        """One (D,) float32 unit vector a clip, or why there is none, in the order of ``clips``.

        Each clip is (T, H, W, 3) uint8 RGB as ``frame_rule`` says. Raises ParameterError for other shapes and types.
        """
