"""Clips → previews, small pictures of each side by side. The report and the export share them, so each is made once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, ClassVar, NamedTuple

from curator_dask.data.clip_index import clip_index_batches
from curator_dask.files.folder import Folder
from curator_dask.keywords import with_suggestions
from curator_dask.runtime.records import digest
from curator_dask.runtime.state import StageState
from curator_dask.runtime.units import Unit, count_work, run_units
from curator_dask.stages.base import RunContext, Stage, StageResult, require_paths
from curator_dask.stages.previews.spec import PREVIEWS, VERSION, PreviewTask
from curator_dask.stages.previews.worker import make_preview

SHARE = 0.3
"""Seconds of work that one preview takes, about."""


class ShownClip(NamedTuple):
    """A clip that is to have a preview."""

    id: str
    num_bytes: int | None
    length_s: float


@with_suggestions
@dataclass(frozen=True)
class PreviewsStage(Stage):
    """Write ``previews/{id}.webp`` for some clips of an output; those that are there already are left as they are.

    Args:
        output_path: The output folder of ``run`` or ``split``.
        clips: The clips. None: all of the clip index that have a file.
        storage_options: fsspec options for the folder.
    """

    output_path: str
    clips: Sequence[ShownClip] | None = field(default=None, repr=False)
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    name: ClassVar[str] = PREVIEWS

    def __post_init__(self) -> None:
        require_paths(self, "output_path")

    @property
    def output(self) -> Folder:
        return Folder(self.output_path, self.storage_options)

    def identity(self) -> dict[str, Any]:
        return {"version": VERSION}

    def execute(self, context: RunContext) -> StageResult:
        clips = _all_clips(self.output) if self.clips is None else self.clips
        state, units = StageState(self.output, self.name), [self._unit(clip) for clip in clips]
        if not units:
            return StageResult(self.name, self.output, {"previews": 0, "previews_failed": 0})
        if context.dry_run:
            self.check(context)
            return StageResult(self.name, self.output, {}, (), *count_work(state, units))
        state.claim(self.identity(), overwrite=context.overwrite)
        again = context.again(state)
        outcome = run_units(
            context.cluster, state, units, make_preview, reporter=context.reporter, what="previews", again=again
        )
        counts = {"previews": outcome.counts.get("previews", 0), "previews_failed": len(outcome.failures)}
        state.summarise(counts, failures=outcome.failures)
        return StageResult(self.name, self.output, counts, outcome.failures, outcome.num_run, outcome.num_skipped)

    def _unit(self, clip: ShownClip) -> Unit[PreviewTask]:
        # Rounded, so that it does not matter from which table the length comes.
        task = PreviewTask(self.output, clip.id, round(clip.length_s, 3))
        return Unit(digest(clip.id), digest(VERSION, clip.id, clip.num_bytes), task, f"clip {clip.id}", SHARE)


def _all_clips(output: Folder) -> list[ShownClip]:
    batches = clip_index_batches(output, ["id", "num_bytes", "start_s", "end_s", "valid", "clip_path"])
    found = (row for batch in batches for row in batch.to_pylist() if row["valid"] and row["clip_path"])
    return [ShownClip(row["id"], row["num_bytes"], row["end_s"] - row["start_s"]) for row in found]


def previews_there(output: Folder) -> dict[str, int]:
    """Clip id → size of its preview, with its hash, of all previews that are there."""
    records = StageState(output, PREVIEWS).records()
    return {PurePosixPath(path).stem: size for record in records for path, size in record.outputs.items()}
