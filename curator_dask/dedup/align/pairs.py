"""The overlaps of the lines of two sets, from seeds to verified runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from curator_dask.dedup.align.judge import Thresholds
from curator_dask.dedup.align.line import Line
from curator_dask.dedup.align.offsets import Candidate, candidates_of
from curator_dask.dedup.align.runs import Overlap, find_moving, find_stills
from curator_dask.dedup.align.seeds import Segments, find_seeds

SEED_SCORE = 0.6
"""Pairs of four seconds below this are not looked at. A copy's segments have .8 and more, most of them."""


def moving_overlaps(
    x: Sequence[Line], y: Sequence[Line] | None, segments: tuple[Segments, Segments], thresholds: Thresholds
) -> Iterator[tuple[int, int, Overlap]]:
    """(line of x, line of y, overlap) for all pairs of lines of two sets, or of one where y is None."""
    candidates = candidates_of(find_seeds(*segments, SEED_SCORE), one_set=y is None)
    yield from verified(x, x if y is None else y, candidates, thresholds)


def verified(
    x: Sequence[Line], y: Sequence[Line], candidates: Iterable[Candidate], thresholds: Thresholds
) -> Iterator[tuple[int, int, Overlap]]:
    """The overlaps at the offsets of the candidates and a quarter second beside them."""
    for candidate in candidates:
        near = np.unique(candidate.offsets[:, None] * 2 + np.array([-1, 0, 1]))
        for overlap in find_moving(x[candidate.line_x], y[candidate.line_y], near.tolist(), thresholds):
            yield candidate.line_x, candidate.line_y, overlap


def still_overlaps(
    x: Sequence[Line], y: Sequence[Line] | None, thresholds: Thresholds
) -> Iterator[tuple[int, int, Overlap]]:
    """The same for still stretches. A line is compared with itself too: a slide may come up again."""
    for i, line in enumerate(x):
        for j, other in enumerate(x if y is None else y):
            if y is None and j < i:
                continue
            for overlap in find_stills(line, other, thresholds):
                if y is not None or i != j or overlap.first_x > overlap.first_y:
                    yield i, j, overlap
