"""Estimate on a sample of rows how many near pairs a search at borders would miss.

A row is thought to have a near row in a random direction, at any distance up to the chord of eps. That row lies in
another cluster if it lies beyond the plane between the two clusters. The pair is missed if both rows lie farther from the
plane than the search looks. In few dimensions much of a random direction points to the plane, so more is missed there.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

MISSED_SHARE: Final = 0.0002
"""In few dimensions the search looks farther where more than this share of the near pairs would be missed. It is an
estimate, so it is well below .1 %."""
_MARGINS_TRIED: Final = 64
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


def missed_share(sample: NDArray[np.floating[Any]], highest: float, eps: float, dim: int) -> float:
    """The estimated share of near pairs that are missed if rows with margins up to `highest` are compared.

    Args:
        sample: (S, k) margins of sampled rows to all clusters; infinite for their own.
        highest: margin up to which rows are compared with the cluster beyond.
        eps: limit of the pairs to find.
        dim: dimensions in which rows scatter.
    """
    if not len(sample) or eps == 0.0:
        return 0.0
    beyond = sample[(sample > highest) & (sample < math.sqrt(2.0 * eps))].astype(np.float64) + highest
    missed = 0.0
    for part in _PARTS_OF_EPS:
        along = beyond / math.sqrt(2.0 * eps * part)
        missed += float(upper_tail(along[along < 1.0] * math.sqrt(dim)).sum()) / len(_PARTS_OF_EPS)
    return min(1.0, missed / len(sample))


def margin_that_misses_little(
    sample: NDArray[np.floating[Any]], limit: float, eps: float, dim: int, share: float = MISSED_SHARE
) -> float:
    """The least margin, in steps, up to which rows have to be compared so that at most this share is missed.

    Args:
        sample: (S, k) margins of sampled rows to all clusters.
        limit: half the chord; up to it, nothing is missed.
    """
    low, high = 0, _MARGINS_TRIED
    while low < high:  # looking farther misses less
        middle = (low + high) // 2
        if missed_share(sample, limit * middle / _MARGINS_TRIED, eps, dim) <= share:
            high = middle
        else:
            low = middle + 1
    return limit * high / _MARGINS_TRIED


def upper_tail(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """About the probability that a normal variable exceeds z (Lin, 1989); below 0 it is taken as one half, which will do."""
    z = np.maximum(z, 0.0)
    tail: NDArray[np.float64] = 0.5 * np.exp(-0.717 * z - 0.416 * z * z)
    return tail
