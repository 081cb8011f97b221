"""Vectors of clips: batches of frames go through the model, and each unit gets a file of vectors and one of tracks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from curator_dask.data.beside_vectors.plain_clips import PlainClip, marked
from curator_dask.data.beside_vectors.quality_table import marked_quality
from curator_dask.data.tables import write_parquet
from curator_dask.errors import MediaError
from curator_dask.files.names import printable
from curator_dask.models.base import Unusable
from curator_dask.runtime.records import Failure, UnitResult
from curator_dask.runtime.state import StageState
from curator_dask.stages.embed.clip_tracks import (
    TRACK_VERSION,
    ClipFrames,
    Embedder,
    note_of_tracks,
    write_track_file,
)
from curator_dask.stages.embed.part_results import Embedded
from curator_dask.stages.embed.spec import EMBED, ClipToEmbed, EmbedTask

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    Vector: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]

logger = logging.getLogger(__name__)

GONE = frozenset({"clip-missing", "source-missing"})
"""Reasons that say that a file is not there any more, and nothing about its content."""
CLIPS_PER_BATCH = 16
"""Clips whose frames are held at the same time: enough to fill the arithmetic, little beside a worker's memory."""


class VectorBatches:
    """Collects frames into batches for the model, and keeps the result of each clip under the caller's key."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._waiting: list[tuple[Any, ClipFrames]] = []
        self.results: dict[Any, Embedded] = {}

    def add(self, key: Any, frames: ClipFrames) -> None:
        """Take the frames of one clip, or the reason why there are none. A full batch is embedded at once."""
        if isinstance(frames.model, MediaError):
            self.results[key] = Embedded(frames.model)
            return
        self._waiting.append((key, frames))
        if len(self._waiting) == CLIPS_PER_BATCH:
            self.flush()

    def flush(self) -> None:
        """Embed the clips that wait for a full batch."""
        if self._waiting:
            batch, self._waiting = self._waiting, []
            results = self._embedder.embed([frames for _, frames in batch])
            self.results.update((key, result) for (key, _), result in zip(batch, results, strict=True))


def write_unit(task: EmbedTask, result_of: Callable[[ClipToEmbed], Embedded]) -> UnitResult:
    """Write the Parquet files of a unit. Every clip is counted: as a vector, as plain, or as a failure."""
    results = [(clip, result_of(clip)) for clip in task.clips]
    before = _result_before_tracks(task, results)
    if before is not None:
        return before
    ids: list[str] = []
    vectors: list[Vector] = []
    plain: list[PlainClip] = []
    failures: list[Failure] = []
    for clip, result in results:
        vector = result.vector
        if isinstance(vector, MediaError):
            failures.append(_failure(clip, vector.reason, str(vector)))
        elif isinstance(vector, Unusable) and vector.broken:
            failures.append(_failure(clip, vector.reason, vector.message))
        elif isinstance(vector, Unusable):
            plain.append(PlainClip(clip.id, _source(clip), vector.reason, vector.message))
        else:
            ids.append(clip.id)
            vectors.append(vector)
    outputs = {**(_write_file(task, ids, vectors) if ids else {}), **write_track_file(task, results)}
    counts = {"embeddings": len(ids), "clips_plain": len(plain), "clips_failed": len(failures)}
    quality = marked_quality((clip.id, result.quality) for clip, result in results)
    notes = {**note_of_tracks(task, results), **marked(plain), **quality}
    return UnitResult(outputs, counts, tuple(failures), notes)


def _result_before_tracks(task: EmbedTask, results: Sequence[tuple[ClipToEmbed, Embedded]]) -> UnitResult | None:
    """What an earlier run made of a unit that only lacks tracks, if clips of it are gone now: no vector is lost for a track."""
    gone = [one.vector for _, one in results if isinstance(one.vector, MediaError) and one.vector.reason in GONE]
    before = StageState(task.spec.output, EMBED).record(task.key) if gone else None
    if before is None or TRACK_VERSION in before.data or not before.counts.get("embeddings"):
        return None
    logger.warning("the vectors of %s stay as they are, without tracks: %s", before.key, gone[0])
    return UnitResult(before.outputs, before.counts, before.failures, before.data)


def _write_file(task: EmbedTask, ids: list[str], vectors: list[Vector]) -> dict[str, int]:
    """Write the unit's file; returns its path and bytes."""
    spec, path = task.spec, f"{task.key}.parquet"
    table = vector_table(ids, vectors, spec.id_field, spec.embedding_field)
    return {path: write_parquet(spec.output, path, table, vectors=[spec.embedding_field])}


def vector_table(ids: Sequence[str], vectors: Sequence[Any], id_field: str, embedding_field: str) -> pa.Table:
    """A table with the columns ``id: string`` and ``embedding: list<float32>``."""
    import numpy as np
    import pyarrow as pa

    matrix = np.ascontiguousarray(np.stack(vectors), dtype=np.float32)
    offsets = np.arange(0, matrix.size + 1, matrix.shape[1], dtype=np.int32)
    lists = pa.ListArray.from_arrays(offsets, matrix.ravel())
    return pa.table({id_field: pa.array(ids, pa.string()), embedding_field: lists})


def _failure(clip: ClipToEmbed, reason: str, message: str) -> Failure:
    return Failure(EMBED, _source(clip), reason, message, clip.id)


def _source(clip: ClipToEmbed) -> str:
    return printable(clip.source or clip.path)
