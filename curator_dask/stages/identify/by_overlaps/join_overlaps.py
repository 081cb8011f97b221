"""Decide by the rule ``overlap`` on workers, and write the files: the client has no clips.

::

    place     a task per part      the rows, by the digests of their ids, in buckets
    scatter   a task per chunk     spans and overlaps as align wrote them, and clips that stay, in the same buckets
    meet      a task per bucket    source, start and length of the rows; which clips the overlaps name
    find      a task per chunk     the overlaps of known clips, and which sources they join
    connect   a few tasks          which sources are decided on together
    send      per part and chunk   rows and overlaps to their groups of sources
    decide    a task per group     as if there were no others
    number    per part and group   the groups of duplicates, in the order of all rows
    facts     a task per bucket    source, start and end, as the clip index has them
    prepare   a task per part      all of that together
    write     a unit per part      the files

Parts, chunks, buckets and groups follow from the input alone, so the files do not depend on the workers. The client holds
a line per cluster and per task, and what a person decided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from curator_dask.dedup.decide.cover import strength_that_keeps
from curator_dask.dedup.decide.stretches import Indices
from curator_dask.dedup.similarity.threshold import rows_that_may_go
from curator_dask.files.folder import Folder
from curator_dask.runtime.state import StageState
from curator_dask.stages.base import RunContext
from curator_dask.stages.identify.by_overlaps.prepare import PrepareTask, RowsOfAll, Shared, prepare_part, send_again
from curator_dask.stages.identify.by_overlaps.results import (
    Everywhere,
    NumberTask,
    RankTask,
    ResultTask,
    number_members,
    paths_of,
    rank_roots,
    write_results,
)
from curator_dask.stages.identify.decisions.by_hand import ByHand, ids_to_keep, tell
from curator_dask.stages.identify.decisions.dropped import DroppedRows
from curator_dask.stages.identify.decisions.join_decisions import common_type
from curator_dask.stages.identify.decisions.output_files import Sending, part_inputs, write_parts
from curator_dask.stages.identify.decisions.own_source import EmptiedSources
from curator_dask.stages.identify.decisions.table_rows import UnitTables, key_of_cluster
from curator_dask.stages.identify.in_parts.clip_facts import facts_of_rows
from curator_dask.stages.identify.in_parts.count_sources import CountTask, emptied_sources, worst_of_all
from curator_dask.stages.identify.in_parts.join_record import Joined
from curator_dask.stages.identify.in_parts.look import FindTask
from curator_dask.stages.identify.in_parts.named_rows import find_named_rows
from curator_dask.stages.identify.in_parts.workplace import Workplace, workplace
from curator_dask.stages.identify.overlap.decide_clips import OverlapRule
from curator_dask.stages.identify.source_groups.decide_group import all_strengths, count_removed, strengths_of_group
from curator_dask.stages.identify.source_groups.find_groups import SourceGroups
from curator_dask.stages.identify.source_groups.rows import LinesOfPart, count_rows, cut_lines
from curator_dask.stages.identify.source_groups.tables_of_align import StayingSet


@dataclass(frozen=True)
class ToDecide:
    """What is decided on, and how."""

    tables: UnitTables
    """The rows of all clusters, with what ranks them."""
    overlaps: Folder
    """The output of the align stage."""
    rule: OverlapRule
    against: Sequence[StayingSet]
    """Clips that stay and come before all rows."""
    dropped: DroppedRows | None
    """What the filters drop; None where there are none."""
    clips: Folder | None
    """The output of the split stage, if it is known."""
    overrides: Mapping[str, Any] | None
    """What a person decided (`review.overrides`), by id; None: nobody had a say."""


def join_overlaps(context: RunContext, state: StageState, what: ToDecide) -> Joined:
    """Decide on all rows, and write the files.

    Raises InputError where the files do not fit together.
    """
    lines_of = _lines_of(state, what.tables)
    everything = cut_lines(what.tables, lines_of, lines_of, what.dropped)
    with workplace(context, state, here=len(everything) == 1) as place:
        parts = everything
        if what.dropped is not None:
            counts = [one for some in place.each(count_rows, everything) for one in some]
            parts = cut_lines(what.tables, lines_of, dict(zip(what.tables.numbers, counts, strict=True)), what.dropped)
        return _Join(place, state, parts, what).join()


def _lines_of(state: StageState, tables: UnitTables) -> dict[int, int]:
    """Cluster → the lines of its table."""
    keys = {key_of_cluster(tables.prefix, number): number for number in tables.numbers}
    return {keys[record.key]: record.counts["rows"] for record in state.records_of(list(keys))}


@dataclass
class _Join:
    """One run."""

    place: Workplace
    state: StageState
    parts: Sequence[LinesOfPart]
    what: ToDecide

    def join(self) -> Joined:
        everywhere = self._everywhere
        results = self._decide(everywhere)
        members, num_groups = self._number(results)
        shared = self._shared(results, members, everywhere)
        tasks = [PrepareTask(part, self._sending(part)) for part in self.parts]
        prepared = self.place.each(prepare_part, tasks, shared)
        sendings, inputs = [task.sending for task in tasks], [one.inputs for one in prepared]
        write_parts(
            self.place.context, self.state, sendings, inputs, lambda: self.place.each(send_again, tasks[:1], shared)
        )
        counts = {name: sum(one.counts[name] for one in prepared) for name in prepared[0].counts}
        return self._joined(counts, num_groups, self._emptied_sources(results), everywhere.min_strength)

    def _joined(
        self, counts: dict[str, int], num_groups: int, emptied: EmptiedSources | None, min_strength: int
    ) -> Joined:
        names = ("rows", "kept", "removed", "orphans")
        said = {**{name: counts[name] for name in names}, "groups": num_groups}
        if self.what.against:
            said["in_reference"] = counts["in_reference"]
        return Joined(said, self._told(counts), emptied, min_strength)

    @cached_property
    def _found(self) -> SourceGroups:
        what = self.what
        return SourceGroups(self.place, self.parts, what.overlaps, what.rule, what.against)

    @cached_property
    def _rows(self) -> RowsOfAll:
        """All rows: a line per cluster."""
        placed = self._found.placed
        starts, lines = (
            np.concatenate([np.zeros(1, np.int64), *(getattr(one, name)[1:] for one in placed)])
            for name in ("starts", "lines")
        )
        digests = tuple(one for some in placed for one in some.digests)
        kind = common_type([one.id_type for one in placed])
        return RowsOfAll(self.what.tables, lines, kind, digests=digests, row_starts=starts)

    @cached_property
    def _by_hand(self) -> Indices:
        """The row of each id that a person decided on; -1 for one that is no row."""
        buckets = self._found.num_buckets
        tasks = [FindTask(self.place.folder, path, buckets) for path in self._found.row_paths]
        return find_named_rows(self.place, tasks, [], self._rows, self.what.overrides or {}).by_hand

    def _told(self, counts: dict[str, int]) -> ByHand:
        if self.what.overrides is None:
            return ByHand({}, ())
        names = ("kept_by_hand", "removed_by_hand", "lost_by_hand")
        return tell(self.what.overrides, self._by_hand >= 0, *(counts[name] for name in names))

    @cached_property
    def _everywhere(self) -> Everywhere:
        keeps, rows = ids_to_keep(self.what.overrides or {}), self._by_hand
        keep, remove = (np.unique(rows[chosen & (rows >= 0)]) for chosen in (keeps, ~keeps))
        return Everywhere(self._min_strength(), self._found.firsts, keep, remove, self._found.num_buckets)

    def _min_strength(self) -> int:
        """The least strength of the overlaps that count."""
        rule, groups, place = self.what.rule, self._found.groups, self.place
        if rule.target_keep is None:
            return rule.min_strength
        numbers, may_go = range(groups.number), rows_that_may_go(self._found.num_rows, rule.target_keep)
        levels = all_strengths(place.each(strengths_of_group, numbers, groups))
        return strength_that_keeps(levels, lambda least: sum(place.each(count_removed, numbers, groups, least)), may_go)

    def _decide(self, everywhere: Everywhere) -> list[ResultTask]:
        names = ("results", "named", "members", "roots", "counts")
        groups = self._found.groups
        tasks = [
            ResultTask(number, *(self.place.path(name, number) for name in names)) for number in range(groups.number)
        ]
        self.place.each(write_results, tasks, groups, everywhere)
        return tasks

    def _number(self, results: Sequence[ResultTask]) -> tuple[tuple[str, ...], int]:
        """The files with the members of groups of duplicates, by part, and the number of groups."""
        ranks = [RankTask(part.number, self.place.path("ranks", part.number)) for part in self.parts]
        counts = self.place.each(rank_roots, ranks, self.place.folder, paths_of(results, "roots"))
        before = np.cumsum([0, *counts])
        tasks = [NumberTask(one.number, one.members, self.place.path("numbered", one.number)) for one in results]
        common = (self.place.folder, paths_of(ranks, "written"), before[:-1], self._found.firsts)
        return tuple(self.place.each(number_members, tasks, *common)), int(before[-1])

    def _shared(self, results: Sequence[ResultTask], members: tuple[str, ...], everywhere: Everywhere) -> Shared:
        found, rows, named = self._found, paths_of(results, "rows"), paths_of(results, "named")
        return Shared(
            self.what.rule, self._rows, self.place.folder, rows, named, members, self._facts(found), everywhere
        )

    def _facts(self, found: SourceGroups) -> tuple[str, ...]:
        """The files with what the clip index tells of the rows."""
        if self.what.clips is None:
            return ()
        nothing = np.zeros(0, np.int64)
        return facts_of_rows(
            self.place, self.what.clips, found.num_buckets, found.row_paths, found.firsts, nothing
        ).paths

    def _sending(self, part: LinesOfPart) -> Sending:
        return Sending.of(self.state, part.number, len(self.parts), self._rows, 0.0, "", self._done)

    @cached_property
    def _done(self) -> dict[str, str]:
        return part_inputs(self.state)

    def _emptied_sources(self, results: Sequence[ResultTask]) -> EmptiedSources | None:
        paths = (*self._found.first_lines, *paths_of(results, "counts"))
        tasks = [CountTask(self.place.folder, paths, number) for number in range(self._found.num_buckets)]
        return worst_of_all(self.place.each(emptied_sources, tasks))
