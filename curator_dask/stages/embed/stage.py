"""Clips → vectors and tracks: some clips of one video per unit, one Parquet file of each per unit."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from curator_dask.data.beside_vectors.plain_clips import PlainClip, is_plain, plain_clips_of, publish_plain_clips
from curator_dask.data.beside_vectors.quality_table import publish_quality
from curator_dask.data.clip_index import clip_index_batches, has_clip_index
from curator_dask.errors import InputError
from curator_dask.files import layout
from curator_dask.files.folder import Folder
from curator_dask.files.video_listing import VideoChoice, refuse_missing_videos
from curator_dask.keywords import with_suggestions
from curator_dask.models.base import DTYPES, ModelOptions, settings_as_text
from curator_dask.models.registry import registered_factory
from curator_dask.runtime.records import UnitRecord, dump_json
from curator_dask.runtime.state import StageState
from curator_dask.runtime.units import Unit, has_work, run_units
from curator_dask.runtime.waiting import gather
from curator_dask.stages.base import RunContext, Stage, StageResult
from curator_dask.stages.embed.clip_tracks import TRACK_VERSION, track_version
from curator_dask.stages.embed.parameters import FOLLOW_WORKERS, FRAMES_FROM, EmbedParameters
from curator_dask.stages.embed.spec import EMBED, EmbedSpec, ModelSpec
from curator_dask.stages.embed.units import list_ready_clips, num_clips, plan_units
from curator_dask.stages.embed.worker import embed_unit, embed_units, settle_on_gpu

if TYPE_CHECKING:
    from curator_dask.models.base import EmbeddingModel


@dataclass(frozen=True)
class EmbedPaths:
    """The parameters of the embed stage that come first by position."""

    input_path: str
    """The output of the split stage, or any folder of ready clips."""
    output_path: str | None = None
    """Vectors go to a folder below; None: below `input_path`."""


@with_suggestions
@dataclass(frozen=True)
class EmbedStage(EmbedParameters, EmbedPaths, Stage):
    """Compute one vector per clip, and its track.

    Vectors go to ``{model}_embd_parquet`` below `output_path`: Parquet files with the columns `id_field` and
    `embedding_field` (``list<float32>``, unit length), and ``_fingerprint.json``, which says how they were made. The
    tracks, which say what each clip shows every half second, lie in ``_tracks`` there. Clips
    that are too plain for a vector are listed in ``_plain.parquet``. ``_quality.parquet`` says of each clip whose frames
    passed here how much moves in it, how bright and how sharp it is, and more.

    Args:
        input_path: the output of the split stage, or any folder of ready clips, whose ids are then their file names.
        output_path: folder or URL for the folder of vectors; None: `input_path`.
        embedding_algorithm: name of the embedding model, or ``hf:FOLDER``, ``onnx:FILE`` or ``python:MODULE:ATTRIBUTE``.
        video_dir: the source videos; needed if frames come from them.
        id_field: column of the ids in the files of vectors.
        embedding_field: column of the vectors.
        include: in a folder of ready clips: globs such as ``*.mp4`` or ``day1/**``; only files that one of them chooses
            are read.
        exclude: globs; ready clips that one of them chooses are left out.
        follow_links: also read what symbolic links out of a folder of ready clips lead to.
        input_storage_options: fsspec options for `input_path` and `video_dir`.
        output_storage_options: fsspec options for `output_path`; empty: those of the input.
        model_dir: folder with the weights of the models.
        frame_sampling: frames that the model sees: ``uniform`` (spread over the whole clip) or ``prefix`` (as older
            vectors were made, for models that look at a fixed number of frames).
        frames_from: ``clips``: the clip files are decoded. ``source``: the same spans of the source videos are decoded;
            done while the videos are cut, that saves decoding the clips. ``auto``: the choice that made existing vectors,
            else ``source`` if `video_dir` is given and the model is a light one, else ``clips``. Without clip files, it
            is always the source.
        dtype: number type that a network computes in: ``auto``, ``float32``, ``bfloat16`` or ``float16``.
        torch_device: where the model runs: a device of torch's; ``auto``: ``cuda`` on GPU workers unless the model is
            light, else ``cpu``. The `dtype` ``auto`` depends on the device. In a folder that holds vectors, both are the
            ones that made them.
        trust_remote_code: allow Python code from the model's folder to run.
        model_settings: settings that only the model understands, as a mapping or as texts ``NAME=VALUE``; those of
            ``onnx:FILE`` go over those in ``FILE.yaml``.
        decode_threads: clips decoded at the same time, ahead of the model; None: one; for a model on a GPU, its share of
            the cores.
        tracks: write a track beside each vector: what the clip shows every half second, under 200 bytes per second. It
            costs little beside the default model and its kin. For other models it makes cutting about a fifth slower, if
            the videos are cut in the same run; else it costs one more decode of each clip.
    """

    video_dir: str | None = None
    id_field: str = "id"
    embedding_field: str = "embedding"
    include: str | Sequence[str] | None = ()
    exclude: str | Sequence[str] | None = ()
    follow_links: bool = False
    input_storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    output_storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    name: ClassVar[str] = EMBED
    workers: ClassVar[str] = "torch"

    @property
    def input(self) -> Folder:
        return Folder(self.input_path, self.input_storage_options)

    @property
    def output(self) -> Folder:
        options = self.output_storage_options or self.input_storage_options
        root = Folder(self.output_path or self.input_path, options)
        return root.below(layout.embeddings_folder(self.embedding_algorithm))

    def model_spec(self) -> ModelSpec:
        """The model and its options, with absolute paths: for this process and for workers."""
        # On this machine a CPU suffices to ask the model what it is; `settled_spec` asks the workers for their device.
        device = "cpu" if self.torch_device == FOLLOW_WORKERS else self.torch_device
        options = ModelOptions(
            Path(self.model_dir).absolute(),
            device,
            self.frame_sampling,
            self.dtype,
            self.trust_remote_code,
            Path.cwd(),
            settings_as_text(self.model_settings),
        )
        return ModelSpec(self.embedding_algorithm, options, registered_factory(self.embedding_algorithm))

    def model(self) -> EmbeddingModel:
        """The loaded model. Raises ParameterError for an unknown name, ModelError for missing or wrong files."""
        return self.model_spec().load()

    def resolved(self, *, has_exact_clips: bool | None = None) -> EmbedStage:
        """This stage with `frames_from` chosen. Choices left to ``auto`` stay those of the vectors in the output folder.

        Args:
            has_exact_clips: whether the clips are (or will be) the planned spans, frame by frame; None: look at the clip
                index.
        """
        state = StageState(self.output, self.name)
        stage = replace(self, dtype=self.kept_dtype(state))
        if self.frames_from != "auto":
            return stage
        recorded = state.parameter("frames_from")
        if recorded not in FRAMES_FROM:
            light = self.video_dir is not None and stage.model().light
            exact = light and (self._has_exact_clips() if has_exact_clips is None else has_exact_clips)
            recorded = "source" if exact else "clips"
        return replace(stage, frames_from=str(recorded))

    def kept_dtype(self, state: StageState) -> str:
        """`dtype`, or the one recorded in `state` if workers choose it: the workers of today may choose another one."""
        if self.dtype != "auto" or self.torch_device != FOLLOW_WORKERS:
            return self.dtype
        recorded = state.parameter("model")
        dtype = recorded.get("dtype") if isinstance(recorded, dict) else None
        return str(dtype) if dtype in DTYPES else self.dtype

    def spec(self) -> EmbedSpec:
        """What workers are told. Call it on a `resolved` stage."""
        videos = None if self.video_dir is None else Folder(self.video_dir, self.input_storage_options)
        return EmbedSpec(
            self.input,
            self.output,
            videos,
            self.model_spec(),
            self.id_field,
            self.embedding_field,
            self.decode_threads,
            reads_source=self.frames_from == "source",
            tracks=self.tracks,
        )

    def spec_beside_cut(self) -> EmbedSpec | None:
        """The spec if vectors can come from the process that cuts a video; None if this stage computes them all later.

        A heavy model would hold up the encoder, and a model on a GPU belongs to other workers.
        """
        fits = self.frames_from == "source" and self.torch_device in ("cpu", FOLLOW_WORKERS) and self.model().light
        return self.spec() if fits else None

    def needs_tracks_of_cut(self) -> bool:
        """Whether the cutting process should make the tracks: the model sees other frames, later."""
        from curator_dask.models.pdqf.tracker import TRACK_RULE

        return self.tracks and self.spec_beside_cut() is None and self.model().frame_rule != TRACK_RULE

    def settled_spec(self, context: RunContext) -> tuple[EmbedSpec, dict[str, Any]]:
        """The spec with the torch device of the cluster's workers, and the fingerprint of the model there.

        Raises DeviceError if the workers have GPUs and their torch cannot use them.
        """
        cluster, spec = context.cluster, self.spec()
        on_cpu = cluster.device == "cpu" or self.torch_device != FOLLOW_WORKERS
        if on_cpu or self.model().light:
            return spec, self.model().fingerprint()
        # A worker is asked: this machine may have no GPU, and the dtype "auto" depends on the device.
        asked = cluster.client.submit(settle_on_gpu, spec, pure=False)
        settled, fingerprint = gather(cluster.client, [asked], context.reporter.note)[0]
        return settled, fingerprint

    def _has_exact_clips(self) -> bool:
        """Clips that were cut at key frames begin and end elsewhere than planned, and ready clips have no source."""
        if not has_clip_index(self.input):
            return False
        try:
            batches = clip_index_batches(self.input, ["encoder"])
            return all("copy" not in batch["encoder"].unique().to_pylist() for batch in batches)
        except InputError:
            return True  # damaged: split makes it anew before a run needs it; where split does not run, its rows cannot be read

    def identity(self) -> dict[str, Any]:
        stage = self.resolved()
        return stage.identity_with(stage.model().fingerprint())

    def identity_with(self, fingerprint: dict[str, Any]) -> dict[str, Any]:
        """The identity of a `resolved` stage whose model has this fingerprint."""
        return {
            "input_path": self.input.root,
            "id_field": self.id_field,
            "embedding_field": self.embedding_field,
            "frames_from": self.frames_from,
            "model": fingerprint,
        }

    def claim(self, context: RunContext) -> None:
        """Take the output folder for this stage's parameters. Raises FolderInUseError if it holds other vectors."""
        if self.torch_device == FOLLOW_WORKERS and not self.model().light:
            return  # this stage itself claims it, once its workers have chosen the dtype
        self.claim_as(context, self.identity())

    def claim_as(self, context: RunContext, identity: dict[str, Any]) -> None:
        """Take the output folder for this identity, and write the fingerprint."""
        state = StageState(self.output, self.name)
        state.claim(identity, overwrite=context.overwrite)
        fingerprint = {**identity["model"], "frames_from": identity["frames_from"], **self._version_of_tracks()}
        state.publish(layout.FINGERPRINT, dump_json(fingerprint))

    def _version_of_tracks(self) -> dict[str, Any]:
        """``track_version`` for the fingerprint. Without new tracks, it stays that of the tracks that are there."""
        if self.tracks:
            return {TRACK_VERSION: track_version()}
        try:
            held = json.loads(self.output.read_bytes(layout.FINGERPRINT))
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return {}
        return {TRACK_VERSION: held[TRACK_VERSION]} if TRACK_VERSION in held else {}

    def _units_without_tracks(self, state: StageState) -> set[str]:
        """The keys of finished units that still need tracks: an earlier version made none, or others."""
        if not self.tracks:
            return set()
        return {record.key for record in state.records() if record.data.get(TRACK_VERSION) != track_version()}

    def check_input(self) -> None:
        refuse_missing_videos(self.input)

    def execute(self, context: RunContext) -> StageResult:
        stage = self.resolved()
        state = StageState(self.output, self.name)
        identity = stage.identity()  # first, so that an unknown model is refused before clips are listed
        ready_clips = list_ready_clips(stage.spec(), self._choice())
        left_out = ready_clips.left_out if ready_clips is not None else {}
        units = plan_units(stage.spec(), ready_clips)
        again = stage._units_without_tracks(state) | context.again(state)
        self._require_source(state, units, again)
        if context.dry_run:
            self.check(context)
            todo, done = self.count_planned(units, again)
            counts = {"clips_in": num_clips(units)}
            return StageResult(self.name, self.output, counts, num_run=todo, num_skipped=done, left_out=left_out)
        if context.overwrite or has_work(state, units, again):
            spec, fingerprint = stage.settled_spec(context)  # only here, as a finished job starts no workers
            units = [replace(unit, task=replace(unit.task, spec=spec)) for unit in units]
            identity = stage.identity_with(fingerprint)
        stage.claim_as(context, identity)
        return replace(self._run(context, state, units, again), left_out=left_out)

    def _choice(self) -> VideoChoice:
        """Which ready clips are taken. The folder that they lie in may be the one that results go to."""
        root = Folder(self.output_path or self.input_path, self.output_storage_options or self.input_storage_options)
        return VideoChoice(self.include, self.exclude, follow_links=self.follow_links, output=root, lists_clips=True)

    def _run(self, context: RunContext, state: StageState, units: Sequence[Unit[Any]], again: set[str]) -> StageResult:
        state.forget(state.unit_keys() - {unit.key for unit in units})
        outcome = run_units(
            *(context.cluster, state, units, embed_unit),
            reporter=context.reporter,
            what="units",
            together=embed_units,
            again=again,
        )
        # Workers of the split stage write here too, and one that was killed leaves this stage nothing to do.
        state.folder.sweep_directly(["", layout.TRACKS])
        tables: list[str] = []
        plain_clips: list[PlainClip] = []
        publish_quality(state, _noting(state.records(), tables, plain_clips))
        plain = publish_plain_clips(state, plain_clips)
        failures = tuple(failure for failure in outcome.failures if not is_plain(failure))
        clips, embedded = num_clips(units), outcome.counts.get("embeddings", 0)
        num_open = len({failure.clip_id for failure in failures if failure.is_open})
        failed = clips - embedded - len(plain) - num_open
        counts = {"clips_in": clips, "embeddings": embedded, "clips_plain": len(plain), "clips_failed": failed}
        counts |= {"clips_open": num_open} if num_open else {}
        state.summarise(counts, failures=failures)
        return StageResult(
            self.name, self.output, counts, failures, outcome.num_run, outcome.num_skipped, tables=tuple(tables),
            plain=plain,
        )  # fmt: skip

    def _require_source(self, state: StageState, units: Sequence[Unit[Any]], again: set[str]) -> None:
        """Raise InputError if unfinished work needs videos that were not named. A finished job needs none."""
        from_source = [unit for unit in units if unit.task.from_source]
        if self.video_dir is None and from_source and has_work(state, from_source, again):
            raise InputError(
                f"the frames for {self.output.url} come from the source videos (no clips were written, or frames_from is "
                "'source'): name them with video_dir, or, if only tracks are missing, leave these out with tracks=False"
            )


def _noting(records: Iterable[UnitRecord], tables: list[str], plain: list[PlainClip]) -> Iterator[UnitRecord]:
    """The same records; on their way their files of vectors and their plain clips are added to the lists."""
    for record in records:
        tables += (path for path in record.outputs if not path.startswith(f"{layout.TRACKS}/"))
        plain += plain_clips_of(record)
        yield record


def embed_clips(input_path: str, output_path: str | None = None, **parameters: Any) -> StageResult:
    """Compute one vector per clip; the parameters are those of `EmbedStage`."""
    return EmbedStage(input_path, output_path, **parameters).run()
