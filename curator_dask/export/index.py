"""The export without tars: one Parquet row per clip; the media files are copied, or stay where they are."""

from __future__ import annotations

import json
from collections.abc import Callable, Container
from typing import TYPE_CHECKING, Any

from curator_dask.export.samples import METADATA, QUALITY_SCHEMA, plain_text

if TYPE_CHECKING:
    import pyarrow as pa

# Maps a column of the index to a field of the clip's record; "path" and "kept" are added.
_COLUMNS = {
    "id": "id",
    "source": "source_video",
    "start_s": "start_s",
    "end_s": "end_s",
    "num_bytes": "num_bytes",
    "codec": "video_codec",
    "framerate": "framerate",
    "width": "width",
    "height": "height",
    "num_frames": "num_frames",
    "cosine_sim_score": "cosine_sim_score",
    "max_id": "max_id",
}


def index_schema() -> pa.Schema:
    """The columns of the index; no column has nulls."""
    import pyarrow as pa

    types = {
        "id": pa.string(),
        "path": pa.string(),
        "source": pa.string(),
        "start_s": pa.float64(),
        "end_s": pa.float64(),
        "num_bytes": pa.int64(),
        "codec": pa.string(),
        "framerate": pa.float64(),
        "width": pa.int32(),
        "height": pa.int32(),
        "num_frames": pa.int64(),
        "cosine_sim_score": pa.float64(),
        "max_id": pa.string(),
        "kept": pa.bool_(),
    }
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in types.items()])


def index_table(
    clips: pa.Table,
    path_of: Callable[[str], str],
    removed: Container[str] = frozenset(),
    preview_of: Callable[[str], str] | None = None,
    carried: pa.Schema | None = None,
) -> pa.Table:
    """One row per clip of a table of records, in its order, with the paths that belong to the ids.

    ``kept`` is False for the ids in ``removed``; for an index of kept clips only, pass only their records. Quality columns
    follow if they are known, and with `preview_of` a last column ``preview``. `carried` are columns of a user's table: they
    come last, as ``metadata.NAME``, and so does ``caption``; these may hold nulls.
    """
    import pyarrow as pa

    ids = clips["id"].to_pylist()
    columns: dict[str, Any] = {column: clips[field] for column, field in _COLUMNS.items()}
    columns["path"] = [plain_text(path_of(clip)) for clip in ids]
    columns["kept"] = [clip not in removed for clip in ids]
    schema = index_schema()
    for name in QUALITY_SCHEMA if set(QUALITY_SCHEMA) <= set(clips.column_names) else ():
        columns[name], schema = clips[name], schema.append(pa.field(name, pa.float64(), nullable=False))
    if preview_of is not None:
        columns["preview"] = [plain_text(preview_of(clip)) for clip in ids]
        schema = schema.append(pa.field("preview", pa.string(), nullable=False))
    arrays = [_as(columns[field.name], field.type) for field in schema]
    table = pa.table(arrays, schema=schema)
    return _with_carried(table, clips, carried) if carried is not None else table


def _as(values: Any, kind: pa.DataType) -> Any:
    import pyarrow as pa

    return values.cast(kind) if isinstance(values, pa.ChunkedArray) else pa.array(values, kind)


def _with_carried(table: pa.Table, clips: pa.Table, carried: pa.Schema) -> pa.Table:
    import pyarrow as pa

    rows = pa.Table.from_pylist([json.loads(fields) for fields in clips[METADATA].to_pylist()], schema=carried)
    for field in carried:
        table = table.append_column(f"{METADATA}.{field.name}", rows[field.name])
    if clips["caption"].null_count < len(clips):
        table = table.append_column("caption", clips["caption"].cast(pa.string()))
    return table
