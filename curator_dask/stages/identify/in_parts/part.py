"""One part of the rows of all clusters, as a worker reads it: whole clusters, one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from curator_dask.dedup.decide.rules import Rule
from curator_dask.stages.identify.decisions.join_decisions import LoadedDecisions, load_decisions
from curator_dask.stages.identify.decisions.output_files import part_spans
from curator_dask.stages.identify.decisions.table_rows import Indices, UnitTables


@dataclass(frozen=True)
class RowsOfPart:
    """The rows from `first` to `stop`, in the order of cluster and rank."""

    number: int
    tables: UnitTables
    """Of its clusters alone."""
    first: int
    stop: int

    def load(self, rule: Rule) -> LoadedDecisions:
        """The decisions on its rows, which have numbers from 0 on there, as each cluster decided by itself."""
        return load_decisions(self.tables, rule)


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
