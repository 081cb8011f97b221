"""The overlaps of the lines of two sets, from seeds to verified runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from curator_dask.dedup.align.judge import Thresholds
from curator_dask.dedup.align.line import Line, Stretches, stretches_of
from curator_dask.dedup.align.offsets import Candidate, candidates_of
from curator_dask.dedup.align.runs import Overlap, find_moving, still_overlap
from curator_dask.dedup.align.seeds import Segments, find_seeds
from curator_dask.dedup.align.stills import PairsAlike, pairs_alike

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
    stretches = stretches_of(x)
    others = stretches if y is None else stretches_of(y)
    pairs = pairs_alike(stretches.pictures, others.pictures, thresholds.min_still_likeness)
    yield from overlaps_of_stretches(stretches, others, pairs, one_set=y is None)


def overlaps_of_stretches(
    x: Stretches, y: Stretches, pairs: PairsAlike, *, one_set: bool
) -> Iterator[tuple[int, int, Overlap]]:
    """The overlaps of pairs of stretches. In one set, every pair is given once: the earlier line is x, and of one line the
    later stretch."""
    for i, j, likeness in zip(pairs.i.tolist(), pairs.j.tolist(), pairs.likeness.tolist(), strict=True):
        line_x, line_y = int(x.line[i]), int(y.line[j])
        overlap = still_overlap((int(x.first[i]), int(x.stop[i])), (int(y.first[j]), int(y.stop[j])), likeness)
        if not one_set or line_x < line_y or (line_x == line_y and overlap.first_x > overlap.first_y):
            yield line_x, line_y, overlap
