"""Name the kept clips that show a removed clip: the one that covers most of it first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.decide.stretches import Indices, Stretches, union_lengths


@dataclass(frozen=True)
class Covers:
    """For each of N clips, which kept clips cover it. A kept clip has none."""

    covered: Indices
    """(N,) microseconds that kept clips cover together."""
    first: Indices
    """(N + 1,) the kept clips of row i are ``kept[first[i] : first[i + 1]]``."""
    kept: Indices
    """Kept clips, most covering first. Each adds something to those before it."""
    overlap: Indices
    """(N,) the longest overlap with the first of them; -1 for none."""


def kept_covers(stretches: Stretches, removed: NDArray[np.bool_], place: Indices) -> Covers:
    """The kept clips that cover each removed clip.

    Clips 1, 2 and 3 stay; they show the seconds 0 to 8, 2 to 6 and 5 to 10 of clip 0. Clip 2 shows nothing that clip 1
    does not show, so it is not named:

    >>> from curator_dask.dedup.decide.stretches import Overlaps, covered_stretches
    >>> span = np.array([[0, 8], [2, 6], [5, 10]]) * 10**6
    >>> overlaps = Overlaps(np.zeros(3, int), np.array([1, 2, 3]), span, span, np.zeros(3, bool), np.ones(3))
    >>> stretches = covered_stretches(overlaps, np.full(4, 10**7))
    >>> covers = kept_covers(stretches, np.array([True, False, False, False]), np.arange(4))
    >>> covers.covered.tolist(), covers.first.tolist(), covers.kept.tolist(), covers.overlap.tolist()
    ([10000000, 0, 0, 0], [0, 2, 2, 2, 2], [1, 3], [0, -1, -1, -1])

    Args:
        place: (N,) the place of each clip in the order of preference; of two that cover as much, the first is named first.
    """
    num_rows = len(removed)
    stretches = stretches[removed[stretches.row] & ~removed[stretches.by]]
    covered = union_lengths(stretches.row, stretches.start, stretches.end, num_rows)
    pairs = _pairs(stretches, place)
    opens = np.diff(pairs.row, prepend=-1) != 0
    named = opens.copy()
    named |= _adds_something(stretches, pairs, opens & (pairs.covered < covered[pairs.row]))
    best = np.full(num_rows, -1)
    best[pairs.row[opens]] = pairs.longest[opens]
    first = np.concatenate([[0], np.cumsum(np.bincount(pairs.row[named], minlength=num_rows))])
    return Covers(covered, first, pairs.by[named], best)


@dataclass(frozen=True)
class _Pairs:
    """Removed clips with kept clips that cover some of them, by row, then those that cover most."""

    row: Indices
    by: Indices
    covered: Indices
    longest: Indices
    """The overlap of the longest stretch."""
    start: Indices
    """The stretches of each pair are ``of_pair[start : stop]``."""
    stop: Indices
    of_pair: Indices


def _pairs(stretches: Stretches, place: Indices) -> _Pairs:
    of_pair = np.lexsort((stretches.start, stretches.by, stretches.row))
    one = stretches[of_pair]
    opens = (np.diff(one.row, prepend=-1) != 0) | (np.diff(one.by, prepend=-1) != 0)
    number = np.cumsum(opens) - 1
    start = np.flatnonzero(opens)
    covered = union_lengths(number, one.start, one.end, len(start))
    longest = one.overlap[np.lexsort((one.overlap, one.start - one.end, number))][start]
    order = np.lexsort((place[one.by[start]], -covered, one.row[start]))
    stop = np.append(start[1:], len(one))
    return _Pairs(
        one.row[start][order], one.by[start][order], covered[order], longest[order], start[order], stop[order], of_pair
    )


def _adds_something(stretches: Stretches, pairs: _Pairs, incomplete: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which pairs cover seconds of their row that those before them do not, where the first covers less than all do."""
    adds = np.zeros(len(pairs.row), np.bool_)
    firsts = np.flatnonzero(incomplete)
    start, end = stretches.start[pairs.of_pair], stretches.end[pairs.of_pair]
    stops = np.searchsorted(pairs.row, pairs.row[firsts], "right")
    for first, stop in zip(firsts.tolist(), stops.tolist(), strict=True):
        shown: list[tuple[int, int]] = []
        covered = 0
        for pair in range(first, stop):
            own = slice(pairs.start[pair], pairs.stop[pair])
            more = sorted([*shown, *zip(start[own].tolist(), end[own].tolist(), strict=True)])
            total = _length_of(more)
            if total > covered:
                adds[pair], shown, covered = True, more, total
    return adds


def _length_of(spans: list[tuple[int, int]]) -> int:
    reached = covered = 0
    for start, end in spans:
        if end > reached:
            covered += end - max(start, reached)
            reached = end
    return covered
