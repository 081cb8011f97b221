"""Seeds: pairs of four seconds that move alike. They tell which lines to lay over each other, and at which offsets.

Each four seconds of a line become a row of 198 whole numbers: how its 66 numbers change over that time, as three cosine
waves. (The constant part, which is what stands, is left out.) A product of two rows is then a sum of whole numbers below
2**24, which float32 adds exactly in any order: every BLAS and every GPU find the same seeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.align.diagonal import seconds
from curator_dask.dedup.align.line import Line
from curator_dask.dedup.arrays.xp import Array, array_module, row_blocks, to_host

SEGMENT_ROWS = 7
NUM_WAVES = 3
LENGTH = 127.0
"""The length that each row is scaled to, so that no number is larger than a byte holds: where most of what moves lies in a
few frequencies, larger ones would be cut off, and a copy would seem less alike than it is."""
BLOCK_ROWS = 2048


@dataclass(frozen=True)
class Segments:
    """The moving segments of several lines."""

    rows: Array
    """(N, 3 * D) float32, whole numbers of about length 127."""
    line: NDArray[np.int64]
    """(N,) the line that each segment lies in."""
    start: NDArray[np.int64]
    """(N,) the window that it begins with."""

    def __len__(self) -> int:
        return len(self.line)


@dataclass(frozen=True)
class Seeds:
    """Pairs of segments, S of them."""

    line_x: NDArray[np.int64]
    line_y: NDArray[np.int64]
    start_x: NDArray[np.int64]
    start_y: NDArray[np.int64]
    score: NDArray[np.float32]
    """The cosine of the two rows."""


def segments_of(
    lines: Sequence[Line], min_energy: float, *, num_rows: int = SEGMENT_ROWS, least_usable: float = 0.7
) -> Segments:
    """The segments of all lines in which something moves, one from every window on."""
    parts = [_moving_segments(line, min_energy, num_rows, least_usable) for line in lines]
    counts = [len(start) for _, start in parts]
    dimension = max((rows.shape[1] for rows, _ in parts), default=0)
    rows = [rows for rows, _ in parts if len(rows)]
    return Segments(
        np.concatenate(rows) if rows else np.zeros((0, dimension), np.float32),
        np.repeat(np.arange(len(lines)), counts),
        np.concatenate([np.zeros(0, np.int64), *(start for _, start in parts)]),
    )


def find_seeds(x: Segments, y: Segments, least: float) -> Iterator[Seeds]:
    """All pairs with a score of at least `least`, block by block."""
    for block in row_blocks(len(x), BLOCK_ROWS):
        for other in row_blocks(len(y), BLOCK_ROWS):
            i, j, score = near_rows(x.rows[block], y.rows[other], least)
            if len(i):
                i, j = i + block.start, j + other.start
                yield Seeds(x.line[i], y.line[j], x.start[i], y.start[j], score)


def near_rows(x: Array, y: Array, least: float) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """The pairs of a row of x (A, 3 * D) and one of y (B, 3 * D) with a score of at least `least`, in order: the rows of x,
    those of y, and the scores."""
    products = x @ y.T
    # One axis: NumPy looks through it several times as fast as through two.
    i, j = array_module(x).divmod(array_module(x).flatnonzero(products >= np.float32(least * LENGTH**2)), len(y))
    return to_host(i), to_host(j), (to_host(products[i, j]) / LENGTH**2).astype(np.float32)


def _moving_segments(
    line: Line, min_energy: float, num_rows: int, least_usable: float
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rows, usable = seconds(line)
    count = max(0, len(rows) - num_rows + 1)
    rows = rows * usable[:, None]
    pieces = np.stack([rows[at : at + count] for at in range(num_rows)], axis=1)
    num_usable = np.sum([usable[at : at + count] for at in range(num_rows)], axis=0)
    standing = (pieces.sum(axis=1) ** 2).sum(axis=1)
    moving = num_rows * (pieces**2).sum(axis=(1, 2)) - standing
    start = np.flatnonzero(
        (num_usable >= least_usable * num_rows) & (moving >= min_energy**2 * standing) & (moving > 0)
    )
    kinds = _waves(num_rows)
    waves = np.einsum("hr,nrd->nhd", kinds, pieces[start]).reshape(len(start), len(kinds) * rows.shape[1])
    lengths = np.sqrt(np.einsum("ij,ij->i", waves, waves))
    scaled = np.rint(waves * (LENGTH / np.where(lengths > 0, lengths, 1.0))[:, None])
    return scaled.astype(np.float32), start


def _waves(num_rows: int) -> NDArray[np.float64]:
    """(waves, rows) cosine waves over the rows of a segment, without the constant one."""
    numbers = np.arange(1, min(NUM_WAVES, num_rows - 1) + 1)
    waves: NDArray[np.float64] = np.cos(np.pi * np.outer(numbers, np.arange(num_rows) + 0.5) / num_rows)
    return waves
