"""Leave out pairs of rows that do not matter, by products of one-byte numbers: several times as quick as those of float32.

Rows of a cluster have much in common. So a middle m is subtracted from all of them first: what is left is shorter, and
loses less when it is rounded. With u = x - m and v = y - m, ``x.y = u.v + (m.x - m.m / 2) + (m.y - m.m / 2)``. Rounding moves
u by at most e and v by at most f, so u.v is at most ``e |v| + |u| f + e f`` above the product of the rounded ones. The sum of
all this is an upper limit of x.y. A pair is left out if its limit is below the best product of its row and below the line of
a list. The few others are multiplied in float32. A limit may be too high, which costs time; it is never too low, so no result
depends on it.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.arrays.one_byte import Multiplier, OneByte, to_one_byte
from curator_dask.dedup.arrays.quick_products import are_quick
from curator_dask.dedup.arrays.xp import array_module, row_blocks
from curator_dask.dedup.similarity.candidates import FLOAT32

BLOCK_ROWS: Final = 128
"""Rows that are rounded at a time: they stay in the processor's cache."""
SCREENED_ROWS: Final = 112
"""Rows whose limits are computed at a time."""
LEAST_ROWS: Final = 1536
"""Fewer rows save too little: to try and to round a thousand takes as long as is saved (pairwise_2_cores.md)."""
LEAST_NUMBERS: Final = 128
"""Products of shorter rows cost no more than looking through them."""
TRIED_ROWS: Final = 16
TRIED_COLUMNS: Final = 1024
"""So many rows are tried, with some more references than this."""
PAIRS_PER_ROW: Final = 250
"""Rounding a row costs as much as one-byte products save with so many pairs."""
PAIRS_PER_CANDIDATE: Final = 40
"""The same for a candidate that is multiplied in float32."""
LOWEST: Final = np.float32(-2.0)
"""All products of unit rows are higher."""
MOST_AT_LEAST: Final = 3
"""So many candidates per row are always allowed."""

Rows = NDArray[np.float32]


class Rounded(NamedTuple):
    """N rows without the middle, in numbers of one byte."""

    rows: OneByte
    left: Rows
    right: Rows
    """Both (N, 4). The product of a left one and a right one is what a limit has more than the product of the rounded rows."""


class RoundedSides(NamedTuple):
    """Rows that are compared with each other."""

    queries: Rounded
    references: Rounded


def round_rows(rows: Rows, middle: Rows) -> Rounded:
    """Unit rows (N, D) without the middle (D,)."""
    num_rows, dim = rows.shape
    numbers, steps = np.empty((num_rows, dim), np.int8), np.empty(num_rows, np.float32)
    errors, lengths, along = (np.empty(num_rows, np.float32) for _ in range(3))
    for part in row_blocks(num_rows, BLOCK_ROWS):
        moved = rows[part] - middle
        numbers[part], steps[part], errors[part] = to_one_byte(moved)
        lengths[part] = np.vecdot(moved, moved)
        along[part] = np.matmul(rows[part], middle)
    wide = middle.astype(np.float64)
    return _with_limits(OneByte(numbers, steps, errors), np.sqrt(lengths), along - np.float32(wide @ wide / 2))


def _with_limits(rounded: OneByte, lengths: Rows, along: Rows) -> Rounded:
    """The terms of the limits. What float32 rounds in them is less than what is added here.

    Counted in 2**-24 of a row's length: to subtract the middle moves the row by 1, and `to_one_byte` by less than 10 beside the
    error that it tells; 16 are added to the error. A sum of dim squares is off by less than dim, its root by half of that.
    """
    dim = rounded.numbers.shape[1]
    lengths *= np.float32(1.0 + (dim + 8) * 2.0**-24)
    errors = rounded.errors + lengths * np.float32(2.0**-20)
    ones = np.ones_like(along)
    left = np.stack([errors, lengths + errors, along + _spare(dim), ones], axis=1)
    return Rounded(rounded, left, np.stack([lengths, errors, ones, along], axis=1))


def _spare(dim: int) -> np.float32:
    """What float32 may be off by in a limit.

    Both products with the middle are off by the bound of a product at most, and there are two bounds more than needed. All the
    rest are some ten roundings of numbers below ten, so less than 100 times 2**-24; 256 times are added.
    """
    return np.float32(4.0 * FLOAT32.bound(dim) + 256 * 2.0**-24)


def rounded_where_it_pays(
    queries: Rows, references: Rows, counts: NDArray[np.int64], floor: NDArray[np.float64]
) -> RoundedSides | None:
    """The rounded rows, where leaving out pairs by them pays; None elsewhere, as on a device.

    Args:
        queries, references: (M, D) and (N, D) unit rows; the same array where rows are compared among themselves.
        counts: (M,) how many of the references a query is compared with: the first ones.
        floor: (M,) lower products do not count.
    """
    least_rows = min(len(queries), len(references))
    if array_module(references) is not np or not is_large(least_rows, references.shape[1]) or not are_quick():
        return None
    middle = references.mean(axis=0)
    num_rows = len(references) if queries is references else len(references) + len(queries)
    saved = float(counts.sum()) - num_rows * PAIRS_PER_ROW
    if saved < 0:
        return None
    if _near_per_row(queries, references, counts, floor, middle) * len(queries) * PAIRS_PER_CANDIDATE > saved:
        return None
    rounded = round_rows(references, middle)
    return RoundedSides(rounded if queries is references else round_rows(queries, middle), rounded)


def is_large(num_rows: int, dim: int) -> bool:
    """Whether so many rows of so many numbers may gain from products of one-byte numbers."""
    return num_rows >= LEAST_ROWS and dim >= LEAST_NUMBERS


def _near_per_row(
    queries: Rows, references: Rows, counts: NDArray[np.int64], floor: NDArray[np.float64], middle: Rows
) -> float:
    """How many candidates a query is likely to have beside its best one. Some queries are tried, with float32 products; the
    references are expected to be rounded by as much as these."""
    tried = np.linspace(0, len(queries) - 1, TRIED_ROWS).astype(np.int64)
    every = max(1, len(references) // TRIED_COLUMNS)
    products, rounded = queries[tried] @ references[::every].T, round_rows(queries[tried], middle)
    products[np.arange(0, len(references), every) >= counts[tried][:, None]] = -np.inf
    widths = np.vecdot(rounded.left[:, :2], rounded.right[:, :2]) + np.float32(2.0) * _spare(queries.shape[1])
    least = np.maximum(products.max(axis=1), floor[tried].astype(np.float32)) - widths
    return every * (np.count_nonzero(products >= least[:, None]) / len(tried) - 1)


class Left(NamedTuple):
    """The pairs (P,) of a block and a tile that are not left out, in the order of rows, then columns."""

    row: NDArray[np.int64]
    column: NDArray[np.int64]
    limit: Rows
    """The upper limit of the product."""
    likely: NDArray[np.int64]
    """(n,), the column with the highest limit for each row of the block; -1 where no pair counts."""


class Screen:
    """Computes limits of the products of queries and references.

    Args:
        num_rows, num_columns: of the largest block.
    """

    def __init__(self, sides: RoundedSides, num_rows: int, num_columns: int) -> None:
        self._queries, self._references = sides
        self.pays = True
        self._multiplier = Multiplier(self._references.rows)
        self._added = np.empty(num_rows * num_columns, np.float32)
        self._in_steps = self._queries.left / self._queries.rows.steps[:, None]
        self._widths = _widths(*sides)

    def of(self, start: int) -> BlockScreen:
        """The screen of a block of queries, which begins with this one."""
        return BlockScreen(self, start)

    def limits(self, rows: slice, columns: slice) -> Limits:
        """The limits of these queries and these references."""
        limits: Rows = self._multiplier.in_steps(self._queries.rows.numbers[rows], columns)
        added = self._added[: limits.size].reshape(limits.shape)
        limits += np.matmul(self._in_steps[rows], self._references.right[columns].T, out=added)
        return Limits(limits, self._queries.rows.steps[rows], self._widths[rows])


def _widths(queries: Rounded, references: Rounded) -> Rows:
    """(M,), a limit of a query is above its product by this at most."""
    length, error = references.right[:, :2].max(axis=0)
    one_side = queries.left[:, 0] * length + queries.left[:, 1] * error + _spare(queries.rows.numbers.shape[1])
    widest: Rows = np.float32(2.01) * one_side
    return widest


class Limits:
    """Upper limits of the products of some queries and some references.

    Args:
        limits: (n, k), in steps of the queries.
        steps: (n,)
        widths: (n,), a limit is above its product by this at most.
    """

    def __init__(self, limits: Rows, steps: Rows, widths: Rows) -> None:
        self._limits, self._steps, self._widths = limits, steps, widths

    def leave_out(self, start: int, which: NDArray[np.bool_]) -> None:
        """Pairs (n, m) that do not count, from a column on."""
        np.copyto(self._limits[:, start:], -np.inf, where=which)

    def count_sure(self, least: np.float32) -> int:
        """How many pairs have a product of at least this for sure."""
        return int(np.count_nonzero(self._reaching(least + self._widths)))

    def left(self, start: int, line: np.float32) -> Left:
        """The pairs that may be the best ones of their rows, or reach the line. `start` is added to the rows."""
        every, num_columns = np.arange(len(self._steps)), self._limits.shape[1]
        if not num_columns:
            return Left(every[:0], every[:0], self._steps[:0], np.full_like(every, -1))
        likely = self._limits.argmax(axis=1)
        highest = self._limits[every, likely] * self._steps
        found = np.flatnonzero(self._reaching(np.minimum(highest - self._widths, line)))
        row = found // num_columns
        limit = self._limits.ravel()[found] * self._steps[row]
        return Left(row + start, found - row * num_columns, limit, np.where(highest > LOWEST, likely, -1))

    def _reaching(self, least: Any) -> NDArray[np.bool_]:
        """(n, k) which products may reach this: one line for all, or (n,)."""
        reaching: NDArray[np.bool_] = self._limits >= (np.maximum(least, LOWEST) / self._steps)[:, None]
        return reaching


class BlockScreen(NamedTuple):
    """The screen of a block of queries."""

    screen: Screen
    start: int

    @property
    def pays(self) -> bool:
        return self.screen.pays

    def limits(self, rows: slice, columns: slice) -> Limits:
        """The limits of these rows of the block and these references; the next ones overwrite them."""
        return self.screen.limits(slice(self.start + rows.start, self.start + rows.stop), columns)

    def allows(self, num_pairs: int, shape: tuple[int, int]) -> bool:
        """Whether multiplying so many pairs of a block costs less than multiplying all. If not, the screen does not pay."""
        self.screen.pays = num_pairs <= shape[0] * (MOST_AT_LEAST + shape[1] // PAIRS_PER_CANDIDATE)
        return self.screen.pays
