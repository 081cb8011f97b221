"""Copies, which the rule ``overlap`` removes before near neighbours are looked for: what the groups of sources write of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from curator_dask.data.scored_clusters import RowSet
from curator_dask.dedup.decide.stretches import Indices
from curator_dask.files.buckets.shared import write_shared
from curator_dask.stages.identify.by_overlaps.decided_part import DecidedFiles, DecidedPart
from curator_dask.stages.identify.by_overlaps.results import Everywhere, GroupResults
from curator_dask.stages.identify.source_groups.decide_group import GroupClips, Groups, read_group
from curator_dask.stages.identify.source_groups.rows import LinesOfPart

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class CopiesTask:
    """Write which rows of one group of sources are copies. The paths are those of the files to write, in buckets by part."""

    number: int
    rows: str
    """By copy: what it goes for."""
    named: str
    """The clips that stay and that copies of a part go for."""
    members: str
    """By member of a group of copies: the lowest row of the group."""
    asked: str
    """The rows that copies go for, and the parts that ask what became of them."""


def write_copies(task: CopiesTask, groups: Groups, everywhere: Everywhere) -> None:
    """Decide on a group, and write all that."""
    group = read_group(groups, task.number)
    paths = (task.rows, task.named, task.members, task.asked)
    tables = _nothing(len(paths)) if group is None else _tables(group, everywhere)
    for path, (table, part) in zip(paths, tables, strict=True):
        write_shared(groups.folder, path, table, part, len(everywhere.firsts))


def _nothing(num: int) -> list[tuple[pa.Table, Indices]]:
    import pyarrow as pa

    return [(pa.table({"row": np.zeros(0, np.int64)}), np.zeros(0, np.int64))] * num


def _tables(group: GroupClips, everywhere: Everywhere) -> list[tuple[pa.Table, Indices]]:
    """The four tables, and the part of each of their lines."""
    results = GroupResults(group, group.clips.decide(everywhere.min_strength), everywhere)
    by_row = [results.rows(), results.members().select(["row", "root"]), results.asked()]
    rows, members, asked = ((one, everywhere.part_of(one["row"].to_numpy())) for one in by_row)
    named = results.named()
    staying = named.filter(named["text"].is_valid())
    return [rows, (staying.drop_columns(["part"]), staying["part"].to_numpy()), members, asked]


@dataclass(frozen=True)
class GoneTask:
    """Tell which rows of a part are copies."""

    part: LinesOfPart
    starts: Indices
    """(C + 1,) the first row of each of its clusters, and the first one behind them."""


def copies_of_part(task: GoneTask, files: DecidedFiles) -> dict[int, RowSet]:
    """Cluster → its copies. Clusters without rows are left out."""
    masks = np.split(DecidedPart(task.part, files).by_rule, task.starts[1:-1] - task.part.first)
    some = zip(task.part.tables.numbers, masks, strict=True) if task.part.tables.numbers else ()
    return {number: RowSet.of(mask) for number, mask in some if len(mask)}
