"""Bring the rows of sources with overlaps to the groups that these are decided in, on workers, a part at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from curator_dask.files.buckets.shared import read_shared, write_shared
from curator_dask.stages.identify.overlap.read_overlaps import texts_of
from curator_dask.stages.identify.source_groups.connect import Labels
from curator_dask.stages.identify.source_groups.rows import LinesOfPart

if TYPE_CHECKING:
    import pyarrow as pa

UNKNOWN_LINE = 1 << 50
"""The first line of a source that align does not know is taken to be this one, and those that follow."""


@dataclass(frozen=True)
class SendRowsTask:
    """Bring the rows of one part to their groups."""

    part: LinesOfPart
    written: str


def send_rows_to_groups(task: SendRowsTask, labels: Labels, spans: tuple[str, ...], ranks: Any) -> str:
    """Write the rows of sources with overlaps in buckets by group; returns the path.

    Args:
        spans: the files with the spans of rows, in buckets by part.
        ranks: the schema of the columns that rank, of all parts.
    """
    rows = rows_with_spans(task.part, read_shared(labels.folder, spans, task.part.number), ranks)
    group = labels.groups_of(rows["node"].to_numpy())
    some = rows.filter(group >= 0)
    return write_shared(labels.folder, task.written, some, group[group >= 0], labels.num_groups)


def rows_with_spans(part: LinesOfPart, spans: pa.Table | None, ranks: Any) -> pa.Table:
    """The rows of a part: ``row``, ``line``, ``text`` of the id, the columns that rank, source, start, length and node.

    Args:
        spans: the spans of these rows; None where there are no rows.
        ranks: the schema of the columns that rank.
    """
    return _with_spans(_rows(part, ranks), spans, part.first)


def _rows(part: LinesOfPart, ranks: Any) -> pa.Table:
    """``row``, ``line``, ``text`` of the id, and the columns that rank, of the rows of a part."""
    import pyarrow as pa

    tables = part.read(["id", *ranks.names])
    stays = np.concatenate([np.zeros(0, np.bool_), *map(part.stays, tables)])
    texts = [chunk for table in tables for chunk in texts_of(table["id"]).chunks]
    columns = {"text": pa.chunked_array(texts, pa.large_string())} | {
        one.name: pa.chunked_array(
            [chunk for table in tables for chunk in table[one.name].cast(one.type).chunks], one.type
        )
        for one in ranks
    }
    lines = pa.table({"line": np.arange(len(stays)) + part.first_line, **columns})
    found = lines.filter(stays)
    return found.add_column(0, "row", pa.array(np.arange(part.first, part.first + len(found))))


def _with_spans(rows: pa.Table, spans: pa.Table | None, first: int) -> pa.Table:
    """With source, start, length and node. An id that align does not know is a source of its own."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if spans is None:  # a part without rows
        return _appended(rows.slice(0, 0), {"node": np.zeros(0, np.uint64)})
    at = np.empty(len(rows), np.int64)
    at[spans["row"].to_numpy() - first] = np.arange(len(spans))
    found = {name: spans[name].take(pa.array(at)) for name in ("source", "start", "length", "node")}
    unknown = found["source"].is_null()
    return _appended(rows, {**found, "unknown": unknown, "source": pc.coalesce(found["source"], rows["text"])})


def _appended(rows: pa.Table, columns: dict[str, Any]) -> pa.Table:
    import pyarrow as pa

    for name, column in columns.items():
        rows = rows.append_column(name, column if isinstance(column, pa.ChunkedArray) else pa.array(column))
    return rows
