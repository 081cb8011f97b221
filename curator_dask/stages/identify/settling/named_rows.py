"""Rows that are named by their ids, by rows of other clusters or by a person: found in buckets, on workers.

::

    rows, a task per part            →  id digests, row                 ┐ one bucket
    those that name, a task per part →  id digests, id, column, row     ┘ → column, row, named
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.decisions.row_index import RowIndex, id_digests
from curator_dask.data.ids import id_texts, one_type, stored
from curator_dask.files.buckets.buckets import bucket_of
from curator_dask.files.buckets.shared import read_shared, shared_batches, write_shared
from curator_dask.files.folder import Folder
from curator_dask.report.review.overrides import Override
from curator_dask.stages.identify.decisions.by_hand import ids_by_hand
from curator_dask.stages.identify.decisions.loaded_decisions import stored_type
from curator_dask.stages.identify.decisions.table_rows import Indices
from curator_dask.stages.workplace import Workplace

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = {"max_id": "max_row", "kept_id": "kept_row"}
"""The columns that name rows by their ids, and those that do so by their numbers. In files, their places here stand for them."""
BY_HAND: Final = len(COLUMNS)
"""Stands in a file for the ids that a person decided on."""


def halves_of(rows: pa.Table) -> NDArray[np.uint64]:
    """(n, 2) the digests of rows in a file that tells where they are, or what they name."""
    return np.stack([rows[name].to_numpy() for name in ("high", "low")], axis=1)


def write_names(
    folder: Folder, path: str, names: Sequence[tuple[Indices, Indices, Any]], id_type: Any, num_buckets: int
) -> int:
    """Write who names whom, in buckets by the digests of ids; returns the number of rows.

    Args:
        names: columns as in `COLUMNS`, rows, and the ids that they name.
    """
    import pyarrow as pa

    ids = pa.concat_arrays(
        [pa.array([], id_type), *(one.cast(id_type) for one in one_type([ids for *_, ids in names]))]
    )
    nothing = np.zeros(0, np.int64)
    column, row = (np.concatenate([nothing, *(one[at] for one in names)]) for at in range(2))
    texts = id_texts(pa.chunked_array([ids]))
    _write(folder, path, {"column": column, "row": row, "id": stored(ids)}, texts, num_buckets)
    return len(row)


def _write(folder: Folder, path: str, columns: dict[str, Any], texts: pa.ChunkedArray, num_buckets: int) -> None:
    import pyarrow as pa

    high, low = id_digests(texts).T
    write_shared(
        folder, path, pa.table({"high": high, "low": low, **columns}), bucket_of(high, num_buckets), num_buckets
    )


@dataclass(frozen=True)
class Names:
    """The files that tell where rows are, and who names whom; both in buckets by the digests of ids."""

    folder: Folder
    places: tuple[str, ...]
    """By part, in order."""
    named: tuple[str, ...]
    id_type: Any
    """The type of the ids of all rows."""


@dataclass(frozen=True)
class FindTask:
    """Find the named rows of one bucket."""

    number: int
    written: str
    """The file to write."""


def find_names(task: FindTask, names: Names) -> tuple[Indices, Indices]:
    """Write ``column``, ``row``, ``named``, a row or -1, and ``id``, where there is no such row.

    Returns the places of ids that a person decided on, and their rows.
    """
    import pyarrow as pa

    batches = [one for one in shared_batches(names.folder, names.named, task.number) if one.num_rows]
    nothing, kind = np.zeros(0, np.int64), stored_type(names.id_type)
    column, row = (np.concatenate([nothing, *(one[name].to_numpy() for one in batches)]) for name in ("column", "row"))
    named, by_hand = _rows_named(names, task.number, batches), column == BY_HAND
    ids = pa.chunked_array([one["id"].cast(kind) for one in batches], kind).combine_chunks()
    ids = ids.take(pa.array(np.arange(len(ids)), mask=named >= 0))
    table = pa.table({"column": column, "row": row, "named": named, "id": ids}).filter(pa.array(~by_hand))
    write_shared(names.folder, task.written, table, np.zeros(len(table), np.int64), 1)
    return row[by_hand], named[by_hand]


def _rows_named(names: Names, number: int, batches: Sequence[pa.RecordBatch]) -> Indices:
    """The row that each line names, the first one if there are several; -1 for none."""
    wanted = np.concatenate([np.zeros((0, 2), np.uint64), *(halves_of(one) for one in batches)])
    places = read_shared(names.folder, names.places, number)
    if places is None or not len(wanted):
        return np.full(len(wanted), -1)
    found = RowIndex.of(list(halves_of(places).T)).find_digests(wanted)
    return np.where(found >= 0, places["row"].to_numpy()[found], -1)


def find_in_buckets(
    place: Workplace, names: Names, num_buckets: int, overrides: Mapping[str, Override]
) -> tuple[tuple[str, ...], Indices]:
    """Find what all rows name, and what a person decided on.

    Returns the files with what is found, by bucket, and the rows of `ids_by_hand`; -1 for an id that no row has.
    """
    if overrides:
        path = _write_names_by_hand(names.folder, place.path("by-hand", 0), overrides, num_buckets)
        names = replace(names, named=(*names.named, path))
    tasks = [FindTask(number, place.path("found-names", number)) for number in range(num_buckets)]
    by_hand = np.full(len(overrides), -1)
    for at, rows in place.each(find_names, tasks, names):
        by_hand[at] = rows
    return tuple(task.written for task in tasks), by_hand


def _write_names_by_hand(folder: Folder, path: str, overrides: Mapping[str, Override], num_buckets: int) -> str:
    """Write the ids that a person decided on as others name rows: their places in `ids_by_hand` stand for rows."""
    import pyarrow as pa

    texts = ids_by_hand(overrides)
    columns = {"column": np.full(len(texts), BY_HAND), "row": np.arange(len(texts)), "id": pa.nulls(len(texts))}
    _write(folder, path, columns, texts, num_buckets)
    return path
