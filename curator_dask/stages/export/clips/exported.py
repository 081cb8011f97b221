"""The clips of an export, in the order that is asked for and with all that goes into them, one bucket in memory at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from curator_dask.export.plan import PlanParameters
from curator_dask.export.planned.columns import CONTENT_HASH
from curator_dask.export.planned.cut import PlannedShard, plan_tables, shard_rows
from curator_dask.export.planned.families import ONE_SPLIT, Families, SplitOf
from curator_dask.export.planned.keys import check_keys
from curator_dask.export.planned.ordering import BY_SOURCE, Tables, in_ranges, shuffled
from curator_dask.files.buckets.buckets import Buckets
from curator_dask.files.buckets.meeting import gather, rows_of
from curator_dask.runtime.records import Failure
from curator_dask.stages.export.clips.carried import ExportedMetadata
from curator_dask.stages.export.clips.chosen import Chosen
from curator_dask.stages.export.clips.previews import ExportedPreviews

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass
class ExportedClips:
    """The clips of an export."""

    chosen: Chosen
    parameters: PlanParameters
    scratch: Path
    metadata: ExportedMetadata | None = None
    previews: ExportedPreviews | None = None
    _later_failures: list[Failure] = field(default_factory=list)
    _left_out: set[str] = field(default_factory=set)
    _hashes: Buckets | None = None
    _groups: Buckets | None = None
    _splits: SplitOf | None = None

    @property
    def failures(self) -> tuple[Failure, ...]:
        """Of all clips that were to be exported and cannot be."""
        return (*self.chosen.failures, *self._later_failures)

    def leave_out(self, failures: Iterable[Failure]) -> None:
        """Do without the clips of these failures from now on. Another clip may then be in another split."""
        for failure in failures:
            self._later_failures.append(failure)
            self._left_out.add(failure.clip_id)
        self._splits = None

    def note_failed(self, failures: Iterable[Failure]) -> None:
        """Count the clips of these failures as failed; their rows stay."""
        self._later_failures.extend(failures)

    def tables(self) -> Iterator[pa.Table]:
        """All rows, those of the clips that are left out too, bucket by bucket."""
        return self.chosen.rows.tables()

    @property
    def num_clips(self) -> int:
        """Those that are not left out."""
        return sum(map(len, self._bare()))

    def add_hashes(self, tables: Iterable[pa.Table]) -> None:
        """Add a column `CONTENT_HASH` to the rows, from tables with this column and the ids."""
        rows = self.chosen.rows
        self._hashes = gather(tables, self.scratch, rows.num_buckets, self.parameters.seed)

    def add_groups(self, tables: Iterable[pa.Table]) -> None:
        """Keep clips that belong together in one split: tables with the ids, and the group of each."""
        self._groups = gather(tables, self.scratch, self.chosen.rows.num_buckets, self.parameters.seed)

    def _bare(self, *, dressed: bool = False) -> Iterator[pa.Table]:
        """The rows of the clips that are not left out, bucket by bucket; dressed: with all that goes into their samples."""
        import pyarrow as pa
        import pyarrow.compute as pc

        gone = pa.array(sorted(self._left_out), pa.string())
        for number in range(self.chosen.rows.num_buckets):
            table = self.chosen.rows.read(number)
            if self._hashes is not None:
                table = _with_hashes(table, self._hashes.read(number))
            table = table.filter(pc.invert(pc.is_in(table["id"], value_set=gone))) if len(gone) else table
            yield self._dress(table, number) if dressed else table

    def dressed(self) -> Iterator[pa.Table]:
        """The rows of the clips that are not left out, with what a user's table says of them, and with their previews."""
        return self._bare(dressed=True)

    def _dress(self, clips: pa.Table, number: int) -> pa.Table:
        if self.metadata is not None:
            clips = self.metadata.add_to(clips, number)
        if self.previews is not None:
            clips = self.previews.add_to(clips, number)
        return clips

    def in_order(self) -> Tables:
        """Gives the rows in the order of the shards."""
        if self.parameters.order == "shuffled":
            return lambda: shuffled(self.dressed, self.parameters.seed)
        return self.by(BY_SOURCE)

    def by(self, columns: Sequence[str]) -> Tables:
        """Gives the rows sorted by some columns."""
        return in_ranges(self.dressed, self.chosen.rows.num_buckets, columns, self.scratch)

    def splits(self) -> SplitOf:
        """The split of each source. Raises InputError if there are too few sources."""
        if self._splits is None:
            families = Families()
            for number, table in enumerate(self._bare() if len(self.parameters.splits) > 1 else ()):
                families.add(table if self._groups is None else _with_groups(table, self._groups.read(number)))
            self._splits = (
                families.split(self.parameters.splits, self.parameters.seed) if families.num_clips else ONE_SPLIT
            )
        return self._splits

    def shards(self) -> list[PlannedShard]:
        """The shards. Raises InputError if two clips have one key, or if there are too few sources for the splits."""
        check_keys(self._bare)
        return plan_tables(self.in_order(), self.splits(), self.parameters)

    def shard_rows(self, shards: Sequence[PlannedShard]) -> Iterator[tuple[PlannedShard, pa.Table]]:
        """The rows of each of these shards, which are all that there are."""
        return shard_rows(self.in_order()(), self.splits(), shards, list(self.parameters.splits))


def _with_hashes(table: pa.Table, hashes: pa.Table) -> pa.Table:
    return table.append_column(CONTENT_HASH, hashes[CONTENT_HASH].take(rows_of(table["id"], hashes)))


def _with_groups(table: pa.Table, groups: pa.Table) -> pa.Table:
    """The rows with their groups. Only splits need them: samples tell nothing of the clips that were removed."""
    import pyarrow.compute as pc

    values = pc.fill_null(groups["group"].take(rows_of(table["id"], groups)), "")
    return table.set_column(table.column_names.index("group"), "group", values)
