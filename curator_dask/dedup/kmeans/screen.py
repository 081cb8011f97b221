"""Which centres may be the nearest one of a row: by a product of one-byte numbers, and what it may be off by.

Rows and centres are moved so that the mean of the centres is at zero, which changes no distance and makes both shorter:
embeddings often have much in common. Then both are rounded. For a row y and a centre d that become y' and d',
``|y.d - y'.d'| <= |y - y'| |d| + |y'| |d - d'|``, and these lengths are known.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.arrays.blocks import over_blocks
from curator_dask.dedup.arrays.one_byte import ROUNDING, Multiplier, to_one_byte
from curator_dask.dedup.arrays.some import Some
from curator_dask.dedup.arrays.xp import row_blocks
from curator_dask.dedup.kmeans.few import products_of_few

CLEARLY: Final = 8
"""So many times its usual error is a score of one-byte numbers higher for a centre that they tell from another one."""
NEARLY_ALL: Final = 0.95
ODD: Final = 1.5
"""A row whose error is this many times the usual one has a few large numbers, and would widen the limits of all."""
SCORES: Final = 1 << 18
"""Scores that are in memory at a time, 1 MiB: what the processor's nearest large cache holds."""
ROWS: Final = (64, 1024)
"""At least and at most so many rows have their scores in memory at a time."""

Matrix = NDArray[np.float32]


class Candidates(NamedTuple):
    """Centres that may be the nearest ones of some rows."""

    row: NDArray[np.int64]
    centre: NDArray[np.int64]
    """Both (P,), in the order of rows, then centres. Rows that are hard to round, or that have too many, have none."""


def rows_at_a_time(num_centres: int) -> int:
    """How many rows are best compared with all centres at a time.

    >>> rows_at_a_time(1000), rows_at_a_time(100_000)
    (262, 64)
    """
    least, most = ROWS
    return max(least, min(most, SCORES // num_centres))


class Screen:
    """Compares blocks of rows with the same centres.

    Args:
        C: (k, D) float32 centres, of any length.
        num_rows: at most so many rows have their scores in memory at a time.
    """

    def __init__(self, C: Matrix, num_rows: int) -> None:
        wide = C.astype(np.float64)
        self._middle = wide.mean(axis=0).astype(np.float32)
        wide -= self._middle
        self._centres = wide.astype(np.float32)
        self._lengths = np.sqrt((wide * wide).sum(axis=1))
        self._half_sq_norms = (0.5 * self._lengths**2).astype(np.float32)
        columns = to_one_byte(self._centres)
        self._errors = np.sqrt(((wide - columns.numbers * columns.steps[:, None].astype(np.float64)) ** 2).sum(axis=1))
        self._num_rows = num_rows
        self._multiplier = Multiplier(columns)

    def scores(self, X: Matrix) -> Matrix:
        """(n, k) float32, higher where a centre is nearer; the same bits on every machine.

        Args:
            X: (n, D) float32, at most `num_rows` rows.
        """
        scores: Matrix = self._multiplier.products(to_one_byte(X - self._middle, with_errors=False))
        scores -= self._half_sq_norms
        return scores

    def usual_errors(self) -> NDArray[np.float64]:
        """(k,), about how far the difference between the scores of two centres is off, for unit rows.

        Errors point anywhere: of D directions, one lies along the other vector. Rows and centres are rounded alike, and two
        scores are compared, so there are four such errors.
        """
        middle = self._middle.astype(np.float64)
        lengths = np.sqrt(np.maximum(self._lengths**2, 1.0 - middle @ middle))
        errors: NDArray[np.float64] = 2.0 * lengths * self._errors / len(middle) ** 0.5
        return errors

    def candidates(self, X: Matrix, most: int) -> Candidates:
        """The nearest centre of every row (n, D) float32, and all others that may be as near; none for rows with more than
        `most`."""
        blocks = [(rows.start, *self._candidates(X[rows], most)) for rows in row_blocks(len(X), self._num_rows)]
        return Candidates(
            np.concatenate([start + row for start, row, _ in blocks]), np.concatenate([centre for *_, centre in blocks])
        )

    def _candidates(self, X: Matrix, most: int) -> Candidates:
        moved = X - self._middle
        rows = to_one_byte(moved)
        odd = rows.errors > np.float32(ODD) * rows.errors.mean()
        length = float(np.vecdot(moved, moved).max(initial=0.0)) ** 0.5
        widths, rounding = self._widths(length, float(rows.errors[~odd].max(initial=0.0)), X.shape[1])
        highest: Matrix = self._multiplier.products(rows)
        highest -= self._half_sq_norms - widths
        best = highest.argmax(axis=1)
        least = products_of_few(moved, self._centres, best[:, None])[:, 0] - self._half_sq_norms[best] - rounding[best]
        least[odd] = np.inf
        found = np.flatnonzero(highest >= least[:, None])
        row, centre = found // len(self._centres), found % len(self._centres)
        few = (np.bincount(row, minlength=len(X)) <= most)[row]
        return Candidates(row[few], centre[few])

    def _widths(self, length: float, error: float, dimension: int) -> tuple[Matrix, Matrix]:
        """Both (k,): how far the scores of one-byte numbers may be off, and those of float32.

        Args:
            length: of the longest row.
            error: a row is moved by at most this when it is rounded to one byte.
            dimension: D.
        """
        rounding = 4.0 * ROUNDING * (dimension + 16) * (1.0 + length + error) * (1.0 + self._lengths) ** 2
        widths = 1.001 * ((length + error) * self._errors + error * self._lengths) + rounding
        return widths.astype(np.float32), rounding.astype(np.float32)


def tells_apart(C: Matrix, counts: NDArray[np.int64] | None = None) -> bool:
    """Whether numbers of one byte tell the centres of nearly all rows from the one that is nearest to them.

    They may not where centres are far from most others and close to some: errors are parts of the length of a row. Measured,
    embeddings and rows around random places are above the limit by ten times and more.

    >>> places = np.random.default_rng(0).standard_normal((3, 1, 64)).astype(np.float32) / 8
    >>> steps = np.random.default_rng(1).standard_normal((3, 20, 64)).astype(np.float32) / 8
    >>> tells_apart((places + 0.5 * steps).reshape(60, 64)), tells_apart((places + 0.05 * steps).reshape(60, 64))
    (True, False)

    Args:
        C: (k, D) float32, of any length; the rows that they are compared with are unit rows.
        counts: (k,) how many rows have each centre; None: it is not known, and each counts as much.
    """
    num_rows = rows_at_a_time(len(C))
    screen = Screen(C, num_rows)
    leads = np.concatenate([_leads(screen.scores(C[rows]), rows.start) for rows in row_blocks(len(C), num_rows)])
    are_clear = leads >= CLEARLY * screen.usual_errors()
    return bool(np.average(are_clear, weights=counts) >= NEARLY_ALL)


def _leads(scores: Matrix, first: int) -> Matrix:
    """(n,), by how much the score of each centre with itself is higher than all others, by scores (n, k) of centres from
    number `first` on, which are changed."""
    places = np.arange(len(scores)), first + np.arange(len(scores))
    own = scores[places]
    scores[places] = -np.inf
    leads: Matrix = own - scores.max(axis=1)
    return leads


def about_nearest(X: Matrix | Some, C: Matrix) -> NDArray[np.int32]:
    """(N,) int32, about the nearest centre of every row, by numbers of one byte; the same ones on every machine.

    >>> about_nearest(np.float32([[1, 0], [0.6, 0.8]]), np.float32([[0, 1], [1, 0], [-1, 0]])).tolist()
    [1, 0]

    Args:
        X: (N, D) float32, unit rows, on the host, or some rows of a matrix.
        C: (k, D) float32, of any length.
    """
    some = Some.of(X)
    labels = np.empty(len(some), dtype=np.int32)
    num_rows = rows_at_a_time(C.shape[0])

    def work(blocks: Iterator[slice]) -> None:
        screen = Screen(C, num_rows)
        for block in blocks:
            labels[block] = screen.scores(some[block]).argmax(axis=1)

    over_blocks(work, row_blocks(len(some), num_rows))
    return labels
