"""Clips → previews, small pictures of each side by side. The report and the export share them, so each is made once."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, ClassVar, NamedTuple

from curator_dask.data.clip_index import clip_index_batches
from curator_dask.files.folder import Folder
from curator_dask.keywords import with_suggestions
from curator_dask.runtime.records import Failure, digest
from curator_dask.runtime.state import StageState
from curator_dask.runtime.units import Unit, count_work, run_units
from curator_dask.stages.base import RunContext, Stage, StageResult, require_paths
from curator_dask.stages.previews.spec import PREVIEWS, VERSION, PreviewTask
from curator_dask.stages.previews.worker import make_preview

SHARE = 0.3
"""Seconds of work that one preview takes, about."""
MOST_AT_ONCE = 200_000
"""So many previews are planned and made at a time, as a planned one takes a kilobyte in the client."""


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
        clips: The clips, which may be read more than once. None: all of the clip index that have a file.
        storage_options: fsspec options for the folder.
    """

    output_path: str
    clips: Iterable[ShownClip] | None = field(default=None, repr=False)
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
        state, counts = StageState(self.output, self.name), Counter[str]()
        failures: list[Failure] = []
        for units in self._units():
            if context.dry_run:
                self.check(context)
                run, skipped = count_work(state, units)
            else:
                run, skipped = self._make(state, units, context, counts, failures, is_first=not counts)
            counts.update(run=run, skipped=skipped)
        if not counts or context.dry_run:
            told = {} if counts else {"previews": 0, "previews_failed": 0}
            return StageResult(self.name, self.output, told, (), counts["run"], counts["skipped"])
        told = {"previews": counts["previews"], "previews_failed": len(failures)}
        state.summarise(told, failures=tuple(failures))
        return StageResult(self.name, self.output, told, tuple(failures), counts["run"], counts["skipped"])

    def _units(self) -> Iterator[list[Unit[PreviewTask]]]:
        """The units of all clips, `MOST_AT_ONCE` at a time."""
        clips = iter(_all_clips(self.output) if self.clips is None else self.clips)
        while units := [self._unit(clip) for clip in itertools.islice(clips, MOST_AT_ONCE)]:
            yield units

    def _make(
        self, state: StageState, units: list[Unit[PreviewTask]], context: RunContext, counts: Counter[str],
        failures: list[Failure], *, is_first: bool,
    ) -> tuple[int, int]:  # fmt: skip
        """Make some previews, and add what is to be told of them; returns how many were made, and how many were there."""
        if is_first:
            state.claim(self.identity(), overwrite=context.overwrite)
        outcome = run_units(
            context.cluster, state, units, make_preview, reporter=context.reporter, what="previews",
            again=context.again(state),
        )  # fmt: skip
        counts["previews"] += outcome.counts.get("previews", 0)
        failures += outcome.failures
        return outcome.num_run, outcome.num_skipped

    def _unit(self, clip: ShownClip) -> Unit[PreviewTask]:
        # Rounded, so that it does not matter from which table the length comes.
        task = PreviewTask(self.output, clip.id, round(clip.length_s, 3))
        return Unit(digest(clip.id), digest(VERSION, clip.id, clip.num_bytes), task, f"clip {clip.id}", SHARE)


def _all_clips(output: Folder) -> Iterator[ShownClip]:
    for batch in clip_index_batches(output, ["id", "num_bytes", "start_s", "end_s", "valid", "clip_path"]):
        for row in batch.to_pylist():
            if row["valid"] and row["clip_path"]:
                yield ShownClip(row["id"], row["num_bytes"], row["end_s"] - row["start_s"])


def previews_there(output: Folder) -> Iterator[tuple[str, int]]:
    """The id of the clip and the size, with its hash, of each preview that is there."""
    for record in StageState(output, PREVIEWS).records():
        for path, size in record.outputs.items():
            yield PurePosixPath(path).stem, size
