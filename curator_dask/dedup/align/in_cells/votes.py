"""Votes of a cell: which lines may show the same, and at which offset, for a closer look.

What very many lines show (an intro, a slate, a clip copied a thousand times) would give votes for all their pairs. Such rows
vote only for the first few of these lines, the leaders: all copies of a clip are then still found, through the same leaders.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.align.line import Stretches
from curator_dask.dedup.align.offsets import LEAST_OFFSET
from curator_dask.dedup.align.seeds import Seeds, Segments, find_seeds
from curator_dask.dedup.align.stills import pairs_alike
from curator_dask.dedup.arrays.xp import row_blocks

MOST_LINES = 100
LEADERS = 8
ROWS_AT_ONCE = 256
"""Rows of a cell whose seeds are in memory at a time: all of them may have seeds with the whole cell."""


def moving_votes(x: Segments, y: Segments, least: float) -> Iterator[Seeds]:
    """The seeds of a cell that count, the earlier line first; of one line with itself, the later start."""
    for rows in row_blocks(len(x), ROWS_AT_ONCE):
        some = Segments(x.rows[rows], x.line[rows], x.start[rows])
        for seeds in _joined(find_seeds(some, y, least)):
            _, row = np.unique(np.stack([seeds.line_x, seeds.start_x]), axis=1, return_inverse=True)
            yield _earlier_first(_chosen(seeds, may_vote(row.ravel(), seeds.line_y)))


def may_vote(row: NDArray[np.int64], line: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(S,) for seeds of a row with a line: whether the row meets at most `MOST_LINES` lines, or the line is a leader.

    >>> row, line = np.repeat([0, 1], [3, 200]), np.concatenate([[7, 8, 9], np.arange(200)])
    >>> int(may_vote(row, line).sum())
    11
    """
    pairs, place = np.unique(np.stack([row, line]), axis=1, return_inverse=True)
    count = np.bincount(pairs[0])
    rank = np.arange(pairs.shape[1]) - (np.cumsum(count) - count)[pairs[0]]
    votes: NDArray[np.bool_] = ((count[pairs[0]] <= MOST_LINES) | (rank < LEADERS))[place.ravel()]
    return votes


@dataclass(frozen=True)
class StillVotes:
    """Pairs of still stretches with the same picture, S of them."""

    line_x: NDArray[np.int64]
    first_x: NDArray[np.int64]
    stop_x: NDArray[np.int64]
    line_y: NDArray[np.int64]
    first_y: NDArray[np.int64]
    stop_y: NDArray[np.int64]
    likeness: NDArray[np.float64]


def still_votes(x: Stretches, y: Stretches, least: float) -> StillVotes:
    """The pairs of stretches of a cell that show the same, the earlier line first; of one line, the later stretch."""
    pairs = pairs_alike(x.pictures, y.pictures, least)
    votes = may_vote(pairs.i, y.line[pairs.j])
    i, j, likeness = pairs.i[votes], pairs.j[votes], pairs.likeness[votes]
    first = np.stack([x.line[i], x.first[i], x.stop[i]])
    second = np.stack([y.line[j], y.first[j], y.stop[j]])
    swap = (first[0] > second[0]) | ((first[0] == second[0]) & (first[1] < second[1]))
    same = (first[0] == second[0]) & (first[1] == second[1])
    both = np.concatenate([np.where(swap, second, first), np.where(swap, first, second)])
    line_x, first_x, stop_x, line_y, first_y, stop_y = both[:, ~same]
    return StillVotes(line_x, first_x, stop_x, line_y, first_y, stop_y, likeness[~same])


def _joined(seeds: Iterator[Seeds]) -> Iterator[Seeds]:
    """All seeds in one; nothing if there are none."""
    parts = list(seeds)
    if parts:
        names = list(Seeds.__dataclass_fields__)
        yield Seeds(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _chosen(seeds: Seeds, mask: NDArray[np.bool_]) -> Seeds:
    return Seeds(*(getattr(seeds, name)[mask] for name in Seeds.__dataclass_fields__))


def _earlier_first(seeds: Seeds) -> Seeds:
    itself = seeds.line_x == seeds.line_y
    swap = (seeds.line_x > seeds.line_y) | (itself & (seeds.start_x < seeds.start_y))
    near = itself & (np.abs(seeds.start_x - seeds.start_y) < LEAST_OFFSET)
    turned = Seeds(
        np.where(swap, seeds.line_y, seeds.line_x),
        np.where(swap, seeds.line_x, seeds.line_y),
        np.where(swap, seeds.start_y, seeds.start_x),
        np.where(swap, seeds.start_x, seeds.start_y),
        seeds.score,
    )
    return _chosen(turned, ~near)
