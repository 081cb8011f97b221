"""Votes of a cell: which lines may show the same, and at which offset, for a closer look.

What very many lines show (an intro, a slate, a clip copied a thousand times) would give votes for all their pairs. Such rows
vote only for the first few of these lines, the leaders: all copies of a clip are then still found, through the same leaders.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.align.line import Stretches
from curator_dask.dedup.align.offsets import LEAST_OFFSET
from curator_dask.dedup.align.seeds import Seeds, Segments, near_rows
from curator_dask.dedup.align.stills import pairs_alike
from curator_dask.dedup.arrays.xp import row_blocks

MOST_LINES = 100
LEADERS = 8
ROWS_AT_ONCE, PICTURES_AT_ONCE = 256, 1024
"""Rows of a cell whose pairs are in memory at a time."""
FIRST_OTHERS, MOST_OTHERS = 512, 4096
"""Rows, about, that they are compared with before those that have met enough lines are left out: few at first, then more."""
Pairs = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]
"""Rows of one side, rows of the other side, and how alike they are."""


def moving_votes(x: Segments, y: Segments, least: float) -> Iterator[Seeds]:
    """The seeds of a cell that count, the earlier line first; of one line with itself, the later start."""
    y = _in_order_of_lines(y)

    def near(rows: NDArray[np.int64], others: slice) -> Pairs:
        return near_rows(x.rows[rows], y.rows[others], least)

    for i, j, score in voting_pairs(len(x), y.line, near, ROWS_AT_ONCE):
        yield _earlier_first(Seeds(x.line[i], y.line[j], x.start[i], y.start[j], score))


def voting_pairs(
    num_rows: int, line: NDArray[np.int64], near: Callable[[NDArray[np.int64], slice], Pairs], at_once: int
) -> Iterator[Pairs]:
    """The pairs of rows that may vote, some rows at a time.

    A row that has met more than `MOST_LINES` lines is not compared any further: it will vote for the first few only. So what
    a hundred thousand lines show costs no more per line than what a hundred show.

    Args:
        line: (B,) the lines of the other side's rows, in ascending order.
        near: The pairs of some rows (their numbers) with a block of the other side (the second number counts from its start).
        at_once: How many rows have their pairs in memory at a time.
    """
    blocks = list(whole_lines(line, FIRST_OTHERS, MOST_OTHERS))
    for rows in row_blocks(num_rows, at_once):
        found, met = [], np.zeros(rows.stop - rows.start, np.int64)
        for block in blocks:
            open_rows = np.flatnonzero(met <= MOST_LINES)
            if not len(open_rows):
                break
            i, j, score = near(open_rows + rows.start, block)
            if len(i):
                found.append((open_rows[i], j + block.start, score))
                met += _lines_met(open_rows[i], line[j + block.start], len(met))
        if found:
            i, j, score = (np.concatenate([one[side] for one in found]) for side in range(3))
            votes = may_vote(i, line[j])
            yield i[votes] + rows.start, j[votes], score[votes]


def whole_lines(line: NDArray[np.int64], first: int, most: int) -> Iterator[slice]:
    """Blocks that end where a line ends: about `first` rows, then twice as many each time, up to about `most`.

    >>> list(whole_lines(np.array([0, 0, 1, 1, 1, 2, 3, 4]), 1, 2))
    [slice(0, 2, None), slice(2, 5, None), slice(5, 7, None), slice(7, 8, None)]
    """
    ends = np.append(np.flatnonzero(np.diff(line)) + 1, len(line))
    start = 0
    while start < len(line):
        place = min(int(np.searchsorted(ends, start + first)), len(ends) - 1)
        yield slice(start, int(ends[place]))
        start, first = int(ends[place]), min(2 * first, most)


def _lines_met(row: NDArray[np.int64], line: NDArray[np.int64], num_rows: int) -> NDArray[np.int64]:
    """(num_rows,) with how many lines each row has pairs."""
    return np.bincount(np.unique(np.stack([row, line]), axis=1)[0], minlength=num_rows)


def _in_order_of_lines(segments: Segments) -> Segments:
    order = np.argsort(segments.line, kind="stable")
    return Segments(segments.rows[order], segments.line[order], segments.start[order])


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
    order = np.argsort(y.line, kind="stable")
    y = Stretches(y.line[order], y.first[order], y.stop[order], y.pictures[order])

    def near(rows: NDArray[np.int64], others: slice) -> Pairs:
        pairs = pairs_alike(x.pictures[rows], y.pictures[others], least)
        return pairs.i, pairs.j, pairs.likeness

    empty = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    parts = [empty, *voting_pairs(len(x.line), y.line, near, PICTURES_AT_ONCE)]
    i, j, likeness = (np.concatenate([part[side] for part in parts]) for side in range(3))
    first = np.stack([x.line[i], x.first[i], x.stop[i]])
    second = np.stack([y.line[j], y.first[j], y.stop[j]])
    swap = (first[0] > second[0]) | ((first[0] == second[0]) & (first[1] < second[1]))
    same = (first[0] == second[0]) & (first[1] == second[1])
    both = np.concatenate([np.where(swap, second, first), np.where(swap, first, second)])
    line_x, first_x, stop_x, line_y, first_y, stop_y = both[:, ~same]
    return StillVotes(line_x, first_x, stop_x, line_y, first_y, stop_y, likeness[~same])


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
