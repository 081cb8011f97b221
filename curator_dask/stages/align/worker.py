"""The work of the align stage on a worker: the lines of two groups in, the stretches that their clips share out."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from curator_dask.data.tables import write_arrow
from curator_dask.dedup.align.pairs import moving_overlaps, still_overlaps
from curator_dask.dedup.align.runs import Overlap
from curator_dask.dedup.align.short_lines import short_overlaps
from curator_dask.runtime.records import UnitResult
from curator_dask.stages.align.lines import LinesOfGroup, read_group
from curator_dask.stages.align.shared_stretches import is_first_of_twins, overlap_table, shared_stretches
from curator_dask.stages.align.spec import PairTask


def align_groups(task: PairTask) -> UnitResult:
    """Find and write all stretches that clips of the two groups share."""
    energy = task.spec.thresholds.min_energy
    x, y = read_group(task.x, energy), read_group(task.y, energy)
    found = [
        stretch
        for i, j, overlap in _overlaps(task, x, y)
        if task.y.mirror_of != task.x.number or is_first_of_twins(i, j, overlap)
        for stretch in shared_stretches(x.clips[i], y.clips[j], overlap)
    ]
    outputs = {task.table: write_arrow(task.spec.output, task.table, overlap_table(found))}
    return UnitResult(outputs, {"overlaps": len(found)})


def _overlaps(task: PairTask, x: LinesOfGroup, y: LinesOfGroup) -> Iterator[tuple[int, int, Overlap]]:
    thresholds = task.spec.thresholds
    others = None if task.x.number == task.y.number else y.lines
    moving = moving_overlaps(x.lines, others, (x.segments, y.segments), thresholds)
    short = short_overlaps(x.lines, others, thresholds)
    return itertools.chain(moving, short, still_overlaps(x.lines, others, thresholds))
