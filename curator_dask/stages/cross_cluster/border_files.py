"""Rows in files, between the group they lie in and the groups they are compared with.

A row may be compared with many clusters, and its sketch is enough to tell that most of them hold no duplicate. So its
sketch travels, and its vector stays where it is (`fetch_vectors`). Each group writes two files: all of its rows, a
record batch per cluster, and its border rows, a record batch per group that they are compared with.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.clusters import VectorPlaces
from curator_dask.dedup.cross_cluster.scores import Indices
from curator_dask.files.folder import Folder
from curator_dask.stages.cross_cluster.batch_files import Batches, BatchWriter
from curator_dask.stages.cross_cluster.spec import INTERMEDIATE

if TYPE_CHECKING:
    import pyarrow as pa

# Columns of a row: its own cluster, its place in that cluster's ranking, its score there, its sketch, the file of its
# cluster and the byte where its vector begins, and the clusters that it is compared with.
SOURCE, PLACE, SCORE, SKETCH, FILE, AT = "__source", "__place", "__score", "__sketch", "__file", "__at"
TARGETS = "__targets"

MOST_INCOMING = 1 << 19
"""Incoming rows in memory: when a group has read this many, they are compared before more are read."""
MOST_OUTGOING = 1 << 18
"""Border rows that are picked together, for as many groups as they go to: Arrow takes as long to pick a few."""


def rows_path(group: int) -> str:
    """Path of the file with all rows of a group."""
    return f"{INTERMEDIATE}/rows-{group:05d}.batches"


def borders_path(group: int) -> str:
    """Path of the file with the border rows of a group."""
    return f"{INTERMEDIATE}/borders-{group:05d}.batches"


@dataclass(frozen=True)
class GroupRows:
    """The rows of a group's clusters, and the clusters that each is compared with.

    Attributes:
        tables: per cluster, n rows with all columns but sketches and targets.
        sketches: per cluster, (n, width) int16.
        row, target: (P,) int64, pairs of a row, counted over all tables, and the cluster it is compared with.
        group: (P,) int64, the group of that cluster.
        about: what else the readers of the rows have to know.
    """

    tables: Sequence[pa.Table]
    sketches: Sequence[NDArray[np.int16]]
    row: Indices
    target: Indices
    group: Indices
    about: bytes = b""


def with_row_columns(
    columns: pa.Table, source: NDArray[np.int32], places: Indices, scores: NDArray[np.float32], where: VectorPlaces
) -> pa.Table:
    """The ids of rows and what else ranks them, with their clusters, places, scores, and the places of their vectors."""
    import pyarrow as pa

    more = {SOURCE: source, PLACE: places, SCORE: scores, FILE: where.file, AT: where.at}
    for name, values in more.items():
        columns = columns.append_column(name, pa.array(values))
    return columns


def write_group_rows(folder: Folder, group: int, rows: GroupRows, num_groups: int) -> dict[str, int]:
    """Write the rows of a group, and its border rows; returns the bytes written to each path.

    The batch of another group holds each row that is compared with one of its clusters once, with the list of these clusters.

    Five pairs of four rows, where group 0 has clusters 0 and 1, group 1 has clusters 2 and 3::

        row     0  0  1  3  3         batch 0: row 0 [1], row 3 [0]
        target  1  2  2  0  3         batch 1: row 0 [2], row 1 [2], row 3 [3]
    """
    import pyarrow as pa

    paths = rows_path(group), borders_path(group)
    tables = [
        table.append_column(SKETCH, _lists(sketches))
        for table, sketches in zip(rows.tables, rows.sketches, strict=True)
    ]
    everything = pa.concat_tables(tables, promote_options="permissive").combine_chunks()
    schema = everything.schema.with_metadata({ABOUT: rows.about})
    with folder.writing(paths[0]) as temporary, BatchWriter(temporary, schema, len(tables)) as writer:
        writer.write_slices(everything, np.cumsum([0, *map(len, tables)]))
    columns, sketches = everything.drop_columns([SKETCH]), np.concatenate(list(rows.sketches))
    entries = _Entries.of(rows, num_groups)
    schema = entries.table(columns, sketches, slice(0, 0)).schema
    with folder.writing(paths[1]) as temporary, BatchWriter(temporary, schema, num_groups) as writer:
        for groups in _together(entries.starts, MOST_OUTGOING):
            starts = entries.starts[groups.start : groups.stop + 1]
            writer.write_slices(entries.table(columns, sketches, slice(starts[0], starts[-1])), starts - starts[0])
    return {path: folder.size(path) or 0 for path in paths}


ABOUT = b"about"


@dataclass(frozen=True)
class _Entries:
    """The lines of all batches, one after the other: each has a row and its targets in one group.

    Attributes:
        row: (E,) int64. target: (P,) int64, the targets of all lines.
        targets: (E + 1,) int64, where those of each line begin, and where the last ones end.
        starts: (G + 1,) int64, the first line of each group, and the number of lines.
    """

    row: Indices
    target: Indices
    targets: Indices
    starts: Indices

    @staticmethod
    def of(rows: GroupRows, num_groups: int) -> _Entries:
        pair = rows.row * (rows.target.max(initial=0) + 1) + rows.target  # two keys sort faster than three
        order = np.lexsort((pair, rows.group))
        row, group = rows.row[order], rows.group[order]
        first = np.flatnonzero((np.diff(row, prepend=-1) != 0) | (np.diff(group, prepend=-1) != 0))
        starts = np.searchsorted(group[first], np.arange(num_groups + 1))
        return _Entries(row[first], rows.target[order], np.append(first, len(order)), starts)

    def table(self, columns: pa.Table, sketches: NDArray[np.int16], some: slice) -> pa.Table:
        """Some of the lines."""
        import pyarrow as pa

        row = self.row[some]
        targets = self.targets[some.start : some.stop + 1]
        numbers = pa.array(self.target[targets[0] : targets[-1]].astype(np.int32))
        lists = pa.ListArray.from_arrays((targets - targets[0]).astype(np.int32), numbers)
        found = columns.take(row).append_column(SKETCH, _lists(sketches[row])).append_column(TARGETS, lists)
        return found.combine_chunks()


def _together(starts: Indices, most: int) -> Iterator[range]:
    """Ranges of groups with at most so many lines each; a group with more has a range of its own.

    >>> [list(groups) for groups in _together(np.array([0, 2, 3, 3, 9, 10]), 3)]
    [[0, 1, 2], [3], [4]]
    """
    first, num_groups = 0, len(starts) - 1
    while first < num_groups:
        stop = int(np.searchsorted(starts, starts[first] + most, side="right")) - 1
        stop = min(max(stop, first + 1), num_groups)
        yield range(first, stop)
        first = stop


def _lists(values: NDArray[Any]) -> pa.Array:
    import pyarrow as pa

    offsets = np.arange(len(values) + 1, dtype=np.int32) * np.int32(values.shape[1])
    return pa.ListArray.from_arrays(offsets, values.ravel())


def sketches_of(table: pa.Table) -> NDArray[np.int16]:
    """(N, width) the sketches of at least one row."""
    numbers = np.concatenate([chunk.flatten().to_numpy() for chunk in table[SKETCH].chunks])
    return numbers.reshape(len(table), -1)


def rows_by_target(columns: pa.Table) -> Iterator[tuple[int, Indices]]:
    """``(cluster, rows)`` per cluster that incoming rows are compared with."""
    targets = columns[TARGETS].combine_chunks()
    row = np.repeat(np.arange(len(targets)), targets.value_lengths().to_numpy())
    target = targets.flatten().to_numpy()
    for number in np.unique(target).tolist():
        yield number, row[target == number]


def read_incoming(folder: Folder, group: int, num_groups: int) -> Iterator[pa.Table]:
    """The incoming rows of a group, about `MOST_INCOMING` at a time."""
    import pyarrow as pa

    parts: list[pa.Table] = []
    for source in range(num_groups):
        parts.append(Batches.of(folder, borders_path(source)).table(group))
        num_rows = sum(map(len, parts))
        if num_rows >= MOST_INCOMING or (source == num_groups - 1 and num_rows):
            yield pa.concat_tables(parts, promote_options="permissive").combine_chunks()
            parts = []
