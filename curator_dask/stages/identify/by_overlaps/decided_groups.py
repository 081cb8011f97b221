"""Which groups of sources there are, where their rows are, and what counts in all of them: before any is decided on for good."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from curator_dask.dedup.decide.cover import strength_that_keeps
from curator_dask.dedup.decide.stretches import Indices
from curator_dask.files.folder import Folder
from curator_dask.runtime.state import StageState
from curator_dask.stages.base import RunContext
from curator_dask.stages.identify.by_overlaps.decided_part import DecidedFiles
from curator_dask.stages.identify.by_overlaps.results import Everywhere
from curator_dask.stages.identify.decisions.by_hand import ByHand, ids_to_keep, tell
from curator_dask.stages.identify.decisions.dropped import DroppedRows
from curator_dask.stages.identify.decisions.loaded_decisions import common_type
from curator_dask.stages.identify.decisions.table_rows import UnitTables, key_of_cluster
from curator_dask.stages.identify.output.clip_facts import facts_of_rows
from curator_dask.stages.identify.overlap.decide_clips import OverlapRule
from curator_dask.stages.identify.settling.named_rows import Names, find_in_buckets
from curator_dask.stages.identify.source_groups.decide_group import all_strengths, count_removed, strengths_of_group
from curator_dask.stages.identify.source_groups.find_groups import SourceGroups
from curator_dask.stages.identify.source_groups.rows import LinesOfPart, count_rows, cut_lines
from curator_dask.stages.identify.source_groups.rows_of_all import RowsOfAll
from curator_dask.stages.identify.source_groups.staying import StayingSet
from curator_dask.stages.workplace import Workplace, workplace


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


@contextmanager
def groups_to_decide(context: RunContext, state: StageState, what: ToDecide) -> Iterator[GroupsToDecide]:
    """The groups, and a place to work on them, within the block."""
    lines_of = _lines_of(state, what.tables)
    everything = cut_lines(what.tables, lines_of, lines_of, what.dropped)
    with workplace(context, state, here=len(everything) == 1) as place:
        parts = everything
        if what.dropped is not None:
            counts = [one for some in place.each(count_rows, everything) for one in some]
            parts = cut_lines(what.tables, lines_of, dict(zip(what.tables.numbers, counts, strict=True)), what.dropped)
        yield GroupsToDecide(place, parts, what)


def _lines_of(state: StageState, tables: UnitTables) -> dict[int, int]:
    """Cluster → the lines of its table."""
    keys = {key_of_cluster(tables.prefix, number): number for number in tables.numbers}
    return {keys[record.key]: record.counts["rows"] for record in state.records_of(list(keys))}


@dataclass
class GroupsToDecide:
    """The groups of one run."""

    place: Workplace
    parts: Sequence[LinesOfPart]
    what: ToDecide

    @cached_property
    def found(self) -> SourceGroups:
        what = self.what
        return SourceGroups(self.place, self.parts, what.overlaps, what.rule, what.against)

    @cached_property
    def rows(self) -> RowsOfAll:
        """All rows: a line per cluster."""
        placed = self.found.placed
        starts, lines = (
            np.concatenate([np.zeros(1, np.int64), *(getattr(one, name)[1:] for one in placed)])
            for name in ("starts", "lines")
        )
        digests = tuple(one for some in placed for one in some.digests)
        kind = common_type([one.id_type for one in placed])
        return RowsOfAll(self.what.tables, lines, kind, digests=digests, row_starts=starts)

    @cached_property
    def by_hand(self) -> Indices:
        """The row of each id that a person decided on; -1 for one that is no row."""
        if not self.what.overrides:
            return np.zeros(0, np.int64)
        names = Names(self.place.folder, tuple(self.found.row_paths), (), self.rows.id_type)
        return find_in_buckets(self.place, names, self.found.num_buckets, self.what.overrides)[1]

    def told(self, counts: dict[str, int]) -> ByHand:
        if self.what.overrides is None:
            return ByHand({}, ())
        names = ("kept_by_hand", "removed_by_hand", "lost_by_hand")
        return tell(self.what.overrides, self.by_hand >= 0, *(counts[name] for name in names))

    @cached_property
    def everywhere(self) -> Everywhere:
        keeps, rows = ids_to_keep(self.what.overrides or {}), self.by_hand
        keep, remove = (np.unique(rows[chosen & (rows >= 0)]) for chosen in (keeps, ~keeps))
        return Everywhere(self._min_strength(), self.found.firsts, keep, remove, self.found.num_buckets)

    def _min_strength(self) -> int:
        """The least strength of the overlaps that count."""
        rule, groups, place = self.what.rule, self.found.groups, self.place
        if rule.target_keep is None:
            return rule.min_strength
        numbers = range(groups.number)
        levels = all_strengths(place.each(strengths_of_group, numbers, groups))

        def num_removed(least: int) -> int:
            return sum(place.each(count_removed, numbers, groups, least))

        return strength_that_keeps(levels, num_removed, self.found.num_rows, rule.target_keep)

    def files(self, results: tuple[str, ...], named: tuple[str, ...]) -> DecidedFiles:
        """What is known of the files that all groups wrote."""
        runs = sum(not one.in_reference for one in self.what.against)
        return DecidedFiles(
            self.place.folder, results, named, self.what.rule, len(self.rows), self.rows.id_type,
            StayingSet.first_of(runs),
        )  # fmt: skip

    def facts(self) -> tuple[str, ...]:
        """The files with what the clip index tells of the rows."""
        found = self.found
        if self.what.clips is None:
            return ()
        return facts_of_rows(self.place, self.what.clips, found.num_buckets, found.row_paths, found.firsts, None).paths
