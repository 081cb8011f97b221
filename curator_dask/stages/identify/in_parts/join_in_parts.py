"""Join the decisions of all clusters part by part, on workers, and write them.

::

    look      a task per part     which rows depend on other clusters, and which groups there are
    find      a task per part     the rows that are named by their ids
    touched   a task per part     the rows of the groups that these touch; the client settles them
    facts     a task per bucket   source, start and end of the clips
    prepare   a task per part     all of that together
    write     a unit per part     the files

The client holds a line per cluster, part and bucket, and the touched rows: none where no row has a duplicate in another
cluster and no person decided. Parts and buckets follow from the rows alone, so the files do not depend on the workers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from curator_dask.data.scored_clusters import ClusterInput
from curator_dask.files.buckets.shared import shared_buckets_for
from curator_dask.files.folder import Folder
from curator_dask.report.review.overrides import Override
from curator_dask.runtime.state import StageState
from curator_dask.stages.base import RunContext
from curator_dask.stages.identify.across.own_kept_rows import (
    OwnKeptTask,
    own_kept_rows,
    rows_without_kept_row,
    with_columns,
)
from curator_dask.stages.identify.decisions.by_hand import ByHand, decide_by_hand
from curator_dask.stages.identify.decisions.join_decisions import DecidedClusters, Decisions, common_type, takers_of
from curator_dask.stages.identify.decisions.output_files import Sending, part_inputs, publish_single_files, write_parts
from curator_dask.stages.identify.decisions.own_source import EmptiedSources
from curator_dask.stages.identify.decisions.table_rows import Indices, TableRows, UnitTables, key_of_cluster
from curator_dask.stages.identify.in_parts.clip_facts import IndexFacts, facts_of_rows
from curator_dask.stages.identify.in_parts.count_sources import CountTask, emptied_sources, worst_of_all
from curator_dask.stages.identify.in_parts.join_record import Joined, made_from, record_join, recorded_join
from curator_dask.stages.identify.in_parts.look import FindTask, Look, LookTask, look_at_part
from curator_dask.stages.identify.in_parts.named_rows import NamedRows, find_named_rows
from curator_dask.stages.identify.in_parts.part import Numbers, RowsOfPart, among_all, cut_into_parts, in_part
from curator_dask.stages.identify.in_parts.prepare import Prepared, PrepareTask, Shared, prepare_part, send_again
from curator_dask.stages.identify.in_parts.settle import Crossing, Settled, settle
from curator_dask.stages.identify.in_parts.touched import Touched, TouchedTask, touched_rows
from curator_dask.stages.identify.in_parts.workplace import Workplace, workplace

if TYPE_CHECKING:
    import pyarrow as pa


def join_in_parts(
    context: RunContext, state: StageState, decided: DecidedClusters, clips: Folder | None,
    overrides: Mapping[str, Override] | None,
) -> Joined:  # fmt: skip
    """Join the decisions of all clusters and write the files, unless an earlier run did so from the same.

    Args:
        state: of the stage, whose units decided on the clusters.
        clips: the output of the split stage, if it is known.
        overrides: what a person decided; None: nobody had a say.

    Raises InputError where the duplicate of a row is in no cluster.
    """
    inputs = made_from(decided, clips, overrides)
    if (before := recorded_join(state, inputs)) is not None:
        publish_single_files(state, before.paths, before.joined.counts["rows"])
        return before.joined
    parts = _parts(state, decided.tables)
    with workplace(context, state, here=len(parts) == 1) as place:
        found = _InParts(place, state, parts, decided, clips, overrides).join()
    record_join(state, inputs, found)
    return found


def _parts(state: StageState, tables: UnitTables) -> list[RowsOfPart]:
    keys = {key_of_cluster(tables.prefix, number): number for number in tables.numbers}
    rows_of = {keys[record.key]: record.counts["rows"] for record in state.records_of(list(keys))}
    return cut_into_parts(tables, rows_of)


@dataclass
class _InParts:
    """One run of the join."""

    place: Workplace
    state: StageState
    parts: Sequence[RowsOfPart]
    decided: DecidedClusters
    clips: Folder | None
    overrides: Mapping[str, Override] | None

    def join(self) -> Joined:
        settled = self._settle()
        facts = self._facts(settled)
        rule, place = self.decided.rule, self.place
        shared = Shared(rule, self._rows, self._named.others, place.folder, facts.paths, self._num_buckets)
        tasks = self._prepare_tasks(settled, facts.asked)
        prepared = place.each(prepare_part, tasks, shared)
        emptied = self._emptied_sources(tasks) if facts.paths else None
        self._write(tasks, prepared, shared)
        counts = {name: sum(one.counts[name] for one in prepared) for name in prepared[0].counts}
        groups = int(self._groups_before[-1]) + len(settled.roots)
        return Joined({**counts, "groups": groups}, settled.by_hand, emptied)

    @cached_property
    def _cluster_of(self) -> dict[int, ClusterInput]:
        return {cluster.number: cluster for cluster in self.decided.clusters}

    @property
    def _num_buckets(self) -> int:
        return shared_buckets_for(self.parts[-1].stop)

    @cached_property
    def _looks(self) -> list[Look]:
        with_ids = self.decided.rule.name == "greedy" and self.decided.taken is None
        return self.place.each(look_at_part, [self._look_task(part, with_ids) for part in self.parts])

    def _look_task(self, part: RowsOfPart, with_ids: bool) -> LookTask:
        path, buckets = self.place.path("rows", part.number), self._num_buckets
        return LookTask(part, self.decided.rule, with_ids, self.place.folder, path, buckets, self._numbers(part))

    def _numbers(self, part: RowsOfPart) -> Numbers:
        return Numbers(self.place.folder, self.place.path("numbers", part.number))

    @cached_property
    def _rows(self) -> TableRows:
        """All rows: a line per cluster."""
        starts = [np.zeros(1, np.int64), *(one.starts[1:] for one in self._looks)]
        digests = tuple(one for look in self._looks for one in look.digests)
        kind = common_type([look.id_type for look in self._looks])
        return TableRows(self.decided.tables, np.concatenate(starts), kind, digests=digests)

    @cached_property
    def _named(self) -> NamedRows:
        tasks = [
            FindTask(self.place.folder, self.place.path("rows", part.number), self._num_buckets) for part in self.parts
        ]
        return find_named_rows(self.place, tasks, self._looks, self._rows, self.overrides or {})

    @cached_property
    def _crossing(self) -> Crossing:
        rows = np.concatenate([look.crossing for look in self._looks])
        ids = [one for look in self._looks for one in look.crossing_ids]
        takers = None if self.decided.taken is None else takers_of(self._rows, self.decided.taken)
        return Crossing(rows, self._named.matches_of(rows), ids, self._named.named, takers)

    @cached_property
    def _touched(self) -> list[Touched]:
        """The touched rows of each part, and the number of its other groups."""
        rows = np.union1d(self._crossing.touching(), self._named.by_hand).astype(np.int64)
        rows = rows[(rows >= 0) & (rows < len(self._rows))]
        place = in_part(self.parts, rows)
        tasks = [self._touched_task(self.parts[one], rows[place == one]) for one in np.unique(place).tolist()]
        found = {task.part.number: one for task, one in zip(tasks, self.place.each(touched_rows, tasks), strict=True)}
        looks = zip(self.parts, self._looks, strict=True)
        return [found.get(part.number) or Touched.nothing(look.num_groups) for part, look in looks]

    def _touched_task(self, part: RowsOfPart, rows: Indices) -> TouchedTask:
        return TouchedTask(part, self.decided.rule, self._numbers(part), rows)

    @cached_property
    def _groups_before(self) -> Indices:
        """(P + 1,) how many groups that are not touched are in the parts before each one."""
        return np.cumsum([0, *(one.num_others for one in self._touched)])

    def _settle(self) -> Settled:
        import pyarrow as pa

        tables = [one.table for one in self._touched]
        before = np.repeat(self._groups_before[:-1], list(map(len, tables)))
        touched = self._with_own_kept_rows(pa.concat_tables(tables))
        return settle(touched, before, self._crossing, self.decided.rule, self._rows, self._decide_by_hand)

    def _with_own_kept_rows(self, touched: pa.Table) -> pa.Table:
        """The touched rows, with the kept rows in their own clusters of those that their clusters left without."""
        if self.decided.rule.name != "pairwise" or not self.decided.clusters:
            return touched
        rows = rows_without_kept_row(touched, self._crossing.rows, self._crossing.matches)
        place, line = self._rows.places(rows)
        wanted = np.unique(place).tolist()
        found = self.place.each(own_kept_rows, [self._own_kept_task(one, line[place == one]) for one in wanted])
        kept_row, kept_score = (touched[name].to_numpy().copy() for name in ("kept_row", "kept_score"))
        at = np.searchsorted(touched["row"].to_numpy(), rows)
        for one, (kept, score) in zip(wanted, found, strict=True):
            kept_row[at[place == one]] = among_all(kept, int(self._rows.starts[one]))
            kept_score[at[place == one]] = score
        return with_columns(touched, {"kept_row": kept_row, "kept_score": kept_score})

    def _own_kept_task(self, place: int, lines: Indices) -> OwnKeptTask:
        cluster = self._cluster_of[self._rows.tables.numbers[place]]
        return OwnKeptTask(cluster, self.decided.rule.eps, lines, self.place.context.cluster.device)

    def _decide_by_hand(self, decisions: Decisions, places: Callable[[Indices], Indices]) -> ByHand:
        if self.overrides is None:
            return ByHand({}, ())
        return decide_by_hand(decisions, self.overrides, places(self._named.by_hand))

    def _facts(self, settled: Settled) -> IndexFacts:
        """What the clip index tells of the rows."""
        if self.clips is None:
            return IndexFacts.nothing()
        asked = settled.kept_elsewhere(self.parts, len(self._rows))
        rows = [self.place.path("rows", part.number) for part in self.parts]
        firsts = np.array([part.first for part in self.parts])
        return facts_of_rows(self.place, self.clips, self._num_buckets, rows, firsts, asked)

    def _prepare_tasks(self, settled: Settled, sources: pa.Table) -> list[PrepareTask]:
        done, num_parts = part_inputs(self.state), len(self.parts)
        return [
            PrepareTask(
                part,
                self._numbers(part),
                Sending.of(self.state, part.number, num_parts, self._rows, self.decided.rule.eps, "", done),
                settled.of_part(part),
                settled.roots_of_part(part),
                int(self._groups_before[part.number]) + settled.roots_before(part),
                settled.named_elsewhere(part, sources),
                self.place.path("sources", part.number),
            )
            for part in self.parts
        ]

    def _emptied_sources(self, tasks: Sequence[PrepareTask]) -> EmptiedSources | None:
        paths = tuple(task.counts_path for task in tasks)
        numbers = range(self._num_buckets)
        return worst_of_all(
            self.place.each(emptied_sources, [CountTask(self.place.folder, paths, one) for one in numbers])
        )

    def _write(self, tasks: Sequence[PrepareTask], prepared: Sequence[Prepared], shared: Shared) -> None:
        sendings, inputs = [task.sending for task in tasks], [one.inputs for one in prepared]
        write_parts(
            self.place.context, self.state, sendings, inputs, lambda: self.place.each(send_again, tasks[:1], shared)
        )
