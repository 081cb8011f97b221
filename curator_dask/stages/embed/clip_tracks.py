"""Vectors, tracks and quality of clips from their frames, and the file of tracks of a unit."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from curator_dask.data.clip_index import stored_name
from curator_dask.dedup.quality.measure import Quality, measure
from curator_dask.errors import CuratorError, MediaError
from curator_dask.files import layout
from curator_dask.stages.embed.part_results import Embedded
from curator_dask.stages.embed.spec import ClipToEmbed, EmbedSpec, EmbedTask

if TYPE_CHECKING:
    import numpy as np

    from curator_dask.data.beside_vectors.track_files import TrackRow
    from curator_dask.models.pdqf.track import Track
    from curator_dask.models.pdqf.tracker import Tracker
    from curator_dask.video.frames.sampling import FrameRule

    Frames: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]

TRACK_VERSION = "track_version"
"""Its name in the fingerprint of a folder of vectors, and in the marker of a unit that has all its tracks."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ClipFrames:
    """The frames of one clip, or the reason why there are none."""

    model: Frames | MediaError
    """Those that the model sees."""
    track: Frames | MediaError | Track | None = None
    """Those that the track is made of, where they are others, or the track itself, where the cut has made it."""


def _tracker_on(device: str) -> Tracker:
    """A tracker on the model's device, or on the CPU where that device does not do: a track never costs the vectors."""
    from curator_dask.models.pdqf.tracker import Tracker

    try:
        return Tracker(device)
    except CuratorError:
        logger.warning("tracks are made on the CPU, as %s does not do", device)
        return Tracker("cpu")


class Embedder:
    """Makes the vectors of clips and, where they are wanted, the tracks. A failure of a track never costs the vector."""

    def __init__(self, spec: EmbedSpec) -> None:
        from curator_dask.models.pdqf.tracker import TRACK_RULE

        self._model = spec.model.load()
        self._embed_with_tracks = getattr(self._model, "embed_with_tracks", None) if spec.tracks else None
        self._tracker = _tracker_on(spec.model.options.device) if spec.tracks else None
        self.rules: tuple[FrameRule, ...] = (self._model.frame_rule,)
        """The rule of the model's frames, and that of the track's where it is another one."""
        if spec.tracks and self._model.frame_rule != TRACK_RULE:
            self.rules = (*self.rules, TRACK_RULE)
        self._sees_all = self.rules[-1] == TRACK_RULE

    def embed(self, clips: Sequence[ClipFrames]) -> list[Embedded]:
        """The vectors and tracks of clips whose frames are there."""
        frames = [clip.model for clip in clips]
        if self._embed_with_tracks is not None:
            try:
                both = self._embed_with_tracks(frames)
                return [
                    Embedded(vector, track, quality=self._quality(shown))
                    for (vector, track), shown in zip(both, frames, strict=True)
                ]
            except Exception:
                logger.exception("vectors and tracks failed together; now each by itself")
        vectors = self._model.embed(frames)  # type: ignore[arg-type]
        track_frames = [clip.track for clip in clips] if len(self.rules) > 1 else frames
        return [self.with_track(Embedded(vector), shown) for vector, shown in zip(vectors, track_frames, strict=True)]

    def _quality(self, frames: Frames | MediaError | Track | None) -> Quality | None:
        """What the pictures are like, if these are the frames that a track is made of."""
        import numpy as np

        return measured(frames) if self._sees_all and isinstance(frames, np.ndarray) else None

    def with_track(self, embedded: Embedded, frames: Frames | MediaError | Track | None) -> Embedded:
        """The result with what these frames give, if there are any: their quality, and a track if one is wanted.

        A ready track is taken as it is.
        """
        from curator_dask.models.pdqf.track import Track

        embedded = replace(embedded, quality=self._quality(frames))
        if self._tracker is None or frames is None or isinstance(frames, MediaError):
            return embedded
        if isinstance(frames, Track):
            return replace(embedded, track=frames)
        try:
            return replace(embedded, track=self._tracker.track(frames))
        except Exception:
            logger.exception("a clip gets no track; the next run will try again")
            return replace(embedded, track_failed=True)


def measured(frames: Frames) -> Quality | None:
    """The quality of a clip; None if measuring fails, which costs neither the vector nor the clip."""
    try:
        return measure(frames)
    except Exception:
        logger.exception("the quality of a clip could not be measured")
        return None


def track_version() -> int:
    """The version of the tracks that this version of the package makes."""
    from curator_dask.models.pdqf import track

    return track.TRACK_VERSION


def note_of_tracks(task: EmbedTask, results: Sequence[tuple[ClipToEmbed, Embedded]]) -> dict[str, Any]:
    """What the marker of a unit notes: the version of its tracks, unless some are still to be made."""
    complete = task.spec.tracks and not any(result.track_failed for _, result in results)
    return {TRACK_VERSION: track_version()} if complete else {}


def write_track_file(task: EmbedTask, results: Sequence[tuple[ClipToEmbed, Embedded]]) -> dict[str, int]:
    """Write the tracks of a unit's clips, if there are any; returns the file's path and bytes."""
    from curator_dask.data.beside_vectors.track_files import write_tracks

    rows = [_row(clip, result.track) for clip, result in results if result.track is not None]
    path = layout.track_file(task.key)
    return {path: write_tracks(task.spec.output, path, rows)} if rows else {}


def _row(clip: ClipToEmbed, track: Track) -> TrackRow:
    from curator_dask.data.beside_vectors.track_files import TrackRow
    from curator_dask.dedup.align.line import ClipTrack

    source = stored_name(clip.source) if clip.source else clip.id
    placed = ClipTrack(clip.start_s, track.windows, track.usable, track.stills, track.pictures)
    return TrackRow(clip.id, source, placed)
