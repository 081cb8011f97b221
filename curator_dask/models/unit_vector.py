"""Scale a network's vectors to unit length, of a clip or of its frames, or say why that is impossible."""

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


def pool_frames(rows: npt.NDArray[np.float32]) -> Vector | Unusable:
    """Scale (T, D) rows to unit length, and return the (D,) float32 unit vector along their mean."""
    vectors = rows.astype(np.float64)
    if not np.isfinite(vectors).all():
        return Unusable("not-finite", "the network gave numbers that are not finite", broken=True)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    mean = (vectors / np.where(lengths > 0, lengths, 1.0)).mean(axis=0)
    length = float(np.linalg.norm(mean))
    if length < 1e-6:
        return Unusable("zero-vector", "the frames have no direction in common, or none at all")
    vector: Vector = (mean / length).astype(np.float32)
    return vector
