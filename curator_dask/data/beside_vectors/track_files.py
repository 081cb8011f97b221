"""The files of tracks that lie beside the files of vectors: what each clip shows every half second.

Neighbouring windows are alike, so the file holds the first window of a clip as it is, then the change from each window
to the next. The changes 0, -1, 1, -2 … are written as 0, 1, 2, 3 …, all low bytes before all high bytes: the high bytes
are then nearly all zeros, and so are the low ones where a picture stands still. Zeros take no room once compressed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.tables import read_parquet, unreadable, write_parquet
from curator_dask.dedup.align.line import ClipTrack
from curator_dask.files.folder import Folder

if TYPE_CHECKING:
    import pyarrow as pa

INDEX_COLUMNS = ("id", "source", "start_s", "num_windows")
COLUMNS = (*INDEX_COLUMNS, "windows", "usable", "stills", "pictures")


@dataclass(frozen=True)
class TrackRow:
    """The track of one clip, with the names of the clip and of its source."""

    id: str
    source: str
    """The source video as the clip index stores it; a ready clip is its own source."""
    track: ClipTrack


def track_table(rows: Sequence[TrackRow]) -> pa.Table:
    """One row per clip.

    ``windows`` holds (W, D) int16 as :func:`packed` writes them; ``usable`` holds W bits, the first in the highest place;
    ``stills`` holds pairs of windows; ``pictures`` holds (S, P) uint8.
    """
    import pyarrow as pa

    tracks = [row.track for row in rows]
    return pa.table(
        {
            "id": pa.array([row.id for row in rows], pa.string()),
            "source": pa.array([row.source for row in rows], pa.string()),
            "start_s": pa.array([track.start_s for track in tracks], pa.float64()),
            "num_windows": pa.array([len(track.windows) for track in tracks], pa.int32()),
            "windows": pa.array([packed(track.windows) for track in tracks], pa.binary()),
            "usable": pa.array([np.packbits(track.usable).tobytes() for track in tracks], pa.binary()),
            "stills": pa.array([track.stills.ravel().tolist() for track in tracks], pa.list_(pa.int32())),
            "pictures": pa.array([track.pictures.tobytes() for track in tracks], pa.binary()),
        }
    )


def write_tracks(folder: Folder, path: str, rows: Sequence[TrackRow]) -> int:
    """Write the tracks of one unit; returns the number of bytes."""
    return write_parquet(folder, path, track_table(rows), lean=True)


def read_tracks(folder: Folder, paths: Iterable[str]) -> Iterator[TrackRow]:
    """The tracks of all files, file by file. Raises InputError for a file that holds none, or damaged ones."""
    for path in paths:
        yield from rows_of_table(folder, path, read_parquet(folder, path, COLUMNS))


def rows_of_table(folder: Folder, path: str, table: pa.Table) -> Iterator[TrackRow]:
    """The tracks of a table that was read from this file. Raises InputError for a damaged one."""
    for row in table.to_pylist():
        try:
            yield TrackRow(row["id"], row["source"], _track(row))
        except (TypeError, ValueError) as error:
            raise unreadable(folder, path, f"the track of {row['id']!r} is damaged ({error})") from error


def _track(row: dict[str, Any]) -> ClipTrack:
    num_windows, stills = row["num_windows"], np.array(row["stills"], np.int32).reshape(-1, 2)
    usable = np.unpackbits(np.frombuffer(row["usable"], np.uint8), count=num_windows).astype(np.bool_)
    pictures = np.frombuffer(row["pictures"], np.uint8)
    pictures = pictures.reshape(len(stills), -1) if len(stills) else pictures.reshape(0, 0)
    return ClipTrack(row["start_s"], unpacked(row["windows"], num_windows), usable, stills, pictures)


def packed(windows: NDArray[np.int16]) -> bytes:
    """The changes from row to row, the first from zeros; signs folded; the plane of low bytes, then that of high bytes.

    >>> list(packed(np.array([[1, -2], [3, -2], [-300, 127]], np.int16)))
    [2, 3, 4, 0, 93, 2, 0, 0, 0, 0, 2, 1]
    """
    changes = np.diff(windows, axis=0, prepend=np.zeros((1, windows.shape[1]), np.int16))  # modulo 65536
    folded = ((changes << 1) ^ (changes >> 15)).astype("<u2")
    return folded.reshape(-1, 1).view(np.uint8).T.tobytes()


def unpacked(data: bytes, num_windows: int) -> NDArray[np.int16]:
    """The (W, D) windows that `packed` packed."""
    planes = np.frombuffer(data, np.uint8).reshape(2, -1)
    folded = np.ascontiguousarray(planes.T).view("<u2").astype(np.uint16).reshape(num_windows, -1)
    changes = (folded >> 1) ^ -(folded & 1)
    return np.cumsum(changes, axis=0, dtype=np.uint16).view(np.int16)
