"""How finished runs decided by the rule ``overlap``, and what new clips are compared with as these were.

The finished runs' clips are a reference, and those that they removed do not count. So are the clips of other outputs that
they were held against.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from curator_dask.files import layout
from curator_dask.files.folder import Folder
from curator_dask.runtime.state import StageState
from curator_dask.stages.align.groups import find_reference
from curator_dask.stages.align.stage import AlignStage
from curator_dask.stages.base import RunContext, StageResult
from curator_dask.stages.identify.overlap.reference import require_index
from curator_dask.stages.incremental.finished.finished_runs import FinishedRuns, recorded_folder

if TYPE_CHECKING:
    pass

DEFAULT_MIN_COVER = 0.8


@dataclass(frozen=True)
class FinishedOverlaps:
    """How a finished run decided by overlaps."""

    min_cover: float
    min_strength: int
    """Overlaps of less strength, in thousandths, did not count."""
    align: dict[str, Any]
    """Parameters of the align stage."""
    against: tuple[Folder, ...]
    """Other outputs that it was held against."""

    def criterion(self) -> str:
        """In words."""
        strength = f" by overlaps of strength {self.min_strength / 1000:.3g} and more" if self.min_strength else ""
        return f"cover {self.min_cover:.6g}{strength}"


def read_finished_overlaps(
    finished: FinishedRuns, min_cover: float | None, against: Sequence[Folder] | None
) -> FinishedOverlaps:
    """How the finished run decided; what is given takes the place of what it did.

    A run that another rule decided has no such record: then the defaults count.
    """
    duplicates = finished.duplicates[0]
    state = StageState(duplicates, "identify")
    summary = state.summary() or {}
    overlaps = recorded_folder(duplicates, state.recorded_path("overlaps_path"), layout.OVERLAPS)
    return FinishedOverlaps(
        min_cover or summary.get("min_cover") or DEFAULT_MIN_COVER,
        round(1000 * (summary.get("min_strength") or 0)),
        _parameters_of_align(StageState(overlaps, "align")),
        _recorded_folders(duplicates, state.parameter("against_path")) if against is None else tuple(against),
    )


def _parameters_of_align(state: StageState) -> dict[str, Any]:
    """What the finished run compared its clips by."""
    recorded, names = state.parameter("thresholds"), ("strictness", "min_still_likeness")
    thresholds = {name: recorded[name] for name in names if name in recorded} if isinstance(recorded, dict) else {}
    return {**thresholds, "mirrored": bool(state.parameter("mirrored"))}


def _recorded_folders(beside: Folder, recorded: Any) -> tuple[Folder, ...]:
    roots = recorded if isinstance(recorded, list) else [recorded] if recorded else []
    return tuple(recorded_folder(beside, root, "") for root in roots)


def vector_folders(finished: FinishedRuns, new: Folder) -> list[Folder]:
    """The folder of vectors of each run, with the tracks below it. Raises InputError if one has none.

    It is the recorded input of k-means; or, where a run was moved, the one beside the k-means output.
    """
    return [_vector_folder(kmeans, new) for kmeans in finished.kmeans]


def _vector_folder(kmeans: Folder, new: Folder) -> Folder:
    recorded = [StageState(kmeans, stage).recorded_path("input_path") for stage in ("kmeans", "assign")]
    for root in filter(None, recorded):
        folder = recorded_folder(kmeans, root, "")
        if folder.entries(layout.TRACKS):
            return folder
    return find_reference(recorded_folder(kmeans, None, ""), new)


def align_new(
    context: RunContext, new: Folder, vectors: Sequence[Folder], how: FinishedOverlaps, output: Folder
) -> StageResult:
    """Compare the new clips with each other, with those of the finished runs and with those that these were held against."""
    for folder in how.against:
        require_index(folder)
    stage = AlignStage(
        input_path=new.url,
        output_path=output.url,
        reference_path=[folder.url for folder in references_of_new(new, vectors, how)],
        **how.align,
        read_kwargs={"storage_options": dict(new.storage_options)},
        write_kwargs={"storage_options": dict(output.storage_options)},
    )
    return stage.execute(context)


def references_of_new(new: Folder, vectors: Sequence[Folder], how: FinishedOverlaps) -> list[Folder]:
    """What the new clips are compared with, each once. A finished run may share the folder of the new vectors."""
    folders = {folder.root: folder for folder in [*vectors, *how.against] if folder.root != new.root}
    return list(folders.values())
