"""Write the clip index from the markers of videos: in parts of whole videos, and as one file where it is small."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from curator_dask.data.clip_index import (
    MAX_ROWS_IN_ONE_FILE,
    QUALITY_COLUMNS,
    ROWS_PER_PART,
    extent,
    schema,
    stored_name,
)
from curator_dask.data.tables import parquet_bytes
from curator_dask.files import layout
from curator_dask.runtime.state import StageState

if TYPE_CHECKING:
    import pyarrow as pa

_PART = re.compile(rf"{layout.CLIP_INDEX_PARTS}/part-\d{{6,}}\.parquet")


def write_clip_index(state: StageState, keys: Collection[str]) -> tuple[str, ...]:
    """Write the index from the markers of the units with these keys, sorted by video and span; returns its parts.

    A file that holds the same bytes already is not written again. Clips of videos that are no longer in the input keep
    their files, but they have no row in the index.
    """
    import pyarrow as pa

    kind, tables, is_old = schema(), [], True
    for batch in _batches(state, keys):
        tables.append(pa.Table.from_pylist(batch, schema=kind))
        is_old = is_old and not any(QUALITY_COLUMNS[0] in row for row in batch)
    table = pa.concat_tables([kind.empty_table(), *tables]).sort_by(
        [("relative_path", "ascending"), ("span_index", "ascending"), ("id", "ascending")]
    )
    if is_old and len(table):  # all videos were cut by an earlier version: its index stays as it is
        table = table.drop_columns(list(QUALITY_COLUMNS))
    return _publish(state, table)


def _publish(state: StageState, table: pa.Table) -> tuple[str, ...]:
    parts = _cut(table)
    paths = tuple(layout.clip_index_part(number) for number in range(len(parts)))
    for path in sorted(set(filter(_PART.fullmatch, state.published())) - set(paths)):
        state.unpublish(path)
    for path, part in reversed([*zip(paths, parts, strict=True)]):  # the first one last, as readers go by it
        named = part.replace_schema_metadata(extent(len(parts), len(table)) if path == paths[0] else None)
        state.publish(path, parquet_bytes(named))
    if len(table) <= MAX_ROWS_IN_ONE_FILE:
        state.publish(layout.CLIP_INDEX, parquet_bytes(table))
    elif layout.CLIP_INDEX in state.published():
        state.unpublish(layout.CLIP_INDEX)
    return paths


def _cut(table: pa.Table) -> Sequence[pa.Table]:
    """The rows in parts of whole videos; one empty part where there are none."""
    import pyarrow.compute as pc

    counts = pc.value_counts(table["relative_path"]).field("counts").to_pylist()
    ends, rows = [0], 0
    for count in counts:
        rows += count
        if rows - ends[-1] >= ROWS_PER_PART:
            ends.append(rows)
    if rows > ends[-1] or not rows:
        ends.append(rows)
    return [table.slice(start, stop - start) for start, stop in itertools.pairwise(ends)]


def _batches(state: StageState, keys: Collection[str], rows_per_batch: int = 20_000) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    for record in state.records():
        rows = record.data.get("clips", ()) if record.key in keys else ()
        batch.extend({**row, "relative_path": stored_name(row["relative_path"])} for row in rows)
        if len(batch) >= rows_per_batch:
            yield batch
            batch = []
    if batch:
        yield batch
