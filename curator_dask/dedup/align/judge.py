"""Is an overlap a copy, or another moment? What moves decides, not what stands.

Two moments before one still camera share the whole standing picture, so the likeness of pictures says nothing about
them. `motion` compares what changes alone. A copy keeps it whatever was done to the standing picture (a logo, a banner,
brightness); another moment does not have it. How much is needed depends on two things:

* the energy: where little moves, two moments can be alike by chance (one small thing goes by on the same way);
* the length: four seconds are alike by chance more often than eight.

Where nothing moves on both sides, the pictures decide, see `stills`. The numbers were measured, see
benchmarks/results/alignment.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.align.diagonal import Likeness
from curator_dask.errors import ParameterError

_ENERGIES = np.array([0.03, 0.08, 0.12, 0.25, 0.5, 0.8])
_NEEDED = np.array([0.95, 0.90, 0.85, 0.80, 0.70, 0.62])
_SHORT_ROWS, _LONG_ROWS = 7.0, 15.0
_SHORT_EXTRA = 0.2


@dataclass(frozen=True)
class Thresholds:
    """From where on an overlap counts as a copy."""

    strictness: float = 0.0
    """Raises (or lowers, below 0) the motion that is needed: at 1 only perfect copies count, at -1 all pairs."""
    min_energy: float = 0.02
    """Below this energy, nothing moves."""
    min_still_likeness: float = 0.92
    """Still pictures are the same if every part of them is at least this much alike: see `stills`."""

    def __post_init__(self) -> None:
        if not -1 <= self.strictness <= 1:
            raise ParameterError(f"strictness ({self.strictness}) must be from -1 to 1")
        for name in ("min_energy", "min_still_likeness"):
            if not 0 < getattr(self, name) <= 1:
                raise ParameterError(f"{name} ({getattr(self, name)}) must be above 0 and at most 1")


def needed_motion(energy: NDArray[np.float64], num_rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """The motion from which on a run counts as a copy, by its energy and its length in rows of half a second.

    >>> needed_motion(np.array([0.8, 0.8, 0.1, 0.1]), np.array([15.0, 7.0, 15.0, 7.0])).round(3).tolist()
    [0.62, 0.82, 0.875, 0.96]
    """
    needed = np.interp(energy, _ENERGIES, _NEEDED)
    short = (_LONG_ROWS - np.clip(num_rows, _SHORT_ROWS, _LONG_ROWS)) / (_LONG_ROWS - _SHORT_ROWS)
    motion: NDArray[np.float64] = np.minimum(needed + _SHORT_EXTRA * short, 0.96)
    return motion


def moves_alike(likeness: Likeness, thresholds: Thresholds) -> NDArray[np.bool_]:
    """(R,) runs in which something moves, and moves alike on both sides."""
    needed = needed_motion(likeness.energy, likeness.num_rows)
    room = np.where(thresholds.strictness >= 0, 1 - needed, 1 + needed)
    return (likeness.energy >= thresholds.min_energy) & (likeness.motion >= needed + thresholds.strictness * room)
