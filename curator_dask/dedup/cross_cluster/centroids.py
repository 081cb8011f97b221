"""The centroids of clusters as the search for border rows needs them, and an order that keeps near ones together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.arrays.one_byte import OneByte, to_one_byte
from curator_dask.dedup.arrays.xp import Array, to_host
from curator_dask.dedup.cross_cluster.sketch import sketch_directions, sketch_widths

_ORDER_WIDTH: Final = 64
_ORDER_STEPS: Final = 4000.0  # length of the longest centroid in whole steps


@dataclass(frozen=True, slots=True)
class Centroids:
    """The clusters' centres.

    Attributes:
        numbers: (k, D), rounded to numbers of one byte.
        wide: (k, D) float32, these numbers.
        half_sq_norm: (k,) float64, half the squared lengths of the rounded centres.
        cost: (k,) float64, the number of members of each, or anything proportional to it.
    """

    numbers: OneByte
    wide: Array
    half_sq_norm: NDArray[np.float64]
    cost: NDArray[np.float64]

    @property
    def dimension(self) -> int:
        return int(self.wide.shape[1])

    def sketch_widths(self, eps: float) -> NDArray[np.int64]:
        """(k,) how many numbers of a sketch tell a cluster's members apart; D where whole rows have to be compared.

        Unit rows are on the average ``2 - 2 |mean|^2`` apart, squared.
        """
        sq_spread = np.maximum(0.0, 2.0 - 4.0 * self.half_sq_norm)
        return sketch_widths(self.dimension, eps, sq_spread)

    def sketch_width(self, eps: float) -> int:
        """How many numbers a row's sketch needs to meet all clusters; 0 where none is compared by sketches."""
        widths = self.sketch_widths(eps)
        return int(np.where(widths < self.dimension, widths, 0).max(initial=0))


def prepare_centroids(C: Array, cost: NDArray[np.float64]) -> Centroids:
    """(k, D) centres, rounded; ``cost`` as in `Centroids`."""
    numbers = to_one_byte(C.astype(np.float32))
    wide, steps = numbers.numbers.astype(np.float32), to_host(numbers.steps).astype(np.float64)
    sq_norms = to_host((wide * wide).sum(axis=1, dtype=np.float64))
    return Centroids(numbers, wide, 0.5 * (sq_norms * steps * steps), cost)


def neighbour_order(C: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """(k, D) centres → their indices in an order that keeps neighbours together: each is followed by the nearest one left.

    A group of consecutive clusters then shares most of its border rows. Distances are those of sketches, in whole numbers
    that float64 holds exactly, so the order is the same on every machine.

    >>> neighbour_order(np.array([[1.0, 0.0], [-1.0, 0.0], [0.9, 0.1], [-0.9, 0.1]])).tolist()
    [0, 2, 3, 1]
    """
    wide = np.asarray(C, np.float64)
    longest = float(np.sqrt((wide * wide).sum(axis=1)).max()) or 1.0
    steps = np.rint(wide * (_ORDER_STEPS / longest)).astype(np.float32)
    P = (steps @ sketch_directions(steps.shape[1], _ORDER_WIDTH).T).astype(np.float64)
    half_sq_norm = 0.5 * (P * P).sum(axis=1)
    order = np.zeros(len(P), np.int64)
    half_sq_norm[0] = np.inf
    for place in range(1, len(P)):
        order[place] = np.argmax(P @ P[order[place - 1]] - half_sq_norm)
        half_sq_norm[order[place]] = np.inf
    return order
