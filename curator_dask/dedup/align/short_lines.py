"""Lines of a few seconds, and what they share: less than the four seconds that are judged elsewhere.

Two or three seconds move alike by chance more often than four, so more is asked of them: most of the shorter line, at least
half, must lie over the other one, what moves must move alike, and what stands must be alike too. So edits that change the
standing picture much, such as a large logo, are not found here. Offsets are tried in eighths of a second: a quarter beside
the true one costs up to .04 of the motion. The numbers were measured, see benchmarks/results/alignment.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from curator_dask.dedup.align.diagonal import QUARTERS_PER_WINDOW, align, compare
from curator_dask.dedup.align.judge import Thresholds
from curator_dask.dedup.align.line import Line
from curator_dask.dedup.align.runs import Overlap, best_of, overlap_of
from curator_dask.dedup.align.seeds import SEGMENT_ROWS, Segments, find_seeds, segments_of

SHORT_ROWS = 3
"""Two seconds; shorter lines are compared with none."""
SHORT_LINE_ROWS = 15
"""Lines of fewer rows, up to eight seconds, may share less than a segment with another line, and yet half of themselves."""
SEED_SCORE = 0.75
MIN_MOTION, MIN_MOTION_OF_WHOLES = 0.97, 0.955
"""The lower one where nearly all of both lines lie over each other: there are few such offsets, so less goes by chance."""
WHOLE = 0.9
MIN_PICTURE = 0.85
LEAST_SHARE = 0.5
"""At least this share of the rows of the shorter line must lie over the other."""
STEPS = 4
"""Offsets are tried in parts of a window, so many of them: eighths of a second."""


def is_short(line: Line) -> bool:
    """Whether half of a line has no segment of four seconds."""
    return len(line) - 1 < SHORT_LINE_ROWS


def short_overlaps(
    x: Sequence[Line], y: Sequence[Line] | None, thresholds: Thresholds
) -> Iterator[tuple[int, int, Overlap]]:
    """(line of x, line of y, overlap) for pairs of lines of which one is short, of two sets or of one where y is None."""
    others = x if y is None else y
    for (i, j), offsets in offsets_by_pair(_seeded(x, others, thresholds)):
        if y is not None or i < j:
            yield from ((i, j, overlap) for overlap in whole_overlaps(x[i], others[j], offsets, thresholds))


def short_segments(lines: Sequence[Line], min_energy: float) -> Segments:
    """The two seconds of all lines in which something moves, one from every window on."""
    return segments_of(lines, min_energy, num_rows=SHORT_ROWS)


def offsets_by_pair(found: Iterable[tuple[int, int, int]]) -> list[tuple[tuple[int, int], list[int]]]:
    """Per pair of lines, in order: its offsets, in windows.

    >>> offsets_by_pair([(3, 4, 2), (0, 1, 7), (3, 4, -1), (3, 4, 2)])
    [((0, 1), [7]), ((3, 4), [-1, 2])]
    """
    offsets: dict[tuple[int, int], set[int]] = {}
    for i, j, offset in found:
        offsets.setdefault((i, j), set()).add(offset)
    return [(pair, sorted(offsets[pair])) for pair in sorted(offsets)]


def whole_overlaps(x: Line, y: Line, offsets: Iterable[int], thresholds: Thresholds) -> list[Overlap]:
    """The best overlap of two lines of which one is short, at these offsets (in windows) or up to half a second beside them.

    The list is empty if there is none, or if they lie over each other for four seconds or more: `runs` judges these.
    """
    near = sorted({STEPS * offset + beside for offset in offsets for beside in range(-STEPS, STEPS + 1)})
    return best_of([one for offset in near for one in _whole(x, y, offset, thresholds)])[:1]


def _seeded(x: Sequence[Line], y: Sequence[Line], thresholds: Thresholds) -> Iterator[tuple[int, int, int]]:
    """(line of x, line of y, offset in windows) of two seconds that move alike, where one of the lines is short."""
    if not any(map(is_short, (*x, *y))):
        return
    rows_x, rows_y = (short_segments(lines, thresholds.min_energy) for lines in (x, y))
    short_x, short_y = ([is_short(line) for line in lines] for lines in (x, y))
    for seeds in find_seeds(rows_x, rows_y, SEED_SCORE):
        for i, j, first, other in zip(seeds.line_x, seeds.line_y, seeds.start_x, seeds.start_y, strict=True):
            if short_x[i] or short_y[j]:
                yield int(i), int(j), int(first - other)


def _whole(x: Line, y: Line, offset: int, thresholds: Thresholds) -> Iterator[Overlap]:
    alignment = align(x, y, offset, steps=STEPS)
    least = max(SHORT_ROWS - 1, LEAST_SHARE * (min(len(x), len(y)) - 1))
    if not least <= len(alignment) < SEGMENT_ROWS:
        return
    likeness = compare(alignment, np.array([0]), np.array([len(alignment)]))
    whole = len(alignment) >= WHOLE * (max(len(x), len(y)) - 1)
    needed = MIN_MOTION_OF_WHOLES if whole else MIN_MOTION
    strict = needed + max(0.0, thresholds.strictness) * (1 - needed)
    moves = likeness.energy[0] >= thresholds.min_energy and likeness.motion[0] >= strict
    if moves and likeness.picture[0] >= MIN_PICTURE and likeness.num_rows[0] >= least:
        yield overlap_of(alignment, round(offset * QUARTERS_PER_WINDOW / STEPS), 0, len(alignment))
