"""Measure on the user's own clips: edit some, embed the copies, and recommend thresholds that find them.

One clip per unit: the clip and its edited copies in, their cosines and how their tracks match out. `judgement` makes a
calibration of the records.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar

from curator_dask.dedup.calibration import Calibration
from curator_dask.dedup.overlap_calibration import SHIFTS_S, STRICTNESS
from curator_dask.errors import InputError, ParameterError, ToolError
from curator_dask.files import layout
from curator_dask.files.folder import Folder
from curator_dask.files.names import counted, printable
from curator_dask.keywords import with_suggestions
from curator_dask.models.registry import DEFAULT_MODEL
from curator_dask.runtime.records import digest, dump_json
from curator_dask.runtime.state import StageState
from curator_dask.runtime.units import Unit, UnitsOutcome, count_work, has_work, run_units
from curator_dask.stages.align.spec import VERSION as ALIGN_VERSION
from curator_dask.stages.base import RunContext, Stage, StageResult
from curator_dask.stages.calibrate.choose_clips import ChosenClips
from curator_dask.stages.calibrate.judgement import calibration_of_records
from curator_dask.stages.calibrate.spec import CALIBRATE, CalibrateTask
from curator_dask.stages.calibrate.worker import edit_and_embed
from curator_dask.stages.embed.clip_tracks import track_version
from curator_dask.stages.embed.parameters import FOLLOW_WORKERS
from curator_dask.stages.embed.spec import EmbedSpec
from curator_dask.stages.embed.stage import EmbedStage
from curator_dask.stages.embed.units import each_unit
from curator_dask.video.edits import EDITS, LATE
from curator_dask.video.process.ffmpeg import encoder_failure

"""Taken of one video before a second round takes more."""


@with_suggestions
@dataclass(frozen=True)
class CalibrateStage(Stage):
    """Find the thresholds that suit the user's own clips: of the rule `overlap`, and a model's eps for the rules by vectors.

    It needs an ffmpeg with libx264.

    Args:
        input_path: the output of the split stage, or any folder of clips.
        output_path: folder or URL for ``calibration.json``.
        embedding_algorithm: name of the embedding model, or ``hf:FOLDER`` or ``onnx:FILE``.
        model_dir: folder with the weights of the models.
        num_clips: number of clips to edit, at least 2; up to four of a video, so that other moments of one video are
            among them. Videos and clips are chosen by a hash of their names and ids.
        frame_sampling: frames that the model sees: ``uniform`` (over the whole clip) or ``prefix``.
        dtype: number type that a network computes in: ``auto``, ``float32``, ``bfloat16`` or ``float16``.
        torch_device: where the model runs: a device of torch's; ``auto``: on a GPU if workers have one.
        trust_remote_code: allow Python code from the model's folder to run.
        model_settings: settings that only the model understands, as a mapping or as texts ``NAME=VALUE``.
        known_duplicates: groups of source videos that show the same thing. Pairs of their clips are neither right nor
            wrong, so they are left out. Only the judgement depends on it: a second run with other groups, after a first
            one has shown which pairs are close, embeds nothing again.
        input_storage_options: fsspec options for `input_path`.
        output_storage_options: fsspec options for `output_path`.
    """

    input_path: str
    output_path: str
    embedding_algorithm: str = DEFAULT_MODEL
    model_dir: str = "./models"
    num_clips: int = 64
    frame_sampling: str = "uniform"
    dtype: str = "auto"
    torch_device: str = FOLLOW_WORKERS
    trust_remote_code: bool = False
    model_settings: Mapping[str, Any] | Sequence[str] | None = None
    known_duplicates: tuple[tuple[str, ...], ...] = ()
    input_storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    output_storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    name: ClassVar[str] = CALIBRATE
    workers: ClassVar[str] = "torch"

    def __post_init__(self) -> None:
        if self.num_clips < 2:
            raise ParameterError(f"num_clips ({self.num_clips}) must be at least 2: clips are compared with each other")

    @property
    def output(self) -> Folder:
        return Folder(self.output_path, self.output_storage_options)

    def embed_stage(self) -> EmbedStage:
        """The embed stage that lists the clips and names the model; it is never run."""
        stage = EmbedStage(
            self.input_path, self.output_path, self.embedding_algorithm, model_dir=self.model_dir, frames_from="clips",
            frame_sampling=self.frame_sampling, dtype=self.dtype, torch_device=self.torch_device,
            trust_remote_code=self.trust_remote_code, model_settings=self.model_settings,
            input_storage_options=self.input_storage_options, output_storage_options=self.output_storage_options,
        )  # fmt: skip
        return replace(stage, dtype=stage.kept_dtype(StageState(self.output, self.name)))

    def identity(self) -> dict[str, Any]:
        embed = self.embed_stage()
        return {
            "input_path": embed.input.root,
            "num_clips": self.num_clips,
            "edits": [asdict(edit) for edit in (*EDITS, *LATE)],
            "tracks": [ALIGN_VERSION, track_version(), list(SHIFTS_S), list(STRICTNESS)],
            "model": embed.model().fingerprint(),
        }

    def check_input(self) -> None:
        self.embed_stage().check_input()

    def execute(self, context: RunContext) -> StageResult:
        state = StageState(self.output, self.name)
        identity = self.identity()
        units = self._units()
        _require_encoder()
        if context.dry_run:
            self.check(context)
            todo, done = count_work(state, units, context.again(state))
            return StageResult(self.name, self.output, {"clips_in": len(units)}, num_run=todo, num_skipped=done)
        again = context.again(state)
        if context.overwrite or has_work(state, units, again):
            spec, fingerprint = self.embed_stage().resolved().settled_spec(context)
            units = [replace(unit, task=replace(unit.task, spec=self._here(spec))) for unit in units]
            identity = {**identity, "model": fingerprint}
        state.claim(identity, overwrite=context.overwrite)
        outcome = run_units(
            *(context.cluster, state, units, edit_and_embed), reporter=context.reporter, what="clips", again=again
        )
        return self._publish(state, len(units), outcome)

    def _publish(self, state: StageState, num_clips: int, outcome: UnitsOutcome) -> StageResult:
        """Judge the records, and write the report."""
        calibration = self.calibration()
        state.publish(layout.CALIBRATION, dump_json(_without_nan(asdict(calibration))))
        counts = {
            "clips_in": num_clips,
            "clips": calibration.num_clips,
            "clips_failed": num_clips - calibration.num_clips,
            "copies": outcome.counts.get("copies", 0),
            "different_pairs": calibration.num_false_candidates,
        }
        state.summarise(counts, failures=outcome.failures)
        return StageResult(self.name, self.output, counts, outcome.failures, outcome.num_run, outcome.num_skipped)

    def calibration(self) -> Calibration:
        """The calibration from the records of a finished run."""
        return calibration_of_records(StageState(self.output, self.name), self.known_duplicates)

    def _units(self) -> list[Unit[CalibrateTask]]:
        """The units of the chosen clips."""
        spec = self.embed_stage().resolved().spec()
        clips = ChosenClips(self.num_clips)
        for unit in each_unit(spec):
            clips.add((clip for clip in unit.task.clips if clip.path), unit.inputs)
        if clips.num_seen < 2:
            raise InputError(
                f"{self.input_path} holds {counted(clips.num_seen, 'clips')}; calibration compares at least 2"
            )
        tasks = [
            (CalibrateTask(self._here(spec), clip, digest(clip.id)), inputs) for clip, inputs in clips.chosen().items()
        ]
        return [Unit(task.key, inputs, task, printable(task.clip.path)) for task, inputs in tasks]

    def _here(self, spec: EmbedSpec) -> EmbedSpec:
        """The same, but tracks go to this stage's own folder."""
        return replace(spec, output=self.output)


def _without_nan(value: Any) -> Any:
    """The same with None for shares of nothing, which JSON has no number for."""
    if isinstance(value, dict):
        return {key: _without_nan(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(one) for one in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _require_encoder() -> None:
    failure = encoder_failure("libx264")
    if failure is not None:
        raise ToolError(f"calibration encodes copies with libx264, which does not work here ({failure})")


def calibrate_eps(input_path: str, output_path: str, **parameters: Any) -> Calibration:
    """Edit clips, embed the copies, and judge; the parameters are those of `CalibrateStage`."""
    stage = CalibrateStage(input_path, output_path, **parameters)
    stage.run()
    return stage.calibration()
