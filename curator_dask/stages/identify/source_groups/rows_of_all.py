"""All rows as numbers, where the lines of only some of them are known: those of dropped clips lie between them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.decide.stretches import Indices
from curator_dask.stages.identify.decisions.table_rows import TableRows


@dataclass(frozen=True)
class RowsInTables:
    """The lines of the tables that N rows are, where they are known: of all, or of those that are looked for."""

    known: Indices
    """Rows, ascending."""
    lines: Indices
    """The line of each of these."""

    @staticmethod
    def nothing() -> RowsInTables:
        return RowsInTables(np.zeros(0, np.int64), np.zeros(0, np.int64))

    def of(self, rows: Indices) -> Indices:
        """The lines of some known rows."""
        found: Indices = self.lines[np.searchsorted(self.known, rows)]
        return found

    def joined(self, rows: Indices, lines: Indices) -> RowsInTables:
        """These, and some more."""
        known, first = np.unique(np.concatenate([self.known, rows]), return_index=True)
        return replace(self, known=known, lines=np.concatenate([self.lines, lines])[first])


@dataclass(frozen=True)
class RowsOfAll(TableRows):
    """All rows, of which a worker knows the lines of some."""

    row_starts: Indices = field(default_factory=lambda: np.zeros(1, np.int64))
    """(C + 1,) the first row of each cluster."""
    known: RowsInTables = field(default_factory=RowsInTables.nothing)

    def __len__(self) -> int:
        return int(self.row_starts[-1])

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        return self.row_starts

    def places(self, rows: Indices) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        lines = self.known.of(rows)
        place = np.searchsorted(self.table_starts, lines, side="right") - 1
        return place, lines - self.table_starts[place]
