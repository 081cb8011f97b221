"""Which pairs of rows can be near at all, from a few whole numbers per row: a Johnson-Lindenstrauss filter.

A sketch is a row's projection on random vectors of ±1 (Achlioptas, 2003). Whatever the data look like, the squared
distance of two sketches is that of the rows times chi-squared with ``width`` degrees of freedom over ``width``: the
threshold is set so that a pair at exactly ``1 - eps`` is lost with a probability of 7e-4 (``LOSS_SIGMA``), a nearer pair
with a lower one. Pairs that pass have to be measured on the rows themselves.

One sketch per row serves all comparisons: where a few numbers are enough, its first few are taken.

Sketches, and the rows they are made from, are whole numbers small enough for float32 sums to be exact, so the same
pairs pass on every machine, with any BLAS, any number of threads, and on CPU and GPU.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.arrays.xp import Array, array_module, block_rows, row_blocks
from curator_dask.dedup.similarity.threshold import check_eps
from curator_dask.dedup.similarity.tiles import where

ROW_STEPS: Final = 2.0**12
"""Length of a unit row in whole steps."""
NUMBER_STEPS: Final = 128.0
"""A sketch's number in whole steps, the root of its mean square; 128 of them add up within 2**23."""
LOSS_SIGMA: Final = 3.2
PASS_SIGMA: Final = 3.4
"""Rows at the average distance pass with a probability of 3e-4: measuring these takes about as long as excluding them
with more numbers would."""
LEAST_WIDTH: Final = 14
MOST_WIDTH: Final = 126
WIDTH_STEP: Final = 8  # with the two columns of squared lengths a round number for a GEMM
_SEED: Final = 20141205


@lru_cache(maxsize=16)
def sketch_directions(dim: int, width: int) -> NDArray[np.float32]:
    """(width, D) float32 of ±1: the random vectors that rows are projected on."""
    signs = np.random.default_rng(_SEED).integers(0, 2, (width, dim), dtype=np.int8)
    return (2 * signs - 1).astype(np.float32)


def sketch_widths(dim: int, eps: float, sq_spread: NDArray[np.float64]) -> NDArray[np.int64]:
    """(k,) how many numbers of a sketch let few distant pairs pass; ``dim`` where comparing whole rows costs less.

    Args:
        sq_spread: (k,) the average squared distance of unrelated rows.

    The nearer unrelated rows are to each other, or the larger eps, the more numbers it takes:

    >>> sketch_widths(512, 0.01, np.array([2.0, 0.5, 0.05])).tolist()
    [14, 14, 110]
    >>> sketch_widths(512, 0.1, np.array([2.0, 0.5, 0.05])).tolist()
    [22, 110, 512]
    """
    check_eps(eps)
    root = np.cbrt(2.0 * eps / np.maximum(sq_spread, 1e-12))
    sigma = np.maximum((1.0 - root) / (LOSS_SIGMA * root + PASS_SIGMA), 1e-6)
    needed = np.ceil((2.0 / 9.0 / sigma**2 + 2) / WIDTH_STEP) * WIDTH_STEP - 2
    width = np.maximum(LEAST_WIDTH, needed)
    return np.where(width <= min(MOST_WIDTH, dim / 2), width, dim).astype(np.int64)


def row_steps(X: Array, out: Array | None = None) -> Array:
    """Unit rows in whole steps of 2**-12, (N, D) float32."""
    xp = array_module(X)
    steps = xp.multiply(X, np.float32(ROW_STEPS), out=out)
    return xp.rint(steps, out=steps)


def sketch_numbers(products: Array) -> Array:
    """Products of rows in steps and directions → sketches, (N, width) float32, whole numbers."""
    xp = array_module(products)
    numbers = products * np.float32(NUMBER_STEPS / ROW_STEPS)
    return xp.rint(numbers, out=numbers)


def sketch(X: Array, width: int) -> Array:
    """(N, D) unit rows → their sketches, (N, width) float32, whole numbers."""
    xp = array_module(X)
    directions = xp.asarray(sketch_directions(X.shape[1], width))
    Z = xp.empty((X.shape[0], width), dtype=np.float32)
    height = block_rows(X, 8 * X.shape[1])
    buffer = xp.empty((min(height, X.shape[0]), X.shape[1]), dtype=np.float32)
    for rows in row_blocks(X.shape[0], height):
        steps = row_steps(X[rows], out=buffer[: rows.stop - rows.start])
        Z[rows] = sketch_numbers(xp.matmul(steps, directions.T))
    return Z


@dataclass(frozen=True, slots=True)
class SketchPair:
    """Two sets of sketches with columns added that turn a product into minus half the squared distance."""

    left: Array
    right: Array

    @staticmethod
    def of(left: Array, right: Array) -> SketchPair:
        """From (M, width) and (N, width) sketches, which may be the first few numbers of longer ones.

        A product of the widened rows is ``a.b - |a|^2 / 2 - |b|^2 / 2 = -|a - b|^2 / 2``:

        >>> pair = SketchPair.of(np.array([[3.0, 4.0]], np.float32), np.array([[3.0, 2.0]], np.float32))
        >>> pair.left.tolist(), pair.right.tolist()
        ([[3.0, 4.0, -12.5, 1.0]], [[3.0, 2.0, 1.0, -6.5]])
        >>> (pair.left @ pair.right.T).tolist()
        [[-2.0]]
        """
        xp = array_module(left)
        a, b = (np.float32(-0.5) * xp.einsum("ij,ij->i", side, side)[:, None] for side in (left, right))
        return SketchPair(
            xp.concatenate([left, a, xp.ones_like(a)], axis=1),
            xp.concatenate([right, xp.ones_like(b), b], axis=1),
        )

    @property
    def width(self) -> int:
        return int(self.left.shape[1]) - 2

    def near(self, eps: float, tile_rows: int) -> Iterator[tuple[Array, Array, Array]]:
        """``(left, right, product)`` of the pairs that may be within eps, block by block."""
        xp = array_module(self.left)
        least = least_products(self.width, np.array([1.0 - eps]))[0]
        height = max(1, tile_rows // 2)
        # One buffer for all blocks: fresh memory costs as much as the product.
        buffer = xp.empty(min(height, self.left.shape[0]) * min(tile_rows, self.right.shape[0]), dtype=np.float32)
        for rows in row_blocks(self.left.shape[0], height):
            for columns in row_blocks(self.right.shape[0], tile_rows):
                shape = (rows.stop - rows.start, columns.stop - columns.start)
                products = buffer[: shape[0] * shape[1]].reshape(shape)
                xp.matmul(self.left[rows], self.right[columns].T, out=products)
                left, right = where(products >= least)
                if left.size:
                    yield left + rows.start, right + columns.start, products[left, right]


def least_products(width: int, cosine: NDArray[np.float64]) -> NDArray[np.float32]:
    """(N,) the least product of a `SketchPair` for rows with these cosines; lower only with the probability of ``LOSS_SIGMA``."""
    chord = NUMBER_STEPS * math.sqrt(width) * np.sqrt(np.maximum(0.0, 2.0 - 2.0 * cosine))
    rounding = 2.0 * math.sqrt(width)
    return (-0.5 * (chord * math.sqrt(_upper_factor(width)) + rounding) ** 2).astype(np.float32)


def _upper_factor(width: int) -> float:
    """Upper limit of chi-squared over its degrees of freedom; exceeded only with the probability of ``LOSS_SIGMA``.

    Its cube root is all but normal, with a mean of 1 - sigma**2 and a standard deviation of sigma = sqrt(2 / 9 / width)
    (Wilson and Hilferty, 1931).
    """
    sigma = math.sqrt(2.0 / 9.0 / width)
    return float((1.0 - sigma**2 + LOSS_SIGMA * sigma) ** 3)
