"""What every embedding model offers, whatever it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from curator_dask.video.sampling import FrameRule

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

JSON: TypeAlias = "str | int | float | bool | list[JSON] | dict[str, JSON] | None"
Frames: TypeAlias = "npt.NDArray[np.uint8]"
Vector: TypeAlias = "npt.NDArray[np.float32]"


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

    def fingerprint(self) -> dict[str, JSON]:
        """All that the vectors depend on, as plain JSON: vectors of different fingerprints are never compared.

        Holds no path and no library version, unless that changes results.
        """

    def embed(self, clips: Sequence[Frames]) -> list[Vector | Unusable]:
        """One (D,) float32 unit vector a clip, or why there is none, in the order of ``clips``.

        Each clip is (T, H, W, 3) uint8 RGB as ``frame_rule`` says. Raises ParameterError for other shapes and types.
        """
