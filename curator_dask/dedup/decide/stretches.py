"""Which seconds of a clip another clip shows too: overlaps of two clips, seen from either side.

Times are whole microseconds, so sums of them are exact and the same on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

SECOND: Final = 1_000_000
"""Microseconds."""
LEAST_STILL: Final = 4 * SECOND
"""So much of a standing picture is enough to show all of it, however long the other clip shows it."""

Indices = NDArray[np.int64]
Value = TypeVar("Value", np.int64, np.bool_)


@dataclass(frozen=True)
class Overlaps:
    """E stretches that two clips share, (E,) each. A pair of clips may share several."""

    row: Indices
    """One of the two clips."""
    other: Indices
    """The other one."""
    span: Indices
    """(E, 2) begin and end of the stretch in `row`, in microseconds from its first frame."""
    other_span: Indices
    """(E, 2) the same in `other`."""
    still: NDArray[np.bool_]
    """Where a picture stands still in both, so that nothing tells which second of one is which of the other."""
    strength: Indices
    """How sure the overlap is, in thousandths, from 0 to 1000."""

    def __len__(self) -> int:
        return len(self.row)

    def __getitem__(self, chosen: NDArray[np.bool_]) -> Overlaps:
        return Overlaps(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


def joined_overlaps(one: Overlaps, other: Overlaps) -> Overlaps:
    """The overlaps of both, one after the other."""
    return Overlaps(
        *(np.concatenate([getattr(one, name), getattr(other, name)]) for name in Overlaps.__dataclass_fields__)
    )


@dataclass(frozen=True)
class Stretches:
    """S stretches of clips that another clip shows, (S,) each, ordered by `row`, `start` and `by`."""

    row: Indices
    """The clip that is covered."""
    by: Indices
    """The clip that covers it."""
    start: Indices
    """In microseconds from the first frame of the covered clip."""
    end: Indices
    overlap: Indices
    """The overlap that it comes from."""
    strength: Indices
    """The strength of that overlap."""

    def __len__(self) -> int:
        return len(self.row)

    def __getitem__(self, chosen: NDArray[np.bool_] | Indices | slice) -> Stretches:
        return Stretches(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


def covered_stretches(overlaps: Overlaps, length: Indices) -> Stretches:
    """Both directions of every overlap, cut at the ends of the covered clips.

    Clips 0 and 1 share a moving stretch, clips 0 and 2 a standing picture, which clip 2 shows for one second only. So clip 2
    is covered by clip 0, and clip 0 is not covered by clip 2:

    >>> span, other_span = np.array([[0, 9], [0, 10]]) * SECOND, np.array([[1, 11], [2, 3]]) * SECOND
    >>> overlaps = Overlaps(np.array([0, 0]), np.array([1, 2]), span, other_span, np.array([False, True]), np.ones(2))
    >>> found = covered_stretches(overlaps, np.array([10, 10, 10]) * SECOND)
    >>> list(zip(found.row.tolist(), found.by.tolist(), (found.start // SECOND).tolist(), (found.end // SECOND).tolist()))
    [(0, 1, 0, 9), (1, 0, 1, 10), (2, 0, 2, 3)]

    Args:
        length: (N,) microseconds, the length of each clip.
    """
    number = np.arange(len(overlaps))
    row, by = _both(overlaps.row, overlaps.other), _both(overlaps.other, overlaps.row)
    span, shown = _both(overlaps.span, overlaps.other_span), _both(overlaps.other_span, overlaps.span)
    enough = shown[:, 1] - shown[:, 0] >= np.minimum(LEAST_STILL, span[:, 1] - span[:, 0])
    start, end = np.maximum(span[:, 0], 0), np.minimum(span[:, 1], length[row])
    counts = (row != by) & (end > start) & (enough | ~_both(overlaps.still, overlaps.still))
    found = Stretches(row, by, start, end, _both(number, number), _both(*(overlaps.strength,) * 2))[counts]
    return found[np.lexsort((found.by, found.start, found.row))]


def _both(one: NDArray[Value], other: NDArray[Value]) -> NDArray[Value]:
    return np.concatenate([one, other])


def union_lengths(group: Indices, start: Indices, end: Indices, num_groups: int) -> Indices:
    """(num_groups,) the length that the stretches of each group cover together. They are ordered by group and start.

    >>> union_lengths(np.array([0, 0, 2]), np.array([0, 3, 5]), np.array([4, 6, 9]), 3).tolist()
    [6, 0, 4]
    """
    if not len(group):
        return np.zeros(num_groups, np.int64)
    # Stretches of a later group begin behind all of the groups before it, so one running maximum serves all groups.
    shift = group * (int(end.max()) + 1)
    reached = np.maximum.accumulate(end + shift)
    before = np.concatenate([[0], reached[:-1]]) - shift
    added = np.maximum(end - np.maximum(start, before), 0)
    return np.bincount(group, added, num_groups).astype(np.int64)  # float64 holds these sums exactly
