"""Read the tracks of a group of source videos and lay them out as lines.

Where there are many groups, their lines are written once, one record batch per line, so that any worker can fetch a few.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.beside_vectors.track_files import TrackRow, read_tracks
from curator_dask.dedup.align.line import Line, first_window, lay_out
from curator_dask.dedup.align.mirror import mirrored
from curator_dask.dedup.align.seeds import Segments, segments_of
from curator_dask.files.folder import Folder
from curator_dask.stages.align.batch_files import read_batches, write_batches
from curator_dask.stages.align.spec import LineGroup

if TYPE_CHECKING:
    import pyarrow as pa

GROUPS_HELD = 4


@dataclass(frozen=True)
class LinesOfGroup:
    """The lines of a group, and the clips on each."""

    lines: tuple[Line, ...]
    clips: tuple[ClipsOnLine, ...]
    segments: Segments


@dataclass(frozen=True)
class ClipsOnLine:
    """The clips of one source in the order of their starts."""

    ids: tuple[str, ...]
    start_s: NDArray[np.float64]
    first: NDArray[np.int64]
    """The window of the source in which each begins."""
    stop: NDArray[np.int64]
    """The window after its last."""
    reference: int = 0
    """0 for new clips; else the number of their reference, from 1. Clips of different sets may have the same ids."""
    mirrored: bool = False
    """Whether the line shows them mirrored."""

    @staticmethod
    def of(rows: list[TrackRow], group: LineGroup) -> ClipsOnLine:
        first = np.array([first_window(row.track.start_s) for row in rows], np.int64)
        length = np.array([len(row.track.windows) for row in rows], np.int64)
        start_s = np.array([row.track.start_s for row in rows])
        ids, is_mirrored = tuple(row.id for row in rows), group.mirror_of is not None
        return ClipsOnLine(ids, start_s, first, first + length, group.reference, is_mirrored)


@functools.lru_cache(maxsize=GROUPS_HELD)
def read_group(group: LineGroup, min_energy: float) -> LinesOfGroup:
    """The lines of a group; the last few groups are held, as a worker meets each of them several times."""
    rows_of: dict[str, list[TrackRow]] = {source: [] for source in group.sources}
    for row in read_tracks(group.tracks, group.paths):
        if row.source in rows_of:
            rows_of[row.source].append(row)
    ordered = [sorted(rows, key=lambda row: (row.track.start_s, row.id)) for rows in rows_of.values()]
    shown = [[row.track if group.mirror_of is None else mirrored(row.track) for row in rows] for rows in ordered]
    lines = tuple(map(lay_out, shown))
    clips = tuple(ClipsOnLine.of(rows, group) for rows in ordered)
    return LinesOfGroup(lines, clips, segments_of(lines, min_energy))


def _schema() -> pa.Schema:
    import pyarrow as pa

    return pa.schema(
        [
            ("windows", pa.binary()),
            ("usable", pa.binary()),
            ("ids", pa.list_(pa.string())),
            ("start_s", pa.list_(pa.float64())),
            ("first", pa.list_(pa.int64())),
            ("stop", pa.list_(pa.int64())),
            ("reference", pa.int64()),
            ("mirrored", pa.bool_()),
        ]
    )


def write_lines(folder: Folder, path: str, group: LinesOfGroup) -> int:
    """Write the lines of a group and their clips, without still stretches; returns the number of bytes."""
    pairs = zip(group.lines, group.clips, strict=True)
    return write_batches(folder, path, _schema(), (_batch(line, clips) for line, clips in pairs))


def _batch(line: Line, clips: ClipsOnLine) -> pa.RecordBatch:
    import pyarrow as pa

    row = {
        "windows": line.windows.tobytes(),
        "usable": line.usable.tobytes(),
        "ids": list(clips.ids),
        "start_s": clips.start_s.tolist(),
        "first": clips.first.tolist(),
        "stop": clips.stop.tolist(),
        "reference": clips.reference,
        "mirrored": clips.mirrored,
    }
    return pa.RecordBatch.from_pylist([row], schema=_schema())


def read_lines(folder: Folder, path: str, numbers: Sequence[int]) -> Iterator[tuple[Line, ClipsOnLine]]:
    """Some lines of a group, in the order of the numbers."""
    for batch in read_batches(folder, path, numbers):
        (row,) = batch.to_pylist()
        usable = np.frombuffer(row["usable"], np.bool_)
        windows = np.frombuffer(row["windows"], np.int16).reshape(len(usable), -1)
        line = Line(windows, usable, np.full(len(usable), -1, np.int32), np.zeros((0, 0), np.uint8))
        first, stop = (np.array(row[name], np.int64) for name in ("first", "stop"))
        ids, start_s = tuple(row["ids"]), np.array(row["start_s"])
        yield line, ClipsOnLine(ids, start_s, first, stop, row["reference"], row["mirrored"])
