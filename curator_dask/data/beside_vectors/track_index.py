"""Which clips of a folder of vectors have tracks, in the order of their lines: by source, then by time.

The rows lie in a file on the local disk, so memory does not hold all clips.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from curator_dask.data.beside_vectors.track_files import INDEX_COLUMNS, track_table
from curator_dask.data.tables import read_parquet, unreadable
from curator_dask.errors import InputError
from curator_dask.files import layout
from curator_dask.files.buckets.sorted_rows import SortedRows
from curator_dask.files.folder import Folder

if TYPE_CHECKING:
    import pyarrow as pa

ORDER = ("source", "start_s", "id")


@dataclass(frozen=True)
class TrackIndex:
    """One row per clip that has a track."""

    folder: Folder
    """The folder of vectors."""
    rows: SortedRows
    """``id``, ``source``, ``start_s``, ``num_windows`` and ``path``, the file of the track, by `ORDER`."""
    num_windows: int
    """Windows of all clips."""

    @property
    def num_clips(self) -> int:
        return self.rows.num_rows


def read_track_index(folder: Folder, scratch: Path) -> TrackIndex:
    """The index of a folder of vectors; it can be read as long as the local folder `scratch` is there.

    Raises InputError if there are no tracks, or for a file that holds none.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    schema = track_table([]).select(INDEX_COLUMNS).schema
    rows, num_windows = SortedRows(scratch, schema.append(pa.field("path", pa.string())), ORDER), 0
    for table in _tables(folder, schema):
        rows.add(table)
        num_windows += pc.sum(table["num_windows"]).as_py() or 0
    return TrackIndex(folder, rows, num_windows)


def _tables(folder: Folder, schema: pa.Schema) -> Iterator[pa.Table]:
    import pyarrow as pa

    paths = sorted(entry.path for entry in folder.entries(layout.TRACKS) if entry.path.endswith(".parquet"))
    if not paths:
        raise InputError(f"{folder.url} holds no tracks: run the embed stage with --tracks into it first")
    for path in paths:
        table = _read_index(folder, path, schema)
        yield table.append_column("path", pa.repeat(path, len(table)))


def _read_index(folder: Folder, path: str, schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    try:
        return read_parquet(folder, path, INDEX_COLUMNS).cast(schema)
    except pa.ArrowException as error:
        raise unreadable(folder, path, f"its columns have other types ({error})") from error
