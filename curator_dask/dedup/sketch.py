"""Which pairs of rows can be near at all, from a few whole numbers a row: a Johnson-Lindenstrauss filter.

A sketch is a row's projection on random vectors of ±1 (Achlioptas, 2003). Whatever the data look like, the squared
distance of two sketches is that of the rows times chi-squared with ``width`` degrees of freedom over ``width``: the
threshold is set so that a pair at exactly ``1 - eps`` is lost with a probability of 3e-5 (``LOSS_SIGMA``), a nearer one
with less. What passes has to be measured on the rows themselves.

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

from curator_dask.dedup.threshold import check_eps
from curator_dask.dedup.tiles import where
from curator_dask.dedup.xp import Array, array_module, block_rows, row_blocks, to_host

ROW_STEPS: Final = 2.0**12
"""Length of a unit row in whole steps."""
SKETCH_STEPS: Final = 2.0**10
LOSS_SIGMA: Final = 4.0
PASS_SIGMA: Final = 3.5
"""Rows that are as far apart as rows are on the average pass with a probability of 2e-4."""
LEAST_WIDTH: Final = 30  # with the two columns of squared lengths a round number for a GEMM
SPREAD_ROWS: Final = 256
_SEED: Final = 20141205


@dataclass(frozen=True, slots=True)
class Sketcher:
    """How rows become sketches.

    Attributes:
        directions: (D, width) float32 of ±1, on the host; None where rows are so short that they are their own sketch.
        width: numbers a sketch.
        farthest: the squared distance, in sketch steps, from which on a pair of sketches is not near.
    """

    directions: NDArray[np.float32] | None
    width: int
    farthest: float


@lru_cache(maxsize=64)
def make_sketcher(dim: int, eps: float, width: int) -> Sketcher:
    """The sketcher for rows of ``dim`` numbers and pairs with a cosine of at least ``1 - eps``; see `sketch_width`."""
    chord = SKETCH_STEPS * math.sqrt(2.0 * eps)
    if width >= dim:
        return Sketcher(None, dim, (chord + math.sqrt(dim)) ** 2)
    signs = np.random.default_rng(_SEED).integers(0, 2, (dim, width), dtype=np.int8)
    farthest = (chord * math.sqrt(_upper_factor(width)) + 2.0 * math.sqrt(width)) ** 2  # the roots: rounding
    return Sketcher((2 * signs - 1).astype(np.float32), width, farthest)


def sketch_width(dim: int, eps: float, sq_spread: float) -> int:
    """So many numbers that few pairs pass that should not; ``dim`` where a sketch is not worth its while.

    Args:
        sq_spread: the squared distance of rows that have nothing to do with each other, on the average.
    """
    check_eps(eps)
    root = (2.0 * eps / max(sq_spread, 1e-12)) ** (1.0 / 3.0)
    sigma = (1.0 - root) / (LOSS_SIGMA * root + PASS_SIGMA)
    if sigma <= 0.0 or 2.0 / 9.0 / sigma**2 > dim / 2:
        return dim
    # Two fewer than a multiple of 16, for the columns of squared lengths.
    width = max(LEAST_WIDTH, 16 * math.ceil((2.0 / 9.0 / sigma**2 + 2) / 16) - 2)
    return width if 2 * width <= dim else dim


def row_steps(X: Array, out: Array | None = None) -> Array:
    """Unit rows in whole steps of 2**-12, (N, D) float32; each is off by at most ``rounding_radius``."""
    xp = array_module(X)
    steps = xp.multiply(X, np.float32(ROW_STEPS), out=out)
    return xp.rint(steps, out=steps)


def rounding_radius(dim: int) -> float:
    """How far a row can be from its whole steps."""
    return math.sqrt(dim) / 2.0 / ROW_STEPS


def sketch(X: Array, sketcher: Sketcher) -> Array:
    """(N, D) unit rows → (N, width) float32, whole numbers."""
    xp = array_module(X)
    if sketcher.directions is None:
        Z = X * np.float32(SKETCH_STEPS)
        return xp.rint(Z, out=Z)
    directions = xp.asarray(sketcher.directions)
    Z = xp.empty((X.shape[0], sketcher.width), dtype=np.float32)
    height = block_rows(X, 8 * X.shape[1])
    buffer = xp.empty((min(height, X.shape[0]), X.shape[1]), dtype=np.float32)
    for rows in row_blocks(X.shape[0], height):
        xp.matmul(row_steps(X[rows], out=buffer[: rows.stop - rows.start]), directions, out=Z[rows])
    Z *= np.float32(SKETCH_STEPS / ROW_STEPS / math.sqrt(sketcher.width))
    return xp.rint(Z, out=Z)


def mean_sq_spread(X: Array) -> float:
    """The mean squared distance of two rows of some that lie evenly among the (N, D) unit rows; the same everywhere."""
    some = X[:: -(-X.shape[0] // SPREAD_ROWS)]
    num_rows = some.shape[0]
    if num_rows < 2:
        return 2.0
    total = to_host(row_steps(some).sum(axis=0, dtype=np.float64)) / ROW_STEPS  # whole numbers: exact in any order
    mean_cosine = (float((total * total).sum()) - num_rows) / (num_rows * (num_rows - 1))
    return float(max(0.0, round(2.0 - 2.0 * mean_cosine, 6)))


@dataclass(frozen=True, slots=True)
class SketchPair:
    """Two sets of sketches with columns added that turn a product into minus half the squared distance."""

    left: Array
    right: Array
    least: np.float32

    @staticmethod
    def of(left: Array, right: Array, sketcher: Sketcher) -> SketchPair:
        xp = array_module(left)
        a, b = (np.float32(-0.5) * (side * side).sum(axis=1, keepdims=True) for side in (left, right))
        return SketchPair(
            xp.concatenate([left, a, xp.ones_like(a)], axis=1),
            xp.concatenate([right, xp.ones_like(b), b], axis=1),
            np.float32(-0.5 * sketcher.farthest),
        )

    def near(self, tile_rows: int) -> Iterator[tuple[Array, Array]]:
        """``(left, right)`` of the pairs that may be near, block by block; blocks without any are passed over in silence."""
        xp = array_module(self.left)
        height = max(1, tile_rows // 2)
        buffer = xp.empty(height * tile_rows, dtype=np.float32)  # one for all: fresh pages cost as much as the product
        for rows in row_blocks(self.left.shape[0], height):
            for columns in row_blocks(self.right.shape[0], tile_rows):
                shape = (rows.stop - rows.start, columns.stop - columns.start)
                products = buffer[: shape[0] * shape[1]].reshape(shape)
                xp.matmul(self.left[rows], self.right[columns].T, out=products)
                left, right = where(products >= self.least)
                if left.size:
                    yield left + rows.start, right + columns.start


def _upper_factor(width: int) -> float:
    """What chi-squared over its degrees of freedom is below but for ``LOSS_SIGMA``.

    Its cube root is all but normal, with a mean of 1 - sigma**2 and a standard deviation of sigma = sqrt(2 / 9 / width)
    (Wilson and Hilferty, 1931).
    """
    sigma = math.sqrt(2.0 / 9.0 / width)
    return float((1.0 - sigma**2 + LOSS_SIGMA * sigma) ** 3)
