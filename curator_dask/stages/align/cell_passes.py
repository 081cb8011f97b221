"""The passes over cells, on the client: for so many groups of lines that not all pairs of them can be compared.

Four passes. First, each group writes its lines, and a sample of its rows, from which the client makes the centres of the
cells. Then each group writes its rows to their cells. Then the rows of each cell are compared and vote for pairs of lines at
an offset. Last, each group looks closely where there are votes for its lines. The files between the passes are removed at
the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from curator_dask.dedup.align.in_cells.cells import CELL_SEGMENTS, CELL_STILLS, number_of_cells
from curator_dask.dedup.align.in_cells.centres import SAMPLE_ROWS, centres_of
from curator_dask.runtime.records import UnitRecord, UnitResult, digest
from curator_dask.runtime.state import StageState
from curator_dask.runtime.units import Unit, UnitsOutcome, has_work, run_units
from curator_dask.stages.align.cell_rows import MOVING, SHORT, STILL, read_whole_rows
from curator_dask.stages.align.cell_worker import prepare_group, scatter_group, verify_group, vote_in_cells
from curator_dask.stages.align.spec import VERSION, AlignSpec, CellGroupTask, CellPartTask, CellSpec, LineGroup
from curator_dask.stages.base import RunContext

MOST_PARTS = 128
CENTRES = "centres"


def plan_cells(spec: AlignSpec, state: StageState, groups: Sequence[LineGroup], num_windows: int) -> CellSpec:
    """What the passes are told, but for the number of parts."""
    first_lines = np.cumsum([0, *(len(group.sources) for group in groups)])
    sample_rows = -(-SAMPLE_ROWS * number_of_cells(num_windows, CELL_SEGMENTS) // len(groups))
    num_new_lines = sum(len(group.sources) for group in groups if group.is_new)
    num_true_lines = sum(len(group.sources) for group in groups if group.mirror_of is None)
    between = state.path("between")
    return CellSpec(spec, between, tuple(first_lines.tolist()), sample_rows, num_new_lines, num_true_lines)


def verify_units(spec: CellSpec, state: StageState, groups: Sequence[LineGroup]) -> list[Unit[CellGroupTask]]:
    """The units of the last pass, which write the overlaps: what new lines share with each other and with all others."""
    return [unit for unit in _group_units("group", spec, state, groups) if unit.task.group.is_new]


def run_cell_passes(
    context: RunContext, state: StageState, spec: CellSpec, groups: Sequence[LineGroup]
) -> UnitsOutcome:
    """Run all passes, or those that are left; a finished group is not looked at again."""
    units = verify_units(spec, state, groups)
    if has_work(state, units):
        spec = _vote(context, state, spec, groups)
        units = verify_units(spec, state, groups)
    outcome = _run(context, state, units, verify_group, "groups (verify)")
    kept = {unit.key for unit in units}
    state.forget(state.unit_keys() - kept)
    return outcome


def _vote(context: RunContext, state: StageState, spec: CellSpec, groups: Sequence[LineGroup]) -> CellSpec:
    prepare = _group_units("lines", spec, state, groups)
    counts = _run(context, state, prepare, prepare_group, "groups (lines)").counts
    rows_per_cell = {MOVING: CELL_SEGMENTS, SHORT: CELL_SEGMENTS, STILL: CELL_STILLS}
    cells = {kind: number_of_cells(counts.get(kind, 0), rows) for kind, rows in rows_per_cell.items()}
    parts = min(MOST_PARTS, max(cells.values()))
    spec = replace(spec, short=counts.get(SHORT, 0) > 0, num_parts=parts)
    _write_centres(state, spec, groups, cells)
    scatter = _group_units("cells", spec, state, groups)
    _run(context, state, scatter, scatter_group, "groups (cells)")
    _run(context, state, _part_units(spec, groups), vote_in_cells, "parts of the cells")
    return spec


def _write_centres(state: StageState, spec: CellSpec, groups: Sequence[LineGroup], cells: dict[str, int]) -> None:
    made_from, folder = _made_from(groups), spec.align.output
    if state.done_units().get(CENTRES) == made_from:
        return
    outputs = {}
    for kind, count in cells.items():
        sample = read_whole_rows(folder, spec.paths(f"{kind}-sample"), kind)
        data = centres_of(sample, count).astype(np.int8).tobytes()
        outputs[spec.centres(kind)] = folder.write_bytes(spec.centres(kind), data)
    state.write(UnitRecord(CENTRES, made_from, outputs=outputs))


def _group_units(
    name: str, spec: CellSpec, state: StageState, groups: Sequence[LineGroup]
) -> list[Unit[CellGroupTask]]:
    made_from = _made_from(groups)
    keys = [f"{name}-{group.number:05d}" for group in groups]
    return [
        Unit(key, made_from, CellGroupTask(spec, group, state.beside_marker(key)), f"group {group.number}")
        for key, group in zip(keys, groups, strict=True)
    ]


def _part_units(spec: CellSpec, groups: Sequence[LineGroup]) -> list[Unit[CellPartTask]]:
    made_from = _made_from(groups)
    return [
        Unit(f"votes-{part:05d}", made_from, CellPartTask(spec, part), f"part {part} of the cells")
        for part in range(spec.num_parts)
    ]


def _made_from(groups: Sequence[LineGroup]) -> str:
    return digest(VERSION, [(group.sources, group.version) for group in groups])


def _run(
    context: RunContext, state: StageState, units: Sequence[Unit[Any]], work: Callable[[Any], UnitResult], what: str
) -> UnitsOutcome:
    outcome = run_units(context.cluster, state, units, work, reporter=context.reporter, what=what)
    outcome.raise_failures(f"{len(outcome.failures)} {what} could not be aligned")
    return outcome
