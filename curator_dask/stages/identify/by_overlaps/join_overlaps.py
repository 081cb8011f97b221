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
    prepare   a task per part      the file of the part, of all that; and pieces of it for tables and lists
    put       a unit per part      puts the file in its place
    list      a task per file      tables and lists of all clips, up to a size

Parts, chunks, buckets and groups follow from the input alone, so the files do not depend on the workers. The client holds
a line per cluster and per task, and what a person decided.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from curator_dask.runtime.state import StageState
from curator_dask.stages.base import RunContext
from curator_dask.stages.identify.by_overlaps.decided_groups import GroupsToDecide, ToDecide, groups_to_decide
from curator_dask.stages.identify.by_overlaps.prepare import PrepareTask, Shared, prepare_part, send_again
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
from curator_dask.stages.identify.decisions.count_sources import CountTask, emptied_sources, worst_of_all
from curator_dask.stages.identify.decisions.join_record import Joined
from curator_dask.stages.identify.decisions.own_source import EmptiedSources
from curator_dask.stages.identify.decisions.parts import part_inputs
from curator_dask.stages.identify.output.sending import Sending
from curator_dask.stages.identify.output.write_parts import write_parts
from curator_dask.stages.identify.source_groups.rows import LinesOfPart
from curator_dask.stages.workplace import Workplace


def join_overlaps(
    context: RunContext, state: StageState, what: ToDecide, below: str = "", *, with_groups: bool = True
) -> Joined:
    """Decide on all rows, and write the files.

    Args:
        below: a prefix of the paths of the files.
        with_groups: whether the files tell the groups of duplicates.

    Raises InputError where the files do not fit together.
    """
    with groups_to_decide(context, state, what) as groups:
        return _Join(groups.place, state, groups, below, with_groups).join()


@dataclass
class _Join:
    """One run."""

    place: Workplace
    state: StageState
    groups: GroupsToDecide
    below: str
    with_groups: bool

    def join(self) -> Joined:
        everywhere = self.groups.everywhere
        results = self._decide(everywhere)
        members, num_groups = self._number(results)
        shared = self._shared(results, members, everywhere)
        tasks = [PrepareTask(part, self._sending(part)) for part in self.groups.parts]
        prepared = self.place.each(prepare_part, tasks, shared)
        sendings, inputs = [task.sending for task in tasks], [one.inputs for one in prepared]
        write_parts(
            self.place, self.state, self._done, sendings, inputs, lambda: self.place.each(send_again, tasks[:1], shared),
            with_groups=self.with_groups,
        )  # fmt: skip
        counts = {name: sum(one.counts[name] for one in prepared) for name in prepared[0].counts}
        return self._joined(counts, num_groups, self._emptied_sources(results), everywhere.min_strength)

    def _joined(
        self, counts: dict[str, int], num_groups: int, emptied: EmptiedSources | None, min_strength: int
    ) -> Joined:
        names = ("rows", "kept", "removed", "orphans")
        said = {**{name: counts[name] for name in names}, "groups": num_groups}
        if self.groups.what.against:
            said["in_reference"] = counts["in_reference"]
        return Joined(said, self.groups.told(counts), emptied, min_strength)

    def _decide(self, everywhere: Everywhere) -> list[ResultTask]:
        names = ("results", "named", "members", "roots", "counts")
        groups = self.groups.found.groups
        tasks = [
            ResultTask(number, *(self.place.path(name, number) for name in names)) for number in range(groups.number)
        ]
        self.place.each(write_results, tasks, groups, everywhere)
        return tasks

    def _number(self, results: Sequence[ResultTask]) -> tuple[tuple[str, ...], int]:
        """The files with the members of groups of duplicates, by part, and the number of groups."""
        ranks = [RankTask(part.number, self.place.path("ranks", part.number)) for part in self.groups.parts]
        counts = self.place.each(rank_roots, ranks, self.place.folder, paths_of(results, "roots"))
        before = np.cumsum([0, *counts])
        tasks = [NumberTask(one.number, one.members, self.place.path("numbered", one.number)) for one in results]
        common = (self.place.folder, paths_of(ranks, "written"), before[:-1], self.groups.found.firsts)
        return tuple(self.place.each(number_members, tasks, *common)), int(before[-1])

    def _shared(self, results: Sequence[ResultTask], members: tuple[str, ...], everywhere: Everywhere) -> Shared:
        files = self.groups.files(paths_of(results, "rows"), paths_of(results, "named"))
        return Shared(files, self.groups.rows, members if self.with_groups else (), self.groups.facts(), everywhere)

    def _sending(self, part: LinesOfPart) -> Sending:
        return Sending.of(
            self.place,
            self.state,
            part.number,
            len(self.groups.parts),
            self.groups.rows,
            0.0,
            self.below,
            self._done,
            with_groups=self.with_groups,
        )

    @cached_property
    def _done(self) -> dict[str, str]:
        return part_inputs(self.state)

    def _emptied_sources(self, results: Sequence[ResultTask]) -> EmptiedSources | None:
        paths = (*self.groups.found.first_lines, *paths_of(results, "counts"))
        tasks = [CountTask(self.place.folder, paths, number) for number in range(self.groups.found.num_buckets)]
        return worst_of_all(self.place.each(emptied_sources, tasks))
