"""What came of a clip, and how that is kept from when a part of a long video is cut until all its parts are there.

One Arrow file per part, beside its marker. Numbers come back to the last bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from curator_dask.data.beside_vectors.track_files import TrackRow, rows_of_table, track_table
from curator_dask.data.tables import arrow_table, write_arrow
from curator_dask.dedup.align.line import ClipTrack
from curator_dask.dedup.quality.measure import Quality
from curator_dask.errors import MediaError
from curator_dask.files.folder import Folder
from curator_dask.models.base import Unusable

if TYPE_CHECKING:
    import pyarrow as pa

    from curator_dask.models.pdqf.track import Track

    Vector: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True, slots=True)
class Embedded:
    """What came of one clip."""

    vector: Vector | Unusable | MediaError
    track: Track | None = None
    track_failed: bool = False
    """The frames are there, and making the track raised an error; the next run tries again."""
    quality: Quality | None = None
    """What the pictures are like; None where no frames for a track passed."""


Results: TypeAlias = Mapping[int, Embedded]
"""By the index of the span."""
QualityOfSpans: TypeAlias = Mapping[int, Quality]
"""What the pictures of clips are like, as far as it is known, by the index of the span."""


def write_results(folder: Folder, path: str, results: Results) -> dict[str, int]:
    """Write the results of a part; returns the file's path and bytes, or nothing where there are no results."""
    return {path: write_arrow(folder, path, _table(results))} if results else {}


def read_results(folder: Folder, path: str) -> dict[int, Embedded]:
    """The results of a part. Raises InputError for a damaged file, FileNotFoundError where there is none."""
    table = arrow_table(folder, path, folder.read_bytes(path))
    tracks = {row.id: row.track for row in rows_of_table(folder, path, table.filter(table["has_track"]))}
    return {int(row["id"]): _embedded(row, tracks.get(row["id"])) for row in table.to_pylist()}


def _table(results: Results) -> pa.Table:
    import pyarrow as pa

    ordered = sorted(results.items())
    tracks = track_table([_track_row(span, one.track) for span, one in ordered])
    columns = {
        "has_track": pa.array([one.track is not None for _, one in ordered], pa.bool_()),
        "track_failed": pa.array([one.track_failed for _, one in ordered], pa.bool_()),
        "vector": pa.array([_vector_bytes(one.vector) for _, one in ordered], pa.binary()),
        "kind": pa.array([type(one.vector).__name__ for _, one in ordered], pa.string()),
        "reason": pa.array([getattr(one.vector, "reason", "") for _, one in ordered], pa.string()),
        "message": pa.array([_message(one.vector) for _, one in ordered], pa.string()),
        "broken": pa.array([getattr(one.vector, "broken", False) for _, one in ordered], pa.bool_()),
        "quality": pa.array([None if one.quality is None else list(astuple(one.quality)) for _, one in ordered],
                            pa.list_(pa.float64())),
    }  # fmt: skip
    for name, column in columns.items():
        tracks = tracks.append_column(name, column)
    return tracks


def _track_row(span: int, track: Track | None) -> TrackRow:
    if track is None:
        nothing = np.empty((0, 1), np.int16), np.empty(0, np.bool_), np.empty((0, 2), np.int32)
        return TrackRow(str(span), "", ClipTrack(0.0, *nothing, np.empty((0, 0), np.uint8)))
    return TrackRow(str(span), "", ClipTrack(0.0, track.windows, track.usable, track.stills, track.pictures))


def _vector_bytes(vector: Any) -> bytes | None:
    return np.ascontiguousarray(vector, dtype=np.float32).tobytes() if isinstance(vector, np.ndarray) else None


def _message(vector: Any) -> str:
    return str(vector) if isinstance(vector, MediaError) else getattr(vector, "message", "")


def _embedded(row: Mapping[str, Any], placed: ClipTrack | None) -> Embedded:
    from curator_dask.models.pdqf.track import Track

    track = None if placed is None else Track(placed.windows, placed.usable, placed.stills, placed.pictures)
    quality = None if row["quality"] is None else Quality(*row["quality"])
    return Embedded(_vector(row), track, row["track_failed"], quality)


def _vector(row: Mapping[str, Any]) -> Any:
    if row["vector"] is not None:
        return np.frombuffer(row["vector"], np.float32).copy()
    if row["kind"] == Unusable.__name__:
        return Unusable(row["reason"], row["message"], row["broken"])
    return MediaError(row["reason"], row["message"])
