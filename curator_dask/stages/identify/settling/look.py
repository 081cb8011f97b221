"""The first look at a part, on a worker: what in it depends on rows of other clusters; and where to find rows by their ids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.ids import id_texts, one_type
from curator_dask.dedup.decide.rules import Rule
from curator_dask.files.buckets.buckets import bucket_of
from curator_dask.files.buckets.shared import write_shared
from curator_dask.files.folder import Folder
from curator_dask.stages.identify.decisions.loaded_decisions import LoadedDecisions
from curator_dask.stages.identify.decisions.table_rows import digest_halves
from curator_dask.stages.identify.settling.named_rows import COLUMNS, write_names
from curator_dask.stages.identify.settling.part import Numbers, RowsOfPart


@dataclass(frozen=True)
class LookTask:
    """Look at one part. The last ones are files to write."""

    part: RowsOfPart
    rule: Rule
    with_ids: bool
    """Whether the ids of rows with a duplicate in another cluster are needed."""
    num_buckets: int
    """Buckets by the digests of ids."""
    numbers: Numbers
    """What its clusters decided."""
    crossing: str
    """Its rows that have a duplicate in another cluster."""
    named: str
    """Its rows that name a row of another cluster by its id, in buckets by the digests of these ids."""
    ids: str
    """The ids of its rows."""


@dataclass(frozen=True)
class Look:
    """What the client has to know of one part. Rows are numbers among all rows."""

    starts: NDArray[np.int64]
    """(C + 1,) the first row of each of its clusters, and the first one behind them."""
    digests: tuple[bytes, ...]
    """(C,) one digest of the ids of each cluster."""
    id_type: Any
    num_groups: int
    names_others: bool
    """Whether some of its rows name rows of other clusters."""


def look_at_part(task: LookTask) -> Look:
    """Read the tables of a part, and write the files."""
    loaded = task.part.load(task.rule)
    task.numbers.write(loaded.decisions)
    _write_crossing(task, loaded)
    _write_ids(task, loaded)
    num_named = _write_named(task, loaded)
    rows = loaded.decisions.rows
    num_groups = len(loaded.decisions.grouped()[1])
    return Look(rows.starts + task.part.first, rows.digests, rows.id_type, num_groups, num_named > 0)


def _write_crossing(task: LookTask, loaded: LoadedDecisions) -> None:
    """Write ``row``, and where they are needed ``id``, the texts of the ids."""
    import pyarrow as pa

    columns = {"row": pa.array(loaded.crossing.astype(np.int64) + task.part.first)}
    if task.with_ids:
        ids = pa.chunked_array([loaded.decisions.rows.ids(loaded.crossing)])
        columns["id"] = id_texts(ids).cast(pa.large_string()).combine_chunks()
    write_shared(task.numbers.folder, task.crossing, pa.table(columns), np.zeros(len(loaded.crossing), np.int64), 1)


def _write_ids(task: LookTask, loaded: LoadedDecisions) -> None:
    import pyarrow as pa

    if loaded.ids:
        ids = pa.table({"id": pa.concat_arrays(one_type(loaded.ids))})
        write_shared(task.numbers.folder, task.ids, ids, np.zeros(len(ids), np.int64), 1)


def _write_named(task: LookTask, loaded: LoadedDecisions) -> int:
    """Write who names whom; returns the number of rows that do."""
    found = [
        (np.full(len(rows), code), rows + task.part.first, ids)
        for code, name in enumerate(COLUMNS)
        for rows, ids in loaded.named[name]
    ]
    return write_names(task.numbers.folder, task.named, found, loaded.decisions.rows.id_type, task.num_buckets)


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
