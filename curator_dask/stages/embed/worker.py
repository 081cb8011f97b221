"""The worker's side of embedding: frames in, one Parquet file of vectors and a record of the failures out.

Frames come from one of two places. Out of clip files: Decord reads those that this project encoded, and nothing else, as
on files of unknown origin it returns wrong frames or hangs; a guarded ffmpeg reads all others. Or out of the source
video: either from the very process that cuts it (`VectorTap`), or from one that only decodes. Both give the same frames.
"""

from __future__ import annotations

import functools
import itertools
import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from curator_dask.data.clip_index import real_name, stored_name
from curator_dask.data.tables import write_parquet
from curator_dask.errors import MediaError
from curator_dask.files.folder import Folder
from curator_dask.files.names import printable
from curator_dask.files.video_listing import source_folder
from curator_dask.models.base import ModelOptions, Unusable
from curator_dask.runtime.records import Failure, UnitRecord, UnitResult
from curator_dask.runtime.state import StageState
from curator_dask.video.spans import Span

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from curator_dask.models.base import EmbeddingModel
    from curator_dask.stages.embed.stage import EmbedStage
    from curator_dask.video.frames.sampling import FrameRule

    Frames: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]
    Vector: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]

# Clips whose frames are held at once: enough to fill the arithmetic, small beside a worker's memory.
CLIPS_PER_BATCH = 16

# More would decode faster than any model here computes, and hold as many clips' frames.
MOST_THREADS_AHEAD = 8

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ClipToEmbed:
    """One clip and where its frames come from."""

    id: str
    path: str
    """Clip file relative to the input folder; empty: decode the span from the source video."""
    trusted: bool
    """Encoded by this project, so that Decord may read it."""
    source: str
    """Source video relative to `video_dir`."""
    span_index: int
    start_s: float
    end_s: float

    @property
    def span(self) -> Span:
        return Span(self.span_index, self.start_s, self.end_s)


@dataclass(frozen=True)
class EmbedTask:
    """Some clips of one video (or of a folder of ready clips), as they travel to a worker."""

    stage: EmbedStage
    key: str
    clips: tuple[ClipToEmbed, ...]
    source_spans: tuple[Span, ...] = ()
    """All spans planned for the video, where the frames come from it; clips that failed to be written included, as a
    span's end depends on its neighbours."""


def clip_of_row(row: Mapping[str, Any]) -> ClipToEmbed:
    """A row of the clip index."""
    return ClipToEmbed(
        id=row["id"],
        path=row["clip_path"],
        trusted=row["encoder"] not in ("", "copy"),
        source=real_name(row["relative_path"]),
        span_index=row["span_index"],
        start_s=row["start_s"],
        end_s=row["end_s"],
    )


@functools.lru_cache(maxsize=1)
def cached_model(name: str, options: ModelOptions) -> EmbeddingModel:
    """The model, loaded once a process."""
    from curator_dask.models.registry import load_model

    return load_model(name, options)


class VectorBatches:
    """Collects frames into batches for the model, and what came of each clip, under the caller's keys."""

    def __init__(self, model: EmbeddingModel) -> None:
        self._model = model
        self._waiting: list[tuple[Any, Frames]] = []
        self.results: dict[Any, Vector | Unusable | MediaError] = {}

    def add(self, key: Any, frames: Frames | MediaError) -> None:
        if isinstance(frames, MediaError):
            self.results[key] = frames
            return
        self._waiting.append((key, frames))
        if len(self._waiting) == CLIPS_PER_BATCH:
            self.flush()

    def flush(self) -> None:
        """Have the model work on what waits."""
        if self._waiting:
            batch, self._waiting = self._waiting, []
            results = self._model.embed([frames for _, frames in batch])
            self.results.update((key, result) for (key, _), result in zip(batch, results, strict=True))


def embed_unit(task: EmbedTask) -> UnitResult:
    """Decode, compute and write the vectors of one unit; the unit of `EmbedStage`, run on a worker."""
    (record,) = embed_units([task])
    return record


def embed_units(tasks: Sequence[EmbedTask]) -> Iterator[UnitResult]:
    """The same for several units of one stage, in order: clips are read ahead, and batches filled, across their borders.

    Each unit's record comes as soon as its file is written.
    """
    model = tasks[0].stage.model()
    batches = VectorBatches(model)
    unwritten = deque(enumerate(tasks))
    for number, clip, frames in _frames(tasks, model.frame_rule):
        batches.add((number, clip.id), frames)
        yield from _written(unwritten, batches)
    batches.flush()
    yield from _written(unwritten, batches)


def _written(unwritten: deque[tuple[int, EmbedTask]], batches: VectorBatches) -> Iterator[UnitResult]:
    """Write the first units whose clips all have a result."""
    while unwritten and all((unwritten[0][0], clip.id) in batches.results for clip in unwritten[0][1].clips):
        number, task = unwritten.popleft()
        found = {clip.id: batches.results.pop((number, clip.id)) for clip in task.clips}
        yield write_vectors(task, lambda clip, found=found: found[clip.id])  # type: ignore[misc]


def write_vectors(task: EmbedTask, result_of: Callable[[ClipToEmbed], Vector | Unusable | MediaError]) -> UnitResult:
    """Write the unit's Parquet file, and account for every clip of it."""
    stage = task.stage
    ids: list[str] = []
    vectors: list[Vector] = []
    failures: list[Failure] = []
    for clip in task.clips:
        result = result_of(clip)
        if isinstance(result, MediaError):
            failures.append(_failure(task, clip, result.reason, str(result)))
        elif isinstance(result, Unusable):
            failures.append(_failure(task, clip, result.reason, result.message))
        else:
            ids.append(clip.id)
            vectors.append(result)
    outputs = {}
    if ids:
        path = f"{task.key}.parquet"
        table = vector_table(ids, vectors, stage.id_field, stage.embedding_field)
        outputs[path] = write_parquet(stage.output, path, table, vectors=[stage.embedding_field])
    return UnitResult(outputs, {"embeddings": len(ids), "clips_failed": len(failures)}, tuple(failures))


def vector_table(ids: Sequence[str], vectors: Sequence[Any], id_field: str, embedding_field: str) -> pa.Table:
    """Columns ``id: string`` and ``embedding: list<float32>``."""
    import numpy as np
    import pyarrow as pa

    matrix = np.ascontiguousarray(np.stack(vectors), dtype=np.float32)
    offsets = np.arange(0, matrix.size + 1, matrix.shape[1], dtype=np.int32)
    lists = pa.ListArray.from_arrays(offsets, matrix.ravel())
    return pa.table({id_field: pa.array(ids, pa.string()), embedding_field: lists})


class VectorTap:
    """Computes the vectors while the video is being cut, from the frames of the cutting process (a `FrameTap`).

    What goes wrong here must not cost the clips: then there are no vectors, and the embed stage makes them later, or
    says why it cannot.
    """

    def __init__(self, stage: EmbedStage) -> None:
        self._stage = stage
        self._model = stage.model()
        self._batches = VectorBatches(self._model)
        self._is_broken = False

    @property
    def rule(self) -> FrameRule:
        return self._model.frame_rule

    def restart(self) -> None:
        self._batches = VectorBatches(self._model)

    def take(self, span: Span, frames: Frames | MediaError) -> None:
        self._guarded(lambda: self._batches.add(span.index, frames))

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Leave the vectors and the marker of the video, whose rows of the clip index these are, as `embed_unit` would."""
        self._guarded(self._batches.flush)
        stored = [{**row, "relative_path": stored_name(row["relative_path"])} for row in rows]
        results = self._batches.results
        for unit in self._stage.units_of_video(stored):
            if not self._is_broken and all(clip.span_index in results for clip in unit.task.clips):
                result = write_vectors(unit.task, lambda clip: results[clip.span_index])
                state = StageState(self._stage.output, self._stage.name)
                state.write(UnitRecord.of(unit.key, unit.inputs, result))

    def _guarded(self, work: Callable[[], None]) -> None:
        if self._is_broken:
            return
        try:
            work()
        except Exception:
            logger.exception("embedding beside the cut failed; the embed stage will try again")
            self._is_broken = True


Read: TypeAlias = "tuple[int, ClipToEmbed, Frames | MediaError]"


def _frames(tasks: Sequence[EmbedTask], rule: FrameRule) -> Iterator[Read]:
    """The frames of each clip as the rule has them, or why there are none, with the number of the clip's unit."""
    for from_source, group in itertools.groupby(enumerate(tasks), lambda unit: bool(unit[1].source_spans)):
        if from_source:
            for number, task in group:
                yield from ((number, clip, frames) for clip, frames in _frames_of_source(task, rule))
        else:
            yield from _ahead([(number, task, clip) for number, task in group for clip in task.clips], rule)


def _ahead(clips: Sequence[tuple[int, EmbedTask, ClipToEmbed]], rule: FrameRule) -> Iterator[Read]:
    """Read clips in threads, a few ahead of the consumer, in order; what waits is bounded."""
    stage = clips[0][1].stage
    num_threads = stage.decode_threads or threads_ahead(stage.torch_device)
    with ThreadPoolExecutor(num_threads) as pool:
        waiting: deque[tuple[int, ClipToEmbed, Future[Frames | MediaError]]] = deque()
        for number, task, clip in clips:
            waiting.append((number, clip, pool.submit(_frames_of_clip, task.stage.input, clip, rule)))
            if (
                len(waiting) >= num_threads + CLIPS_PER_BATCH
            ):  # a batch more, to read on while the model has the last one
                yield _done(waiting)
        while waiting:
            yield _done(waiting)


def threads_ahead(torch_device: str) -> int:
    """How many threads read for a model on that device: beside a GPU, its share of the cores that this process may use."""
    if not torch_device.startswith("cuda"):
        return 1  # a worker has a core, and the model computes on it
    import torch
    from dask.system import CPU_COUNT

    return max(1, min(MOST_THREADS_AHEAD, CPU_COUNT // max(1, torch.cuda.device_count())))


def _done(waiting: deque[tuple[int, ClipToEmbed, Future[Frames | MediaError]]]) -> Read:
    number, clip, frames = waiting.popleft()
    return number, clip, frames.result()


def _frames_of_clip(folder: Folder, clip: ClipToEmbed, rule: FrameRule) -> Frames | MediaError:
    try:
        with folder.fetched(clip.path) as path:
            return _frames_of_file(path, clip, rule)
    except MediaError as error:
        return error
    except FileNotFoundError:
        return MediaError("clip-missing", f"the clip file {clip.path} is not there any more")


def _frames_of_file(path: Path, clip: ClipToEmbed, rule: FrameRule) -> Frames:
    from curator_dask.video.frames.read import read_clip_frames, read_ready_clip

    if clip.trusted:
        return read_clip_frames(path, rule, duration_s=clip.end_s - clip.start_s)
    return read_ready_clip(path, rule)


def _frames_of_source(task: EmbedTask, rule: FrameRule) -> Iterator[tuple[ClipToEmbed, Frames | MediaError]]:
    from curator_dask.video.frames.read import read_source_frames
    from curator_dask.video.probe import probe_video

    clips = {clip.span_index: clip for clip in task.clips}
    folder = source_folder(Folder(task.stage.video_dir or "", task.stage.input_storage_options))
    try:
        with folder.fetched(task.clips[0].source) as path:
            for span, frames in read_source_frames(probe_video(path), task.source_spans, rule):
                if span.index in clips:
                    yield clips.pop(span.index), frames
    except MediaError as error:
        yield from ((clip, error) for clip in clips.values())
    except FileNotFoundError:
        missing = MediaError("source-missing", f"the video {printable(task.clips[0].source)} is not there any more")
        yield from ((clip, missing) for clip in clips.values())


def _failure(task: EmbedTask, clip: ClipToEmbed, reason: str, message: str) -> Failure:
    return Failure(task.stage.name, printable(clip.source or clip.path), reason, message, clip.id)
