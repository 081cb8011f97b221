"""Scale a network's clip vector to unit length, or say why that is impossible."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from curator_dask.models.base import Unusable, Vector


def unit_vector(row: npt.NDArray[np.float64]) -> Vector | Unusable:
    """A (D,) row scaled to unit length, as float32."""
    if not np.isfinite(row).all():
        return Unusable("not-finite", "the network gave numbers that are not finite", broken=True)
    length = float(np.linalg.norm(row))
    if length == 0:
        return Unusable("zero-vector", "the network gave zeros only")
    vector: Vector = (row / length).astype(np.float32)
    return vector
