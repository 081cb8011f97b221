"""Tracks → overlaps: which stretches of which clips show the same moment, whenever each clip begins.

The lines of all source videos are compared, group by group: one unit per pair of groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Any, ClassVar

from curator_dask.data.arrow_files import read_arrow_tables
from curator_dask.data.tables import parquet_bytes
from curator_dask.errors import InputError
from curator_dask.files import layout
from curator_dask.files.folder import Folder
from curator_dask.files.storage_options import StorageKwargs
from curator_dask.runtime.records import digest
from curator_dask.runtime.state import StageState
from curator_dask.runtime.units import Unit, UnitsOutcome, run_units
from curator_dask.stages.align.groups import clip_table, group_sources, read_track_index
from curator_dask.stages.align.parameters import AlignParameters
from curator_dask.stages.align.shared_stretches import overlap_schema
from curator_dask.stages.align.spec import ALIGN, VERSION, AlignSpec, LineGroup, PairTask
from curator_dask.stages.align.worker import align_groups
from curator_dask.stages.base import RunContext, Stage, StageResult, require_paths

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class AlignStage(AlignParameters, StorageKwargs, Stage):
    """Find the stretches that clips share: copies that begin at any time, and pictures that stand still.

    Writes ``overlaps.parquet``: one row per stretch that two clips share, with the seconds in both, the offset and how
    alike they are; and ``clips.parquet``: one row per clip with a track.

    Args:
        input_path: The folder of vectors that the embed stage wrote, with the tracks below it.
        output_path: The folder to write to.
        strictness: Raises the likeness of motion that a copy needs, from 0 (as measured) to 1; below 0 lowers it.
        min_still_likeness: Two still pictures are the same if every part of them is at least this much alike, up to 1.
        read_kwargs: ``{"storage_options": {…}}`` for the input.
        write_kwargs: ``{"storage_options": {…}}`` for the output.
    """

    input_path: str = ""
    output_path: str = ""

    name: ClassVar[str] = ALIGN

    def __post_init__(self) -> None:
        super().__post_init__()
        require_paths(self, "input_path", "output_path")

    @property
    def input(self) -> Folder:
        return self.folder_to_read(self.input_path)

    @property
    def output(self) -> Folder:
        return self.folder_to_write(self.output_path)

    def identity(self) -> dict[str, Any]:
        return {"input_path": self.input.root, "thresholds": asdict(self.thresholds()), "version": VERSION}

    def execute(self, context: RunContext) -> StageResult:
        state = StageState(self.output, self.name)
        index = read_track_index(self.input)
        if context.dry_run:
            state.check(self.identity())
            return StageResult(self.name, self.output, {"clips": len(index)})
        state.claim(self.identity(), overwrite=context.overwrite)
        units = self._units(state, group_sources(index, self.input))
        state.forget({record.key for record in state.records()} - {unit.key for unit in units})
        outcome = run_units(
            context.cluster, state, units, align_groups, reporter=context.reporter, what="pairs of groups"
        )
        if outcome.failures:
            raise InputError(f"{len(outcome.failures)} groups could not be aligned: {outcome.failures[0].message}")
        return self._publish(state, units, outcome, index)

    def _units(self, state: StageState, groups: Sequence[LineGroup]) -> list[Unit[PairTask]]:
        spec = AlignSpec(self.input, self.output, self.thresholds())
        return [_unit(spec, state, x, y) for x, y in combinations_with_replacement(groups, 2)]

    def _publish(
        self, state: StageState, units: Sequence[Unit[PairTask]], outcome: UnitsOutcome, index: pa.Table
    ) -> StageResult:
        import pyarrow as pa

        tables = read_arrow_tables(self.output, [unit.task.table for unit in units])
        overlaps = pa.concat_tables([overlap_schema().empty_table(), *tables])
        overlaps = overlaps.sort_by([(name, "ascending") for name in ("id", "other_id", "start_s", "other_start_s")])
        state.publish(layout.OVERLAPS_TABLE, parquet_bytes(overlaps))
        state.publish(layout.CLIP_INDEX, parquet_bytes(clip_table(index)))
        counts = {"clips": len(index), "overlaps": len(overlaps)}
        state.summarise(counts)
        return StageResult(
            self.name, self.output, counts, (), outcome.num_run, outcome.num_skipped, tables=(layout.OVERLAPS_TABLE,)
        )


def _unit(spec: AlignSpec, state: StageState, x: LineGroup, y: LineGroup) -> Unit[PairTask]:
    key = f"pair-{x.number:05d}-{y.number:05d}"
    inputs = digest(VERSION, x.sources, x.version, y.sources, y.version)
    return Unit(key, inputs, PairTask(spec, x, y, state.beside_marker(key)), f"groups {x.number} and {y.number}")


def align_clips(input_path: str, output_path: str, **parameters: Any) -> StageResult:
    """Find what clips share; the parameters are those of `AlignStage`."""
    return AlignStage(input_path=input_path, output_path=output_path, **parameters).run()
