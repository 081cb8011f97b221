"""The rows that have a duplicate in another cluster, or are one, of all parts together; on one worker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from curator_dask.data.ids import id_text
from curator_dask.errors import InputError
from curator_dask.files.buckets.shared import read_shared, write_shared
from curator_dask.files.folder import Folder
from curator_dask.stages.identify.decisions.loaded_decisions import stored_type
from curator_dask.stages.identify.decisions.table_rows import Indices
from curator_dask.stages.identify.settling.named_rows import COLUMNS
from curator_dask.stages.identify.settling.settle_crossing import Takers, TakersFile

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Crossing:
    """What is known of rows of several clusters. Rows are numbers among all N rows, from N on those of other clips."""

    rows: Indices
    """Those that have a duplicate in another cluster."""
    matches: Indices
    """That one."""
    ids: Sequence[str]
    """The texts of the ids of `rows`, where they are needed."""
    named: dict[str, tuple[Indices, Indices]]
    """By column, rows, ascending, and those that they name by their ids."""
    others: pa.ChunkedArray
    """The ids from N on, as they stand in files."""
    takers: Takers | None
    """By the greedy rule, who removes rows of other clusters, where that was looked for."""

    def touching(self) -> Indices:
        """The rows that touch their groups, ascending."""
        found = [self.rows, self.matches, *(rows for pair in self.named.values() for rows in pair)]
        if self.takers is not None:
            found += [self.takers.row, self.takers.kept]
        return np.unique(np.concatenate(found))


@dataclass(frozen=True)
class CrossingFiles:
    """Where it stands in files."""

    folder: Folder
    crossing: tuple[str, ...]
    """By part, as `look` wrote them."""
    found: tuple[str, ...]
    """By bucket, what rows name (`named_rows`)."""
    takers: TakersFile | None
    id_type: Any
    """The type of the ids of all rows."""
    num_rows: int

    def read(self) -> Crossing:
        """Raises InputError where the best match of a row is no row."""
        import pyarrow as pa

        kind = stored_type(self.id_type)
        crossing, found = (read_shared(self.folder, paths, 0) for paths in (self.crossing, self.found))
        named, others = (dict.fromkeys(COLUMNS.values(), (_NOTHING, _NOTHING)), pa.chunked_array([], kind))
        if found is not None:
            named, others = self._named(found.sort_by([("column", "ascending"), ("row", "ascending")]))
        rows = _NOTHING if crossing is None else crossing["row"].to_numpy()
        takers = None if self.takers is None else self.takers.read(self.folder)
        ids = [] if crossing is None or "id" not in crossing.column_names else crossing["id"].to_pylist()
        matches = _matches(rows, *named["max_row"])
        self._require_rows(matches, others)
        return Crossing(rows, matches, ids, named, others, takers)

    def _named(self, found: pa.Table) -> tuple[dict[str, tuple[Indices, Indices]], pa.ChunkedArray]:
        import pyarrow as pa

        column, row, named = (found[name].to_numpy() for name in ("column", "row", "named"))
        ids, named = found["id"].combine_chunks(), named.copy()
        coded = ids.filter(pa.array(named < 0)).dictionary_encode()
        named[named < 0] = coded.indices.to_numpy().astype(np.int64) + self.num_rows
        columns = {name: (row[column == code], named[column == code]) for code, name in enumerate(COLUMNS.values())}
        return columns, pa.chunked_array([coded.dictionary])

    def _require_rows(self, matches: Indices, others: pa.ChunkedArray) -> None:
        lost = matches[matches >= self.num_rows]
        if len(lost):
            name = id_text(others[int(lost[0]) - self.num_rows].as_py())
            raise InputError(f"a similarity table names {name!r}, which is in no cluster: run the pairwise stage again")


_NOTHING = np.zeros(0, np.int64)


def _matches(rows: Indices, naming: Indices, named: Indices) -> Indices:
    """The rows that are best matches of some rows, which name them by their ids, or are their own."""
    if not len(naming):
        return rows
    at = np.minimum(np.searchsorted(naming, rows), len(naming) - 1)
    found: Indices = np.where(naming[at] == rows, named[at], rows)
    return found


@dataclass(frozen=True)
class TouchingTask:
    """Tell each part which of its rows touch their groups."""

    files: CrossingFiles
    by_hand: Indices
    """The rows that a person decided on; -1 for none."""
    firsts: Indices
    """(P,) the first row of each part."""
    written: str
    """The file to write, in buckets by part."""


def write_touching(task: TouchingTask) -> tuple[Indices, pa.ChunkedArray]:
    """Write these rows; returns (P,) how many each part has, and the ids from N on. Raises InputError as `CrossingFiles`."""
    import pyarrow as pa

    crossing = task.files.read()
    rows = np.union1d(crossing.touching(), task.by_hand).astype(np.int64)
    rows = rows[(rows >= 0) & (rows < task.files.num_rows)]
    part = np.searchsorted(task.firsts, rows, side="right") - 1
    write_shared(task.files.folder, task.written, pa.table({"row": rows}), part, len(task.firsts))
    return np.bincount(part, minlength=len(task.firsts)), crossing.others
