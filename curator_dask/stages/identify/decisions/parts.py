"""The parts that the decisions lie in: where each of them begins, and which ones are there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curator_dask.runtime.state import StageState

PART_ROWS = 65_536
"""A part is closed behind the cluster with which it has so many rows."""
PART_UNIT = "part-"
"""The keys of the units that write parts begin so."""


def part_inputs(state: StageState) -> dict[str, str]:
    """What the parts that are there were made from, by the keys of their units."""
    return state.done_units(_Parts())


def is_part(key: str) -> bool:
    """Whether a unit writes a part of the decisions."""
    return key.startswith(PART_UNIT)


class _Parts:
    """The keys of all units that write parts."""

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and is_part(key)


def part_spans(starts: NDArray[np.int64]) -> list[tuple[int, int]]:
    """The first row of each part and the first behind it: whole clusters, until there are 65,536 rows or more.

    >>> part_spans(np.array([0, 40_000, 70_000, 70_007]))
    [(0, 70000), (70000, 70007)]

    Args:
        starts: (C + 1,) the first row of each cluster, and the number of rows.
    """
    spans, start, num_rows = [], 0, int(starts[-1])
    for stop in starts[1:].tolist():
        if stop - start >= PART_ROWS or (stop == num_rows and stop > start):
            spans.append((start, stop))
            start = stop
    return spans or [(0, 0)]
