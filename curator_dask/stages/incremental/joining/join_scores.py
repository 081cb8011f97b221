"""Join what was decided by scores on new rows, part by part, on workers.

A new row has its duplicates among the new and the old rows of its own cluster. So a part, some whole clusters, is joined by
itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from curator_dask.dedup.decide.rules import Rule
from curator_dask.files.folder import Folder
from curator_dask.runtime.state import StageState
from curator_dask.stages.base import RunContext
from curator_dask.stages.identify.decisions.loaded_decisions import common_type, stored_type
from curator_dask.stages.identify.decisions.part_rows import PartRows, PartsOfDecisions
from curator_dask.stages.identify.decisions.parts import part_inputs
from curator_dask.stages.identify.decisions.table_rows import TableRows, UnitTables
from curator_dask.stages.identify.output.clip_facts import facts_of_rows, read_facts
from curator_dask.stages.identify.output.sending import Prepared, Sending, send_part
from curator_dask.stages.identify.output.write_parts import write_parts
from curator_dask.stages.identify.settling.join_decisions import join_decisions
from curator_dask.stages.identify.settling.look import PlacesTask, write_places
from curator_dask.stages.identify.settling.part import RowsOfPart
from curator_dask.stages.identify.settling.settled_parts import buckets_of, parts_of_tables
from curator_dask.stages.workplace import Workplace, workplace


def join_scores(
    context: RunContext, state: StageState, tables: UnitTables, rule: Rule, clips: Folder | None, below: str
) -> dict[str, int]:
    """Join the decisions on all clusters, and write the files; returns the counts.

    Args:
        clips: the output of the split stage, if it is known.
        below: a prefix of the paths of the files.
    """
    parts = parts_of_tables(state, tables)
    with workplace(context, state, here=len(parts) == 1) as place:
        kind = common_type([one for some in place.each(types_of_ids, parts) for one in some])
        facts = _facts(place, clips, parts)
        rows, done = TableRows(tables, np.array([0, parts[-1].stop]), kind), part_inputs(state)
        sendings = [
            Sending.of(place, state, part.number, len(parts), rows, rule.eps, below, done, with_groups=False)
            for part in parts
        ]
        tasks = [JoinTask(part, rule, sending, kind) for part, sending in zip(parts, sendings, strict=True)]
        prepared = place.each(join_part, tasks, place.folder, facts)
        write_parts(
            place, state, done, sendings, [one.inputs for one in prepared],
            lambda: place.each(send_again, tasks[:1], place.folder, facts), with_groups=False,
        )  # fmt: skip
    return {name: sum(one.counts[name] for one in prepared) for name in prepared[0].counts}


def types_of_ids(part: RowsOfPart) -> list[Any]:
    """On a worker: the types of the ids in the tables of a part."""
    read = part.tables.read(range(len(part.tables.numbers)), ["kept_id"])
    return [table["kept_id"].type for table in read]  # that of all ids of the table


def _facts(place: Workplace, clips: Folder | None, parts: list[RowsOfPart]) -> tuple[str, ...]:
    """The files with what the clip index tells of the rows."""
    if clips is None:
        return ()
    buckets, firsts = buckets_of(parts), np.array([part.first for part in parts])
    tasks = [PlacesTask(part, place.folder, place.path("rows", part.number), buckets) for part in parts]
    paths = place.each(write_places, tasks)
    return facts_of_rows(place, clips, buckets, paths, firsts, None).paths


@dataclass(frozen=True)
class JoinTask:
    """Join one part."""

    part: RowsOfPart
    rule: Rule
    sending: Sending
    id_type: Any
    """The type of ids of all parts."""


def join_part(task: JoinTask, folder: Folder, facts: tuple[str, ...]) -> Prepared:
    """On a worker: make the file of a part, unless it was made from the same before, and count."""
    rows, counts = _joined(task, folder, facts)
    return Prepared(send_part(task.sending, rows), counts)


def send_again(task: JoinTask, folder: Folder, facts: tuple[str, ...]) -> str:
    """Make the file of a part once more, whatever was done."""
    rows, _ = _joined(task, folder, facts)
    return send_part(replace(task.sending, done=""), rows)


def _joined(task: JoinTask, folder: Folder, facts: tuple[str, ...]) -> tuple[PartRows, dict[str, int]]:
    part = task.part
    decisions = join_decisions(part.tables, task.rule)
    decisions.others = decisions.others.cast(stored_type(task.id_type))
    known = read_facts(folder, facts, part.number, part.first, decisions.removed).facts
    rows = PartsOfDecisions(decisions, known, with_groups=False).rows(0, len(decisions.removed))
    num_removed = int(np.count_nonzero(decisions.removed))
    kept = len(decisions.removed) - num_removed
    return rows, {"kept": kept, "removed": num_removed, "orphans": decisions.num_orphans()}
