"""Bring what was decided by scores on a part together with the copies in it, on a worker.

A row that copies go for may go itself, as a near neighbour. The parts of these copies ask what it went for. A row may be in a
group of near neighbours and in one of copies: these groups become one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from curator_dask.data.ids import id_texts
from curator_dask.dedup.decide.rules import Rule
from curator_dask.dedup.decide.stretches import Indices
from curator_dask.errors import InputError
from curator_dask.files.buckets.shared import read_shared, write_shared
from curator_dask.stages.identify.by_overlaps.decided_part import DecidedFiles, DecidedPart
from curator_dask.stages.identify.decisions.loaded_decisions import Decisions
from curator_dask.stages.identify.decisions.table_rows import TableRows
from curator_dask.stages.identify.settling.part import Numbers, RowsOfPart
from curator_dask.stages.identify.settling.settled import Settled, roots_of_part, settled_decisions
from curator_dask.stages.identify.source_groups.connect import write_links
from curator_dask.stages.identify.source_groups.rows import LinesOfPart

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class CopyFiles:
    """The files that all groups of sources wrote, in buckets by part."""

    decided: DecidedFiles
    members: tuple[str, ...]
    """By member of a group of copies: the lowest row of the group."""
    asked: tuple[str, ...]
    """The rows that copies go for, and the parts that ask what became of them."""
    num_parts: int


@dataclass(frozen=True)
class ScoredRows:
    """What was decided by scores on all rows, so far as it is not in files."""

    rule: Rule
    rows: TableRows
    others: pa.ChunkedArray
    """The ids of clips that rows name and that were not decided on."""


@dataclass(frozen=True)
class MeetTask:
    """Bring both together for one part. The last three are the paths of files to write."""

    part: LinesOfPart
    scored: RowsOfPart
    numbers: Numbers
    settled: Settled
    near: str
    """What was decided by scores on its rows, which name others by their numbers among all."""
    links: str
    """Which groups its rows join."""
    answers: str
    """What became of the rows that were asked for, in buckets by the part that asks."""


def meet_scores(task: MeetTask, copies: CopyFiles, scored: ScoredRows) -> None:
    """Write these files. Raises InputError where the rows that were decided on are not those of the copies."""
    import pyarrow as pa

    _check_same(task)
    folder, own = copies.decided.folder, task.numbers.read(scored.rule)
    settled = task.settled.of_part(task.scored)
    root = roots_of_part(task.scored, own, settled)
    near = settled_decisions(task.scored, own, settled, scored.rows, scored.others)
    names = ("removed", "max_row", "kept_row", "cosine", "kept_score")
    table = pa.table({**{name: getattr(near, name) for name in names}, "root": root})
    write_shared(folder, task.near, table, np.zeros(len(table), np.int64), 1)
    _write_links(task, copies, root)
    _answer(task, copies, near)


def _check_same(task: MeetTask) -> None:
    """Raise InputError unless both sides have the same rows."""
    import pyarrow as pa

    listed = task.part.read(["id"])
    scored = task.scored.tables.read(range(len(task.scored.tables.numbers)), ["id"])
    texts = _texts(table.filter(pa.array(task.part.stays(table))) for table in listed)
    if not texts.equals(_texts(scored)):
        raise InputError("the similarity tables changed while they were decided on: run identify again")


def _texts(tables: Iterable[pa.Table]) -> pa.ChunkedArray:
    """The ids of some tables, as texts."""
    import pyarrow as pa

    texts = [chunk for table in tables for chunk in id_texts(table["id"]).cast(pa.large_string()).chunks]
    return pa.chunked_array(texts, pa.large_string())


def _write_links(task: MeetTask, copies: CopyFiles, root: Indices) -> None:
    """Write which groups of near neighbours and of copies have rows in common, by their lowest rows."""
    other = roots_of_copies(copies.decided, copies.members, task.part)
    both = (root >= 0) & (other >= 0)
    write_links(copies.decided.folder, task.links, root[both].astype(np.uint64), other[both].astype(np.uint64))


def roots_of_copies(decided: DecidedFiles, members: tuple[str, ...], part: LinesOfPart) -> Indices:
    """(n,) the lowest row of the group of copies of each row of a part; -1 for a row in none."""
    roots = np.full(part.num_rows, -1)
    found = read_shared(decided.folder, members, part.number)
    if found is not None:
        roots[found["row"].to_numpy() - part.first] = found["root"].to_numpy()
    return roots


def _answer(task: MeetTask, copies: CopyFiles, near: Decisions) -> None:
    """Write ``row`` and ``to``, the kept row that it went for, of those rows that went as near neighbours."""
    import pyarrow as pa

    folder, number = copies.decided.folder, task.part.number
    asked = read_shared(folder, copies.asked, number)
    nothing = np.zeros(0, np.int64)
    row, part = (nothing, nothing) if asked is None else (asked[name].to_numpy() for name in ("row", "part"))
    at = row - task.part.first
    gone = near.removed[at] & ~DecidedPart(task.part, copies.decided).by_rule[at]
    table = pa.table({"row": row[gone], "to": near.kept_row[at[gone]].astype(np.int64)})
    write_shared(folder, task.answers, table, part[gone], copies.num_parts)
