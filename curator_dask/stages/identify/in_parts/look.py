"""The first look at a part, on a worker: what in it depends on rows of other clusters; and where to find rows by their ids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.decisions.row_index import RowIndex
from curator_dask.data.ids import id_list
from curator_dask.dedup.decide.rules import Rule
from curator_dask.files.buckets.buckets import bucket_of
from curator_dask.files.buckets.shared import read_shared, write_shared
from curator_dask.files.folder import Folder
from curator_dask.stages.identify.decisions.join_decisions import LoadedDecisions, Named
from curator_dask.stages.identify.decisions.table_rows import Indices, digest_halves
from curator_dask.stages.identify.in_parts.part import Numbers, RowsOfPart

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class LookTask:
    """Look at one part."""

    part: RowsOfPart
    rule: Rule
    with_ids: bool
    """Whether the ids of rows with a duplicate in another cluster are needed."""
    numbers: Numbers
    """The file to write what its clusters decided to."""


@dataclass(frozen=True)
class Look:
    """What the client has to know of one part. Rows are numbers among all rows."""

    starts: NDArray[np.int64]
    """(C + 1,) the first row of each of its clusters, and the first one behind them."""
    digests: tuple[bytes, ...]
    """(C,) one digest of the ids of each cluster."""
    id_type: Any
    num_groups: int
    crossing: Indices
    """The rows that have a duplicate in another cluster."""
    crossing_ids: list[Any]
    """Their ids; none where they are not needed."""
    named: dict[str, list[Named]]
    """By column, the rows that name a row of another cluster by its id, and these ids."""


def look_at_part(task: LookTask) -> Look:
    """Read the tables of a part."""
    part, loaded = task.part, task.part.load(task.rule)
    task.numbers.write(loaded.decisions)
    rows = loaded.decisions.rows
    return Look(
        rows.starts + part.first,
        rows.digests,
        rows.id_type,
        len(loaded.decisions.grouped()[1]),
        loaded.crossing + part.first,
        id_list(rows.ids(loaded.crossing)) if task.with_ids else [],
        _named(loaded, part.first),
    )


def _named(loaded: LoadedDecisions, first: int) -> dict[str, list[Named]]:
    return {name: [(rows + first, ids) for rows, ids in some] for name, some in loaded.named.items()}


@dataclass(frozen=True)
class PlacesTask:
    """Write where the rows of one part are."""

    part: RowsOfPart
    folder: Folder
    path: str
    """Path in `folder` of the file to write: rows in buckets by the digests of their ids."""
    num_buckets: int


def write_places(task: PlacesTask) -> str:
    """Write where the rows of the part are, by the digests of their ids; returns the path."""
    import pyarrow as pa

    high, low = digest_halves(task.part.tables, task.part.stop - task.part.first)
    table = pa.table({"high": high, "low": low, "row": np.arange(task.part.first, task.part.stop)})
    return write_shared(task.folder, task.path, table, bucket_of(high, task.num_buckets), task.num_buckets)


@dataclass(frozen=True)
class FindTask:
    """Look for ids among the rows of one part."""

    folder: Folder
    path: str
    """The file that tells where its rows are."""
    num_buckets: int


def find_in_part(task: FindTask, wanted: RowIndex) -> pa.Table:
    """Those rows of a part whose ids are wanted: ``row``, among all rows, and ``place``, among the wanted ids."""
    import pyarrow as pa

    read = (read_shared(task.folder, [task.path], number) for number in range(task.num_buckets))
    found = [_found(rows, wanted) for rows in read if rows is not None]
    return pa.concat_tables([pa.schema([("row", pa.int64()), ("place", pa.int64())]).empty_table(), *found])


def _found(rows: pa.Table, wanted: RowIndex) -> pa.Table:
    import pyarrow as pa

    place = wanted.find_digests(halves_of(rows))
    there = place >= 0
    return pa.table({"row": rows["row"].to_numpy()[there], "place": place[there]})


def halves_of(rows: pa.Table) -> NDArray[np.uint64]:
    """(n, 2) the digests of rows in such a file."""
    return np.stack([rows[name].to_numpy() for name in ("high", "low")], axis=1)
