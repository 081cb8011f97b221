"""A part of the clip index, from the markers of its videos. Workers count the rows of videos and write parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from curator_dask.data.clip_index import QUALITY_COLUMNS, schema, stored_name
from curator_dask.data.tables import parquet_bytes
from curator_dask.errors import InputError
from curator_dask.files.content_hash import Written, hash_of
from curator_dask.files.folder import Folder
from curator_dask.files.layout import clip_index_part
from curator_dask.runtime.state import StageState
from curator_dask.runtime.units import Run

if TYPE_CHECKING:
    import pyarrow as pa

ORDER = ("relative_path", "span_index", "id")
"""The columns that the rows are sorted by."""
ROWS_AT_ONCE = 2_048
"""Rows that are Python objects at a time."""


@dataclass(frozen=True)
class IndexPart:
    """What a worker has to know of a part."""

    state: StageState
    run: Run
    number: int
    keys: Sequence[str]
    """Of the units whose rows it holds: all units of some videos."""
    num_rows: int
    columns: Sequence[str]
    metadata: Mapping[bytes, bytes] = field(default_factory=dict)
    """For the schema of the first part: how large the whole index is."""

    @property
    def path(self) -> str:
        return clip_index_part(self.number)


def count_rows(keys: Sequence[str], state: StageState, run: Run) -> pa.Table:
    """The units with rows: ``key``, ``relative_path`` as it is stored, ``num_rows``, and ``has_quality``, of any row."""
    import pyarrow as pa

    run.check(state)
    found = [
        (record.key, stored_name(rows[0]["relative_path"]), len(rows), any(QUALITY_COLUMNS[0] in row for row in rows))
        for record in state.records_of(keys)
        if (rows := record.data.get("clips"))
    ]
    columns = zip(*found, strict=True) if found else ([],) * 4
    kinds = {"key": pa.string(), "relative_path": pa.string(), "num_rows": pa.int64(), "has_quality": pa.bool_()}
    return pa.table({name: pa.array(values, kind) for (name, kind), values in zip(kinds.items(), columns, strict=True)})


def write_part(part: IndexPart) -> Written:
    """Write a part that is not the first. One that holds the same bytes already is left alone."""
    part.run.check(part.state)
    data, folder = parquet_bytes(part_table(part)), part.state.folder
    if not holds(folder, part.path, data):
        folder.remove(clip_index_part(0))  # it vouches for all others, so it is not there while they change
        folder.write_bytes(part.path, data)
    return Written(len(data), hash_of(data))


def part_table(part: IndexPart) -> pa.Table:
    """The rows of a part in order. Raises InputError if markers have changed since they were counted."""
    import pyarrow as pa

    kind = schema()
    batches = _batches(rows for record in part.state.records_of(part.keys) if (rows := record.data.get("clips")))
    table = pa.concat_tables([kind.empty_table(), *(_table(rows, kind) for rows in batches)]).select(part.columns)
    if len(table) != part.num_rows:
        raise InputError(
            f"the records of {part.state.folder.url} changed while the clip index was written ({len(table):,} rows in place "
            f"of {part.num_rows:,}): run again"
        )
    table = table.sort_by([(name, "ascending") for name in ORDER])
    return table.replace_schema_metadata(dict(part.metadata) or None)


def _batches(videos: Iterable[list[dict[str, Any]]]) -> Iterable[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    for rows in videos:
        batch += rows
        if len(batch) >= ROWS_AT_ONCE:
            yield batch
            batch = []
    yield batch


def _table(rows: Sequence[Mapping[str, Any]], kind: pa.Schema) -> pa.Table:
    import pyarrow as pa

    columns: dict[str, list[Any]] = {name: [row.get(name) for row in rows] for name in kind.names}
    columns["relative_path"] = [stored_name(name) for name in columns["relative_path"]]
    return pa.table(columns, schema=kind)


def holds(folder: Folder, path: str, data: bytes) -> bool:
    """Whether the file is there with these bytes."""
    return folder.size(path) == len(data) and folder.read_bytes(path) == data
