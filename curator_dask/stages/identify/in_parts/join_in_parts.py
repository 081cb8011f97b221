"""Join the decisions of all clusters part by part, on workers, and write them.

::

    look      a task per part     which rows depend on other clusters, and which groups there are
    places    a task per part     where rows are found by their ids, if any is looked for
    names     a task per bucket   the rows that are named by their ids
    touching  one task            the rows that have to do with rows of other clusters, or a person with them
    touched   a task per part     the rows of the groups that these touch
    settle    one task            what becomes of them
    facts     a task per bucket   source, start and end of the clips
    prepare   a task per part     the file of the part, of all that; and pieces of it for tables and lists
    put       a unit per part     puts the file in its place
    list      a task per file     tables and lists of all clips, up to a size

The client holds a line per cluster, part and bucket. The worker that settles holds the touched rows: none where no row has a
duplicate in another cluster and no person decided. Parts and buckets follow from the rows alone, so the files do not depend
on the workers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from curator_dask.files.folder import Folder
from curator_dask.report.review.overrides import Override
from curator_dask.runtime.state import StageState
from curator_dask.stages.base import RunContext
from curator_dask.stages.identify.decisions.count_sources import CountTask, emptied_sources, worst_of_all
from curator_dask.stages.identify.decisions.join_record import Joined, made_from, record_join, recorded_join
from curator_dask.stages.identify.decisions.loaded_decisions import DecidedClusters
from curator_dask.stages.identify.decisions.own_source import EmptiedSources
from curator_dask.stages.identify.decisions.parts import part_inputs
from curator_dask.stages.identify.in_parts.prepare import PrepareTask, Shared, prepare_part, send_again
from curator_dask.stages.identify.output.clip_facts import IndexFacts, facts_of_rows
from curator_dask.stages.identify.output.held_ids import TablesWithIds
from curator_dask.stages.identify.output.publish import publish_again
from curator_dask.stages.identify.output.sending import Prepared, Sending
from curator_dask.stages.identify.output.write_parts import write_parts
from curator_dask.stages.identify.settling.part import RowsOfPart
from curator_dask.stages.identify.settling.settled import Settled
from curator_dask.stages.identify.settling.settled_parts import SettledParts, parts_of_tables
from curator_dask.stages.workplace import Workplace, workplace


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
        publish_again(context, state, before.paths, before.joined.counts["rows"])
        return before.joined
    parts = parts_of_tables(state, decided.tables)
    with workplace(context, state, here=len(parts) == 1) as place:
        found = _InParts(place, state, SettledParts(place, parts, decided, overrides), clips).join()
    record_join(state, inputs, found)
    return found


@dataclass
class _InParts:
    """One run of the join."""

    place: Workplace
    state: StageState
    found: SettledParts
    clips: Folder | None

    def join(self) -> Joined:
        found, settled, place = self.found, self.found.settled, self.place
        facts = self._facts(settled)
        shared = Shared(
            found.decided.rule,
            found.rows,
            found.others,
            place.folder,
            facts.paths,
            facts.sources,
            settled,
            found.num_buckets,
        )
        tasks = self._prepare_tasks(settled)
        prepared = place.each(prepare_part, tasks, shared)
        emptied = self._emptied_sources(tasks) if facts.paths else None
        self._write(tasks, prepared, shared)
        counts = {name: sum(one.counts[name] for one in prepared) for name in prepared[0].counts}
        groups = int(found.groups_before[-1]) + int(settled.num_roots.sum())
        return Joined({**counts, "groups": groups}, settled.by_hand, emptied)

    def _facts(self, settled: Settled) -> IndexFacts:
        """What the clip index tells of the rows."""
        if self.clips is None:
            return IndexFacts((), ())
        firsts = np.array([part.first for part in self.found.parts])
        return facts_of_rows(
            self.place, self.clips, self.found.num_buckets, self.found.places, firsts, settled.asked_path
        )

    def _prepare_tasks(self, settled: Settled) -> list[PrepareTask]:
        found = self.found
        return [
            PrepareTask(
                part,
                found.numbers(part),
                self._sending(part),
                int(found.groups_before[part.number]) + settled.roots_before(part),
                self.place.path("sources", part.number),
            )
            for part in found.parts
        ]

    def _sending(self, part: RowsOfPart) -> Sending:
        num_parts, rows, eps = len(self.found.parts), self.found.rows, self.found.decided.rule.eps
        sending = Sending.of(self.place, self.state, part.number, num_parts, rows, eps, "", self._done)
        held = TablesWithIds(sending.task.tables, self.place.folder, *self.found.ids(part))
        return replace(sending, task=replace(sending.task, tables=held))

    @cached_property
    def _done(self) -> dict[str, str]:
        return part_inputs(self.state)

    def _emptied_sources(self, tasks: Sequence[PrepareTask]) -> EmptiedSources | None:
        paths = tuple(task.counts_path for task in tasks)
        numbers = range(self.found.num_buckets)
        return worst_of_all(
            self.place.each(emptied_sources, [CountTask(self.place.folder, paths, one) for one in numbers])
        )

    def _write(self, tasks: Sequence[PrepareTask], prepared: Sequence[Prepared], shared: Shared) -> None:
        sendings, inputs = [task.sending for task in tasks], [one.inputs for one in prepared]
        write_parts(
            self.place, self.state, self._done, sendings, inputs,
            lambda: self.place.each(send_again, tasks[:1], shared),
        )  # fmt: skip
