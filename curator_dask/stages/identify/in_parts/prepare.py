"""Put together what a part of the decisions needs, on a worker: what its clusters decided, what was settled, and the facts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.decide.rules import Rule
from curator_dask.files.buckets.shared import read_shared
from curator_dask.files.folder import Folder
from curator_dask.stages.identify.decisions.clip_facts import ClipFacts, codes_of_names
from curator_dask.stages.identify.decisions.count_sources import source_counts, write_counts
from curator_dask.stages.identify.decisions.loaded_decisions import Decisions
from curator_dask.stages.identify.decisions.part_rows import PartRows, PartsOfDecisions
from curator_dask.stages.identify.decisions.table_rows import Indices, TableRows
from curator_dask.stages.identify.output.clip_facts import PartFacts, read_facts
from curator_dask.stages.identify.output.sending import Prepared, Sending, send_part
from curator_dask.stages.identify.settling.part import Numbers, RowsOfPart, among_all
from curator_dask.stages.identify.settling.settled import Settled, settled_decisions, without_touched_groups

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Shared:
    """What the work on all parts has in common."""

    rule: Rule
    rows: TableRows
    """All rows."""
    others: pa.ChunkedArray
    """The ids of clips that rows name and that were not decided on."""
    folder: Folder
    facts: tuple[str, ...]
    """The files in `folder` with the facts about the clips of all parts; none where nothing is known of them."""
    sources: tuple[str, ...]
    """The files with ``row`` and ``source_video`` of rows of other parts that are named as kept, in buckets by part."""
    settled: Settled
    num_buckets: int
    """Buckets in the files that count the rows of sources."""


@dataclass(frozen=True)
class PrepareTask:
    """Prepare one part."""

    part: RowsOfPart
    numbers: Numbers
    sending: Sending
    groups_before: int
    """How many groups have a lower lowest row than the first row of the part."""
    counts_path: str
    """Path in `Shared.folder` of the file to write with the counts of its sources."""


def send_again(task: PrepareTask, shared: Shared) -> str:
    """Make the file of a part once more, whatever was done."""
    made, _, _ = _made(task, shared)
    return send_part(replace(task.sending, done=""), made)


def prepare_part(task: PrepareTask, shared: Shared) -> Prepared:
    """Make the file of a part, unless it was made from the same before, and count."""
    made, decisions, found = _made(task, shared)
    inputs = send_part(task.sending, made)
    if shared.facts:
        lost = _lost_to_own_source(task, shared, decisions, found)
        counts = source_counts(found.facts.sources, found.line, lost)
        write_counts(shared.folder, task.counts_path, counts, shared.num_buckets)
    num_removed = int(np.count_nonzero(decisions.removed))
    counted = {"rows": len(decisions.removed), "kept": len(decisions.removed) - num_removed, "removed": num_removed}
    return Prepared(inputs, {**counted, "orphans": decisions.num_orphans()})


def _made(task: PrepareTask, shared: Shared) -> tuple[PartRows, Decisions, PartFacts]:
    """The rows of a part, the decisions on them, and the facts."""
    decided, part = _Decided.of(task, shared), task.part
    decisions = decided.decisions
    found = read_facts(shared.folder, shared.facts, part.number, part.first, decisions.removed)
    made = PartsOfDecisions(decisions, found.facts, True, part.first, decided.groups)
    return made.rows(0, len(decisions.removed)), decisions, found


@dataclass(frozen=True)
class _Decided:
    """The decisions on the rows of a part, which name other rows by their numbers among all."""

    decisions: Decisions
    groups: tuple[Indices, Indices]
    """The number of the group of each row, and its leader; -1 for none."""

    @classmethod
    def of(cls, task: PrepareTask, shared: Shared) -> _Decided:
        own, settled = task.numbers.read(shared.rule), shared.settled.of_part(task.part)
        groups = _groups(task, own, settled, shared.settled.roots_of_part(task.part))
        return cls(settled_decisions(task.part, own, settled, shared.rows, shared.others), groups)


def _groups(task: PrepareTask, own: Decisions, settled: pa.Table, roots: Indices) -> tuple[Indices, Indices]:
    """The groups of all rows: as they were settled, or as the clusters found them where nobody touched them."""
    rows = settled["row"].to_numpy() - task.part.first
    alone = without_touched_groups(own, rows)
    number, leader = alone.groups()
    lowest = alone.grouped()[1]
    before = task.groups_before + np.searchsorted(roots, lowest + task.part.first)
    number = np.where(number >= 0, number + np.append(before, 0)[number], -1)
    leader = among_all(leader, task.part.first)
    number[rows], leader[rows] = settled["group"].to_numpy(), settled["leader"].to_numpy()
    return number, leader


def _lost_to_own_source(task: PrepareTask, shared: Shared, decisions: Decisions, found: PartFacts) -> Indices:
    """The rows that a kept row of the same source removes."""
    codes = found.facts.sources.code
    rows = np.flatnonzero(decisions.removed & (codes >= 0))
    lost: Indices = rows[codes[rows] == _codes_of(task, shared, decisions.kept_row[rows], found.facts)]
    return lost


def _codes_of(task: PrepareTask, shared: Shared, rows: Indices, facts: ClipFacts) -> NDArray[Any]:
    """The sources of some rows of all, as numbers in the part; -2 where they are not known."""
    codes = np.full(len(rows), -2, np.int64)
    inside = (rows >= task.part.first) & (rows < task.part.stop)
    codes[inside] = facts.sources.code[rows[inside] - task.part.first]
    sources = read_shared(shared.folder, shared.sources, task.part.number)
    if sources is not None:
        sources = sources.sort_by("row")
        elsewhere, known = sources["row"].to_numpy(), {name: code for code, name in enumerate(facts.sources.names)}
        other = codes_of_names(sources["source_video"], known)
        at = np.minimum(np.searchsorted(elsewhere, rows), len(elsewhere) - 1)
        there = ~inside & (elsewhere[at] == rows)
        codes[there] = other[at[there]]
    return codes
