"""Choose many first centres group by group: drawing them from all rows at once takes time in the square of their number."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.kmeans.assign import assign
from curator_dask.dedup.kmeans.distances import centroid_distances
from curator_dask.dedup.kmeans.lloyd import labelled_partial, new_centres
from curator_dask.dedup.kmeans.start import OVERSAMPLING, d2_start

Rows = NDArray[np.float32]
ROUNDS: Final = 4
"""Iterations that group the rows."""
ROWS_PER_GROUP: Final = 256
"""Rows that these iterations take."""


def grouped_d2_start(sample: Rows, k: int, seed: int, oversampling: float = OVERSAMPLING) -> Rows:
    """k rows of ``sample`` (m, D) float32, unit rows in random order, k <= m: each group of rows has its part of them.

    The rows are clustered into about sqrt(k) groups. A group gets first centres by its share of the squared distances to
    the middles of the groups, as the draws of k-means++ would on average, and `d2_start` draws them among its rows.

    >>> sample = np.float32([[1, 0], [0, 1], [0.8, 0.6], [0.6, 0.8]])
    >>> sorted(grouped_d2_start(sample, 4, seed=0)[:, 0].round(1).astype(str).tolist())
    ['0.0', '0.6', '0.8', '1.0']
    """
    middles = _middles(sample, round(k**0.5))
    labels = assign(sample, middles)
    sizes = np.bincount(labels, minlength=len(middles))
    sq_distances = centroid_distances(sample, middles, labels)[0].astype(np.float64) ** 2
    costs = np.bincount(labels, weights=sq_distances, minlength=len(middles)).astype(np.float64)
    parts = share_out(k, costs, sizes)
    drawn = [
        d2_start(sample[labels == group], int(part), seed + group, oversampling)
        for group, part in enumerate(parts)
        if part
    ]
    return np.concatenate(drawn)


def _middles(sample: Rows, num_groups: int) -> Rows:
    rows, middles = sample[: ROWS_PER_GROUP * num_groups], sample[:num_groups]
    for _ in range(ROUNDS):
        middles = new_centres(labelled_partial(rows, assign(rows, middles), num_groups), middles)
    return middles


def share_out(number: int, weights: NDArray[np.float64], most: NDArray[np.int64]) -> NDArray[np.int64]:
    """Whole parts of ``number`` in proportion to the weights, none above its ``most``; these add up to ``number`` or more.

    >>> share_out(10, np.array([1.0, 1.0, 6.0]), np.array([9, 9, 5])).tolist()
    [3, 2, 5]
    """
    weights = weights if weights.sum() > 0 else most.astype(np.float64)
    wanted = number * weights / weights.sum()
    parts: NDArray[np.int64] = np.minimum(np.floor(wanted).astype(np.int64), most)
    while (left := number - int(parts.sum())) > 0:
        behind = np.where(parts < most, wanted - parts, -np.inf)
        more = np.argsort(-behind, kind="stable")[: min(left, int((parts < most).sum()))]
        parts[more] += 1
    return parts
