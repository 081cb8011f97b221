"""Compare still pictures: the same slide, or one with other words?

A copy of a picture of 32x32 grey levels may have other contrast and light, and less detail. So one picture is first fitted to
the other: by a curve of its grey levels (a polynomial of degree 3) and by a share of its own detail (its Laplacian). What is
left over is compared block by block of 4x4 pixels, without the mean of each block. Another word on a slide shows in one or
two blocks, so the block with the largest rest decides, measured against the contrast of that block and what coding leaves.

Measured on made slides of text (24 of them): edited copies leave up to .77, another title .69 and more (half of them 2.4),
a missing line 2.5 and more. One other word leaves .3 to 2.4: a third of them, small ones, cannot be told apart at 32x32.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.arrays.xp import row_blocks

SIDE = 32
BLOCK = 4
STEP = 2
MIN_CORRELATION = 0.85
"""Of two whole pictures. It rules out most pairs by one product; copies have .9 and more."""
SHARE_OF_CONTRAST = 0.2
MOST_NOISE, LEAST_NOISE, SHARE_OF_STRONGEST = 2.0, 0.5, 0.04
"""Grey levels that coding leaves in a block: 2, but less where the whole picture has little contrast."""
REST_AT_ZERO = 10.0
"""A rest of this size is a likeness of 0."""
DEGREE = 3
RIDGE = 1e-9
BOUND_MARGIN = 0.001
"""A float32 product is off by far less than this."""
BOUND_ROWS = 1024
PAIRS_AT_ONCE = 256


@dataclass(frozen=True)
class PairsAlike:
    """Pairs of pictures that are alike, S of them, in order."""

    i: NDArray[np.int64]
    j: NDArray[np.int64]
    likeness: NDArray[np.float64]
    """1 - rest / 10 of the block that is least alike."""


def pairs_alike(x: NDArray[np.uint8], y: NDArray[np.uint8], least: float) -> PairsAlike:
    """The pairs of a picture of x (A, 1024) and one of y (B, 1024) with a likeness of at least `least`. Plain pictures are
    like no other."""
    parts = [np.zeros((3, 0))]
    for i, j in _correlated(x, y) if len(x) and len(y) else ():
        found = np.stack([i, j, likeness_of(x[i], y[j])])
        parts.append(found[:, found[2] >= least])
    i, j, likeness = np.concatenate(parts, axis=1)
    return PairsAlike(i.astype(np.int64), j.astype(np.int64), likeness)


def likeness_of(x: NDArray[np.uint8], y: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(n,) the likeness of n pairs of pictures, (n, 1024) each; the better fit of both directions counts."""
    a, b = x.astype(np.float64), y.astype(np.float64)
    # Rounded, so that the last bits of a sum decide nothing.
    return np.round(1 - np.minimum(_rest(a, b), _rest(b, a)) / REST_AT_ZERO, 9)


def _correlated(x: NDArray[np.uint8], y: NDArray[np.uint8]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Pairs whose whole pictures correlate, some hundred at a time, in order."""
    unit_x, unit_y = _unit(x), _unit(y)
    for rows in row_blocks(len(x), BOUND_ROWS):
        near = unit_x[rows].astype(np.float32) @ unit_y.astype(np.float32).T >= MIN_CORRELATION - BOUND_MARGIN
        i, j = np.nonzero(near)
        exact = np.round((unit_x[i + rows.start] * unit_y[j]).sum(axis=1), 9) >= MIN_CORRELATION
        i, j = i[exact] + rows.start, j[exact]
        for some in row_blocks(len(i), PAIRS_AT_ONCE):
            yield i[some], j[some]


def _unit(pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(N, 1024) the pictures less their means, of length 1; zeros for plain ones."""
    levels = pictures.astype(np.float64) - pictures.mean(axis=1, keepdims=True)
    length = np.sqrt((levels**2).sum(axis=1, keepdims=True))
    unit: NDArray[np.float64] = np.divide(levels, length, out=np.zeros_like(levels), where=length > 0)
    return unit


def _rest(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) what is left of b after a was fitted to it, in the worst block."""
    fitted = _fit(a, b)
    contrast_a, contrast_b, contrast_fit, rest = (_contrasts(p) for p in (a, b, fitted, b - fitted))
    # Grey levels count as in the picture of more contrast.
    louder = np.maximum(1.0, _size(contrast_a) / np.maximum(_size(contrast_b), 1e-9))
    contrast = louder * np.maximum(contrast_b, contrast_fit)
    noise = np.clip(SHARE_OF_STRONGEST * contrast.max(axis=1, keepdims=True), LEAST_NOISE, MOST_NOISE)
    worst: NDArray[np.float64] = (louder * rest / (SHARE_OF_CONTRAST * contrast + noise)).max(axis=1)
    return worst


def _size(contrasts: NDArray[np.float64]) -> NDArray[np.float64]:
    size: NDArray[np.float64] = np.sqrt((contrasts**2).sum(axis=1, keepdims=True))
    return size


def _fit(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 1024) the least squares fit of b by a curve of a's grey levels and a's detail."""
    level = a / 127.5 - 1
    terms = np.stack([*(level**power for power in range(DEGREE + 1)), _laplacian(a) / 255], axis=1)
    products = terms @ terms.transpose(0, 2, 1)
    # Pictures of two or three grey levels have no unique fit; a trace of weight on each term chooses one.
    products += RIDGE * a.shape[1] * np.eye(products.shape[1])
    weights = np.linalg.solve(products, terms @ b[:, :, None])
    fitted: NDArray[np.float64] = (terms * weights).sum(axis=1)
    return fitted


def _laplacian(pictures: NDArray[np.float64]) -> NDArray[np.float64]:
    square = np.pad(pictures.reshape(-1, SIDE, SIDE), ((0, 0), (1, 1), (1, 1)), mode="edge")
    beside = square[:, :-2, 1:-1] + square[:, 2:, 1:-1] + square[:, 1:-1, :-2] + square[:, 1:-1, 2:]
    return (beside - 4 * square[:, 1:-1, 1:-1]).reshape(pictures.shape)


def _contrasts(pictures: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, blocks) the standard deviation of the grey levels of each block."""
    square = pictures.reshape(-1, SIDE, SIDE)
    blocks = np.lib.stride_tricks.sliding_window_view(square, (BLOCK, BLOCK), axis=(1, 2))[:, ::STEP, ::STEP]
    deviation: NDArray[np.float64] = blocks.std(axis=(3, 4)).reshape(len(pictures), -1)
    return deviation
