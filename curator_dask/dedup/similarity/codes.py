"""Vectors as one byte per number, which is enough to tell which rows may be among the most similar ones.

Each row is divided by a step of its own, 1/127 of its largest number, and rounded. The rounding errors of a row are
independent and at most half a step, so the score of a code with a unit vector has an error of about 0.29 steps (standard
deviation). `MARGIN` steps are seven of these.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.arrays.xp import row_blocks

LARGEST: Final = 127
MARGIN: Final = 2.0
"""How many steps the score of a code may be away from that of its row."""
BLOCK_NUMBERS: Final = 262_144
"""Numbers that are float32 at a time: 1 MiB, which stays in the cache of the processor."""


def to_codes(X: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """The codes (N, D) int8 of rows (N, D) float32, and their steps (N,) float32; a row is about code times step.

    >>> to_codes(np.array([[1, -.5], [0, 0]], dtype=np.float32))[0].tolist()
    [[127, -64], [0, 0]]
    """
    codes, steps = np.empty(X.shape, np.int8), np.empty(len(X), np.float32)
    for rows, numbers in _blocks(X.shape):
        largest = np.abs(X[rows], out=numbers).max(axis=1, initial=0)
        steps[rows] = np.where(largest > 0, largest / LARGEST, 1)
        np.divide(X[rows], steps[rows, None], out=numbers)
        codes[rows] = np.rint(numbers, out=numbers)
    return codes, steps


def code_scores(
    codes: NDArray[np.int8], steps: NDArray[np.float32], wanted: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(N,) about the products of the rows with `wanted` (D,)."""
    scores = np.empty(len(codes), np.float32)
    for rows, numbers in _blocks(codes.shape):
        numbers[:] = codes[rows]
        # Not a product by BLAS: its threads and those of the caller would wait for each other.
        scores[rows] = np.einsum("ij,j->i", numbers, wanted)
    return scores * steps


def _blocks(shape: tuple[int, ...]) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Which rows to take at a time, and a place (n, D) for their numbers, which is the same for all."""
    block_rows = max(1, BLOCK_NUMBERS // max(1, shape[1]))
    place = np.empty((block_rows, shape[1]), np.float32)
    for rows in row_blocks(shape[0], block_rows):
        yield rows, place[: rows.stop - rows.start]


def may_be_among(top: int, scores: NDArray[np.float32], steps: NDArray[np.float32]) -> NDArray[np.int64]:
    """The rows whose true scores may be among the `top` highest, in order: the others lie below these for certain enough.

    >>> scores, steps = np.array([0.5, 0.9, 0.8, 0.81], np.float32), np.full(4, 0.01, np.float32)
    >>> may_be_among(2, scores, steps).tolist()
    [1, 2, 3]
    """
    if len(scores) <= top:
        return np.arange(len(scores))
    lowest = scores - MARGIN * steps
    line = np.partition(lowest, -top)[-top]
    return np.flatnonzero(scores + MARGIN * steps >= line)
