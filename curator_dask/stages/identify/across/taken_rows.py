"""The rows that kept rows of other clusters remove, by their places among the rows that decisions are made on; in files.

Clusters are compared with all of their rows, as the cross-cluster stage compared them; those that the filters drop take no
part. Decisions are made on the rows that are left::

    all rows     0  1  2  3  4
    dropped         x     x
    those left   0     1     2
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.scored_clusters import ClusterInput, RowSet
from curator_dask.data.tables import read_unit_tables
from curator_dask.files.buckets.shared import write_shared
from curator_dask.files.folder import Folder
from curator_dask.runtime.state import StageState
from curator_dask.stages.identify.across.row_sets import read_row_sets, write_row_sets
from curator_dask.stages.identify.across.worker import in_tasks
from curator_dask.stages.identify.decisions.dropped import DroppedRows, row_ids
from curator_dask.stages.workplace import Workplace

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class TakenRows:
    """Where `standing.taken_table` lies, and what tells the places of its rows among those left."""

    state: StageState
    table: str
    clusters: Sequence[ClusterInput]
    """All that were compared."""
    dropped: DroppedRows | None
    """What the filters drop; None where there are none."""

    def write(self, place: Workplace, path: str, by_cluster: Sequence[int] = ()) -> None:
        """Write its lines to a file, each to the bucket of its cluster among some; to one bucket where none are given."""
        stay: list[str] = []
        if self.dropped is not None:
            tasks = [
                StayTask(one, self.dropped, place.folder, place.path("stay", at))
                for at, one in enumerate(in_tasks(self.clusters))
            ]
            stay = place.each(write_stay, tasks)
        place.each(write_taken_rows, [TakenTask(self.state, self.table, stay, by_cluster, place.folder, path)])


@dataclass(frozen=True)
class StayTask:
    """Write which rows of some clusters the filters leave."""

    clusters: Sequence[ClusterInput]
    dropped: DroppedRows
    folder: Folder
    written: str
    """The file to write."""


def write_stay(task: StayTask) -> str:
    """Write these rows; returns the path of the file."""
    ids = zip(task.clusters, row_ids(task.clusters), strict=True)
    stay = {one.number: RowSet.of(task.dropped.stay(some)) for one, some in ids}
    return write_row_sets(task.folder, task.written, stay)


@dataclass(frozen=True)
class TakenTask:
    """Write the lines of a table of taken rows again."""

    state: StageState
    table: str
    stay: Sequence[str]
    """The files with the rows that the filters leave; none where there are no filters."""
    by_cluster: Sequence[int]
    """The clusters whose lines go to buckets of their own, ascending; empty: all lines go to one."""
    folder: Folder
    written: str
    """The file to write."""


def write_taken_rows(task: TakenTask) -> None:
    """Write them. It runs on one worker, which holds the table and a bit per row of all clusters."""
    [table] = read_unit_tables(task.state, [task.table])
    if task.stay:
        table = among_left(table, read_row_sets(task.folder, task.stay))
    numbers = np.array(task.by_cluster, np.int64)
    bucket = np.searchsorted(numbers, table["cluster"].to_numpy())
    write_shared(task.folder, task.written, table, bucket, max(len(numbers), 1))


def among_left(taken: pa.Table, stay: Mapping[int, RowSet]) -> pa.Table:
    """The table of taken rows by their places among the rows that stay, without the others."""
    import pyarrow as pa

    for cluster, name in (("cluster", "place"), ("kept_cluster", "kept_place")):
        moved = _moved(taken[cluster].to_numpy(), taken[name].to_numpy(), stay)
        taken = taken.set_column(taken.column_names.index(name), name, pa.array(moved))
    return taken.filter(pa.array(taken["place"].to_numpy() >= 0))


def _moved(cluster: NDArray[np.int64], place: NDArray[np.int64], stay: Mapping[int, RowSet]) -> NDArray[np.int64]:
    """(T,) the places of some rows among those of their clusters that stay; -1 for one that does not."""
    order = np.argsort(cluster, kind="stable")
    numbers, starts = np.unique(cluster[order], return_index=True)
    moved = np.full(len(place), -1)
    for number, start, stop in zip(numbers.tolist(), starts, [*starts[1:], len(order)], strict=len(order) > 0):
        some, mask = order[start:stop], stay[number].mask()
        moved[some] = np.where(mask, np.cumsum(mask) - 1, -1)[place[some]]
    return moved
