"""What rows of all parts have to do with each other by their scores, settled: the client decides on the touched rows alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from curator_dask.data.scored_clusters import ClusterInput
from curator_dask.files.buckets.shared import shared_buckets_for
from curator_dask.report.review.overrides import Override
from curator_dask.runtime.state import StageState
from curator_dask.stages.identify.across.own_kept_rows import (
    OwnKeptTask,
    own_kept_rows,
    rows_without_kept_row,
    with_columns,
)
from curator_dask.stages.identify.decisions.by_hand import ByHand, decide_by_hand
from curator_dask.stages.identify.decisions.join_decisions import DecidedClusters, Decisions, common_type, takers_of
from curator_dask.stages.identify.decisions.table_rows import Indices, TableRows, UnitTables, key_of_cluster
from curator_dask.stages.identify.in_parts.look import (
    FindTask,
    Look,
    LookTask,
    PlacesTask,
    look_at_part,
    write_places,
)
from curator_dask.stages.identify.in_parts.named_rows import NamedRows, find_named_rows
from curator_dask.stages.identify.in_parts.part import Numbers, RowsOfPart, among_all, cut_into_parts, in_part
from curator_dask.stages.identify.in_parts.settle import Crossing, Settled, settle
from curator_dask.stages.identify.in_parts.touched import Touched, TouchedTask, touched_rows
from curator_dask.stages.identify.in_parts.workplace import Workplace

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

    @cached_property
    def _cluster_of(self) -> dict[int, ClusterInput]:
        return {cluster.number: cluster for cluster in self.decided.clusters}

    @property
    def num_buckets(self) -> int:
        """Buckets by the digests of ids."""
        return buckets_of(self.parts)

    @cached_property
    def _looks(self) -> list[Look]:
        with_ids = self.decided.rule.name == "greedy" and self.decided.taken is None
        return self.place.each(look_at_part, [self._look_task(part, with_ids) for part in self.parts])

    def _look_task(self, part: RowsOfPart, with_ids: bool) -> LookTask:
        return LookTask(part, self.decided.rule, with_ids, self.numbers(part))

    @cached_property
    def places(self) -> list[str]:
        """The files that tell where rows are, by part. They are written only where a row is looked for by its id."""
        folder, buckets = self.place.folder, self.num_buckets
        tasks = [PlacesTask(part, folder, self.place.path("rows", part.number), buckets) for part in self.parts]
        return self.place.each(write_places, tasks)

    def numbers(self, part: RowsOfPart) -> Numbers:
        """What the clusters of a part decided."""
        return Numbers(self.place.folder, self.place.path("numbers", part.number))

    @cached_property
    def rows(self) -> TableRows:
        """All rows: a line per cluster."""
        starts = [np.zeros(1, np.int64), *(one.starts[1:] for one in self._looks)]
        digests = tuple(one for look in self._looks for one in look.digests)
        kind = common_type([look.id_type for look in self._looks])
        return TableRows(self.decided.tables, np.concatenate(starts), kind, digests=digests)

    @cached_property
    def named(self) -> NamedRows:
        """The rows that others name by their ids."""
        is_asked = bool(self.overrides) or any(some for look in self._looks for some in look.named.values())
        paths = self.places if is_asked else []
        tasks = [FindTask(self.place.folder, path, self.num_buckets) for path in paths]
        return find_named_rows(self.place, tasks, self._looks, self.rows, self.overrides or {})

    @cached_property
    def _crossing(self) -> Crossing:
        rows = np.concatenate([look.crossing for look in self._looks])
        ids = [one for look in self._looks for one in look.crossing_ids]
        takers = None if self.decided.taken is None else takers_of(self.rows, self.decided.taken)
        return Crossing(rows, self.named.matches_of(rows), ids, self.named.named, takers)

    @cached_property
    def _touched(self) -> list[Touched]:
        """The touched rows of each part, and the number of its other groups."""
        rows = np.union1d(self._crossing.touching(), self.named.by_hand).astype(np.int64)
        rows = rows[(rows >= 0) & (rows < len(self.rows))]
        place = in_part(self.parts, rows)
        tasks = [self._touched_task(self.parts[one], rows[place == one]) for one in np.unique(place).tolist()]
        found = {task.part.number: one for task, one in zip(tasks, self.place.each(touched_rows, tasks), strict=True)}
        looks = zip(self.parts, self._looks, strict=True)
        return [found.get(part.number) or Touched.nothing(look.num_groups) for part, look in looks]

    def _touched_task(self, part: RowsOfPart, rows: Indices) -> TouchedTask:
        return TouchedTask(part, self.decided.rule, self.numbers(part), rows)

    @cached_property
    def groups_before(self) -> Indices:
        """(P + 1,) how many groups that are not touched are in the parts before each one."""
        return np.cumsum([0, *(one.num_others for one in self._touched)])

    @cached_property
    def settled(self) -> Settled:
        """The touched rows. Raises InputError where the duplicate of a row is in no cluster."""
        import pyarrow as pa

        tables = [one.table for one in self._touched]
        before = np.repeat(self.groups_before[:-1], list(map(len, tables)))
        touched = self._with_own_kept_rows(pa.concat_tables(tables))
        return settle(touched, before, self._crossing, self.decided.rule, self.rows, self._decide_by_hand)

    def _with_own_kept_rows(self, touched: pa.Table) -> pa.Table:
        """The touched rows, with the kept rows in their own clusters of those that their clusters left without."""
        if self.decided.rule.name != "pairwise" or not self.decided.clusters:
            return touched
        rows = rows_without_kept_row(touched, self._crossing.rows, self._crossing.matches)
        place, line = self.rows.places(rows)
        wanted = np.unique(place).tolist()
        found = self.place.each(own_kept_rows, [self._own_kept_task(one, line[place == one]) for one in wanted])
        kept_row, kept_score = (touched[name].to_numpy().copy() for name in ("kept_row", "kept_score"))
        at = np.searchsorted(touched["row"].to_numpy(), rows)
        for one, (kept, score) in zip(wanted, found, strict=True):
            kept_row[at[place == one]] = among_all(kept, int(self.rows.starts[one]))
            kept_score[at[place == one]] = score
        return with_columns(touched, {"kept_row": kept_row, "kept_score": kept_score})

    def _own_kept_task(self, place: int, lines: Indices) -> OwnKeptTask:
        cluster = self._cluster_of[self.rows.tables.numbers[place]]
        return OwnKeptTask(cluster, self.decided.rule.eps, lines, self.place.context.cluster.device)

    def _decide_by_hand(self, decisions: Decisions, places: Callable[[Indices], Indices]) -> ByHand:
        if self.overrides is None:
            return ByHand({}, ())
        return decide_by_hand(decisions, self.overrides, places(self.named.by_hand))
