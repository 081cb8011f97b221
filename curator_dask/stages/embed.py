"""Clips → vectors: one unit a handful of clips of one video, one Parquet file a unit.

Decord reads the clips that this project encoded, and nothing else: on files of unknown origin it returns wrong frames
or hangs. Everything untrusted (key-frame cuts, a user's own clips, videos of which no clips were written) is decoded by
the same kind of guarded ffmpeg process that cuts the clips.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar

from curator_dask import layout
from curator_dask.discover import list_videos, source_folder
from curator_dask.errors import InputError, MediaError
from curator_dask.execution import Unit, run_units
from curator_dask.models.base import Unusable
from curator_dask.models.registry import DEFAULT_MODEL
from curator_dask.pipeline import RunContext, Stage, StageResult
from curator_dask.records import Failure, UnitRecord, digest, dump_json, printable
from curator_dask.stages.clip_index import read_clip_index, real_name
from curator_dask.state import StageState
from curator_dask.storage import Folder
from curator_dask.tables import write_parquet

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from curator_dask.models.base import EmbeddingModel

    Frames = np.ndarray[Any, np.dtype[np.uint8]]

FINGERPRINT = "_fingerprint.json"
CLIPS_PER_UNIT = 32
# Clips whose frames are held at once: enough to fill the arithmetic, small beside a worker's memory.
CLIPS_PER_BATCH = 16


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


@dataclass(frozen=True)
class EmbedStage(Stage):
    """Compute one vector a clip.

    `input_path` is the output of the split stage, or any folder of ready clips (ids are then the file names).
    Vectors go to ``{model}_embd_parquet`` below `output_path` (default: the input folder).
    """

    input_path: str
    output_path: str | None = None
    embedding_algorithm: str = DEFAULT_MODEL
    model_dir: str = "./models"
    video_dir: str | None = None
    """The source videos; needed only where the split stage wrote no clips."""
    id_field: str = "id"
    embedding_field: str = "embedding"
    torch_device: str = "cpu"
    input_storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    output_storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    name: ClassVar[str] = "embed"

    @property
    def input(self) -> Folder:
        return Folder(self.input_path, self.input_storage_options)

    @property
    def output(self) -> Folder:
        options = self.output_storage_options or self.input_storage_options
        root = Folder(self.output_path or self.input_path, options)
        return root.below(layout.embeddings_folder(self.embedding_algorithm))

    def model(self) -> EmbeddingModel:
        return cached_model(self.embedding_algorithm, self.model_dir, self.torch_device)

    def identity(self) -> dict[str, Any]:
        return {
            "input_path": self.input.root,
            "id_field": self.id_field,
            "embedding_field": self.embedding_field,
            "model": self.model().fingerprint(),
        }

    def execute(self, context: RunContext) -> StageResult:
        state = StageState(self.output, self.name)
        identity = self.identity()  # loads the model: an unknown one is an error before anything is listed
        units = self._units()
        if context.dry_run:
            state.check(identity)
            return StageResult(self.name, self.output, {"clips_in": _num_clips(units)})
        state.claim(identity, overwrite=context.overwrite)
        state.publish(FINGERPRINT, dump_json(self.model().fingerprint()))
        state.forget({record.key for record in state.records()} - {unit.key for unit in units})
        outcome = run_units(context.cluster, state, units, embed_unit, reporter=context.reporter, what="units")
        embedded = outcome.counts.get("embeddings", 0)
        counts = {
            "clips_in": _num_clips(units),
            "embeddings": embedded,
            "clips_failed": _num_clips(units) - embedded,
        }
        state.summarise(counts, failures=outcome.failures)
        tables = tuple(path for record in state.records() for path in record.outputs)
        return StageResult(
            self.name, self.output, counts, outcome.failures, outcome.num_run, outcome.num_skipped, tables=tables
        )

    def _units(self) -> list[Unit[EmbedTask]]:
        if self.input.exists(layout.CLIP_INDEX):
            return self._units_of_index()
        return self._units_of_ready_clips()

    def _units_of_index(self) -> list[Unit[EmbedTask]]:
        by_video: dict[str, list[ClipToEmbed]] = {}
        sizes: dict[str, list[int]] = {}
        for row in read_clip_index(self.input).to_pylist():
            if row["valid"]:
                by_video.setdefault(row["relative_path"], []).append(_clip_of_row(row))
                sizes.setdefault(row["relative_path"], []).append(row["num_bytes"])
        if self.video_dir is None and any(not clip.path for clips in by_video.values() for clip in clips):
            raise InputError(
                f"{self.input_path} was split without writing clips (--no-upload-clips): "
                "name the source videos with video_dir to embed them"
            )
        units = []
        for source, clips in sorted(by_video.items()):
            # Of a video without clips every span comes from one pass over its source: one unit, however long it is.
            step = CLIPS_PER_UNIT if clips[0].path else len(clips)
            for at in range(0, len(clips), step):
                group, group_sizes = tuple(clips[at : at + step]), sizes[source][at : at + step]
                inputs = digest([asdict(clip) for clip in group], group_sizes)
                units.append(self._unit(f"{source}#{at // step}", group, inputs))
        return units

    def _units_of_ready_clips(self) -> list[Unit[EmbedTask]]:
        listing = list_videos(self.input)
        clips = [
            ClipToEmbed(
                str(PurePosixPath(video.relative_path).with_suffix("")), video.relative_path, False, "", 0, 0, 0
            )
            for video in listing.videos
        ]
        doubled = [name for name, count in Counter(clip.id for clip in clips).items() if count > 1]
        if doubled:
            raise InputError(f"two clips share the id {doubled[0]!r}: file names without their ending must be unique")
        versions = {video.relative_path: (video.num_bytes, video.version) for video in listing.videos}
        groups = [clips[at : at + CLIPS_PER_UNIT] for at in range(0, len(clips), CLIPS_PER_UNIT)]
        return [
            self._unit(group[0].path, tuple(group), digest([(clip.path, versions[clip.path]) for clip in group]))
            for group in groups
        ]

    def _unit(self, name: str, clips: tuple[ClipToEmbed, ...], inputs: str) -> Unit[EmbedTask]:
        key = digest(printable(name))
        return Unit(key, inputs, EmbedTask(self, key, clips), name)


@dataclass(frozen=True)
class EmbedTask:
    """Some clips of one video (or of a folder of ready clips), as they travel to a worker."""

    stage: EmbedStage
    key: str
    clips: tuple[ClipToEmbed, ...]


@functools.lru_cache(maxsize=1)
def cached_model(name: str, model_dir: str, device: str) -> EmbeddingModel:
    """The model, loaded once a process."""
    from curator_dask.models.registry import load_model

    return load_model(name, model_dir=Path(model_dir), device=device)


def embed_unit(task: EmbedTask) -> UnitRecord:
    """Decode, compute and write the vectors of one unit; the unit of `EmbedStage`, run on a worker."""
    model = task.stage.model()
    ids: list[str] = []
    vectors: list[Any] = []
    failures: list[Failure] = []
    for batch in _batches(_frames(task, model), CLIPS_PER_BATCH):
        readable = [(clip, frames) for clip, frames in batch if not isinstance(frames, MediaError)]
        failures.extend(_failure(task, clip, f.reason, str(f)) for clip, f in batch if isinstance(f, MediaError))
        results = model.embed([frames for _, frames in readable]) if readable else []
        for (clip, _), result in zip(readable, results, strict=True):
            if isinstance(result, Unusable):
                failures.append(_failure(task, clip, result.reason, result.message))
            else:
                ids.append(clip.id)
                vectors.append(result)
    outputs = {}
    if ids:
        path = f"{task.key}.parquet"
        table = vector_table(ids, vectors, task.stage.id_field, task.stage.embedding_field)
        outputs[path] = write_parquet(task.stage.output, path, table, vectors=[task.stage.embedding_field])
    return UnitRecord("", "", outputs, {"embeddings": len(ids), "clips_failed": len(failures)}, tuple(failures))


def vector_table(ids: Sequence[str], vectors: Sequence[Any], id_field: str, embedding_field: str) -> pa.Table:
    """Columns ``id: string`` and ``embedding: list<float32>``."""
    import numpy as np
    import pyarrow as pa

    matrix = np.ascontiguousarray(np.stack(vectors), dtype=np.float32)
    offsets = np.arange(0, matrix.size + 1, matrix.shape[1], dtype=np.int32)
    lists = pa.ListArray.from_arrays(offsets, matrix.ravel())
    return pa.table({id_field: pa.array(ids, pa.string()), embedding_field: lists})


def _frames(task: EmbedTask, model: EmbeddingModel) -> Iterator[tuple[ClipToEmbed, Frames | MediaError]]:
    """The frames of each clip as the model wants them, or why there are none."""
    if task.clips and not task.clips[0].path:
        yield from _frames_of_source(task, model)
        return
    for clip in task.clips:
        try:
            with task.stage.input.fetched(clip.path) as path:
                yield clip, _frames_of_file(path, clip, model)
        except MediaError as error:
            yield clip, error
        except FileNotFoundError:
            yield clip, MediaError("clip-missing", f"the clip file {clip.path} is not there any more")


def _frames_of_file(path: Path, clip: ClipToEmbed, model: EmbeddingModel) -> Frames:
    from curator_dask.video.frames import read_clip_frames, read_ready_clip

    if clip.trusted:
        return read_clip_frames(path, model.frame_rule, duration_s=clip.end_s - clip.start_s)
    return read_ready_clip(path, model.frame_rule)


def _frames_of_source(task: EmbedTask, model: EmbeddingModel) -> Iterator[tuple[ClipToEmbed, Frames | MediaError]]:
    from curator_dask.video.frames import read_source_frames
    from curator_dask.video.probe import probe_video
    from curator_dask.video.spans import Span

    clips = {clip.span_index: clip for clip in task.clips}
    spans = [Span(clip.span_index, clip.start_s, clip.end_s) for clip in task.clips]
    folder = source_folder(Folder(task.stage.video_dir or "", task.stage.input_storage_options))
    try:
        with folder.fetched(task.clips[0].source) as path:
            info = probe_video(path)
            for span, frames in read_source_frames(info, spans, model.frame_rule):
                yield clips.pop(span.index), frames
    except MediaError as error:
        for clip in clips.values():
            yield clip, error


def _clip_of_row(row: Mapping[str, Any]) -> ClipToEmbed:
    return ClipToEmbed(
        id=row["id"],
        path=row["clip_path"],
        trusted=row["encoder"] not in ("", "copy"),
        source=real_name(row["relative_path"]),
        span_index=row["span_index"],
        start_s=row["start_s"],
        end_s=row["end_s"],
    )


def _failure(task: EmbedTask, clip: ClipToEmbed, reason: str, message: str) -> Failure:
    return Failure(task.stage.name, printable(clip.source or clip.path), reason, message, clip.id)


def _num_clips(units: Sequence[Unit[EmbedTask]]) -> int:
    return sum(len(unit.task.clips) for unit in units)


def _batches(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    batch: list[Any] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def embed_clips(input_path: str, output_path: str | None = None, **parameters: Any) -> StageResult:
    """Compute one vector a clip; the parameters are those of `EmbedStage`."""
    return EmbedStage(input_path, output_path, **parameters).run()
