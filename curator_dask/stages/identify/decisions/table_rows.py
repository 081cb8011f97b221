"""The rows of all clusters as numbers, by cluster and rank. Their ids stay in the tables until they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.decisions.row_index import RowIndex
from curator_dask.data.ids import one_type
from curator_dask.data.tables import read_unit_tables
from curator_dask.runtime.state import StageState
from curator_dask.stages.identify.decisions.decision_table import DIGESTS, digest_columns

if TYPE_CHECKING:
    import pyarrow as pa

Indices = NDArray[Any]
CLUSTER_UNIT = "cluster"
"""The keys of the units that decide on clusters begin so."""


class ClusterTables(Protocol):
    """The table of each cluster: one line per row, in ranked order."""

    @property
    def numbers(self) -> Sequence[int]:
        """The clusters, ascending."""

    def read(self, places: Sequence[int], columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """The tables of the clusters at some places, in this order. `DIGESTS` are made from the ids where a table has none."""

    def of_clusters(self, numbers: Sequence[int]) -> ClusterTables:
        """The tables of some clusters alone."""


@dataclass(frozen=True)
class UnitTables:
    """Tables beside the markers of a stage's units."""

    state: StageState
    prefix: str
    """Stands before the number of the cluster in the keys of the units."""
    numbers: tuple[int, ...]

    def read(self, places: Sequence[int], columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        paths = [self._path(self.numbers[place]) for place in places]
        if columns is None or set(DIGESTS).isdisjoint(columns):
            return read_unit_tables(self.state, paths, columns)
        return (_selected(table, columns) for table in read_unit_tables(self.state, paths))

    def of_clusters(self, numbers: Sequence[int]) -> UnitTables:
        return UnitTables(self.state, self.prefix, tuple(numbers))

    def _path(self, number: int) -> str:
        return self.state.beside_marker(key_of_cluster(self.prefix, number))


def key_of_cluster(prefix: str, number: int) -> str:
    return f"{prefix}-{number:06d}"


@dataclass(frozen=True)
class TablesInMemory:
    """Tables at hand, by the numbers of their clusters."""

    tables: Mapping[int, pa.Table]

    @property
    def numbers(self) -> Sequence[int]:
        return sorted(self.tables)

    def read(self, places: Sequence[int], columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        for place in places:
            table = self.tables[self.numbers[place]]
            yield table if columns is None else _selected(table, columns)

    def of_clusters(self, numbers: Sequence[int]) -> TablesInMemory:
        return TablesInMemory({number: self.tables[number] for number in numbers})


@dataclass(frozen=True)
class TableRows:
    """N rows that are decided on."""

    tables: ClusterTables
    table_starts: NDArray[np.int64]
    """(C + 1,) the first line of each table where all lie one after the other."""
    id_type: Any
    """The type of ids in files."""
    staying: NDArray[np.int64] | None = None
    """(N,) the lines that are decided on, ascending; None: all."""
    digests: tuple[bytes, ...] = field(default=(), repr=False)
    """(C,) one digest of the ids of each table."""

    def __len__(self) -> int:
        return int(self.table_starts[-1]) if self.staying is None else len(self.staying)

    def of_all_lines(self) -> TableRows:
        """All lines of the tables as rows."""
        return replace(self, staying=None)

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """(C + 1,) the first row of each cluster."""
        if self.staying is None:
            return self.table_starts
        return np.searchsorted(self.staying, self.table_starts)

    def clusters(self, start: int, stop: int) -> NDArray[np.int64]:
        """The numbers of the clusters of the rows from start to stop."""
        stops = np.clip(self.starts, start, stop)
        return np.repeat(np.array(self.tables.numbers, np.int64), np.diff(stops))

    def places(self, rows: Indices) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The place of the table of each row among all, and its line there."""
        lines = np.asarray(rows, np.int64) if self.staying is None else self.staying[rows]
        place = np.searchsorted(self.table_starts, lines, side="right") - 1
        return place, lines - self.table_starts[place]

    def ids(self, rows: Indices) -> pa.Array:
        """The ids of some rows, in their order. It reads the tables of their clusters."""
        place, line = self.places(rows)
        return ids_at(self.tables, place, line, self.id_type)

    @cached_property
    def index(self) -> RowIndex:
        """Finds rows by their ids: 24 bytes per row."""
        return RowIndex.of(self._halves())

    def _halves(self) -> list[NDArray[np.uint64]]:
        """The halves of the digests of all ids, (N,) each."""
        halves = digest_halves(self.tables, int(self.table_starts[-1]))
        return halves if self.staying is None else [half[self.staying] for half in halves]


def _selected(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    if not set(DIGESTS).isdisjoint(columns) and DIGESTS[0] not in table.column_names:
        for name, half in digest_columns(table["id"]).items():
            table = table.append_column(name, [half])
    return table.select(list(columns))


def digest_halves(tables: ClusterTables, num_rows: int) -> list[NDArray[np.uint64]]:
    """The halves of the digests of the ids of all rows, (N,) each."""
    halves = [np.empty(num_rows, np.uint64) for _ in DIGESTS]
    start = 0
    for table in tables.read(range(len(tables.numbers)), DIGESTS):
        for half, name in zip(halves, DIGESTS, strict=True):
            half[start : start + len(table)] = table[name].to_numpy()
        start += len(table)
    return halves


def ids_at(tables: ClusterTables, place: NDArray[np.int64], line: NDArray[np.int64], id_type: Any) -> pa.Array:
    """The ids at some lines of some tables, in the order given. A table is in memory at a time."""
    import pyarrow as pa

    order = np.argsort(place, kind="stable")
    wanted, starts = np.unique(place[order], return_index=True)
    lines = np.split(line[order], starts[1:]) if len(wanted) else []
    read = tables.read(wanted.tolist(), ["id"])
    parts = [table["id"].combine_chunks().take(pa.array(some)) for table, some in zip(read, lines, strict=True)]
    ids = pa.concat_arrays(one_type(parts)).cast(id_type) if parts else pa.array([], id_type)
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    return ids.take(pa.array(back))
