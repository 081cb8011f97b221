"""The clip index ``clips.parquet``: one row per planned clip. Failed clips have their reason."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from curator_dask.data.tables import parquet_bytes, read_parquet
from curator_dask.dedup.quality.measure import COLUMNS
from curator_dask.errors import InputError
from curator_dask.files import layout
from curator_dask.files.folder import Folder
from curator_dask.runtime.state import StageState

if TYPE_CHECKING:
    import pyarrow as pa


_ESCAPE = re.compile(r"\\(\\|udc[0-9a-f]{2})")


def schema() -> pa.Schema:
    """The columns, in order."""
    import pyarrow as pa

    return pa.schema(
        [
            ("id", pa.string()),
            ("source_video", pa.string()),
            ("relative_path", pa.string()),
            ("span_index", pa.int64()),
            ("start_s", pa.float64()),
            ("end_s", pa.float64()),
            ("first_frame_s", pa.float64()),
            ("num_frames", pa.int64()),
            ("num_frames_held", pa.int64()),
            ("max_hold_s", pa.float64()),
            ("width", pa.int64()),
            ("height", pa.int64()),
            ("framerate", pa.float64()),
            ("width_source", pa.int64()),
            ("height_source", pa.int64()),
            ("framerate_source", pa.float64()),
            ("video_codec", pa.string()),
            ("encoder", pa.string()),
            ("num_bytes", pa.int64()),
            ("clip_path", pa.string()),
            ("valid", pa.bool_()),
            ("reason", pa.string()),
            ("message", pa.string()),
            *((name, pa.float64()) for name in COLUMNS),
        ]
    )


def write_clip_index(state: StageState, keys: Collection[str]) -> None:
    """Write the index from the markers of the units with these keys, sorted by video and span.

    A file that holds the same bytes already is not written again. Clips of videos that are no longer in the input keep
    their files, but they have no row in the index.
    """
    import pyarrow as pa

    kind, tables, is_old = schema(), [], True
    for batch in _batches(state, keys):
        tables.append(pa.Table.from_pylist(batch, schema=kind))
        is_old = is_old and not any(COLUMNS[0] in row for row in batch)
    table = pa.concat_tables([kind.empty_table(), *tables]).sort_by(
        [("relative_path", "ascending"), ("span_index", "ascending"), ("id", "ascending")]
    )
    if is_old and len(table):  # all videos were cut by an earlier version: its index stays as it is
        table = table.drop_columns(list(COLUMNS))
    state.publish(layout.CLIP_INDEX, parquet_bytes(table))


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


def stored_name(name: str) -> str:
    """A file name as text for Parquet, which must be UTF-8: each other byte becomes ``\\udcXX``, each backslash two."""
    return name.replace("\\", "\\\\").encode("utf-8", "backslashreplace").decode("utf-8")


def real_name(stored: str) -> str:
    """The file name that `stored_name` turned into this text."""
    return _ESCAPE.sub(lambda found: "\\" if found[1] == "\\" else chr(int(found[1][1:], 16)), stored)


def read_clip_index(folder: Folder) -> pa.Table:
    """Read the index from the output folder of the split stage. Raises InputError if the folder has none."""
    if not folder.exists(layout.CLIP_INDEX):
        raise InputError(f"{folder.url} holds no {layout.CLIP_INDEX}: run the split stage into it first")
    return read_parquet(folder, layout.CLIP_INDEX)
