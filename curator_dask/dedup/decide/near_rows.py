"""Decisions from a list of all pairs within eps, where these are few, as they mostly are.

The list says all that the rules ask for: which kept rows remove a row, which kept row is nearest to it, and which rows form a
group. Only a removed row without a kept one within eps (an orphan) has to be compared with all kept rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.decide.decisions import Removals, nearest_among
from curator_dask.dedup.decide.groups import Pairs, joined_trees
from curator_dask.dedup.similarity.near import near_of
from curator_dask.dedup.similarity.near_list import NearList
from curator_dask.dedup.similarity.pairs import STEPS, Side

MOST_PER_ROW: Final = 16
"""With more pairs than this per row of the cluster, the list would take much memory beside the vectors, and is not made."""


@dataclass(frozen=True, slots=True)
class NearRows:
    """All P pairs within eps of the rows of a cluster; on the host."""

    later: NDArray[np.int64]
    """(P,)"""
    earlier: NDArray[np.int64]
    """(P,)"""
    steps: NDArray[np.float64]
    """(P,) their cosines in steps of 2**-24."""

    @staticmethod
    def of(
        whole: Side, eps: float, duplicate: NDArray[np.bool_], sources: NDArray[np.int64] | None, tile_rows: int
    ) -> NearRows | None:
        """The pairs of N rows in ranked order; None where there are more than `MOST_PER_ROW` times N.

        Args:
            duplicate: (N,) rows with an earlier row within eps.
            sources: (N,) only pairs of rows with different numbers count; None: all pairs.
        """
        found, left = [(*np.empty((2, 0), np.int64), np.empty(0))], MOST_PER_ROW * len(duplicate)
        for later, earlier, steps in near_of(whole, np.flatnonzero(duplicate), eps, tile_rows):
            counts = slice(None) if sources is None else sources[later] != sources[earlier]
            found.append((later[counts], earlier[counts], steps[counts]))
            left -= len(found[-1][0])
            if left < 0:
                return None
        return NearRows(*(np.concatenate(parts) for parts in zip(*found, strict=True)))

    def removed_by_kept(self, num_rows: int, taken: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
        """(N,) the rows that `decisions.greedy_keep` removes, and those that are taken."""
        removed = np.zeros(num_rows, np.bool_) if taken is None else taken.copy()
        order = np.argsort(self.later, kind="stable")
        rows, first = np.unique(self.later[order], return_index=True)
        for row, earlier in zip(rows.tolist(), np.split(self.earlier[order], first[1:]), strict=bool(len(rows))):
            removed[row] |= not removed[earlier].all()
        return removed

    @staticmethod
    def from_list(near: NearList) -> NearRows:
        """The pairs of a list that was made before."""
        return NearRows(near.later, near.earlier, near.steps)

    def nearest_kept(
        self, whole: Callable[[], Side], removed: NDArray[np.bool_], sources: NDArray[np.int64] | None, tile_rows: int,
        elsewhere: NDArray[np.bool_] | None = None,
    ) -> Removals:  # fmt: skip
        """As `decisions.nearest_kept`, which compares every removed row with all kept ones.

        Args:
            whole: gives the rows. It is asked only if a removed row has no kept row in the list.
            elsewhere: (N,) rows that are not compared then: their kept row is -1, the score 0.
        """
        result = Removals(removed, np.arange(len(removed)), np.zeros(len(removed), np.float32))
        row, other = np.concatenate([self.later, self.earlier]), np.concatenate([self.earlier, self.later])
        some = np.flatnonzero(removed[row] & ~removed[other])
        row, other, steps = row[some], other[some], np.tile(self.steps, 2)[some]
        order = np.lexsort((other, -steps, row))  # the nearest one first, the lowest row on ties
        gone, first = np.unique(row[order], return_index=True)
        result.kept_row[gone] = other[order[first]]
        result.kept_score[gone] = steps[order[first]] / STEPS
        alone = removed.copy()
        alone[gone] = False
        if elsewhere is not None:
            result.kept_row[alone & elsewhere] = -1
            alone &= ~elsewhere
        if alone.any():
            nearest_among(result, whole(), np.flatnonzero(alone), sources, tile_rows)
        return result

    def groups(self, duplicate: NDArray[np.bool_], best: NDArray[np.int64]) -> NDArray[np.int64]:
        """(N,) as `groups.duplicate_groups`."""
        pairs: Pairs = (self.later, self.earlier)
        return joined_trees(duplicate, best, [pairs])
