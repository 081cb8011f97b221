"""One part of the rows of all clusters, as a worker reads it: whole clusters, one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from curator_dask.dedup.decide.rules import Rule
from curator_dask.files.buckets.shared import read_shared, write_shared
from curator_dask.files.folder import Folder
from curator_dask.stages.identify.decisions.loaded_decisions import Decisions, LoadedDecisions, load_decisions
from curator_dask.stages.identify.decisions.parts import part_spans
from curator_dask.stages.identify.decisions.table_rows import Indices, TableRows, TablesInMemory, UnitTables

NUMBERS: Final[dict[str, Any]] = {
    **{"removed": np.bool_, "max_row": np.int32, "kept_row": np.int32, "cosine": np.float32},
    **{"kept_score": np.float32, "group": np.int32},
}
"""The columns of a file of numbers, as in `Decisions`, and the types of those without rows."""


@dataclass(frozen=True)
class RowsOfPart:
    """The rows from `first` to `stop`, in the order of cluster and rank."""

    number: int
    tables: UnitTables
    """Those of its clusters alone."""
    first: int
    stop: int

    def load(self, rule: Rule) -> LoadedDecisions:
        """The decisions on its rows, which have numbers from 0 on there, as each cluster decided by itself."""
        return load_decisions(self.tables, rule)


@dataclass(frozen=True)
class Numbers:
    """A file with what the clusters of a part decided, without ids: its tables need to be read once only."""

    folder: Folder
    path: str

    def write(self, decisions: Decisions) -> None:
        """Write the decisions on the rows of the part."""
        import pyarrow as pa

        table = pa.table({name: getattr(decisions, name) for name in NUMBERS})
        write_shared(self.folder, self.path, table, np.zeros(len(table), np.int64), 1)

    def read(self, rule: Rule) -> Decisions:
        """What was written."""
        import pyarrow as pa

        found = read_shared(self.folder, [self.path], 0)
        empty = {name: np.zeros(0, kind) for name, kind in NUMBERS.items()}
        held = empty if found is None else {name: found[name].to_numpy().copy() for name in NUMBERS}
        rows = TableRows(TablesInMemory({}), np.array([0, len(held["removed"])]), pa.string())
        return Decisions(rows, rule=rule, others=pa.chunked_array([], pa.string()), **held)


def cut_into_parts(tables: UnitTables, rows_of: Mapping[int, int]) -> list[RowsOfPart]:
    """The parts of all clusters; one without rows where there is no cluster.

    Args:
        rows_of: cluster → the number of its rows.
    """
    starts = np.cumsum([0, *(rows_of[number] for number in tables.numbers)])
    return [_part(tables, number, span, starts) for number, span in enumerate(part_spans(starts))]


def _part(tables: UnitTables, number: int, span: tuple[int, int], starts: Indices) -> RowsOfPart:
    first, stop = span
    here = (starts[:-1] >= first) & (starts[:-1] < stop)
    clusters: Sequence[int] = np.array(tables.numbers, np.int64)[here].tolist()
    return RowsOfPart(number, tables.of_clusters(clusters), first, stop)


def among_all(rows: Indices, first: int) -> Indices:
    """Numbers of rows in a part, whose first row is `first`, as numbers of all rows; -1 for no row stays."""
    found: Indices = np.where(rows >= 0, rows.astype(np.int64) + first, -1)
    return found


def in_part(parts: Sequence[RowsOfPart], rows: Any) -> Indices:
    """The place of the part of each row."""
    found: Indices = np.searchsorted(np.array([part.first for part in parts]), rows, side="right") - 1
    return found
