"""The export without tars: one Parquet row per clip; the media files are copied, or stay where they are."""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Iterable
from itertools import pairwise
from typing import TYPE_CHECKING

from curator_dask.errors import InputError
from curator_dask.export.samples import METADATA, QUALITY_SCHEMA, ClipRecord, clip_json, plain_text

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
    records: Iterable[ClipRecord],
    path_of: Callable[[ClipRecord], str],
    removed: Container[str] = frozenset(),
    preview_of: Callable[[ClipRecord], str] | None = None,
    carried: pa.Schema | None = None,
) -> pa.Table:
    """One row per clip, sorted by id; ``kept`` is False for the ids in ``removed``.

    For an index of kept clips only, pass only their records. Quality columns follow if they are known, and with
    `preview_of` a last column ``preview``. `carried` are columns of a user's table: they come last, as ``metadata.NAME``, and
    so does ``caption``; these may hold nulls.
    Raises InputError if there are no clips, or if an id occurs twice.
    """
    import pyarrow as pa

    clips = sorted(records, key=lambda clip: clip.id)
    if not clips:
        raise InputError("there are no clips for the index: nothing was kept, or nothing was split before")
    for clip, following in pairwise(clips):
        if clip.id == following.id:
            raise InputError(f"clip {clip.id} occurs twice among the clips for the index; ids must be unique")
    rows = [clip_json(clip) for clip in clips]
    columns = {column: [row[field] for row in rows] for column, field in _COLUMNS.items()}
    columns["path"] = [plain_text(path_of(clip)) for clip in clips]
    columns["kept"] = [clip.id not in removed for clip in clips]
    schema = index_schema()
    if all(clip.quality is not None for clip in clips):
        columns |= {name: [row[name] for row in rows] for name in QUALITY_SCHEMA}
        schema = pa.schema([*schema, *(pa.field(name, pa.float64(), nullable=False) for name in QUALITY_SCHEMA)])
    if preview_of is not None:
        columns["preview"] = [plain_text(preview_of(clip)) for clip in clips]
        schema = schema.append(pa.field("preview", pa.string(), nullable=False))
    table = pa.table({name: columns[name] for name in schema.names}, schema=schema)
    return _with_carried(table, clips, carried) if carried is not None else table


def _with_carried(table: pa.Table, clips: Iterable[ClipRecord], carried: pa.Schema) -> pa.Table:
    import pyarrow as pa

    known = [clip.metadata for clip in clips if clip.metadata is not None]
    rows = pa.Table.from_pylist([json.loads(one.fields) for one in known], schema=carried)
    for field in carried:
        table = table.append_column(f"{METADATA}.{field.name}", rows[field.name])
    if any(one.caption is not None for one in known):
        table = table.append_column("caption", pa.array([one.caption for one in known], pa.string()))
    return table
