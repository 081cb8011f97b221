"""Passes over cells on a worker: lines and a sample of their rows; rows to their cells; votes of each cell; overlaps.

Lines are counted over all groups. The overlaps of two lines are found with the group of the earlier line.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.tables import write_arrow
from curator_dask.dedup.align import pairs, short_lines
from curator_dask.dedup.align.in_cells.cells import picture_rows, thinned
from curator_dask.dedup.align.in_cells.centres import sample_of
from curator_dask.dedup.align.in_cells.votes import moving_votes, still_votes
from curator_dask.dedup.align.line import Line, stretches_of
from curator_dask.dedup.align.offsets import Candidate, candidates_of
from curator_dask.dedup.align.runs import Overlap, still_overlap
from curator_dask.dedup.align.short_lines import is_short, offsets_by_pair, short_segments, whole_overlaps
from curator_dask.runtime.records import UnitResult
from curator_dask.stages.align.cell_rows import (
    MOVING,
    SHORT,
    STILL,
    read_cells,
    read_moving_votes,
    read_still_votes,
    segments_in,
    stretches_in,
    write_moving_rows,
    write_still_rows,
    write_votes,
)
from curator_dask.stages.align.lines import ClipsOnLine, LinesOfGroup, read_group, read_lines, write_lines
from curator_dask.stages.align.shared_stretches import SharedStretch, is_first_of_twins, overlap_table, shared_stretches
from curator_dask.stages.align.spec import CellGroupTask, CellPartTask, CellSpec

LINES = "lines"
APART = 4
"""Seeds of thinned segments lie so many windows apart."""
PAIRS_AT_ONCE = 64
T = TypeVar("T")


def prepare_group(task: CellGroupTask) -> UnitResult:
    """Write the lines of a group, and a sample of the rows that the cells are made from."""
    spec, group = task.spec, read_group(task.group, task.spec.align.thresholds.min_energy)
    folder, number, lines = spec.align.output, task.group.number, spec.path(LINES, task.group.number)
    outputs = {lines: write_lines(folder, lines, group)}
    rows = _rows_by_kind(group, spec.align.thresholds.min_energy)
    for kind, some in rows.items():
        path = spec.path(f"{kind}-sample", number)
        sample = sample_of(some, spec.sample_rows, number).astype(np.int8)
        outputs[path] = folder.write_bytes(path, sample.tobytes())
    return UnitResult(outputs, {kind: len(some) for kind, some in rows.items()})


def _rows_by_kind(group: LinesOfGroup, min_energy: float) -> dict[str, NDArray[np.float32]]:
    """The rows that the centres of the cells are made from."""
    short = short_segments([line for line in group.lines if is_short(line)], min_energy)
    stills = stretches_of(group.lines).pictures
    return {MOVING: group.segments.rows, SHORT: short.rows, STILL: picture_rows(stills)}


def scatter_group(task: CellGroupTask) -> UnitResult:
    """Write the rows of a group to their cells."""
    spec, number, energy = task.spec, task.group.number, task.spec.align.thresholds.min_energy
    group = read_group(task.group, energy)
    outputs = write_moving_rows(spec, number, MOVING, group.segments, thinned(group.segments))
    if spec.short:
        segments = short_segments(group.lines, energy)
        short = np.array([is_short(line) for line in group.lines], np.bool_)[segments.line]
        outputs.update(write_moving_rows(spec, number, SHORT, segments, short))
    outputs.update(write_still_rows(spec, number, stretches_of(group.lines)))
    return UnitResult(outputs)


def vote_in_cells(task: CellPartTask) -> UnitResult:
    """Compare the rows of each cell of a part, and write the votes of all of them for the groups."""
    spec, part = task.spec, task.part
    outputs: dict[str, int] = {}
    for kind, least in _scores_of(spec).items():
        seeds = [
            some
            for whole, thin in read_cells(spec, kind, part)
            for some in moving_votes(segments_in(whole), segments_in(thin), least)
        ]
        outputs.update(write_votes(spec, kind, part, seeds))
    still = [
        still_votes(stretches_in(whole), stretches_in(thin), spec.align.thresholds.min_still_likeness)
        for whole, thin in read_cells(spec, STILL, part)
    ]
    return UnitResult({**outputs, **write_votes(spec, STILL, part, still)})


def _scores_of(spec: CellSpec) -> dict[str, float]:
    """The least score of a seed of each kind that there is."""
    return {MOVING: pairs.SEED_SCORE, **({SHORT: short_lines.SEED_SCORE} if spec.short else {})}


def verify_group(task: CellGroupTask) -> UnitResult:
    """Look closely where there are votes for lines of a group and later lines, and write what their clips share."""
    spec, number = task.spec, task.group.number
    found = [*_moving(spec, number), *_short(spec, number), *_still(spec, number)]
    outputs = {task.table: write_arrow(spec.align.output, task.table, overlap_table(found))}
    return UnitResult(outputs, {"overlaps": len(found)})


def _moving(spec: CellSpec, group: int) -> Iterator[SharedStretch]:
    candidates = candidates_of([read_moving_votes(spec, group, MOVING)], one_set=True, apart=APART)
    wanted = [one for one in candidates if _is_first_of_twins(spec, one.line_x, one.line_y)]
    for some in _batched(sorted(wanted, key=lambda one: (one.line_y, one.line_x))):
        lines = _fetch(spec, {line for one in some for line in (one.line_x, one.line_y)})
        for one in some:
            (x, clips_x), (y, clips_y) = lines[one.line_x], lines[one.line_y]
            alone = Candidate(0, 0, one.offsets)
            for _, _, overlap in pairs.verified([x], [y], [alone], spec.align.thresholds):
                if _is_first_of_twins(spec, one.line_x, one.line_y, overlap):
                    yield from shared_stretches(clips_x, clips_y, overlap)


def _is_first_of_twins(spec: CellSpec, line_x: int, line_y: int, overlap: Overlap | None = None) -> bool:
    """Like `is_first_of_twins`, for lines that may be mirrored or not; without an overlap, for some overlap of them."""
    original = spec.mirror_of(line_y)
    if original is None or (overlap is None and line_x == original):
        return True
    return line_x < original or (overlap is not None and is_first_of_twins(line_x, original, overlap))


def _short(spec: CellSpec, group: int) -> Iterator[SharedStretch]:
    if not spec.short:
        return
    seeds = read_moving_votes(spec, group, SHORT)
    offsets = (seeds.start_x - seeds.start_y).tolist()
    votes = offsets_by_pair(zip(seeds.line_x.tolist(), seeds.line_y.tolist(), offsets, strict=True))
    wanted = [(*pair, near) for pair, near in votes if pair[0] < pair[1] and _is_first_of_twins(spec, *pair)]
    for some in _batched(wanted):
        lines = _fetch(spec, {line for i, j, _ in some for line in (i, j)})
        for i, j, near in some:
            (x, clips_x), (y, clips_y) = lines[i], lines[j]
            for overlap in whole_overlaps(x, y, near, spec.align.thresholds):
                if _is_first_of_twins(spec, i, j, overlap):
                    yield from shared_stretches(clips_x, clips_y, overlap)


def _still(spec: CellSpec, group: int) -> Iterator[SharedStretch]:
    for some in _batched(sorted(read_still_votes(spec, group), key=lambda one: (one[3], one[0]))):
        lines = _fetch(spec, {line for one in some for line in (one[0], one[3])})
        for line_x, first_x, stop_x, line_y, first_y, stop_y, likeness in some:
            overlap = still_overlap((first_x, stop_x), (first_y, stop_y), likeness)
            if _is_first_of_twins(spec, line_x, line_y, overlap):
                yield from shared_stretches(lines[line_x][1], lines[line_y][1], overlap)


def _fetch(spec: CellSpec, numbers: Iterable[int]) -> dict[int, tuple[Line, ClipsOnLine]]:
    """Some lines, which may lie in several groups, with their clips."""
    fetched: dict[int, tuple[Line, ClipsOnLine]] = {}
    for group, some in itertools.groupby(sorted(numbers), lambda line: bisect_right(spec.first_lines, line) - 1):
        lines = list(some)
        places = [line - spec.first_lines[group] for line in lines]
        fetched.update(zip(lines, read_lines(spec.align.output, spec.path(LINES, group), places), strict=True))
    return fetched


def _batched(values: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(values), PAIRS_AT_ONCE):
        yield values[start : start + PAIRS_AT_ONCE]
