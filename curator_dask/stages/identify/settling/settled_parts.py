"""What rows of all parts have to do with each other by their scores, settled: one worker decides on the touched rows alone.

All that a row takes goes from task to task in files: the client holds none of it.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from curator_dask.data.scored_clusters import ClusterInput
from curator_dask.files.buckets.shared import shared_buckets_for
from curator_dask.report.review.overrides import Override
from curator_dask.runtime.state import StageState
from curator_dask.stages.identify.across.own_kept_rows import OwnKept, OwnKeptTask, own_kept_rows
from curator_dask.stages.identify.decisions.loaded_decisions import DecidedClusters, common_type
from curator_dask.stages.identify.decisions.table_rows import Indices, TableRows, UnitTables, key_of_cluster
from curator_dask.stages.identify.settling.crossing import CrossingFiles, TouchingTask, write_touching
from curator_dask.stages.identify.settling.look import Look, LookTask, PlacesTask, look_at_part, write_places
from curator_dask.stages.identify.settling.named_rows import Names, find_in_buckets
from curator_dask.stages.identify.settling.part import Numbers, RowsOfPart, among_all, cut_into_parts
from curator_dask.stages.identify.settling.settle import SettleTask, settle_all, without_own_kept_row
from curator_dask.stages.identify.settling.settle_crossing import TakersFile
from curator_dask.stages.identify.settling.settled import Settled
from curator_dask.stages.identify.settling.touched import TouchedTask, write_touched
from curator_dask.stages.workplace import Workplace

if TYPE_CHECKING:
    import pyarrow as pa


def parts_of_tables(state: StageState, tables: UnitTables) -> list[RowsOfPart]:
    """The parts of the clusters that the stage's units decided on."""
    keys = {key_of_cluster(tables.prefix, number): number for number in tables.numbers}
    rows_of = {keys[record.key]: record.counts["rows"] for record in state.records_of(list(keys))}
    return cut_into_parts(tables, rows_of)


def buckets_of(parts: Sequence[RowsOfPart]) -> int:
    """The buckets that the rows of all parts go to by the digests of their ids."""
    return shared_buckets_for(parts[-1].stop)


@dataclass
class SettledParts:
    """The parts of the rows of all clusters, and what is settled between them."""

    place: Workplace
    parts: Sequence[RowsOfPart]
    decided: DecidedClusters
    overrides: Mapping[str, Override] | None
    """What a person decided; None: nobody had a say, or has it later."""

    @property
    def num_buckets(self) -> int:
        """Buckets by the digests of ids."""
        return buckets_of(self.parts)

    @cached_property
    def _looks(self) -> list[Look]:
        with_ids = self.decided.rule.name == "greedy" and self.decided.taken is None
        return self.place.each(look_at_part, [self._look_task(part, with_ids) for part in self.parts])

    def _look_task(self, part: RowsOfPart, with_ids: bool) -> LookTask:
        files = (self.place.path(name, part.number) for name in ("crossing", "named", "ids"))
        return LookTask(part, self.decided.rule, with_ids, self.num_buckets, self.numbers(part), *files)

    def _paths(self, name: str) -> tuple[str, ...]:
        """The files of all parts."""
        return tuple(self.place.path(name, part.number) for part in self.parts)

    @cached_property
    def places(self) -> list[str]:
        """The files that tell where rows are, by part. They are written only where a row is looked for by its id."""
        folder, buckets = self.place.folder, self.num_buckets
        tasks = [PlacesTask(part, folder, self.place.path("rows", part.number), buckets) for part in self.parts]
        return self.place.each(write_places, tasks)

    def numbers(self, part: RowsOfPart) -> Numbers:
        """What the clusters of a part decided."""
        return Numbers(self.place.folder, self.place.path("numbers", part.number))

    def ids(self, part: RowsOfPart) -> tuple[str, dict[int, tuple[int, int]]]:
        """The file with the ids of a part, and where in it those of each of its clusters are."""
        starts = (self._looks[part.number].starts - part.first).tolist()
        spans = zip(part.tables.numbers, itertools.pairwise(starts), strict=True)
        return self.place.path("ids", part.number), dict(spans)

    @cached_property
    def rows(self) -> TableRows:
        """All rows: a line per cluster."""
        starts = [np.zeros(1, np.int64), *(one.starts[1:] for one in self._looks)]
        digests = tuple(one for look in self._looks for one in look.digests)
        kind = common_type([look.id_type for look in self._looks])
        return TableRows(self.decided.tables, np.concatenate(starts), kind, digests=digests)

    @property
    def _firsts(self) -> Indices:
        return np.array([part.first for part in self.parts])

    @cached_property
    def _named(self) -> tuple[tuple[str, ...], Indices]:
        """The files with what rows name by their ids, and the rows that a person decided on."""
        if not self.overrides and not any(look.names_others for look in self._looks):
            return (), np.zeros(0, np.int64)
        names = Names(self.place.folder, tuple(self.places), self._paths("named"), self.rows.id_type)
        return find_in_buckets(self.place, names, self.num_buckets, self.overrides or {})

    @cached_property
    def _crossing(self) -> CrossingFiles:
        crossing, (found, _) = self._paths("crossing"), self._named
        return CrossingFiles(self.place.folder, crossing, found, self._takers(), self.rows.id_type, len(self.rows))

    def _takers(self) -> TakersFile | None:
        """By the greedy rule, who removes rows of other clusters, where that was looked for."""
        if self.decided.taken is None:
            return None
        path = self.place.path("takers", 0)
        self.decided.taken.write(self.place, path)
        return TakersFile(path, np.array(self.rows.tables.numbers), self.rows.starts)

    @cached_property
    def _touching(self) -> tuple[Indices, pa.ChunkedArray]:
        """(P,) how many rows of each part touch their groups, and the ids of clips that were not decided on."""
        task = TouchingTask(self._crossing, self._named[1], self._firsts, self.place.path("touching", 0))
        return self.place.each(write_touching, [task])[0]

    @property
    def others(self) -> pa.ChunkedArray:
        """The ids of clips that rows name and that were not decided on."""
        return self._touching[1]

    @cached_property
    def _touched(self) -> dict[int, int]:
        """The number of the other groups of each part that has touched rows."""
        some = [part for part, number in zip(self.parts, self._touching[0].tolist(), strict=True) if number]
        found = self.place.each(write_touched, [self._touched_task(part) for part in some])
        return {part.number: one for part, one in zip(some, found, strict=True)}

    def _touched_task(self, part: RowsOfPart) -> TouchedTask:
        files = self.place.path("touching", 0), self.place.path("touched", part.number)
        return TouchedTask(part, self.decided.rule, self.numbers(part), *files)

    @cached_property
    def groups_before(self) -> Indices:
        """(P + 1,) how many groups that are not touched are in the parts before each one."""
        looks = zip(self.parts, self._looks, strict=True)
        return np.cumsum([0, *(self._touched.get(part.number, look.num_groups) for part, look in looks)])

    @cached_property
    def settled(self) -> Settled:
        """The touched rows. Raises InputError where the duplicate of a row is in no cluster."""
        task = self._settle_task()
        return self.place.each(settle_all, [task], self._own_kept(task))[0]

    def _settle_task(self) -> SettleTask:
        touched = {part.number: self.place.path("touched", part.number) for part in self.parts}
        return SettleTask(
            self._crossing,
            tuple((number, touched[number]) for number in self._touched),
            self.groups_before,
            self.decided.rule,
            self.rows,
            self._firsts,
            self.overrides,
            self._named[1],
            *(self.place.path(name, 0) for name in ("settled", "settled-roots", "asked")),
        )

    def _own_kept(self, task: SettleTask) -> OwnKept:
        """The kept rows in their own clusters of those that their clusters left without."""
        if self.decided.rule.name != "pairwise" or not self.decided.clusters:
            return OwnKept.nothing()
        rows = self.place.each(without_own_kept_row, [task])[0]
        place, line = self.rows.places(rows)
        wanted = np.unique(place).tolist()
        found = self.place.each(own_kept_rows, [self._own_kept_task(one, line[place == one]) for one in wanted])
        kept_row, kept_score = np.full(len(rows), -1), np.zeros(len(rows), np.float32)
        for one, (kept, score) in zip(wanted, found, strict=True):
            kept_row[place == one] = among_all(kept, int(self.rows.starts[one]))
            kept_score[place == one] = score
        return OwnKept(rows, kept_row, kept_score)

    @cached_property
    def _cluster_of(self) -> dict[int, ClusterInput]:
        return {cluster.number: cluster for cluster in self.decided.clusters}

    def _own_kept_task(self, place: int, lines: Indices) -> OwnKeptTask:
        cluster = self._cluster_of[self.rows.tables.numbers[place]]
        return OwnKeptTask(cluster, self.decided.rule.eps, lines, self.place.context.cluster.device)
