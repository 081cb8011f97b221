"""The clip index: one row per planned clip, by video and span. Failed clips have their reason.

It lies in ``clip_index/part-000000.parquet``, ``part-000001.parquet`` and so on, each with whole videos. The first one is
written last, and its schema metadata says how many parts and rows there are: without it, there are no parts. Up to
`layout.SINGLE_FILE_ROWS` rows ``clips.parquet`` has the same rows in one file. Earlier versions wrote that file alone.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from curator_dask.data.tables import (
    ROW_GROUP_ROWS,
    open_parquet,
    read_row_groups,
    row_group_tables,
    unreadable,
    without_views,
)
from curator_dask.dedup.quality.measure import COLUMNS
from curator_dask.errors import InputError
from curator_dask.files import layout
from curator_dask.files.folder import Folder

if TYPE_CHECKING:
    import pyarrow as pa


ROWS = ROW_GROUP_ROWS
"""Rows that are in memory at a time while the index is read."""
ROWS_PER_PART = 65_536
"""A part ends with the video that brings it to this many rows."""
QUALITY_COLUMNS = COLUMNS
"""The last columns. An index of clips that an earlier version cut does not have them."""

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
            *((name, pa.float64()) for name in QUALITY_COLUMNS),
        ]
    )


def stored_name(name: str) -> str:
    """A file name as text for Parquet, which must be UTF-8: each other byte becomes ``\\udcXX``, each backslash two."""
    return name.replace("\\", "\\\\").encode("utf-8", "backslashreplace").decode("utf-8")


def real_name(stored: str) -> str:
    """The file name that `stored_name` turned into this text."""
    return _ESCAPE.sub(lambda found: "\\" if found[1] == "\\" else chr(int(found[1][1:], 16)), stored)


def has_clip_index(folder: Folder) -> bool:
    """Whether this is the output of a split stage that came to its end: it has an index, in parts or as one file."""
    return folder.exists(layout.clip_index_part(0)) or folder.exists(layout.CLIP_INDEX)


def clip_index_files(folder: Folder) -> list[str]:
    """The files of the index, in the order of their rows: its parts, else ``clips.parquet``.

    Raises InputError if the folder has none, or if the first part is damaged.
    """
    return _files(folder)[0]


def _files(folder: Folder) -> tuple[list[str], int | None]:
    """The files of the index, and the number of their rows where it is noted."""
    first = layout.clip_index_part(0)
    if folder.exists(first):
        num_parts, num_rows = _extent(folder, first)
        return [layout.clip_index_part(number) for number in range(num_parts)], num_rows
    if not folder.exists(layout.CLIP_INDEX):
        raise InputError(f"{folder.url} holds no {layout.CLIP_INDEX}: run the split stage into it first")
    return [layout.CLIP_INDEX], None


def extent(num_parts: int, num_rows: int) -> dict[bytes, bytes]:
    """What the schema metadata of the first part says of the whole index."""
    return {b"num_parts": b"%d" % num_parts, b"num_rows": b"%d" % num_rows}


def _extent(folder: Folder, first: str) -> tuple[int, int]:
    with open_parquet(folder, first) as file:
        found = file.schema_arrow.metadata or {}
    numbers = [int(text) for name in extent(0, 0) if (text := found.get(name, b"")).isdigit()]
    if len(numbers) != len(extent(0, 0)) or not numbers[0]:
        raise unreadable(folder, first, "it does not say how many parts and rows the index has")
    return numbers[0], numbers[1]


def clip_index_schema(folder: Folder) -> pa.Schema:
    """The columns of an index; one that an earlier version wrote may lack some. Raises InputError if there is none."""
    with open_parquet(folder, clip_index_files(folder)[0]) as file:
        return without_views(file.schema_arrow.empty_table()).schema.remove_metadata()


def clip_index_batches(folder: Folder, columns: Sequence[str] | None = None, rows: int = ROWS) -> Iterator[pa.Table]:
    """The rows of the index in order, in tables of at most `rows` rows. A row group is in memory at a time.

    Raises InputError if the folder has no index, a file of it is missing or damaged, or a column is not there.

    Args:
        folder: the output folder of the split stage.
        columns: those to read, in this order; None: all.
        rows: the most rows of a table; no more than `ROWS` come at a time in any case.
    """
    for _, _, table in _row_groups(folder, columns):
        yield from (table.slice(at, rows) for at in range(0, len(table), rows))


def _row_groups(folder: Folder, columns: Sequence[str] | None) -> Iterator[tuple[str, int, pa.Table]]:
    """Each row group, with its file and its number there."""
    paths, found = clip_index_files(folder), 0
    for path in paths:
        if not folder.exists(path):
            raise InputError(f"{folder.join(path)} is missing: run the split stage into {folder.url} again")
        for number, table in enumerate(row_group_tables(folder, path, columns)):
            found += len(table)
            yield path, number, table.replace_schema_metadata(None)
    check_clip_index_rows(folder, found)


def check_clip_index_rows(folder: Folder, found: int) -> None:
    """Raise InputError unless the index has as many rows as were found, where it notes their number."""
    paths, num_rows = _files(folder)
    if num_rows is not None and found != num_rows:
        raise unreadable(folder, paths[0], f"the index has {found:,} rows in place of {num_rows:,}")


@dataclass(frozen=True, slots=True)
class VideoRows:
    """Where the rows of one video lie in the index: enough to read them again without the others."""

    path: str
    group: int
    """The row group that they begin in."""
    start: int
    """The first row, in that group."""
    num_rows: int


def clip_index_videos(folder: Folder, columns: Sequence[str]) -> Iterator[tuple[VideoRows, list[dict[str, Any]]]]:
    """The videos of the index in order, each with its rows; `columns` has ``relative_path``. Raises as `clip_index_batches`."""
    name, where = None, VideoRows("", 0, 0, 0)
    rows: list[dict[str, Any]] = []
    for path, group, table in _row_groups(folder, columns):
        for at, row in enumerate(_python_rows(table)):
            if row["relative_path"] != name:
                if rows:
                    yield replace(where, num_rows=len(rows)), rows
                name, where, rows = row["relative_path"], VideoRows(path, group, at, 0), []
            rows.append(row)
    if rows:
        yield replace(where, num_rows=len(rows)), rows


def _python_rows(table: pa.Table, at_once: int = 4_096) -> Iterator[dict[str, Any]]:
    for at in range(0, len(table), at_once):
        yield from table.slice(at, at_once).to_pylist()


def rows_of_video(folder: Folder, where: VideoRows, columns: tuple[str, ...]) -> list[dict[str, Any]]:
    """Read the rows of one video; fewer where the index has fewer by now.

    The row group stays in memory, as the next video is likely to lie in it too: see `forget_read_rows`.
    """
    rows: list[dict[str, Any]] = []
    first, group = where.start, where.group
    while len(rows) < where.num_rows and (table := _row_group(folder, where.path, group, columns)) is not None:
        rows += table.slice(first, where.num_rows - len(rows)).to_pylist()
        first, group = 0, group + 1
    return rows


@functools.lru_cache(maxsize=2)
def _row_group(folder: Folder, path: str, number: int, columns: tuple[str, ...]) -> pa.Table | None:
    with open_parquet(folder, path) as file:
        if number >= file.num_row_groups:
            return None
    return read_row_groups(folder, path, [number], columns)


def forget_read_rows() -> None:
    """Drop the row groups that `rows_of_video` keeps: their files may have changed."""
    _row_group.cache_clear()
