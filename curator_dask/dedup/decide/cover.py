"""The rule ``overlap``: a clip is removed where clips that stay show nearly all of it.

Clips are taken in the order of preference. Each is removed if clips that were kept before it cover enough of its length;
two may do so together. A removed clip never covers another, so whatever was removed can be seen in clips that stay
(`standing` adds what they show by way of a removed clip)::

    kept A  0────────10
    kept B            10───────20
    clip C       4────────14          A covers its first 6 seconds, B its last 4: it is removed
    clip D                     18──28 B covers 2 of its 10 seconds: it stays
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.decide.stretches import Indices, Stretches, union_lengths
from curator_dask.dedup.similarity.threshold import rows_that_may_go
from curator_dask.errors import ParameterError

STRETCHES_AT_ONCE = 500_000
"""Stretches that are Python numbers at a time."""
ALL_STRENGTHS = 0
"""The least strength of overlaps, in thousandths, at which all of them count."""


def check_min_cover(min_cover: float) -> None:
    if not 0 < min_cover <= 1:
        raise ParameterError(f"min_cover must be above 0 and at most 1, got {min_cover}")


def needed_lengths(length: Indices, min_cover: float) -> Indices:
    """(N,) microseconds of each clip that must be covered. min_cover is a decimal fraction, so the product is rounded."""
    needed: Indices = np.rint(length * min_cover).astype(np.int64)
    return needed


def removed_by_cover(stretches: Stretches, length: Indices, place: Indices, min_cover: float) -> NDArray[np.bool_]:
    """(N,) which clips are removed.

    Three clips of ten seconds; the second half of clip 0 is the first half of clip 1, and clip 2 shows the last 9 seconds
    of clip 0. If clip 0 comes first it stays and clip 2 goes; if it comes last, clips 1 and 2 cover it:

    >>> from curator_dask.dedup.decide.stretches import Overlaps, covered_stretches
    >>> span, other_span = np.array([[5, 10], [1, 10]]) * 10**6, np.array([[0, 5], [0, 9]]) * 10**6
    >>> overlaps = Overlaps(np.array([0, 0]), np.array([1, 2]), span, other_span, np.zeros(2, bool), np.ones(2))
    >>> length = np.full(3, 10**7)
    >>> stretches = covered_stretches(overlaps, length)
    >>> removed_by_cover(stretches, length, np.array([0, 1, 2]), 0.8).tolist()
    [False, False, True]
    >>> removed_by_cover(stretches, length, np.array([2, 0, 1]), 0.8).tolist()
    [True, False, False]

    Args:
        stretches: which seconds of which clips others show, in scope.
        length: (N,) microseconds. A clip of length 0 stays.
        place: (N,) the place of each clip in the order of preference.
    """
    check_min_cover(min_cover)
    stretches = stretches[place[stretches.by] < place[stretches.row]]
    needed = needed_lengths(length, min_cover)
    # Most clips stay even if all before them stayed; only the others need to be taken one by one.
    at_most = union_lengths(stretches.row, stretches.start, stretches.end, len(length))
    open_to_go = (at_most >= needed) & (length > 0)
    return _removed_in_order(stretches[open_to_go[stretches.row]], needed, place)


def _removed_in_order(stretches: Stretches, needed: Indices, place: Indices) -> NDArray[np.bool_]:
    removed, least = bytearray(len(needed)), needed.tolist()
    for row, some in _clips_in_order(stretches, place):
        reached = covered = 0
        for by, start, end in some:
            if end > reached and not removed[by]:
                covered += end - max(start, reached)
                reached = end
        removed[row] = covered >= least[row]
    return np.frombuffer(bytes(removed), np.bool_)


def _clips_in_order(stretches: Stretches, place: Indices) -> Iterator[tuple[int, list[tuple[int, int, int]]]]:
    """Each covered clip with its stretches (by, start, end) by start, in the order of the clips' places."""
    ordered = stretches[np.argsort(place[stretches.row], kind="stable")]
    firsts = np.flatnonzero(np.diff(ordered.row, prepend=-1))
    stops = np.append(firsts[1:], len(ordered))
    at = 0
    while at < len(firsts):
        stop = max(at + 1, int(np.searchsorted(stops, firsts[at] + STRETCHES_AT_ONCE)))
        block = ordered[int(firsts[at]) : int(stops[stop - 1])]
        parts = list(zip(block.by.tolist(), block.start.tolist(), block.end.tolist(), strict=True))
        rows = ordered.row[firsts[at:stop]].tolist()
        edges = (np.append(firsts[at:stop], stops[stop - 1]) - firsts[at]).tolist()
        for number, row in enumerate(rows):
            yield row, parts[edges[number] : edges[number + 1]]
        at = stop


def strength_that_keeps(levels: Indices, num_removed: Callable[[int], int], num_rows: int, target_keep: float) -> int:
    """The least strength of overlaps, in thousandths, at which at least the share `target_keep` of the clips is kept.

    It is found by halving, as a higher strength leaves fewer overlaps and, all in all, removes fewer clips. If even the
    strongest overlaps remove too many clips, the result is above all strengths.

    Args:
        levels: the strengths that there are, ascending.
        num_removed: tells how many clips are removed if overlaps of less strength do not count.
        num_rows: how many clips there are.
    """
    may_go = rows_that_may_go(num_rows, target_keep)
    low, high = 0, len(levels)
    while low < high:
        middle = (low + high) // 2
        too_many = num_removed(int(levels[middle])) > may_go
        low, high = (middle + 1, high) if too_many else (low, middle)
    if low == 0:
        return ALL_STRENGTHS
    return int(levels[low]) if low < len(levels) else int(levels[-1]) + 1
