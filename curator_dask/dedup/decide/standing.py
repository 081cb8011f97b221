"""Overlaps by way of a third clip that shows the same standing picture.

A slide stands for minutes, so its clips are found to be alike and one of them stays. A copy of the talk begins at another
second; it moves as the original does where slides change, and a clip of it may lie half under a clip that stays and half under
one that goes. What the second one shows stands in the first one too::

    original  clip R  ────────slide────────   removed: clip K shows this slide
              clip K  ────────slide────────   kept
    copy      clip A  ──the same seconds as R──   so K shows these seconds of A too

Only one step is taken, from overlaps that move alike to standing pictures; so likenesses do not add up to chains.
"""

from __future__ import annotations

import numpy as np

from curator_dask.dedup.decide.stretches import Indices, Overlaps, joined_overlaps


def standing_overlaps(overlaps: Overlaps) -> Overlaps:
    """The overlaps of clips A and K of which a third clip R shows the seconds of A and the standing picture of K.

    Second 4 to 10 of clip 0 is second 0 to 6 of clip 1, whose first 8 seconds are a slide; clip 2 shows it for 10 seconds:

    >>> span, other_span = np.array([[4, 10], [0, 8]]), np.array([[0, 6], [0, 10]])
    >>> still, strength = np.array([False, True]), np.array([950, 980])
    >>> found = standing_overlaps(Overlaps(np.array([0, 1]), np.array([1, 2]), span, other_span, still, strength))
    >>> found.row.tolist(), found.other.tolist(), found.span.tolist(), found.other_span.tolist(), found.strength.tolist()
    ([0], [2], [[4, 10]], [[0, 10]], [950])
    """
    moving, still = (_from_both_sides(overlaps[mask]) for mask in (~overlaps.still, overlaps.still))
    one, two = _pairs_of_equal(moving.other, still.row)
    start = np.maximum(moving.other_span[one, 0], still.span[two, 0])
    end = np.minimum(moving.other_span[one, 1], still.span[two, 1])
    counts = (start < end) & (moving.row[one] != still.other[two])
    one, two, start, end = one[counts], two[counts], start[counts], end[counts]
    moved = moving.span[one, 0] - moving.other_span[one, 0]
    return Overlaps(
        moving.row[one],
        still.other[two],
        np.stack([start + moved, end + moved], axis=1),
        still.other_span[two],
        np.ones(len(one), np.bool_),
        np.minimum(moving.strength[one], still.strength[two]),
    )


def _from_both_sides(overlaps: Overlaps) -> Overlaps:
    turned = Overlaps(
        overlaps.other, overlaps.row, overlaps.other_span, overlaps.span, overlaps.still, overlaps.strength
    )
    return joined_overlaps(overlaps, turned)


def _pairs_of_equal(x: Indices, y: Indices) -> tuple[Indices, Indices]:
    """All i and j with ``x[i] == y[j]``, by i.

    >>> [places.tolist() for places in _pairs_of_equal(np.array([5, 7, 5]), np.array([7, 5, 7]))]
    [[0, 1, 1, 2], [1, 0, 2, 1]]
    """
    order = np.argsort(y, kind="stable")
    first, stop = (np.searchsorted(y[order], x, side) for side in ("left", "right"))
    count = stop - first
    i = np.repeat(np.arange(len(x)), count)
    within = np.arange(len(i)) - np.repeat(np.cumsum(count) - count, count)
    return i, order[np.repeat(first, count) + within]
