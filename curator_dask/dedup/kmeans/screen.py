"""Which centres may be the nearest one of a row: by a product of one-byte numbers, and what it may be off by.

Rows and centres are moved so that the mean of the centres is at zero, which changes no distance and makes both shorter:
embeddings often have much in common. Then both are rounded. For a row y and a centre d that become y' and d',
``|y.d - y'.d'| <= |y - y'| |d| + |y'| |d - d'|``, and these lengths are known.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.arrays.one_byte import Multiplier, OneByte, to_one_byte
from curator_dask.dedup.kmeans.few import products_of_few

ROUNDING: Final = 2.0**-24
"""float32 moves a number by at most this share of it."""
ODD: Final = 1.5
"""A row whose error is this many times the usual one has a few large numbers, and would widen the limits of all."""

Matrix = NDArray[np.float32]


class Candidates(NamedTuple):
    """Centres that may be the nearest ones of some rows."""

    row: NDArray[np.int64]
    centre: NDArray[np.int64]
    """Both (P,), in the order of rows, then centres. Rows that are hard to round have none."""


class Screen:
    """Compares blocks of rows with the same centres.

    Args:
        C: (k, D) float32 centres, of any length.
        num_rows: of the largest block.
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
        self._multiplier = Multiplier(columns, num_rows)

    def scores(self, X: Matrix) -> Matrix:
        """(n, k) float32, higher where a centre is nearer; the same bits on every machine. The next call overwrites them.

        Args:
            X: (n, D) float32, a block of rows.
        """
        return self._scores(to_one_byte(X - self._middle))

    def candidates(self, X: Matrix) -> Candidates:
        """The nearest centre of every row of a block (n, D) float32, and all others that may be as near."""
        moved = X - self._middle
        rows = to_one_byte(moved)
        odd = rows.errors > np.float32(ODD * float(np.median(rows.errors)))
        scores = self._scores(rows)
        best = scores.argmax(axis=1)
        least = products_of_few(moved, self._centres, best[:, None])[:, 0] - self._half_sq_norms[best]
        least[odd] = np.inf
        scores += self._widths(moved, float(rows.errors[~odd].max(initial=0.0)), self._lengths[best].max(initial=0.0))
        found = np.flatnonzero(scores >= least[:, None])
        return Candidates(found // scores.shape[1], found % scores.shape[1])

    def _scores(self, rows: OneByte) -> Matrix:
        scores: Matrix = self._multiplier.products(rows)
        scores -= self._half_sq_norms
        return scores

    def _widths(self, rows: Matrix, error: float, best: float) -> Matrix:
        """(k,), how far scores may be off, if rounding moves rows (n, D) by this at most; and the rounding of float32.

        float32 also rounds the score of a row's best centre, of this length at most.
        """
        length = math.sqrt(float(np.einsum("ij,ij->i", rows, rows).max(initial=0.0)))
        widths = (length + error) * self._errors + error * self._lengths
        longer = np.maximum(self._lengths, best)
        single = ROUNDING * (rows.shape[1] + 16) * (1.0 + length + error) * (1.0 + longer) ** 2
        widest: Matrix = (1.001 * widths + 4.0 * single).astype(np.float32)
        return widest
