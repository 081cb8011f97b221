"""Recommend the thresholds of the rule `overlap`: which copies do they find, whenever a copy begins, and which other moments?

Each pair of clips gets a *level*: the highest strictness, of some, at which one still counts as shown by the other. Copies
should have high levels, other moments none. Still pictures have no motion, so they are judged by their likeness.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.align.judge import Thresholds
from curator_dask.dedup.align.line import ClipTrack, Line, lay_out
from curator_dask.dedup.align.pairs import moving_overlaps, still_overlaps
from curator_dask.dedup.align.seeds import segments_of
from curator_dask.dedup.align.short_lines import short_overlaps
from curator_dask.dedup.align.stills import pairs_alike

STRICTNESS = (-0.2, -0.15, -0.1, -0.05, 0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
"""The values of strictness that are tried."""
SHIFTS_S = (0.0, 0.4, 1.5, 3.7)
"""Copies are compared as they are, and as if they began so much later."""
MIN_COVER = 0.8
"""A copy counts as found if so much of it is shown by its original."""
FALSE_COVER = 0.5
"""Two different clips already count as matched by so much of the shorter one: a sample never holds the worst pair."""
SAME_STILL = 0.97
"""Still pictures of different clips that are more alike than this show the same, as light edits leave this much."""
STILL_MARGIN = 0.01
PAIRS_FOR_LESS = 1000
"""A strictness below the default is recommended only after so many pairs of different clips: few pairs without a false one
say little about many."""
CLOSEST_SHOWN = 5

Level = float | None
"""An element of `STRICTNESS`; None: not even the lowest of them."""


@dataclass(frozen=True, slots=True)
class CopyLevel:
    """How well one copy is found."""

    edit: str
    kind: str
    """``light`` or ``hard``."""
    shift_s: float
    level: Level


@dataclass(frozen=True, slots=True)
class OtherLevel:
    """How alike the moments of two different clips are. Pairs that never match are only counted."""

    clip: str
    other_clip: str
    level: Level
    same_source: bool


@dataclass(frozen=True, slots=True)
class StrictnessRow:
    """The effect of one strictness."""

    strictness: float
    light_recall: float
    hard_recall: float
    num_other_videos: int
    """Pairs of clips of different videos that count as the same moment."""
    num_other_moments: int
    """Pairs of other moments of one video that count as the same moment."""


@dataclass(frozen=True, slots=True)
class ShiftResult:
    """The copies of one edit that begin at one time."""

    edit: str
    kind: str
    shift_s: float
    num_pairs: int
    recall: float
    """Share of them that is found at the recommended strictness."""


@dataclass(frozen=True, slots=True)
class OverlapCalibration:
    """The numbers behind the recommended thresholds of the rule `overlap`."""

    recommended_strictness: float
    recommended_still_likeness: float
    table: tuple[StrictnessRow, ...]
    shifts: tuple[ShiftResult, ...]
    num_other_videos: int
    """Pairs of clips of different videos that were compared."""
    num_other_moments: int
    """Pairs of other moments of one video that were compared."""
    closest: tuple[tuple[str, str, float], ...]
    """The different clips that match at the highest strictness, and that strictness."""
    num_still_copies: int
    """Lightly edited copies in which a picture stands still."""
    lowest_still_copies: float
    """The likeness of still pictures that 95 % of these copies have."""
    highest_still_others: float
    """The highest likeness of still pictures of different clips, of those below 0.97."""


def line_of_clip(track: ClipTrack) -> Line:
    """The line of one clip by itself, wherever it lies in its source."""
    return lay_out([replace(track, start_s=0.0)])


def level_of(x: Line, y: Line, wanted_cover: float) -> Level:
    """The highest strictness at which x shows at least this share of the usable windows of y."""
    found = -1
    low, high = 0, len(STRICTNESS)
    while low < high:  # a higher strictness finds less
        middle = (low + high) // 2
        if cover(x, y, Thresholds(strictness=STRICTNESS[middle])) >= wanted_cover:
            found, low = middle, middle + 1
        else:
            high = middle
    return STRICTNESS[found] if found >= 0 else None


def cover(x: Line, y: Line, thresholds: Thresholds) -> float:
    """The share of the usable windows of y that x shows."""
    shown = np.zeros(len(y), np.bool_)
    segments = (segments_of([x], thresholds.min_energy), segments_of([y], thresholds.min_energy))
    for _, _, overlap in itertools.chain(
        moving_overlaps([x], [y], segments, thresholds),
        short_overlaps([x], [y], thresholds),
        still_overlaps([x], [y], thresholds),
    ):
        shown[overlap.first_y : overlap.stop_y] = True
    return float(shown[y.usable].mean()) if y.usable.any() else 0.0


def still_likeness(x: Line, y: Line) -> float | None:
    """The likeness of the still picture of y that x shows least well; None if y has none."""
    if not len(x.pictures) or not len(y.pictures):
        return 0.0 if len(y.pictures) else None
    pairs = pairs_alike(x.pictures, y.pictures, -1.0)
    best = np.full(len(y.pictures), -1.0)
    np.maximum.at(best, pairs.j, pairs.likeness)
    return float(best.min())


def matching_pairs(lines: Sequence[Line], pairs: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int, float]]:
    """(line, other line, level) of those pairs that match at the lowest strictness at least.

    One pass over all lines finds the few pairs that are worth a look.
    """
    thresholds = Thresholds(strictness=STRICTNESS[0])
    segments = segments_of(lines, thresholds.min_energy)
    moving = moving_overlaps(lines, None, (segments, segments), thresholds)
    found = {(i, j) for i, j, _ in itertools.chain(moving, short_overlaps(lines, None, thresholds))}
    for i, j in sorted(found & set(pairs)):
        level = level_of(_without_stills(lines[i]), _without_stills(lines[j]), FALSE_COVER)
        if level is not None:
            yield i, j, level


def _without_stills(line: Line) -> Line:
    """Pictures that stand still in both clips may well be the same, so they are no evidence."""
    return Line(line.windows, line.usable, np.full_like(line.still, -1), line.pictures[:0])


def highest_still_likeness(lines: Sequence[Line], pairs: Iterable[tuple[int, int]]) -> float:
    """The highest likeness below `SAME_STILL` of still pictures of these pairs of lines; -1 without any."""
    highest = -1.0
    for i, j in pairs:
        if len(lines[i].pictures) and len(lines[j].pictures):
            likeness = pairs_alike(lines[i].pictures, lines[j].pictures, 0.0).likeness
            highest = max([highest, *likeness[likeness < SAME_STILL].tolist()])
    return highest


def calibrate_overlap(
    copies: Sequence[CopyLevel],
    others: Sequence[OtherLevel],
    num_compared: tuple[int, int],
    still_copies: NDArray[np.float64],
    highest_still_others: float,
) -> OverlapCalibration:
    """Judge all pairs.

    Args:
        copies: one per original, edit and shift.
        others: the pairs of different clips that match.
        num_compared: how many pairs of different videos, and of other moments of one video, were compared.
        still_copies: (P,) likeness of still pictures of lightly edited copies with their originals.
        highest_still_others: see `highest_still_likeness`.
    """
    table = tuple(_row(strictness, copies, others) for strictness in STRICTNESS)
    strictness = recommended_strictness(table, sum(num_compared))
    closest = sorted(others, key=lambda pair: (-(pair.level or 0.0), pair.clip, pair.other_clip))[:CLOSEST_SHOWN]
    lowest = float(np.percentile(still_copies, 5)) if len(still_copies) else math.nan
    return OverlapCalibration(
        strictness,
        recommended_still_likeness(lowest, highest_still_others),
        table,
        tuple(_shifts(copies, strictness)),
        *num_compared,
        tuple((pair.clip, pair.other_clip, pair.level or 0.0) for pair in closest),
        len(still_copies),
        lowest,
        highest_still_others,
    )


def recommended_strictness(table: Sequence[StrictnessRow], num_compared: int) -> float:
    """The strictness that finds most copies, of those above every false pair; of equal ones that nearest to 0.

    One step is left between the false pairs and the result. If all have false pairs, the highest is recommended. With
    fewer than `PAIRS_FOR_LESS` pairs compared, the result is 0 or more.
    """
    clean = [row for row, below in zip(table[1:], table, strict=False) if not _is_false(row) and not _is_false(below)]
    if not _is_false(table[0]):
        clean = [table[0], *clean]
    if num_compared < PAIRS_FOR_LESS:
        clean = [row for row in clean if row.strictness >= 0]
    if not clean:
        return table[-1].strictness
    return max(clean, key=lambda row: (_found(row), -abs(row.strictness))).strictness


def recommended_still_likeness(lowest_copy: float, highest_other: float) -> float:
    """The default, unless it lies above the copies or below other pictures; then the middle between them.

    >>> recommended_still_likeness(0.98, 0.85), recommended_still_likeness(0.9, 0.8)
    (0.92, 0.85)
    >>> recommended_still_likeness(float("nan"), -1.0), recommended_still_likeness(0.93, 0.95)
    (0.92, 0.96)
    """
    default = Thresholds().min_still_likeness
    copies = 1.0 if math.isnan(lowest_copy) else lowest_copy
    if highest_other + STILL_MARGIN <= default <= copies:
        return default
    return round(max((copies + max(highest_other, 0.0)) / 2, highest_other + STILL_MARGIN), 2)


def _is_false(row: StrictnessRow) -> bool:
    return row.num_other_videos + row.num_other_moments > 0


def _found(row: StrictnessRow) -> float:
    return sum(share for share in (row.light_recall, row.hard_recall) if not math.isnan(share))


def _row(strictness: float, copies: Sequence[CopyLevel], others: Sequence[OtherLevel]) -> StrictnessRow:
    light, hard = (_share(strictness, [one for one in copies if one.kind == kind]) for kind in ("light", "hard"))
    matched = [pair for pair in others if _holds(pair.level, strictness)]
    same = sum(pair.same_source for pair in matched)
    return StrictnessRow(strictness, light, hard, len(matched) - same, same)


def _shifts(copies: Sequence[CopyLevel], strictness: float) -> Iterator[ShiftResult]:
    groups: dict[tuple[str, str, float], list[CopyLevel]] = {}
    for one in copies:
        groups.setdefault((one.edit, one.kind, one.shift_s), []).append(one)
    for (edit, kind, shift_s), group in groups.items():
        yield ShiftResult(edit, kind, shift_s, len(group), _share(strictness, group))


def _share(strictness: float, copies: Sequence[CopyLevel]) -> float:
    return sum(_holds(one.level, strictness) for one in copies) / len(copies) if copies else math.nan


def _holds(level: Level, strictness: float) -> bool:
    return level is not None and level >= strictness
