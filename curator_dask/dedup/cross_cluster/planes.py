"""The planes half-way between the centroid of a cluster and those of the others, and how far a row is from them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.arrays.one_byte import exact_products
from curator_dask.dedup.arrays.xp import to_host
from curator_dask.dedup.cross_cluster.centroids import Centroids

ROUNDING: Final = 2.0**-20
"""float32 moves what a product is compared with by at most this share of the lengths; rows that rounding to one byte does
not move at all may meet the limit to the last bit."""


@dataclass(frozen=True, slots=True)
class Planes:
    """The planes half-way between one centroid and the others: ``margin = offset - slope * (x.c - x.own)``.

    Attributes:
        own: the index of the own cluster in the arrays below.
        cluster: (m,) the clusters. slope, offset: (m,), on the host.
        apart: (m,) the distances of the centroids.
        rounding: (m,) how far ``x.c - x.own`` and its limits may be off in float32.
    """

    own: int
    cluster: NDArray[np.int64]
    slope: NDArray[np.float32]
    offset: NDArray[np.float32]
    apart: NDArray[np.float64]
    rounding: NDArray[np.float64]

    def take(self, some: NDArray[np.int64]) -> Planes:
        own = int(np.searchsorted(some, self.own))
        apart, rounding = self.apart[some], self.rounding[some]
        return Planes(own, self.cluster[some], self.slope[some], self.offset[some], apart, rounding)

    def least_products(self, margin: float) -> NDArray[np.float32]:
        """(m,) the least ``x.c - x.own`` of a row whose margin is at most this."""
        with np.errstate(divide="ignore", invalid="ignore"):
            least = (self.offset.astype(np.float64) - margin) / self.slope - self.rounding
        return np.where(np.isneginf(self.offset), -np.inf, least).astype(np.float32)


def planes_around(own: int, centroids: Centroids) -> Planes:
    """The planes between the centroid with the index `own` and all others."""
    products = to_host(exact_products(centroids.wide, centroids.wide[own : own + 1])[:, 0]).astype(np.float64)
    steps = to_host(centroids.numbers.steps).astype(np.float64)
    products = products * steps * steps[own]
    half = centroids.half_sq_norm
    apart = np.sqrt(np.maximum(0.0, 2.0 * (half + half[own] - products)))
    same = apart == 0.0
    inverse = np.where(same, 0.0, 1.0 / np.where(same, 1.0, apart))
    offset = np.where(same, -np.inf, (half - half[own]) * inverse)  # no plane parts two centroids at one place
    offset[own] = np.inf
    lengths = np.sqrt(2.0 * half) + math.sqrt(2.0 * half[own])
    rounding = ROUNDING * lengths * (1.0 + lengths)
    return Planes(own, np.arange(len(half)), inverse.astype(np.float32), offset.astype(np.float32), apart, rounding)
