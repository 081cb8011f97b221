"""Read the tracks of a group of source videos and lay them out as lines."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.track_files import TrackRow, read_tracks
from curator_dask.dedup.align.line import Line, first_window, lay_out
from curator_dask.dedup.align.seeds import Segments, segments_of
from curator_dask.files.folder import Folder
from curator_dask.stages.align.spec import LineGroup

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

    @staticmethod
    def of(rows: list[TrackRow]) -> ClipsOnLine:
        first = np.array([first_window(row.track.start_s) for row in rows], np.int64)
        length = np.array([len(row.track.windows) for row in rows], np.int64)
        start_s = np.array([row.track.start_s for row in rows])
        return ClipsOnLine(tuple(row.id for row in rows), start_s, first, first + length)


@functools.lru_cache(maxsize=GROUPS_HELD)
def read_group(folder: Folder, group: LineGroup, min_energy: float) -> LinesOfGroup:
    """The lines of a group; the last few groups are held, as a worker meets each of them several times."""
    rows_of: dict[str, list[TrackRow]] = {source: [] for source in group.sources}
    for row in read_tracks(folder, group.paths):
        if row.source in rows_of:
            rows_of[row.source].append(row)
    ordered = [sorted(rows, key=lambda row: (row.track.start_s, row.id)) for rows in rows_of.values()]
    lines = tuple(lay_out([row.track for row in rows]) for rows in ordered)
    return LinesOfGroup(lines, tuple(ClipsOnLine.of(rows) for rows in ordered), segments_of(lines, min_energy))
