"""What parts tell each other of their rows, on workers, once both rules decided: groups of duplicates, and sources.

::

    report   a task per part   the groups that its rows are in; the rows that its removed rows go for
    answer   a task per part   numbers and leaders of the groups whose lowest rows are here; rows lost to their own source

A group is numbered by its lowest row, in the part that has this row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from curator_dask.dedup.decide.stretches import Indices
from curator_dask.files.buckets.shared import read_shared, write_shared
from curator_dask.files.folder import Folder
from curator_dask.stages.identify.by_overlaps.part_of_both import BothFiles, PartOfBoth
from curator_dask.stages.identify.decisions.count_sources import write_counts
from curator_dask.stages.identify.source_groups.rows import LinesOfPart
from curator_dask.stages.identify.source_groups.rows_of_groups import UNKNOWN_LINE, rows_with_spans

if TYPE_CHECKING:
    import pyarrow as pa

NONE = np.iinfo(np.int64).max


@dataclass(frozen=True)
class ExchangeTask:
    """The exchange of one part with all others: its files."""

    part: LinesOfPart
    near: str
    roots: str
    """By group that its rows are in: the lowest row, the first kept row here, and this part; in buckets by part."""
    lost: str
    """By removed row: its source, and the row that it goes for; in buckets by the part of that row."""
    counts: str
    """How many rows each source has here."""
    groups: str
    """By group whose lowest row is here, and part that asks: its rank among those of this part, and its leader."""
    counts_of_lost: str
    """How many rows each source loses to rows of the same source that are here."""


def report(task: ExchangeTask, files: BothFiles, spans: tuple[str, ...]) -> None:
    """Write the first three files.

    Args:
        spans: the files with the sources of rows, in buckets by part.
    """
    import pyarrow as pa

    part, folder, everywhere = PartOfBoth(task.part, task.near, files), files.copies.decided.folder, files.everywhere
    roots = _roots(part)
    write_shared(folder, task.roots, roots, everywhere.part_of(roots["root"].to_numpy()), files.copies.num_parts)
    rows, kept = _rows(task.part, folder, spans), part.decisions.kept_row
    gone = np.flatnonzero(part.decisions.removed & (kept >= 0) & (kept < files.copies.decided.num_rows))
    source = rows["source"].take(pa.array(gone)) if len(gone) else pa.nulls(0, pa.large_string())
    lost = pa.table({"source": source, "kept": kept[gone]})
    write_shared(folder, task.lost, lost, everywhere.part_of(kept[gone]), files.copies.num_parts)
    write_counts(folder, task.counts, _counts(rows), everywhere.num_buckets)


def _rows(part: LinesOfPart, folder: Folder, spans: tuple[str, ...]) -> pa.Table:
    import pyarrow as pa

    return rows_with_spans(part, read_shared(folder, spans, part.number), pa.schema([]))


def _roots(part: PartOfBoth) -> pa.Table:
    import pyarrow as pa

    rows = np.flatnonzero(part.roots >= 0)
    root, of = np.unique(part.roots[rows], return_inverse=True)
    kept = np.full(len(root), NONE)
    stays = ~part.decisions.removed[rows]
    np.minimum.at(kept, of[stays], rows[stays] + part.part.first)
    return pa.table({"root": root, "kept": kept, "part": np.full(len(root), part.part.number)})


def _counts(rows: pa.Table) -> pa.Table:
    """``source``, ``rows``, ``lost`` (none here) and ``line``, so far as it is not known from the table of clips."""
    import pyarrow as pa

    if "source" not in rows.column_names:  # a part without rows
        source, line = pa.nulls(0, pa.large_string()), np.zeros(0, np.int64)
    else:
        source = rows["source"]
        line = np.where(rows["unknown"].to_numpy(), UNKNOWN_LINE + rows["row"].to_numpy(), NONE)
    table = pa.table({"source": source, "line": line})
    found = table.group_by("source", use_threads=False).aggregate([("line", "min"), ([], "count_all")])
    nothing = np.zeros(len(found), np.int64)
    return pa.table({"source": found["source"], "rows": found["count_all"], "lost": nothing, "line": found["line_min"]})


def answer(task: ExchangeTask, files: BothFiles, spans: tuple[str, ...], told: tuple[tuple[str, str], ...]) -> int:
    """Write the last two files; returns how many groups have their lowest rows here.

    Args:
        told: what all parts reported: the files with groups, and those with removed rows.
    """
    folder = files.copies.decided.folder
    roots, lost = (read_shared(folder, paths, task.part.number) for paths in zip(*told, strict=True))
    write_counts(folder, task.counts_of_lost, _lost(task.part, folder, spans, lost), files.everywhere.num_buckets)
    return _number(task, files, roots)


def _number(task: ExchangeTask, files: BothFiles, roots: pa.Table | None) -> int:
    import pyarrow as pa

    names = ("root", "kept", "part")
    root, kept, part = (_column(roots, name) for name in names)
    every, of = np.unique(root, return_inverse=True)
    leader = np.full(len(every), NONE)
    np.minimum.at(leader, of, kept)
    leader = np.where(leader == NONE, every, leader)
    table = pa.table({"root": root, "rank": of, "leader": leader[of]})
    write_shared(files.copies.decided.folder, task.groups, table, part, files.copies.num_parts)
    return len(every)


def _column(table: pa.Table | None, name: str) -> Indices:
    return np.zeros(0, np.int64) if table is None else table[name].to_numpy()


def _lost(part: LinesOfPart, folder: Folder, spans: tuple[str, ...], lost: pa.Table | None) -> pa.Table:
    """``source``, ``rows`` (none here), ``lost`` and ``line`` (not known here)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    source: Any = pa.nulls(0, pa.large_string())
    if lost is not None:
        own = _rows(part, folder, spans)["source"].take(pa.array(lost["kept"].to_numpy() - part.first))
        source = lost["source"].filter(pc.equal(own, lost["source"]))
    found = pa.table({"source": source}).group_by("source", use_threads=False).aggregate([([], "count_all")])
    line, nothing = np.full(len(found), NONE), np.zeros(len(found), np.int64)
    return pa.table({"source": found["source"], "rows": nothing, "lost": found["count_all"], "line": line})


def groups_of_rows(part: PartOfBoth, paths: tuple[str, ...], before: Indices) -> tuple[Indices, Indices]:
    """(n,) each: the number of the group of each row, and its leader; -1 for none.

    Args:
        paths: the files of all parts with the groups that they number, in buckets by the part that asks.
        before: (P,) how many groups have their lowest rows in parts before each one.
    """
    number, leader = (np.full(part.part.num_rows, -1) for _ in range(2))
    found = read_shared(part.copies.files.folder, paths, part.part.number)
    if found is None:
        return number, leader
    found = found.sort_by("root")
    root, rank, leads = (found[name].to_numpy() for name in ("root", "rank", "leader"))
    rows = np.flatnonzero(part.roots >= 0)
    at = np.searchsorted(root, part.roots[rows])
    number[rows] = rank[at] + before[part.files.everywhere.part_of(root[at])]
    leader[rows] = leads[at]
    return number, leader
