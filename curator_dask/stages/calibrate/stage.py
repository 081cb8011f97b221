"""Measure an embedding on a user's own clips: edit some, embed the copies, and say which eps finds them.

One unit a clip: the clip and its edited copies in, their vectors out. What is made of them is `dedup.calibration`.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from curator_dask.dedup.calibration import Calibration, calibrate
from curator_dask.errors import InputError, MediaError, ParameterError, ToolError
from curator_dask.files.folder import Folder
from curator_dask.files.names import printable
from curator_dask.models.base import Unusable
from curator_dask.models.registry import DEFAULT_MODEL
from curator_dask.runtime.records import Failure, UnitResult, digest, dump_json
from curator_dask.runtime.state import StageState
from curator_dask.runtime.units import Unit, run_units
from curator_dask.stages.base import RunContext, Stage, StageResult
from curator_dask.stages.embed.parameters import FOLLOW_WORKERS
from curator_dask.stages.embed.stage import EmbedStage, has_work
from curator_dask.stages.embed.worker import ClipToEmbed
from curator_dask.video.edits import EDITS

if TYPE_CHECKING:
    import numpy as np

    from curator_dask.models.base import EmbeddingModel
    from curator_dask.video.probe import VideoInfo

REPORT = "calibration.json"
SAME_PICTURE = 12.0
"""Grey levels (of 255) by which the mean pictures of two clips differ at most where they show the same thing: moments of
a still camera, cuts of one shot, unknown copies. Such pairs are neither right nor wrong, so they are left out."""
CLOSEST_SHOWN = 5
_SIGNATURE_SIDE = 16


@dataclass(frozen=True)
class CalibrateStage(Stage):
    """Find the eps for a model on one's own clips.

    `input_path` is the output of the split stage, or any folder of clips. Needs an ffmpeg with libx264.
    """

    input_path: str
    output_path: str
    embedding_algorithm: str = DEFAULT_MODEL
    model_dir: str = "./models"
    num_clips: int = 64
    """How many clips to edit, chosen evenly by a hash of their ids."""
    frame_sampling: str = "uniform"
    dtype: str = "auto"
    torch_device: str = FOLLOW_WORKERS
    trust_remote_code: bool = False
    known_duplicates: tuple[tuple[str, ...], ...] = ()
    """Groups of source videos that show the same thing: pairs of their clips are neither right nor wrong, and left out.
    Only the judgement depends on it, so it may be changed after a first run has shown which pairs are close."""
    input_storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    output_storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    name: ClassVar[str] = "calibrate"
    workers: ClassVar[str] = "torch"

    def __post_init__(self) -> None:
        if self.num_clips < 2:
            raise ParameterError(f"num_clips ({self.num_clips}) must be at least 2: clips are compared with each other")

    @property
    def output(self) -> Folder:
        return Folder(self.output_path, self.output_storage_options)

    def embed_stage(self) -> EmbedStage:
        stage = EmbedStage(
            self.input_path, self.output_path, self.embedding_algorithm, self.model_dir, frames_from="clips",
            frame_sampling=self.frame_sampling, dtype=self.dtype, torch_device=self.torch_device,
            trust_remote_code=self.trust_remote_code,
            input_storage_options=self.input_storage_options, output_storage_options=self.output_storage_options,
        )  # fmt: skip
        return replace(stage, dtype=stage.kept_dtype(StageState(self.output, self.name)))

    def identity(self) -> dict[str, Any]:
        embed = self.embed_stage()
        return {
            "input_path": embed.input.root,
            "num_clips": self.num_clips,
            "edits": [asdict(edit) for edit in EDITS],
            "model": embed.model().fingerprint(),
        }

    def execute(self, context: RunContext) -> StageResult:
        state = StageState(self.output, self.name)
        identity = self.identity()
        units = self._units()
        if context.dry_run:
            state.check(identity)
            return StageResult(self.name, self.output, {"clips_in": len(units)})
        _require_encoder()
        if context.overwrite or has_work(state, units):
            embed, fingerprint = units[0].task.embed.settled(context.cluster)
            units = [replace(unit, task=replace(unit.task, embed=embed)) for unit in units]
            identity = {**identity, "model": fingerprint}
        state.claim(identity, overwrite=context.overwrite)
        outcome = run_units(context.cluster, state, units, edit_and_embed, reporter=context.reporter, what="clips")
        calibration = judged(state, self.known_duplicates)
        state.publish(REPORT, dump_json(asdict(calibration)))
        counts = {
            "clips_in": len(units),
            "clips": calibration.num_clips,
            "clips_failed": len(units) - calibration.num_clips,
            "copies": outcome.counts.get("copies", 0),
            "different_pairs": calibration.num_false_candidates,
        }
        state.summarise(counts, failures=outcome.failures)
        return StageResult(
            self.name, self.output, counts, outcome.failures, outcome.num_run, outcome.num_skipped, tables=()
        )

    def calibration(self) -> Calibration:
        """What a finished run came to."""
        return judged(StageState(self.output, self.name), self.known_duplicates)

    def _units(self) -> list[Unit[CalibrateTask]]:
        embed = self.embed_stage().resolved()
        clips = [(clip, unit.inputs) for unit in embed.units() for clip in unit.task.clips if clip.path]
        if len(clips) < 2:
            raise InputError(f"{self.input_path} holds {len(clips)} clips; calibration compares at least 2")
        chosen = sorted(clips, key=lambda pair: hashlib.sha256(pair[0].id.encode()).digest())[: self.num_clips]
        return [
            Unit(digest(clip.id), inputs, CalibrateTask(embed, clip), printable(clip.path)) for clip, inputs in chosen
        ]


@dataclass(frozen=True)
class CalibrateTask:
    """One clip to edit, as it travels to a worker."""

    embed: EmbedStage
    clip: ClipToEmbed


def edit_and_embed(task: CalibrateTask) -> UnitResult:
    """The vectors of a clip and of its edited copies; the unit of `CalibrateStage`, run on a worker."""
    embed = task.embed
    model = embed.model()
    with (
        embed.input.fetched(task.clip.path) as path,
        tempfile.TemporaryDirectory(prefix="curator_dask_edit_") as folder,
    ):
        from curator_dask.video.probe import probe_video

        info = probe_video(path)
        vectors = dict(_vectors(info, model, Path(folder)))
        signature = _signature(path)
    base = vectors.pop("")
    if base is None:
        failure = Failure(CalibrateStage.name, printable(task.clip.path), "no-vector", "the clip has no usable vector")
        return UnitResult(counts={"clips_failed": 1}, failures=(failure,))
    cosines = {name: -1.0 if vector is None else _cosine(base, vector) for name, vector in vectors.items()}
    source = printable(task.clip.source or task.clip.path)
    data = {
        "id": task.clip.id, "source": source, "vector": base.tolist(), "signature": signature, "cosines": cosines
    }  # fmt: skip
    return UnitResult(counts={"clips": 1, "copies": len(cosines)}, data={"clips": [data]})


def judged(state: StageState, known_duplicates: Sequence[Sequence[str]] = ()) -> Calibration:
    """What the records of all clips come to."""
    import numpy as np

    clips = sorted((clip for record in state.records() for clip in record.data.get("clips", ())), key=lambda c: c["id"])
    pairs: dict[tuple[str, str], np.ndarray[Any, np.dtype[np.float64]]] = {
        (edit.name, edit.kind): np.array([clip["cosines"][edit.name] for clip in clips], dtype=np.float64)
        for edit in EDITS
    }
    if not clips:
        return calibrate(pairs, np.empty(0), 0)
    vectors = np.array([clip["vector"] for clip in clips], dtype=np.float64)
    signatures = np.array([clip["signature"] for clip in clips], dtype=np.float64)
    first, second = _different(signatures)
    unknown = [not _together(known_duplicates, clips[i]["source"], clips[j]["source"])
               for i, j in zip(first, second, strict=True)]  # fmt: skip
    first, second = first[unknown], second[unknown]
    cosines = np.einsum("ij,ij->i", vectors[first], vectors[second])
    most = np.argsort(-cosines, kind="stable")[:CLOSEST_SHOWN]
    closest = [(_title(clips[first[i]]), _title(clips[second[i]]), round(float(cosines[i]), 6)) for i in most]
    return calibrate(pairs, cosines, len(clips), tuple(closest))


def _title(clip: Mapping[str, Any]) -> str:
    return f"{clip['id']} ({clip['source']})"


def _together(groups: Sequence[Sequence[str]], one: str, other: str) -> bool:
    """Whether the two videos are known to show the same thing."""
    return any(one in group and other in group for group in groups)


def _different(signatures: Any) -> tuple[Any, Any]:
    """Row indices of the pairs of clips that show different things."""
    import numpy as np

    first, second = np.triu_indices(len(signatures), 1)
    differs = np.abs(signatures[first] - signatures[second]).mean(axis=1) > SAME_PICTURE
    return first[differs], second[differs]


def _vectors(info: VideoInfo, model: EmbeddingModel, folder: Path) -> Iterator[tuple[str, Any]]:
    """(edit's name, vector or None) of the clip itself (no name) and of each copy."""
    from curator_dask.video.edits import write_edit
    from curator_dask.video.frames.read import read_ready_clip

    yield "", _vector(model, read_ready_clip(info.path, model.frame_rule))
    copy = folder / "copy.mp4"
    for edit in EDITS:
        try:
            write_edit(info, edit, copy)
            yield edit.name, _vector(model, read_ready_clip(copy, model.frame_rule))
        except MediaError as error:
            raise MediaError(error.reason, f"{edit.name}: {error}") from error


def _vector(model: EmbeddingModel, frames: Any) -> np.ndarray[Any, Any] | None:
    result = model.embed([frames])[0]
    return None if isinstance(result, Unusable) else result


def _signature(path: Path) -> list[float]:
    """(256,) the mean picture of a clip in 16x16 grey levels: what it shows, seen without any embedding."""
    from curator_dask.video.frames.read import read_ready_clip
    from curator_dask.video.frames.sampling import FrameRule

    frames = read_ready_clip(path, FrameRule.spread(4, width=_SIGNATURE_SIDE, height=_SIGNATURE_SIDE))
    return [round(float(value), 3) for value in frames.mean(axis=(0, 3)).ravel()]


def _cosine(a: Any, b: Any) -> float:
    return float(a.astype("float64") @ b.astype("float64"))


def _require_encoder() -> None:
    from curator_dask.video.process.ffmpeg import encoder_failure

    failure = encoder_failure("libx264")
    if failure is not None:
        raise ToolError(f"calibration encodes copies with libx264, which does not work here ({failure})")


def calibrate_eps(input_path: str, output_path: str, **parameters: Any) -> Calibration:
    """Edit clips, embed the copies, and judge; the parameters are those of `CalibrateStage`."""
    stage = CalibrateStage(input_path, output_path, **parameters)
    stage.run()
    return stage.calibration()
