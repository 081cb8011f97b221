"""The first look at a part, on a worker: what in it depends on rows of other clusters, and where to find rows by their ids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.decisions.row_index import RowIndex
from curator_dask.data.ids import id_list
from curator_dask.dedup.decide.rules import Rule
from curator_dask.files.buckets.buckets import bucket_of
from curator_dask.files.buckets.shared import write_shared
from curator_dask.files.folder import Folder
from curator_dask.stages.identify.decisions.decision_table import DIGESTS
from curator_dask.stages.identify.decisions.join_decisions import LoadedDecisions, Named
from curator_dask.stages.identify.decisions.table_rows import Indices
from curator_dask.stages.identify.in_parts.part import RowsOfPart

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class LookTask:
    """Look at one part."""

    part: RowsOfPart
    rule: Rule
    with_ids: bool
    """Whether the ids of rows with a duplicate in another cluster are needed."""
    folder: Folder
    rows_path: str
    """Path in `folder` of the file that tells where its rows are, in buckets by their digests."""
    num_buckets: int
    """Of that file; 0: it is not needed."""


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
    if task.num_buckets:
        _write_places(task)
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


def _write_places(task: LookTask) -> None:
    """Write where the rows of the part are, by the digests of their ids."""
    import pyarrow as pa

    high, low = digests_of_part(task.part)
    row = np.arange(task.part.first, task.part.stop)
    table = pa.table({"high": high, "low": low, "row": row})
    write_shared(task.folder, task.rows_path, table, bucket_of(high, task.num_buckets), task.num_buckets)


def digests_of_part(part: RowsOfPart) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """(n,) each, the halves of the digests of the ids of the part's rows."""
    read = list(part.tables.read(range(len(part.tables.numbers)), DIGESTS))
    high, low = (
        np.concatenate([np.zeros(0, np.uint64), *(table[name].to_numpy() for table in read)]) for name in DIGESTS
    )
    return high, low


def find_in_part(part: RowsOfPart, wanted: RowIndex) -> pa.Table:
    """Those rows of a part whose ids are wanted: ``row``, among all rows, and ``place``, among the wanted ids."""
    import pyarrow as pa

    place = wanted.find_digests(np.stack(digests_of_part(part), axis=1))
    here = np.flatnonzero(place >= 0)
    return pa.table({"row": here + part.first, "place": place[here]})
