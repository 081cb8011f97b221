"""List the near pairs of a cluster while it is scored: the products are at hand then, so the list costs little.

Whoever decides on the cluster later need not read and multiply its vectors again. A list reaches down to one of a few
cosines: to the lowest one above which there are not too many pairs. So the same rows have the same list, for any tile
size and any number of threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import Final

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.arrays.xp import Array, to_host
from curator_dask.dedup.similarity.best_match import Reaching
from curator_dask.dedup.similarity.pairs import STEPS, Side, measure_pairs
from curator_dask.dedup.similarity.threshold import is_duplicate, least_steps
from curator_dask.dedup.similarity.tiles import DENSE, Tile, exact_steps

REACHES: Final = (0.1, 0.05, 0.02, 0.01)
"""How far lists reach: to a cosine of 1 less one of these."""
MOST_PER_ROW: Final = 4
"""At most so many pairs are listed per row of the cluster."""


@dataclass(frozen=True, slots=True)
class NearList:
    """All P pairs of rows of a cluster with a cosine of at least ``1 - reach``; on the host, by later and earlier row."""

    reach: float
    later: NDArray[np.int64]
    """(P,) places in the ranking."""
    earlier: NDArray[np.int64]
    """(P,) lower places."""
    steps: NDArray[np.float64]
    """(P,) their cosines in steps of 2**-24."""

    def within(self, eps: float) -> NearList | None:
        """The pairs with a cosine of at least ``1 - eps``; None where the list does not reach as far."""
        if eps > self.reach:
            return None
        some = self.steps >= least_steps(eps)
        return NearList(eps, self.later[some], self.earlier[some], self.steps[some])

    def fits(self, score: NDArray[np.float32], best: NDArray[np.int64]) -> bool:
        """Whether the best pairs in the list are those of a similarity table, so that both are of the same rows.

        Args:
            score: (N,) the cosine of each row and its best match.
            best: (N,) the place of that match; the row itself where the match is not in the table.
        """
        highest, match = np.full(len(score), -1.0), np.arange(len(score))
        if len(self.later) and self.later.max() >= len(score):
            return False
        order = np.lexsort((self.earlier, -self.steps, self.later))
        rows, first = np.unique(self.later[order], return_index=True)
        highest[rows], match[rows] = self.steps[order[first]], self.earlier[order[first]]
        within = is_duplicate(score, self.reach)
        own = within & (best != np.arange(len(best)))
        same = (highest == score.astype(np.float64) * STEPS) & (match == best)
        return bool(
            same[own].all() and (highest <= score.astype(np.float64) * STEPS)[within].all() and within[rows].all()
        )


class NearPairLister:
    """Lists the near pairs of `num_rows` rows from their tiles, which may come in any order and from several threads."""

    def __init__(self, num_rows: int) -> None:
        self._most = MOST_PER_ROW * num_rows
        self._reaches = list(REACHES)
        self._found = [np.empty((0, 2), np.int64)]
        self._steps = [np.empty(0)]
        self._lock = Lock()

    @property
    def is_open(self) -> bool:
        """Whether the list can still be made: without one, no further tile is of use."""
        return bool(self._reaches)

    @property
    def line(self) -> np.float32:
        """No pair with a lower cosine is asked for; infinite where the list cannot be made."""
        return _line(self._reaches[:1])

    def look(self, block: Side, tile: Tile, reaching: Reaching, bound: np.float32) -> None:
        """Take the near pairs of a tile; `TileReader` tells what it sees."""
        while self.is_open:
            line = self.line
            row, column, product = reaching(line - bound)
            if not row.size or self.has_room(line, int((product >= line + bound).sum())):
                self._add(block, tile, row, column)
                return

    def has_room(self, line: np.float32, num_sure: int) -> bool:
        """Whether the list can take so many pairs, all of which reach this line for sure; else it reaches less far."""
        with self._lock:
            room = self._most - sum(map(len, self._steps))
            if self.line == line and num_sure > room:
                self._reach_less_far()
            return bool(self.line == line)

    def _add(self, block: Side, tile: Tile, row: Array, column: Array) -> None:
        if not row.size:
            return
        if row.size > DENSE * len(block.positions):
            steps = to_host(exact_steps(block, tile)[row, column])
            row, column = to_host(row), to_host(column)
        else:
            row, column = to_host(row), to_host(column)
            steps = measure_pairs(block, tile.side, row, column)
        pairs = np.stack([block.positions[row], tile.side.positions[column]], axis=1)
        with self._lock:
            if self.is_open:
                near = steps >= least_steps(self._reaches[0])
                self._found.append(pairs[near])
                self._steps.append(steps[near])
            while self.is_open and sum(map(len, self._steps)) > self._most:
                self._reach_less_far()

    def _reach_less_far(self) -> None:
        self._reaches.pop(0)
        least = least_steps(self._reaches[0]) if self._reaches else np.inf
        near = [steps >= least for steps in self._steps]
        self._found = [pairs[some] for pairs, some in zip(self._found, near, strict=True)]
        self._steps = [steps[some] for steps, some in zip(self._steps, near, strict=True)]

    def listed(self) -> NearList | None:
        """The list, when all tiles have been looked at; None where even the nearest pairs are too many."""
        if not self.is_open:
            return None
        (later, earlier), steps = np.concatenate(self._found).T, np.concatenate(self._steps)
        order = np.lexsort((earlier, later))
        return NearList(self._reaches[0], later[order], earlier[order], steps[order])


def _line(reaches: list[float]) -> np.float32:
    return np.float32(least_steps(reaches[0]) / STEPS if reaches else np.inf)
