"""Two questions, one answer, on workers: copies by the rule ``overlap``, then near neighbours among the clips that are left.

::

    copies    a task per group of sources   which rows go as copies, as `join_overlaps` decides on them
    gone      a task per part               the copies in it, a bit per row: the clusters are decided on without them
    settle    tasks per part                what the clusters decided, as `in_parts` joins it
    meet      a task per part               what became of rows that copies went for; which groups are one
    connect   a few tasks                   the groups that have rows in common
    report    a task per part               groups and sources, told to the parts that they concern
    answer    a task per part               the numbers and leaders of groups
    prepare   a task per part               the file of the part, of all that; and pieces of it for tables and lists
    put       a unit per part               puts the file in its place
    list      a task per file               tables and lists of all clips, up to a size

The client holds a bit per row, a line per cluster and per task, and what a person decided.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from curator_dask.data.scored_clusters import RowSet
from curator_dask.errors import InputError
from curator_dask.runtime.state import StageState
from curator_dask.stages.identify.by_overlaps.copies import CopiesTask, GoneTask, copies_of_part, write_copies
from curator_dask.stages.identify.by_overlaps.decided_groups import GroupsToDecide
from curator_dask.stages.identify.by_overlaps.exchange import ExchangeTask, answer, report
from curator_dask.stages.identify.by_overlaps.meet_scores import CopyFiles, MeetTask, ScoredRows, meet_scores
from curator_dask.stages.identify.by_overlaps.part_of_both import BothFiles
from curator_dask.stages.identify.by_overlaps.prepare import BothTask, SharedByBoth, prepare_both, send_both_again
from curator_dask.stages.identify.by_overlaps.results import paths_of
from curator_dask.stages.identify.decisions.count_sources import CountTask, emptied_sources, worst_of_all
from curator_dask.stages.identify.decisions.join_record import Joined
from curator_dask.stages.identify.decisions.loaded_decisions import DecidedClusters
from curator_dask.stages.identify.decisions.own_source import EmptiedSources
from curator_dask.stages.identify.decisions.parts import part_inputs
from curator_dask.stages.identify.output.sending import Sending
from curator_dask.stages.identify.output.write_parts import write_parts
from curator_dask.stages.identify.settling.settled_parts import SettledParts, parts_of_tables
from curator_dask.stages.identify.source_groups.connect import connect
from curator_dask.stages.workplace import Workplace


@dataclass
class CopiesFirst:
    """The copies among all rows, and what is decided on the others."""

    state: StageState
    groups: GroupsToDecide

    @cached_property
    def gone(self) -> dict[int, RowSet]:
        """Cluster → its copies. Clusters without rows are left out."""
        files = self._copies.decided
        tasks = [
            GoneTask(part, one.starts) for part, one in zip(self.groups.parts, self.groups.found.placed, strict=True)
        ]
        found = self.groups.place.each(copies_of_part, tasks, files)
        return {number: rows for some in found for number, rows in some.items()}

    @cached_property
    def _copies(self) -> CopyFiles:
        names, groups, place = ("results", "named", "members", "asked"), self.groups.found.groups, self.groups.place
        tasks = [CopiesTask(one, *(place.path(name, one) for name in names)) for one in range(groups.number)]
        place.each(write_copies, tasks, groups, self.groups.everywhere)
        decided = self.groups.files(paths_of(tasks, "rows"), paths_of(tasks, "named"))
        return CopyFiles(decided, paths_of(tasks, "members"), paths_of(tasks, "asked"), len(self.groups.parts))

    @property
    def min_strength(self) -> int:
        """The least strength of the overlaps that counted, in thousandths."""
        return self.groups.everywhere.min_strength

    def join(self, decided: DecidedClusters) -> Joined:
        """Join both, and write the files.

        Args:
            decided: by the rule ``greedy``, where the rows of `gone` were removed before.

        Raises InputError where the files do not fit together.
        """
        before = self.groups.place
        place = replace(before, below=f"{before.below}/both")
        found = SettledParts(place, parts_of_tables(self.state, decided.tables), decided, None)
        return _JoinBoth(place, self.state, self.groups, self._copies, found).join()


@dataclass
class _JoinBoth:
    """One join."""

    place: Workplace
    state: StageState
    groups: GroupsToDecide
    copies: CopyFiles
    found: SettledParts
    """What was decided by scores."""

    def join(self) -> Joined:
        files, spans = self._meet(), self.groups.found.spans
        tasks = self._exchange_tasks()
        self.place.each(report, tasks, files, spans)
        told = tuple((task.roots, task.lost) for task in tasks)
        before = np.cumsum([0, *self.place.each(answer, tasks, files, spans, told)])
        shared = SharedByBoth(files, paths_of(tasks, "groups"), before[:-1], self.groups.facts())
        counts = self._write(shared)
        return self._joined(counts, int(before[-1]), self._emptied_sources(tasks))

    def _meet(self) -> BothFiles:
        tasks = self._meet_tasks()
        scored = ScoredRows(self.found.decided.rule, self.found.rows, self.found.others)
        self.place.each(meet_scores, tasks, self.copies, scored)
        labels = connect(self.place, paths_of(tasks, "links"))
        return BothFiles(self.copies, scored, self.groups.everywhere, paths_of(tasks, "answers"), labels)

    def _meet_tasks(self) -> list[MeetTask]:
        listed, scored, settled = self.groups.parts, self.found.parts, self.found.settled
        if [(one.first, one.first + one.num_rows) for one in listed] != [(one.first, one.stop) for one in scored]:
            raise InputError("the similarity tables changed while they were decided on: run identify again")
        return [
            MeetTask(
                one, other, self.found.numbers(other), settled,
                *(self.place.path(name, one.number) for name in ("near", "links", "answers")),
            )
            for one, other in zip(listed, scored, strict=True)
        ]  # fmt: skip

    def _exchange_tasks(self) -> list[ExchangeTask]:
        names = ("near", "roots", "lost", "counts", "groups", "counts-of-lost")
        return [
            ExchangeTask(part, *(self.place.path(name, part.number) for name in names)) for part in self.groups.parts
        ]

    def _write(self, shared: SharedByBoth) -> dict[str, int]:
        """Write the parts; returns the counts."""
        tasks = [
            BothTask(part, self.place.path("near", part.number), self._sending(part.number))
            for part in self.groups.parts
        ]
        prepared = self.place.each(prepare_both, tasks, shared)
        sendings, inputs = [task.sending for task in tasks], [one.inputs for one in prepared]
        write_parts(
            self.place, self.state, self._done, sendings, inputs,
            lambda: self.place.each(send_both_again, tasks[:1], shared),
        )  # fmt: skip
        return {name: sum(one.counts[name] for one in prepared) for name in prepared[0].counts}

    def _sending(self, number: int) -> Sending:
        parts, eps = len(self.groups.parts), self.found.decided.rule.eps
        return Sending.of(self.place, self.state, number, parts, self.found.rows, eps, "", self._done)

    @cached_property
    def _done(self) -> dict[str, str]:
        return part_inputs(self.state)

    def _emptied_sources(self, tasks: Sequence[ExchangeTask]) -> EmptiedSources | None:
        found = self.groups.found
        paths = (*found.first_lines, *paths_of(tasks, "counts"), *paths_of(tasks, "counts_of_lost"))
        buckets = [CountTask(self.place.folder, paths, number) for number in range(found.num_buckets)]
        return worst_of_all(self.place.each(emptied_sources, buckets))

    def _joined(self, counts: dict[str, int], num_groups: int, emptied: EmptiedSources | None) -> Joined:
        said = {**{name: counts[name] for name in ("rows", "kept", "removed", "orphans")}, "groups": num_groups}
        by_rule = ("removed_as_copies", "removed_as_near", *(("in_reference",) if self.groups.what.against else ()))
        said |= {name: counts[name] for name in by_rule}
        return Joined(said, self.groups.told(counts), emptied, self.groups.everywhere.min_strength)
