"""From seeds to the offsets that are worth a close look: seeds on one diagonal that support each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.align.seeds import Seeds

STRONG = 0.85
"""A seed of at least this score counts alone: the copy may be no longer than it."""
APART = 6
"""Other seeds count where another one lies this many windows further on the same diagonal, or up to `REACH`."""
REACH = 16
LEAST_OFFSET = 8
"""Windows: a line is compared with itself at offsets of four seconds and more."""


@dataclass(frozen=True)
class Candidate:
    """Two lines and the offsets, in windows, at which they may show the same."""

    line_x: int
    line_y: int
    offsets: NDArray[np.int64]


def candidates_of(seeds: Iterable[Seeds], *, one_set: bool, apart: int = APART) -> Iterator[Candidate]:
    """The pairs of lines that have supported seeds, in order.

    Args:
        one_set: x and y are the same lines. Every pair is then given once, and a line with itself at positive offsets.
        apart: Seeds support each other from so many windows on. They lie no closer where one side is thinned.
    """
    parts = [_oriented(part, one_set) for part in seeds]
    table = np.concatenate([np.zeros((4, 0)), *parts], axis=1)
    table = table[:, np.lexsort((table[2], table[1], table[0]))]
    line_x, line_y, offset, _ = table[:, _supported(table, apart)].astype(np.int64)
    keys = np.unique(np.stack([line_x, line_y, offset]), axis=1)
    if not keys.shape[1]:
        return
    starts = np.flatnonzero(np.any(np.diff(keys[:2], axis=1, prepend=-1) != 0, axis=0))
    for group in np.split(keys, starts[1:], axis=1):
        yield Candidate(int(group[0, 0]), int(group[1, 0]), group[2])


def _oriented(seeds: Seeds, one_set: bool) -> NDArray[np.float64]:
    """(4, S) line of x, line of y, offset and place on the diagonal, of the seeds that count."""
    offset = seeds.start_x - seeds.start_y
    strong = np.where(seeds.score >= STRONG, 0.5, 0.0)  # the half marks strong seeds, the whole part is the place
    table = np.stack([seeds.line_x, seeds.line_y, offset, seeds.start_x + strong]).astype(np.float64)
    if not one_set:
        return table
    first = seeds.line_x < seeds.line_y
    itself = (seeds.line_x == seeds.line_y) & (offset >= LEAST_OFFSET)
    return table[:, first | itself]


def _supported(table: NDArray[np.float64], apart: int) -> NDArray[np.bool_]:
    """(S,) seeds that are strong, or lie `apart` to `REACH` windows from another seed of their diagonal."""
    place = np.floor(table[3])
    supported: NDArray[np.bool_] = table[3] > place
    order = np.lexsort((place, *table[2::-1]))
    diagonal = np.cumsum(np.any(np.diff(table[:3, order], axis=1, prepend=np.nan) != 0, axis=0))
    # Diagonals lie far apart on one axis, so that neighbours on it are neighbours on a diagonal.
    axis = diagonal * 1e9 + place[order]
    ahead = np.searchsorted(axis, axis + apart)
    near = np.minimum(ahead, len(axis) - 1)
    pairs = (ahead < len(axis)) & (axis[near] - axis <= REACH)
    supported[order[pairs]] = True
    return supported
