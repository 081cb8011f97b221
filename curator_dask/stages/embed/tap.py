"""Vectors from the frames of the process that cuts a video, so that the video is decoded only once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from curator_dask.data.clip_index import stored_name
from curator_dask.dedup.quality.measure import Quality
from curator_dask.errors import MediaError
from curator_dask.runtime.records import UnitRecord
from curator_dask.runtime.state import StageState
from curator_dask.runtime.units import Unit
from curator_dask.stages.embed.clip_frames import read_source
from curator_dask.stages.embed.clip_tracks import ClipFrames, Embedder
from curator_dask.stages.embed.clip_vectors import VectorBatches, write_unit
from curator_dask.stages.embed.part_results import Embedded
from curator_dask.stages.embed.spec import EMBED, EmbedSpec, EmbedTask
from curator_dask.stages.embed.units import units_of_video
from curator_dask.video.spans import Span

if TYPE_CHECKING:
    import numpy as np

    from curator_dask.video.frames.sampling import FrameRule

    Frames: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]

logger = logging.getLogger(__name__)


class VectorTap:
    """Computes vectors while a video is cut; a `FrameTap` of `video.frames.tap`.

    A failure here never costs the clips: the video is left without vectors, and the embed stage tries again later.
    """

    def __init__(self, spec: EmbedSpec) -> None:
        self._spec = spec
        self._embedder = Embedder(spec)
        self._batches = VectorBatches(self._embedder)
        self._is_broken = False

    @property
    def rule(self) -> FrameRule:
        return self._embedder.rules[0]

    def restart(self) -> None:
        self._batches = VectorBatches(self._embedder)

    def take(self, span: Span, frames: Frames | MediaError) -> None:
        self._guard(lambda: self._batches.add(span.index, ClipFrames(frames)))

    def quality(self) -> dict[int, Quality]:
        """What the pictures of the clips are like, by the index of the span, as far as their frames have passed."""
        self._guard(self._batches.flush)
        return {span: one.quality for span, one in self._batches.results.items() if one.quality is not None}

    def results(self) -> dict[int, Embedded]:
        """What came of the clips so far, by the index of the span."""
        self._guard(self._batches.flush)
        return {} if self._is_broken else dict(self._batches.results)

    def restore(self, results: Mapping[int, Embedded]) -> None:
        """Take what `results` of another tap gave."""
        self._batches.results.update(results)

    def write(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
        """Write the vectors, tracks and markers that the embed stage would write for a video with these rows.

        Returns no file for the record of the cut: these belong to the embed stage.
        """
        self._guard(self._batches.flush)
        stored = [{**row, "relative_path": stored_name(row["relative_path"])} for row in rows]
        for unit in units_of_video(self._spec, stored):
            self._guard(lambda unit=unit: self._write_unit(unit))  # type: ignore[misc]
        return {}

    def _write_unit(self, unit: Unit[EmbedTask]) -> None:
        results, task = self._batches.results, unit.task
        if not all(clip.span_index in results for clip in task.clips):
            return
        for rule in self._embedder.rules[1:]:  # the cut does not give these frames: they take another decode
            for clip, frames in read_source(task, (rule,)):
                results[clip.span_index] = self._embedder.with_track(results[clip.span_index], frames.model)
        result = write_unit(task, lambda clip: results[clip.span_index])
        state = StageState(self._spec.output, EMBED)
        state.write(UnitRecord.of(unit.key, unit.inputs, result))

    def _guard(self, work: Callable[[], None]) -> None:
        if self._is_broken:
            return
        try:
            work()
        except Exception:
            logger.exception("embedding beside the cut failed; the embed stage will try again")
            self._is_broken = True
