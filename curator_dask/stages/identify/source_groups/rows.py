"""The rows of a part for the rule ``overlap``, on a worker: where they are, by the digests of their ids, and what ranks them.

A part is some whole clusters. Rows that filters drop are lines of the clusters' tables, but no rows::

    line   0  1  2  3  4
    drops     x     x
    row    0     1     2
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.decide.stretches import Indices
from curator_dask.files.buckets.buckets import bucket_of
from curator_dask.files.buckets.shared import write_shared
from curator_dask.files.folder import Folder
from curator_dask.stages.identify.decisions.decision_table import DIGESTS, IDS
from curator_dask.stages.identify.decisions.dropped import DroppedRows
from curator_dask.stages.identify.decisions.loaded_decisions import common_type
from curator_dask.stages.identify.decisions.parts import part_spans
from curator_dask.stages.identify.decisions.table_rows import UnitTables

if TYPE_CHECKING:
    import pyarrow as pa

STAYING: Final = 1 << 60
"""Clips that stay as they are have numbers from here on, and rows those below."""
DROPPED: Final = 1 << 61
"""Dropped clips have numbers from here on."""


@dataclass(frozen=True)
class LinesOfPart:
    """The lines of some clusters, one after the other."""

    number: int
    tables: UnitTables
    """Those of its clusters alone."""
    first_line: int
    """The first line among those of all tables."""
    first: int
    """The first row among all."""
    num_rows: int
    dropped: DroppedRows | None
    """What the filters drop; None where there are none."""

    def read(self, columns: Sequence[str]) -> list[pa.Table]:
        """The table of each cluster."""
        return list(self.tables.read(range(len(self.tables.numbers)), list(columns)))

    def stays(self, table: pa.Table) -> NDArray[np.bool_]:
        """(n,) which lines of a table with a column ``id`` are rows."""
        return np.ones(len(table), np.bool_) if self.dropped is None else self.dropped.stay(table["id"])


def count_rows(part: LinesOfPart) -> list[int]:
    """How many rows each cluster of a part has."""
    return [int(np.count_nonzero(part.stays(table))) for table in part.read(["id"])]


def cut_lines(
    tables: UnitTables, lines_of: Mapping[int, int], rows_of: Mapping[int, int], dropped: DroppedRows | None
) -> list[LinesOfPart]:
    """The parts of all clusters: as many rows in each as `part_spans` says. Clusters without rows come with those before.

    Args:
        lines_of, rows_of: cluster → how many lines and rows it has.
    """
    numbers = np.array(tables.numbers, np.int64)
    starts, lines = (np.cumsum([0, *(counts[number] for number in tables.numbers)]) for counts in (rows_of, lines_of))
    spans = part_spans(starts)
    of_part = np.searchsorted([first for first, _ in spans], starts[:-1], side="right") - 1
    return [_part(tables, number, span, numbers[of_part == number], lines[:-1][of_part == number], dropped)
            for number, span in enumerate(spans)]  # fmt: skip


def _part(
    tables: UnitTables, number: int, span: tuple[int, int], clusters: Indices, lines: Indices,
    dropped: DroppedRows | None,
) -> LinesOfPart:  # fmt: skip
    first_line = int(lines[0]) if len(lines) else 0
    some: list[int] = clusters.tolist()
    return LinesOfPart(number, tables.of_clusters(some), first_line, span[0], span[1] - span[0], dropped)


@dataclass(frozen=True)
class PlaceTask:
    """Write where the rows of a part are."""

    part: LinesOfPart
    ranks: tuple[str, ...]
    """The columns that rank, by their names in the tables."""
    folder: Folder
    rows: str
    """Path in `folder` of the file to write: the digests of the ids and the rows, in buckets."""
    dropped: str
    """The same for dropped clips; "" where there are no filters."""
    num_buckets: int


@dataclass(frozen=True)
class Placed:
    """What the client has to know of a part."""

    starts: Indices
    """(C + 1,) the first row of each of its clusters, and the first one behind them."""
    lines: Indices
    """(C + 1,) the same of lines."""
    digests: tuple[bytes, ...]
    """(C,) one digest of the ids of each cluster."""
    id_type: Any
    ranks: Any
    """The schema of the columns that rank."""
    num_null: tuple[int, ...]
    """How many nulls each of these has, of rows."""


def place_rows(task: PlaceTask) -> Placed:
    """Read the tables of a part, and write where its rows are."""
    part = task.part
    tables = part.read(["id", *DIGESTS, *task.ranks])
    stays = [part.stays(table) for table in tables]
    starts = np.cumsum([part.first, *(int(np.count_nonzero(one)) for one in stays)])
    lines = np.cumsum([part.first_line, *map(len, tables)])
    every = np.concatenate([np.zeros(0, np.bool_), *stays])
    _write_places(task, tables, every, task.rows, np.arange(part.first, part.first + part.num_rows))
    if task.dropped:
        _write_places(task, tables, ~every, task.dropped, np.flatnonzero(~every) + part.first_line + DROPPED)
    ranks = _ranks(tables, every, task.ranks)
    nulls = tuple(ranks[name].null_count for name in task.ranks)
    digests = tuple(table.schema.metadata[IDS] for table in tables)
    kinds = [table["id"].type for table in tables]
    return Placed(starts, lines, digests, common_type(kinds), ranks.schema, nulls)


def _ranks(tables: Sequence[pa.Table], stays: NDArray[np.bool_], names: Sequence[str]) -> pa.Table:
    import pyarrow as pa

    some = [table.select(list(names)).replace_schema_metadata(None) for table in tables]
    every = pa.concat_tables(some, promote_options="permissive") if some else pa.table({})
    return every.filter(pa.array(stays)) if names and some else every


def _write_places(
    task: PlaceTask, tables: Sequence[pa.Table], chosen: NDArray[np.bool_], path: str, rows: Indices
) -> None:
    import pyarrow as pa

    halves = (np.concatenate([np.zeros(0, np.uint64), *(one[name].to_numpy() for one in tables)]) for name in DIGESTS)
    high, low = (half[chosen] for half in halves)
    write_shared(
        task.folder, path, pa.table({"high": high, "low": low, "row": rows}), bucket_of(high, task.num_buckets),
        task.num_buckets,
    )  # fmt: skip
