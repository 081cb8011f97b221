"""Clips → vectors: one unit some clips of one video, one Parquet file a unit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar

from curator_dask.data.clip_index import read_clip_index
from curator_dask.errors import InputError
from curator_dask.files import layout
from curator_dask.files.folder import Folder
from curator_dask.files.names import printable
from curator_dask.files.video_listing import list_videos
from curator_dask.models.base import DTYPES, ModelOptions
from curator_dask.models.registry import ModelFactory, adopt_model, registered_factory
from curator_dask.runtime.device import torch_device
from curator_dask.runtime.records import digest, dump_json
from curator_dask.runtime.state import StageState
from curator_dask.runtime.units import Unit, gathered, run_units
from curator_dask.stages.base import RunContext, Stage, StageResult
from curator_dask.stages.embed.parameters import FOLLOW_WORKERS, FRAMES_FROM, EmbedParameters
from curator_dask.stages.embed.worker import (
    ClipToEmbed,
    EmbedTask,
    VectorTap,
    cached_model,
    clip_of_row,
    embed_unit,
    embed_units,
)

if TYPE_CHECKING:
    from curator_dask.models.base import EmbeddingModel
    from curator_dask.runtime.cluster import LazyCluster
    from curator_dask.video.spans import Span

FINGERPRINT = "_fingerprint.json"
CLIPS_PER_UNIT = 32


@dataclass(frozen=True)
class EmbedPaths:
    """The parameters of the embed stage that come first by position."""

    input_path: str
    """The output of the split stage, or any folder of ready clips."""
    output_path: str | None = None
    """Vectors go to a folder below; None: below `input_path`."""


@dataclass(frozen=True)
class EmbedStage(EmbedParameters, EmbedPaths, Stage):
    """Compute one vector a clip.

    `input_path` is the output of the split stage, or any folder of ready clips (ids are then the file names).
    Vectors go to ``{model}_embd_parquet`` below `output_path` (default: the input folder).
    """

    video_dir: str | None = None
    """The source videos; needed where frames come from them."""
    id_field: str = "id"
    embedding_field: str = "embedding"
    input_storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    output_storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    factory: ModelFactory | None = field(default=None, repr=False, compare=False)
    """A model of the user's own, on its way to the workers; filled in from the registry of this process."""
    start_dir: str = field(default=".", repr=False)
    """Where a relative path of a model starts: here, for workers too."""

    name: ClassVar[str] = "embed"
    workers: ClassVar[str] = "torch"

    @property
    def input(self) -> Folder:
        return Folder(self.input_path, self.input_storage_options)

    @property
    def output(self) -> Folder:
        options = self.output_storage_options or self.input_storage_options
        root = Folder(self.output_path or self.input_path, options)
        return root.below(layout.embeddings_folder(self.embedding_algorithm))

    def model(self) -> EmbeddingModel:
        # What a model is, the CPU can tell as well; on workers the device is settled.
        device = "cpu" if self.torch_device == FOLLOW_WORKERS else self.torch_device
        options = ModelOptions(
            Path(self.model_dir), device, self.frame_sampling, self.dtype, self.trust_remote_code, Path(self.start_dir)
        )
        if self.factory is not None:
            adopt_model(self.embedding_algorithm, self.factory)
        return cached_model(self.embedding_algorithm, options)

    @property
    def reads_source(self) -> bool:
        """Whether frames come from the source videos though there may be clip files. Ask a `resolved` stage."""
        return self.frames_from == "source"

    def resolved(self, *, has_exact_clips: bool | None = None) -> EmbedStage:
        """This stage with `frames_from` settled, what is recorded kept to, and with all that its tasks take to the workers.

        `has_exact_clips`: whether the clips are (or will be) the planned spans, frame by frame; None: look at the index.
        """
        state = StageState(self.output, self.name)
        stage = replace(self, factory=registered_factory(self.embedding_algorithm), dtype=self.kept_dtype(state))
        if self.frames_from != "auto":
            return stage
        recorded = state.parameter("frames_from")
        if recorded not in FRAMES_FROM:
            light = self.video_dir is not None and stage.model().light
            exact = light and (self._has_exact_clips() if has_exact_clips is None else has_exact_clips)
            recorded = "source" if exact else "clips"
        return replace(stage, frames_from=str(recorded))

    def kept_dtype(self, state: StageState) -> str:
        """`dtype`; where the workers decide, what the vectors recorded in ``state`` were made with: they may be others now."""
        recorded = state.parameter("model")
        dtype = recorded.get("dtype") if isinstance(recorded, dict) else None
        left_to_workers = self.dtype == "auto" and self.torch_device == FOLLOW_WORKERS
        return str(dtype) if left_to_workers and dtype in DTYPES else self.dtype

    def settled(self, cluster: LazyCluster) -> tuple[EmbedStage, dict[str, Any]]:
        """A `resolved` stage with the torch device of the cluster's workers, and the model's fingerprint there.

        Raises DeviceError where the workers have GPUs and their torch cannot use them.
        """
        if self.torch_device != FOLLOW_WORKERS:
            return self, self.model().fingerprint()
        if cluster.device == "cpu" or self.model().light:
            return replace(self, torch_device="cpu"), self.model().fingerprint()
        # One of them is asked: this machine may have no GPU, and the dtype "auto" goes by the device.
        asked = cluster.client.submit(_on_gpu_worker, self, pure=False)
        stage, fingerprint = gathered(cluster.client, [asked])[0]
        return stage, fingerprint

    def _has_exact_clips(self) -> bool:
        """Key-frame cuts begin and end elsewhere than planned, and ready clips have no source."""
        if not self.input.exists(layout.CLIP_INDEX):
            return False
        return "copy" not in read_clip_index(self.input).column("encoder").unique().to_pylist()

    def identity(self) -> dict[str, Any]:
        stage = self.resolved()
        return stage._identity(stage.model().fingerprint())

    def _identity(self, fingerprint: dict[str, Any]) -> dict[str, Any]:
        return {
            "input_path": self.input.root,
            "id_field": self.id_field,
            "embedding_field": self.embedding_field,
            "frames_from": self.frames_from,
            "model": fingerprint,
        }

    def tap(self) -> VectorTap | None:
        """What computes the vectors in the process that cuts a video, where that is the way to have them."""
        # A heavy model would hold up the encoder, and one on a device belongs to other workers.
        fits = self.reads_source and self.torch_device in ("cpu", FOLLOW_WORKERS) and self.model().light
        return VectorTap(self) if fits else None

    def claim(self, context: RunContext) -> None:
        """Take the output folder for this stage's parameters. Raises FolderInUseError where it holds others' vectors."""
        if self.torch_device == FOLLOW_WORKERS and not self.model().light:
            return  # the dtype is settled where the workers are that embed: by this stage itself
        self._claim(context, self.identity())

    def _claim(self, context: RunContext, identity: dict[str, Any]) -> None:
        state = StageState(self.output, self.name)
        state.claim(identity, overwrite=context.overwrite)
        state.publish(FINGERPRINT, dump_json({**identity["model"], "frames_from": identity["frames_from"]}))

    def execute(self, context: RunContext) -> StageResult:
        return self.resolved()._execute(context)

    def _execute(self, context: RunContext) -> StageResult:
        state = StageState(self.output, self.name)
        identity = self.identity()  # loads the model: an unknown one is an error before anything is listed
        units = self.units()
        if context.dry_run:
            state.check(identity)
            return StageResult(self.name, self.output, {"clips_in": _num_clips(units)})
        self._require_source(state, units)
        if context.overwrite or has_work(state, units):
            stage, fingerprint = self.settled(context.cluster)  # not before: a finished job starts no workers
            units = [replace(unit, task=replace(unit.task, stage=stage)) for unit in units]
            identity = stage._identity(fingerprint)
        self._claim(context, identity)
        state.forget({record.key for record in state.records()} - {unit.key for unit in units})
        outcome = run_units(
            context.cluster, state, units, embed_unit, reporter=context.reporter, what="units", together=embed_units
        )
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

    def units(self) -> list[Unit[EmbedTask]]:
        """What is to embed."""
        if self.input.exists(layout.CLIP_INDEX):
            return self._units_of_index()
        return self._units_of_ready_clips()

    def _units_of_index(self) -> list[Unit[EmbedTask]]:
        by_video: dict[str, list[dict[str, Any]]] = {}
        for row in read_clip_index(self.input).to_pylist():
            by_video.setdefault(row["relative_path"], []).append(row)
        return [unit for _, rows in sorted(by_video.items()) for unit in self.units_of_video(rows)]

    def units_of_video(self, rows: Sequence[Mapping[str, Any]]) -> list[Unit[EmbedTask]]:
        """The units of one video, whose rows of the clip index these are, in order of their spans."""
        valid = [row for row in rows if row["valid"]]
        if not valid:
            return []
        source, clips = valid[0]["relative_path"], [clip_of_row(row) for row in valid]
        if self.reads_source or not clips[0].path:
            # Every span comes from one pass over the video: one unit, however long it is.
            spans = tuple(clip_of_row(row).span for row in rows)
            return [self._unit(f"{source}#0", tuple(clips), digest(*_inputs(clips, valid)), spans)]
        return [
            self._unit(f"{source}#{at // CLIPS_PER_UNIT}", tuple(group), digest(*_inputs(group, valid[at:])))
            for at in range(0, len(clips), CLIPS_PER_UNIT)
            for group in [clips[at : at + CLIPS_PER_UNIT]]
        ]

    def _require_source(self, state: StageState, units: Sequence[Unit[EmbedTask]]) -> None:
        """A finished job needs no videos any more."""
        wanting = [unit for unit in units if unit.task.source_spans] if self.video_dir is None else []
        done = state.done_units() if wanting else {}
        if any(done.get(unit.key) != unit.inputs for unit in wanting):
            raise InputError(
                f"the frames for {self.output.url} come from the source videos (no clips were written, or frames_from is "
                "'source'): name them with video_dir"
            )

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

    def _unit(
        self, name: str, clips: tuple[ClipToEmbed, ...], inputs: str, source_spans: tuple[Span, ...] = ()
    ) -> Unit[EmbedTask]:
        key = digest(printable(name))
        # Clips of several videos fill a task, and the model's batches; a pass over a source is one of its own.
        share = 1.0 if source_spans else len(clips) / CLIPS_PER_UNIT
        return Unit(key, inputs, EmbedTask(self, key, clips, source_spans), name, share)


def has_work(state: StageState, units: Sequence[Unit[Any]]) -> bool:
    """Whether some of the units are not done."""
    done = state.done_units()
    return any(done.get(unit.key) != unit.inputs for unit in units)


def _on_gpu_worker(stage: EmbedStage) -> tuple[EmbedStage, dict[str, Any]]:
    """On a GPU worker: the stage on its device, and the model's fingerprint there; the model is loaded for what follows."""
    stage = replace(stage, torch_device=torch_device("gpu"))
    return stage, stage.model().fingerprint()


def _inputs(clips: Sequence[ClipToEmbed], rows: Sequence[Mapping[str, Any]]) -> tuple[list[Any], list[int]]:
    return [asdict(clip) for clip in clips], [row["num_bytes"] for row in rows[: len(clips)]]


def _num_clips(units: Sequence[Unit[EmbedTask]]) -> int:
    return sum(len(unit.task.clips) for unit in units)


def embed_clips(input_path: str, output_path: str | None = None, **parameters: Any) -> StageResult:
    """Compute one vector a clip; the parameters are those of `EmbedStage`."""
    return EmbedStage(input_path, output_path, **parameters).run()
