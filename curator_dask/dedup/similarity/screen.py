"""Leave out pairs of rows that do not matter, by products of one-byte numbers: several times as quick as those of float32.

Where rows of a cluster have much in common, a middle m is subtracted from all of them first: what is left is shorter, and
loses less when it is rounded. With u = x - m and v = y - m, ``x.y = u.v + (m.x - m.m / 2) + (m.y - m.m / 2)``. Rounding moves
u by at most e and v by at most f, so u.v is at most ``e |v| + |u| f + e f`` above the product of the rounded ones. The sum of
all this, with the largest |v| and f of all rows y, is an upper limit of x.y. A pair is left out if its limit is below the best
product of its row and below the line of a list. The few others are multiplied in float32. A limit may be too high, which
costs time; it is never too low, so no result depends on it.
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
SCREENED_ROWS: Final = 192
"""Rows whose limits are computed at a time."""
LEAST_ROWS: Final = 900
"""Fewer rows save too little: to try and to round 800 takes as long as is saved (pairwise_2_cores.md)."""
LEAST_NUMBERS: Final = 128
"""Products of shorter rows cost no more than looking through them."""
TRIED_ROWS: Final = 16
TRIED_COLUMNS: Final = 256
"""So many rows are tried, with some more references than this."""
PAIRS_PER_ROW: Final = 250
"""Rounding a row costs as much as one-byte products save with so many pairs."""
PAIRS_PER_CANDIDATE: Final = 28
"""The same for a candidate that is multiplied in float32."""
LOWEST: Final = np.float32(-2.0)
"""All products of unit rows are higher."""
IN_COMMON: Final = 0.1
"""A middle is subtracted where its squared length is at least this share of a row's."""
MOST_AT_LEAST: Final = 3
"""So many candidates per row are always allowed."""

Rows = NDArray[np.float32]


class Rounded(NamedTuple):
    """N rows without the middle, in numbers of one byte."""

    rows: OneByte
    errors: Rows
    """(N,), at least the distance of each row to the rounded one."""
    lengths: Rows
    """(N,), at least the length of each row without the middle."""
    along: Rows | None
    """(N,), ``m.x - m.m / 2``; None where no middle was subtracted."""

    def one_side(self, length: np.float32, error: np.float32) -> Rows:
        """(N,), how far the product with a row of at most this length and this error may be off."""
        return self.errors * length + (self.lengths + self.errors) * error + _spare(self.rows.numbers.shape[1])


class RoundedSides(NamedTuple):
    """Rows that are compared with each other."""

    queries: Rounded
    references: Rounded


def middle_of(rows: Rows) -> Rows | None:
    """(D,), the mean of the rows (N, D); None where it is so short that it is not worth subtracting."""
    middle = rows.mean(axis=0)
    return middle if np.vdot(middle, middle) >= IN_COMMON else None


def round_rows(rows: Rows, middle: Rows | None) -> Rounded:
    """Unit rows (N, D) without the middle (D,)."""
    num_rows, dim = rows.shape
    numbers, steps = np.empty((num_rows, dim), np.int8), np.empty(num_rows, np.float32)
    errors, lengths = (np.empty(num_rows, np.float32) for _ in range(2))
    for part in row_blocks(num_rows, BLOCK_ROWS):
        moved = rows[part] if middle is None else rows[part] - middle
        numbers[part], steps[part], errors[part] = to_one_byte(moved)
        lengths[part] = np.vecdot(moved, moved)
    return _with_limits(OneByte(numbers, steps, errors), np.sqrt(lengths), _along(rows, middle))


def _along(rows: Rows, middle: Rows | None) -> Rows | None:
    if middle is None:
        return None
    wide = middle.astype(np.float64)
    along: Rows = np.matmul(rows, middle) - np.float32(wide @ wide / 2)
    return along


def _with_limits(rounded: OneByte, lengths: Rows, along: Rows | None) -> Rounded:
    """The terms of the limits. What float32 rounds in them is less than what is added here.

    Counted in 2**-24 of a row's length: to subtract the middle moves the row by 1, and `to_one_byte` by less than 10 beside the
    error that it tells; 16 are added to the error. A sum of dim squares is off by less than dim, its root by half of that.
    """
    lengths *= np.float32(1.0 + (rounded.numbers.shape[1] + 8) * 2.0**-24)
    return Rounded(rounded, rounded.errors + lengths * np.float32(2.0**-20), lengths, along)


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
    num_rows = len(references) if queries is references else len(references) + len(queries)
    saved = float(counts.sum()) - num_rows * PAIRS_PER_ROW
    if saved < 0:
        return None
    middle = middle_of(references)
    if _near_per_row(queries, references, counts, floor, middle) * len(queries) * PAIRS_PER_CANDIDATE > saved:
        return None
    rounded = round_rows(references, middle)
    return RoundedSides(rounded if queries is references else round_rows(queries, middle), rounded)


def is_large(num_rows: int, dim: int) -> bool:
    """Whether so many rows of so many numbers may gain from products of one-byte numbers."""
    return num_rows >= LEAST_ROWS and dim >= LEAST_NUMBERS


def _near_per_row(
    queries: Rows, references: Rows, counts: NDArray[np.int64], floor: NDArray[np.float64], middle: Rows | None
) -> float:
    """How many candidates a query is likely to have beside its best one. Some queries are tried, with float32 products; the
    references are expected to be rounded by as much as these."""
    tried = np.linspace(0, len(queries) - 1, TRIED_ROWS).astype(np.int64)
    every = max(1, len(references) // TRIED_COLUMNS)
    products, rounded = queries[tried] @ references[::every].T, round_rows(queries[tried], middle)
    products[np.arange(0, len(references), every) >= counts[tried][:, None]] = -np.inf
    widths = rounded.one_side(rounded.lengths.max(), rounded.errors.max())
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
    """Computes limits of the products of queries and references."""

    def __init__(self, sides: RoundedSides) -> None:
        self.pays = True
        queries, references = sides
        self._rows, self._along = queries.rows, references.along
        self._multiplier = Multiplier(references.rows)
        self._above = queries.one_side(references.lengths.max(), references.errors.max())
        self._widths = np.float32(2.01) * self._above
        if queries.along is not None:
            self._above += queries.along

    def of(self, start: int) -> BlockScreen:
        """The screen of a block of queries, which begins with this one."""
        return BlockScreen(self, start)

    def limits(self, rows: slice, columns: slice) -> Limits:
        """The limits of these queries and these references."""
        products: Rows = self._multiplier.in_steps(self._rows.numbers[rows], columns)
        steps = self._rows.steps[rows]
        if self._along is not None:
            products += (np.float32(1.0) / steps)[:, None] * self._along[columns]
        return Limits(products, steps, self._above[rows], self._widths[rows])


class Limits:
    """Upper limits of the products of some queries and some references.

    Args:
        products: (n, k), in steps of the queries, what the limits are made of.
        steps: (n,)
        above: (n,), what all limits of a query have more than that.
        widths: (n,), a limit is above its product by this at most.
    """

    def __init__(self, products: Rows, steps: Rows, above: Rows, widths: Rows) -> None:
        self._products, self._steps, self._above, self._widths = products, steps, above, widths

    def leave_out(self, start: int, which: NDArray[np.bool_]) -> None:
        """Pairs (n, m) that do not count, from a column on."""
        np.copyto(self._products[:, start:], -np.inf, where=which)

    def count_sure(self, least: np.float32) -> int:
        """How many pairs have a product of at least this for sure."""
        return int(np.count_nonzero(self._reaching(least + self._widths)))

    def left(self, start: int, line: np.float32) -> Left:
        """The pairs that may be the best ones of their rows, or reach the line. `start` is added to the rows."""
        every, num_columns = np.arange(len(self._steps)), self._products.shape[1]
        if not num_columns:
            return Left(every[:0], every[:0], self._steps[:0], np.full_like(every, -1))
        likely = self._products.argmax(axis=1)
        highest = self._products[every, likely] * self._steps + self._above
        found = np.flatnonzero(self._reaching(np.minimum(highest - self._widths, line)))
        row = found // num_columns
        limit = self._products.ravel()[found] * self._steps[row] + self._above[row]
        return Left(row + start, found - row * num_columns, limit, np.where(highest > LOWEST, likely, -1))

    def _reaching(self, least: Any) -> NDArray[np.bool_]:
        """(n, k) which products may reach this: one line for all, or (n,)."""
        lowest = (np.maximum(least, LOWEST) - self._above) / self._steps
        reaching: NDArray[np.bool_] = self._products >= lowest[:, None]
        return reaching


class BlockScreen(NamedTuple):
    """The screen of a block of queries."""

    screen: Screen
    start: int

    @property
    def pays(self) -> bool:
        return self.screen.pays

    def limits(self, rows: slice, columns: slice) -> Limits:
        """The limits of these rows of the block and these references."""
        return self.screen.limits(slice(self.start + rows.start, self.start + rows.stop), columns)

    def allows(self, num_pairs: int, shape: tuple[int, int]) -> bool:
        """Whether multiplying so many pairs of a block costs less than multiplying all. If not, the screen does not pay."""
        self.screen.pays = num_pairs <= shape[0] * (MOST_AT_LEAST + shape[1] // PAIRS_PER_CANDIDATE)
        return self.screen.pays
