"""Estimate on a sample of rows how many near pairs a search at borders would miss.

A row is thought to have a near row in a random direction, at any distance up to the chord of eps. That row lies in
another cluster if it lies beyond the plane between the two clusters. The pair is missed if both rows lie farther from the
plane than the search looks. In few dimensions much of a random direction points to the plane, so more is missed there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

MISSED_SHARE: Final = 0.0002
"""In few dimensions the search looks farther where more than this share of the near pairs would be missed. It is an
estimate, so it is well below .1 %."""
ENOUGH_SHARE: Final = 0.00001
"""The search looks no farther, unless it is asked to, where no more than this share of the near pairs is missed."""
FEWER_DIMENSIONS: Final = 4
"""Copies may differ in fewer directions than rows do. To tell how far is far enough, their differences are thought to lie
in so many times fewer dimensions than those in which the rows scatter."""
ENOUGH_SIGMA: Final = 4.31
"""A normal variable exceeds so many standard deviations with the probability of ``ENOUGH_SHARE``."""
LEAST_SAMPLE: Final = 32
"""Fewer sampled rows say too little of the others."""
ROUNDING: Final = 1e-9
_MARGINS_TRIED: Final = 64
_RANGES: Final = 1024
_PARTS_OF_EPS: Final = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Where in (0, eps) the near rows are put, in equal numbers."""


def effective_dimension(rows: NDArray[np.floating[Any]], centre: NDArray[np.floating[Any]]) -> int:
    """In how many dimensions (S, D) rows scatter around the (D,) centre of their cluster; from 1 to D.

    Two rows have a squared cosine, seen from the centre, of one over the number of dimensions, on the average.

    >>> effective_dimension(np.eye(4)[[0, 1, 0, 1]], np.zeros(4))
    3
    """
    apart = rows.astype(np.float64) - centre
    products = apart @ apart.T
    dim = int(rows.shape[1])
    num_pairs = len(rows) * (len(rows) - 1)
    if not num_pairs:
        return dim
    squares = float((products * products).sum() - (np.diag(products) ** 2).sum()) / num_pairs
    size = float(np.diag(products).mean())
    return max(1, min(dim, round(size * size / squares))) if squares > 0 else dim


@dataclass(frozen=True, slots=True)
class Misses:
    """How many near pairs of some sampled rows are missed, by how far the search looks.

    Attributes:
        num_rows: of the sample.
        margin: (B,) the middles of narrow ranges of margins, up to the chord of eps. count: (B,) how many margins of the
            sampled rows lie in each.
        eps: limit of the pairs to find.
        dim: dimensions in which near rows differ.
    """

    num_rows: int
    margin: NDArray[np.float64]
    count: NDArray[np.int64]
    eps: float
    dim: int

    @staticmethod
    def of(sample: NDArray[np.floating[Any]], eps: float, dim: int) -> Misses:
        """From (S, k) margins of sampled rows to all clusters; infinite for their own."""
        width = math.sqrt(2.0 * eps) / _RANGES
        within = sample[(sample >= 0.0) & (sample < np.float32(math.sqrt(2.0 * eps)))]
        place = np.minimum((within / np.float32(width or 1.0)).astype(np.int64), _RANGES - 1)
        middles = ((np.arange(_RANGES) + 0.5) * width).astype(np.float64)
        return Misses(len(sample), middles, np.bincount(place, minlength=_RANGES), eps, dim)

    def enough_margin(self, limit: float) -> float:
        """The margin beyond which next to no pair is missed, so that looking farther is a waste; at most `limit`.

        The sample may have no row near a plane that other rows lie near. So it is also far enough for a row with a single
        plane, whatever the margins of the sample are.
        """
        if self.num_rows < LEAST_SAMPLE:
            return limit
        fewer = replace(self, dim=max(1, self.dim // FEWER_DIMENSIONS))
        of_one_plane = math.sqrt(2.0 * self.eps) / 2.0 * ENOUGH_SIGMA / math.sqrt(fewer.dim)
        return min(limit, max(of_one_plane, fewer.least_margin(limit, ENOUGH_SHARE)))

    def share(self, highest: float) -> float:
        """The estimated share of near pairs that are missed if rows with margins up to `highest` are compared.

        A range that holds `highest` counts as compared: that margin is often one of the sample.
        """
        if not self.num_rows or self.eps == 0.0:
            return 0.0
        starts = self.margin - self.margin[0]
        farther = (starts > highest * (1.0 - ROUNDING)) & (self.count > 0)
        beyond = self.margin[farther] + highest
        along = beyond / np.sqrt(2.0 * self.eps * np.array(_PARTS_OF_EPS)[:, None])
        tails = np.where(along < 1.0, upper_tail(along * math.sqrt(self.dim)), 0.0)
        missed = float((tails * self.count[farther]).sum()) / len(_PARTS_OF_EPS)
        return min(1.0, missed / self.num_rows)

    def least_margin(self, limit: float, share: float = MISSED_SHARE) -> float:
        """The least margin, in steps, up to which rows have to be compared so that at most this share is missed.

        Args:
            limit: half the chord; up to it, nothing is missed.
        """
        low, high = 0, _MARGINS_TRIED
        while low < high:  # looking farther misses less
            middle = (low + high) // 2
            if self.share(limit * middle / _MARGINS_TRIED) <= share:
                high = middle
            else:
                low = middle + 1
        return limit * high / _MARGINS_TRIED


def upper_tail(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """About the probability that a normal variable exceeds z (Lin, 1989); below 0 it is taken as one half, which will do."""
    z = np.maximum(z, 0.0)
    tail: NDArray[np.float64] = 0.5 * np.exp(-0.717 * z - 0.416 * z * z)
    return tail
