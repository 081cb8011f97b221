"""Tracks → overlaps: which stretches of which clips show the same moment, whenever each clip begins.

The lines of all source videos are compared, group by group: one unit per pair of groups. Where there are too many groups for
that, only lines with alike rows in one cell are compared, see `curator_dask.stages.align.cell_passes`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any, ClassVar

from curator_dask.data.beside_vectors.track_index import TrackIndex, read_track_index
from curator_dask.data.tables import publish_parquet, read_unit_tables
from curator_dask.errors import ParameterError
from curator_dask.files import layout
from curator_dask.files.buckets.meeting import folder_for_buckets
from curator_dask.files.buckets.sorted_rows import sorted_rows
from curator_dask.files.folder import Folder
from curator_dask.files.names import counted
from curator_dask.files.storage_options import StorageKwargs, one_or_all
from curator_dask.keywords import with_suggestions
from curator_dask.runtime.records import digest
from curator_dask.runtime.state import StageState
from curator_dask.runtime.units import Unit, UnitsOutcome, run_units
from curator_dask.stages.align.cell_passes import plan_cells, run_cell_passes, verify_units
from curator_dask.stages.align.groups import (
    clip_schema,
    clip_tables,
    find_reference,
    group_sources,
    mirror_groups,
    require_same_tracks,
)
from curator_dask.stages.align.parameters import AlignParameters
from curator_dask.stages.align.shared_stretches import overlap_schema
from curator_dask.stages.align.spec import ALIGN, VERSION, AlignSpec, LineGroup, PairTask
from curator_dask.stages.align.worker import align_groups
from curator_dask.stages.base import RunContext, Stage, StageResult, require_paths

_ORDER = ("id", "other_reference_number", "other_id", "start_s", "other_start_s")


@with_suggestions
@dataclass(frozen=True)
class AlignStage(AlignParameters, StorageKwargs, Stage):
    """Find the stretches that clips share: copies that begin at any time, and pictures that stand still.

    Writes ``overlaps.parquet``: one row per stretch that two clips share, with the seconds in both, the offset and how
    alike they are; and ``clips.parquet``: one row per clip with a track, those of the reference too.

    Args:
        input_path: The folder of vectors that the embed stage wrote, with the tracks below it.
        output_path: The folder to write to.
        reference_path: The output of another run, or its folder of vectors; or several of these: clips that the new ones
            are compared with too. They are not compared with each other, and these folders are not changed.
        strictness: Raises the likeness of motion that a copy needs, from 0 (as measured) to 1; below 0 lowers it.
        min_still_likeness: Two still pictures are the same if every part of them is at least this much alike, up to 1.
        mirrored: Also find copies whose picture is mirrored, left for right; takes about twice as long.
        exhaustive_groups: Up to so many groups of lines (three hours of video each), all pairs of lines are compared;
            beyond, lines that have alike seconds in one cell.
        read_kwargs: ``{"storage_options": {…}}`` for the input.
        write_kwargs: ``{"storage_options": {…}}`` for the output.
    """

    input_path: str = ""
    output_path: str = ""
    reference_path: str | Sequence[str] | None = None
    exhaustive_groups: int = 12

    name: ClassVar[str] = ALIGN
    replaceable: ClassVar[frozenset[str]] = frozenset(("thresholds", "mirrored", "reference_path"))

    def __post_init__(self) -> None:
        super().__post_init__()
        require_paths(self, "input_path", "output_path")
        if self.exhaustive_groups < 0:
            raise ParameterError(f"exhaustive_groups ({self.exhaustive_groups}) must be at least 0")

    @property
    def input(self) -> Folder:
        return self.folder_to_read(self.input_path)

    @property
    def output(self) -> Folder:
        return self.folder_to_write(self.output_path)

    def references(self) -> list[Folder]:
        """The folder of vectors of each reference. Raises InputError if one has no tracks."""
        return [find_reference(folder, self.input) for folder in self.folders_to_read(self.reference_path)]

    def identity(self) -> dict[str, Any]:
        roots = [folder.root for folder in self.folders_to_read(self.reference_path)]
        return {
            "input_path": self.input.root,
            "thresholds": asdict(self.thresholds()),
            "exhaustive_groups": self.exhaustive_groups,
            "version": VERSION,
            **({"mirrored": True} if self.mirrored else {}),
            **({"reference_path": one_or_all(roots)} if roots else {}),
        }

    def execute(self, context: RunContext) -> StageResult:
        with folder_for_buckets() as scratch:
            return self._execute(context, scratch)

    def _execute(self, context: RunContext, scratch: Path) -> StageResult:
        state = StageState(self.output, self.name)
        indexes = [read_track_index(self.input, scratch), *self._reference_indexes(scratch)]
        if context.dry_run:
            return self._planned(context, state, indexes)
        replaced = state.claim(self.identity(), overwrite=context.overwrite, replaceable=self.replaceable)
        if replaced:
            context.reporter.note(f"align: {replaced}: the overlaps are found anew")
        groups, every_pair = self._groups(indexes)
        windows = self._num_windows(indexes)
        spec = AlignSpec(self.output, self.thresholds())
        run = _compare_all if every_pair else functools.partial(_compare_in_cells, num_windows=windows)
        outcome, paths = run(context, state, spec, groups)
        num_overlaps = _publish_overlaps(state, paths, scratch)
        _publish_clips(state, indexes)
        counts = {"clips": indexes[0].num_clips, "overlaps": num_overlaps}
        if self.reference_path:
            counts["reference_clips"] = sum(index.num_clips for index in indexes[1:])
        state.summarise(counts)
        return StageResult(
            self.name, self.output, counts, (), outcome.num_run, outcome.num_skipped, tables=(layout.OVERLAPS_TABLE,)
        )

    def _planned(self, context: RunContext, state: StageState, indexes: Sequence[TrackIndex]) -> StageResult:
        self.check(context)
        groups, every_pair = self._groups(indexes)
        spec, windows = AlignSpec(self.output, self.thresholds()), self._num_windows(indexes)
        units: Sequence[Unit[Any]] = (
            _pair_units(spec, state, groups)
            if every_pair
            else verify_units(plan_cells(spec, state, groups, windows), state, groups)
        )
        todo, done = self.count_planned(units)
        return StageResult(self.name, self.output, {"clips": indexes[0].num_clips}, num_run=todo, num_skipped=done)

    def _groups(self, indexes: Sequence[TrackIndex]) -> tuple[list[LineGroup], bool]:
        """The groups of all lines, and whether all pairs of them are compared."""
        groups: list[LineGroup] = []
        for number, index in enumerate(indexes):
            groups += group_sources(index, first_number=len(groups), reference=number)
        every_pair = len(groups) <= self.exhaustive_groups
        return [*groups, *(mirror_groups(groups) if self.mirrored else [])], every_pair

    def _num_windows(self, indexes: Sequence[TrackIndex]) -> int:
        return (1 + self.mirrored) * sum(index.num_windows for index in indexes)

    def _reference_indexes(self, scratch: Path) -> list[TrackIndex]:
        """The clips of each reference. Raises InputError if some cannot be compared with the new ones."""
        references = self.references()
        for folder in references:
            require_same_tracks(self.input, folder)
        return [read_track_index(folder, scratch) for folder in references]


def _publish_overlaps(state: StageState, paths: Sequence[str], scratch: Path) -> int:
    """Write the overlaps of all units, sorted; returns their number."""
    overlaps = sorted_rows(read_unit_tables(state, sorted(paths)), scratch, overlap_schema(), _ORDER)
    publish_parquet(state, layout.OVERLAPS_TABLE, overlaps.schema, overlaps.tables())
    return overlaps.num_rows


def _publish_clips(state: StageState, indexes: Sequence[TrackIndex]) -> None:
    """Write the clips of all indexes. The first one is that of the new clips, the others are those of references."""
    tables = (table for number, index in enumerate(indexes) for table in clip_tables(index, reference=number))
    publish_parquet(state, layout.CLIP_INDEX, clip_schema(), tables)


def _compare_all(
    context: RunContext, state: StageState, spec: AlignSpec, groups: Sequence[LineGroup]
) -> tuple[UnitsOutcome, list[str]]:
    """Compare every pair of groups, but for two of the reference. Returns the paths of the units' tables too."""
    units = _pair_units(spec, state, groups)
    state.forget(state.unit_keys() - {unit.key for unit in units})
    outcome = run_units(context.cluster, state, units, align_groups, reporter=context.reporter, what="pairs of groups")
    outcome.raise_failures(f"{counted(len(outcome.failures), 'groups')} could not be aligned")
    return outcome, [unit.task.table for unit in units]


def _compare_in_cells(
    context: RunContext, state: StageState, spec: AlignSpec, groups: Sequence[LineGroup], *, num_windows: int
) -> tuple[UnitsOutcome, list[str]]:
    """Compare what lies in the same cells. Returns the paths of the units' tables too."""
    cells = plan_cells(spec, state, groups, num_windows)
    outcome = run_cell_passes(context, state, cells, groups)
    return outcome, [unit.task.table for unit in verify_units(cells, state, groups)]


def _pair_units(spec: AlignSpec, state: StageState, groups: Sequence[LineGroup]) -> list[Unit[PairTask]]:
    """One unit per pair. Two groups of which one is mirrored show what they show if the other one is."""
    pairs = combinations_with_replacement(groups, 2)
    return [_unit(spec, state, x, y) for x, y in pairs if x.is_new and (y.mirror_of is None or x.number <= y.mirror_of)]


def _unit(spec: AlignSpec, state: StageState, x: LineGroup, y: LineGroup) -> Unit[PairTask]:
    key = f"pair-{x.number:05d}-{y.number:05d}"
    inputs = digest(VERSION, x.sources, x.version, y.sources, y.version)
    return Unit(key, inputs, PairTask(spec, x, y, state.beside_marker(key)), f"groups {x.number} and {y.number}")


def align_clips(input_path: str, output_path: str, **parameters: Any) -> StageResult:
    """Find what clips share; the parameters are those of `AlignStage`."""
    return AlignStage(input_path=input_path, output_path=output_path, **parameters).run()
