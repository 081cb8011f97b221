"""How far rows are from the centres of their clusters.

The distances are computed in float64, with sums in NumPy's own order, so they have the same bits on every machine. On the
host that takes nine passes over the numbers. BLAS adds up in an order of its own, and needs half the time: its distance lies
between two limits that are about 2**-42 apart. Where both limits are the same float32 number, that number is the distance.
The few other rows, and those that lie very near to their centre, are measured in NumPy's order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.arrays.blocks import over_blocks
from curator_dask.dedup.arrays.xp import Array, array_module, block_rows, row_blocks
from curator_dask.dedup.kmeans.assign import check_width

ROUNDING: Final = 2.0**-51
"""Per number of a row. Two sums of D products, each in any order, are at most 2 D * 2**-53 |x| |c| apart. An l2 distance holds
three such sums, a cosine one and the root of another; four times D * 2**-53 is more than any of them needs."""


def centroid_distances(X: Array, C: Array, labels: Array) -> tuple[Array, Array]:
    """Distances of every row to the centre of its label, computed in float64.

    >>> X, C = np.float32([[1, 0], [0.6, 0.8]]), np.float32([[2, 0], [0, 0.5]])
    >>> l2, cosine = centroid_distances(X, C, np.array([0, 1]))
    >>> l2.round(4).astype(str).tolist(), cosine.round(4).astype(str).tolist()
    (['1.0', '0.6708'], ['0.0', '0.2'])

    Returns:
        ``(l2_dist_to_cent, cosine_dist_to_cent)``, both (N,) float32: ``|x - c|`` with the centre as it is, and
        ``1 - x.c / (|x| |c|)``, never below 0, and 1 for a centre of length zero.
    """
    xp = array_module(X)
    check_width(X, C)
    C64 = xp.asarray(C).astype(np.float64)
    sq_lengths = (C64 * C64).sum(axis=1)
    l2 = xp.empty(X.shape[0], dtype=np.float32)
    cosine = xp.empty(X.shape[0], dtype=np.float32)
    measure = _measure_quickly if xp is np else _measure

    def work(blocks: Iterator[slice]) -> None:
        for rows in blocks:
            own = labels[rows]
            l2[rows], cosine[rows] = measure(_Block(X[rows].astype(np.float64), C64[own], sq_lengths[own]))

    every_block = row_blocks(X.shape[0], block_rows(X, 32 * X.shape[1]))
    over_blocks(work, every_block) if xp is np else work(every_block)
    return l2, cosine


class _Block(NamedTuple):
    """Some rows, and the centre of each."""

    x: Array
    """(n, D) float64"""
    c: Array
    """(n, D) float64"""
    c_squared: Array
    """(n,) the squared lengths of the centres."""


def _measure(block: _Block) -> tuple[Array, Array]:
    """Both distances, (n,) float32, by sums in the order of the array module."""
    x, c, c_squared = block
    xp = array_module(x)
    scale = xp.sqrt((x * x).sum(axis=1)) * xp.sqrt(c_squared)
    similarity = (x * c).sum(axis=1) / xp.where(scale > 0, scale, 1.0)
    cosine = xp.maximum(0.0, 1.0 - similarity).astype(np.float32)
    apart = x - c
    apart *= apart
    return xp.sqrt(apart.sum(axis=1)).astype(np.float32), cosine


def _measure_quickly(block: _Block) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What `_measure` gives, on the host."""
    x, c, c_squared = block
    x_squared, product = np.vecdot(x, x), np.vecdot(x, c)
    scale = np.sqrt(x_squared) * np.sqrt(c_squared)
    from_one = 1.0 - product / np.where(scale > 0, scale, 1.0)
    both = x_squared + c_squared
    off = (x.shape[1] + 16) * ROUNDING
    l2, is_sure = _rounded(*map(np.sqrt, _limits(both - 2.0 * product, off * both)))
    cosine, is_sure_too = _rounded(*_limits(from_one, off))
    left = np.flatnonzero(~(is_sure & is_sure_too))
    if len(left):
        l2[left], cosine[left] = _measure(_Block(x[left], c[left], c_squared[left]))
    return l2, cosine


def _limits(values: NDArray[np.float64], off: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.maximum(0.0, values - off), np.maximum(0.0, values + off)


def _rounded(low: NDArray[np.float64], high: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Numbers between these limits as float32, and whether both limits are the same one."""
    rounded = high.astype(np.float32)
    return rounded, low.astype(np.float32) == rounded
