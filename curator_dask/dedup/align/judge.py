"""Is an overlap a copy? Neither the picture nor the motion decides alone; together they do.

Measured (see benchmarks/results/alignment.md): where the standing picture is the same, a copy has a motion of .9 and
more, and another moment of one still camera under .8. Where a logo or a crop has changed the picture, a copy has .6 and
more, and nothing else comes near. Where nothing moves in either, only the picture speaks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.align.diagonal import Likeness
from curator_dask.errors import ParameterError


@dataclass(frozen=True)
class Thresholds:
    """From where on an overlap counts as a copy."""

    min_motion: float = 0.85
    """Least `motion` where the pictures are the same."""
    min_motion_changed: float = 0.6
    """Least `motion` where the picture was changed: a logo, a crop, a border."""
    same_picture: float = 0.95
    """From this `picture` on, the pictures count as the same."""
    min_energy: float = 0.05
    """Below this `energy`, nothing moves."""
    max_still_difference: float = 0.2
    """Still pictures are the same up to this difference in their worst block."""

    def __post_init__(self) -> None:
        for name in ("min_motion", "min_motion_changed", "same_picture"):
            if not 0 < getattr(self, name) <= 1:
                raise ParameterError(f"{name} ({getattr(self, name)}) must be above 0 and at most 1")
        for name in ("min_energy", "max_still_difference"):
            if not 0 <= getattr(self, name) < 2:
                raise ParameterError(f"{name} ({getattr(self, name)}) must be at least 0 and below 2")


def moves_alike(likeness: Likeness, thresholds: Thresholds) -> NDArray[np.bool_]:
    """(R,) runs in which something moves, and moves alike on both sides."""
    needed = np.where(likeness.picture >= thresholds.same_picture, thresholds.min_motion, thresholds.min_motion_changed)
    return (likeness.energy >= thresholds.min_energy) & (likeness.motion >= needed)
