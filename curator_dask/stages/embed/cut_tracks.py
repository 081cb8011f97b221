"""Tracks from the process that cuts a video, for models that see other frames: no clip is decoded for its track.

The split stage keeps them beside the marker of a video, and the embed stage writes them beside its vectors.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from curator_dask.data.beside_vectors.track_files import TrackRow, rows_of_table, track_table
from curator_dask.data.clip_index import real_name, stored_name
from curator_dask.data.tables import arrow_table, write_arrow
from curator_dask.dedup.align.line import ClipTrack
from curator_dask.dedup.quality.measure import Quality, measure
from curator_dask.errors import InputError, MediaError
from curator_dask.files.folder import Folder
from curator_dask.runtime.records import digest
from curator_dask.runtime.state import StageState
from curator_dask.stages.embed.part_results import Embedded
from curator_dask.video.spans import Span

if TYPE_CHECKING:
    import numpy as np

    from curator_dask.models.pdqf.track import Track
    from curator_dask.video.frames.sampling import FrameRule

    Frames: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]

SPLIT = "split"
"""The name of the stage that cuts."""
MADE_FROM = b"made_from"
"""Its name in the schema of the file."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TracksOfCut:
    """Where the split stage may have kept the tracks of a video, relative to its output."""

    path: str
    made_from: str
    """Digest of the clips, so that the tracks of an earlier cut are never taken."""


def tracks_of_cut(output: Folder, rows: Sequence[Mapping[str, Any]]) -> TracksOfCut:
    """Where the tracks of a video lie, from its rows of the clip index: those of exactly these clips."""
    from curator_dask.models.pdqf.track import TRACK_VERSION

    name = real_name(rows[0]["relative_path"])
    clips = [(row["id"], row["start_s"], row["end_s"], row["num_bytes"]) for row in rows if row["valid"]]
    return TracksOfCut(StageState(output, SPLIT).beside_marker(digest(name)), digest(TRACK_VERSION, clips))


class TrackTap:
    """Makes the tracks of a video's clips while it is cut; a `FrameTap` of `video.frames.tap`.

    A failure never costs the clips: the embed stage makes the tracks that are missing, from the clips.
    """

    def __init__(self, output: Folder) -> None:
        from curator_dask.models.pdqf.tracker import Tracker

        self._output = output
        self._tracker = Tracker()
        self._tracks: dict[int, Track] = {}
        self._quality: dict[int, Quality] = {}

    @property
    def rule(self) -> FrameRule:
        from curator_dask.models.pdqf.tracker import TRACK_RULE

        return TRACK_RULE

    def restart(self) -> None:
        self._tracks, self._quality = {}, {}

    def take(self, span: Span, frames: Frames | MediaError) -> None:
        if isinstance(frames, MediaError):
            return
        try:
            self._quality[span.index] = measure(frames)
            self._tracks[span.index] = self._tracker.track(frames)
        except Exception:
            logger.exception("a clip gets no track beside the cut; the embed stage will make it")

    def quality(self) -> Mapping[int, Quality]:
        """What the pictures of the clips are like, by the index of the span."""
        return self._quality

    def results(self) -> dict[int, Embedded]:
        """What came of the clips so far, by the index of the span: tracks and quality, and no vector."""
        none = MediaError("no-vector", "the model sees other frames")
        return {span: Embedded(none, track, quality=self._quality.get(span)) for span, track in self._tracks.items()}

    def restore(self, results: Mapping[int, Embedded]) -> None:
        """Take what `results` of another tap gave."""
        self._tracks.update({span: one.track for span, one in results.items() if one.track is not None})

    def write(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
        """Write the tracks of the clips in these rows, if there are any; returns the file's path and bytes."""
        rows = [{**row, "relative_path": stored_name(row["relative_path"])} for row in rows]
        kept = [_row(row, self._tracks[row["span_index"]]) for row in rows if self._has_track(row)]
        if not kept:
            return {}
        where = tracks_of_cut(self._output, rows)
        table = track_table(kept).replace_schema_metadata({MADE_FROM: where.made_from})
        return {where.path: write_arrow(self._output, where.path, table)}

    def _has_track(self, row: Mapping[str, Any]) -> bool:
        return row["valid"] and row["span_index"] in self._tracks


def read_tracks_of_cut(folder: Folder, where: TracksOfCut | None) -> dict[str, Track]:
    """The tracks that the split stage kept of a video, by clip id; none if it kept none, or those of other clips."""
    if where is None:
        return {}
    try:
        table = arrow_table(folder, where.path, folder.read_bytes(where.path))
        if (table.schema.metadata or {}).get(MADE_FROM) != where.made_from.encode():
            return {}
        return {row.id: _track(row.track) for row in rows_of_table(folder, where.path, table)}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except InputError as error:
        logger.warning("tracks are made from the clips: %s", error)
        return {}


def _row(row: Mapping[str, Any], track: Track) -> TrackRow:
    placed = ClipTrack(row["start_s"], track.windows, track.usable, track.stills, track.pictures)
    return TrackRow(row["id"], row["relative_path"], placed)


def _track(placed: ClipTrack) -> Track:
    from curator_dask.models.pdqf.track import Track

    return Track(placed.windows, placed.usable, placed.stills, placed.pictures)
