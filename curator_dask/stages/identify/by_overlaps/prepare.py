"""Put together what a part of the decisions needs, on a worker: what was decided on its rows, and the facts about them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.decide.rules import Rule
from curator_dask.dedup.decide.stretches import Indices
from curator_dask.files.buckets.shared import read_shared
from curator_dask.stages.identify.by_overlaps.decided_part import DecidedFiles, DecidedPart
from curator_dask.stages.identify.by_overlaps.exchange import groups_of_rows
from curator_dask.stages.identify.by_overlaps.part_of_both import BothFiles, PartOfBoth
from curator_dask.stages.identify.by_overlaps.results import Everywhere
from curator_dask.stages.identify.decisions.loaded_decisions import Decisions
from curator_dask.stages.identify.decisions.part_rows import PartRows, PartsOfDecisions
from curator_dask.stages.identify.output.clip_facts import read_facts
from curator_dask.stages.identify.output.sending import Prepared, Sending, send_part
from curator_dask.stages.identify.source_groups.rows import LinesOfPart
from curator_dask.stages.identify.source_groups.rows_of_all import RowsInTables, RowsOfAll


@dataclass(frozen=True)
class Shared:
    """What the work on all parts has in common."""

    files: DecidedFiles
    rows: RowsOfAll
    members: tuple[str, ...]
    """The files with the members of groups of duplicates, in buckets by part; none where groups are not asked for."""
    facts: tuple[str, ...]
    """The files with what the clip index tells; none where nothing is known."""
    everywhere: Everywhere


@dataclass(frozen=True)
class PrepareTask:
    """Prepare one part."""

    part: LinesOfPart
    sending: Sending


def send_again(task: PrepareTask, shared: Shared) -> str:
    """Make the file of a part once more, whatever was done."""
    return send_part(replace(task.sending, done=""), _Part(task, shared).made())


def prepare_part(task: PrepareTask, shared: Shared) -> Prepared:
    """Make the file of a part, unless it was made from the same before, and count."""
    part = _Part(task, shared)
    return Prepared(send_part(task.sending, part.made()), part.counts())


@dataclass(frozen=True)
class _Part:
    """One part."""

    task: PrepareTask
    shared: Shared

    @cached_property
    def _found(self) -> DecidedPart:
        return DecidedPart(self.task.part, self.shared.files)

    @property
    def _first(self) -> int:
        return self.task.part.first

    @property
    def _num_rows(self) -> int:
        return self.task.part.num_rows

    def made(self) -> PartRows:
        """What `send_part` needs."""
        removed = self._decisions.removed
        facts = read_facts(
            self.shared.files.folder, self.shared.facts, self.task.part.number, self._first, removed
        ).facts
        return PartsOfDecisions(self._decisions, facts, True, self._first, self._groups).rows(0, self._num_rows)

    def counts(self) -> dict[str, int]:
        """The rows, those that go, and what a person changed."""
        decisions, by_rule = self._decisions, self._found.by_rule
        num_removed = int(np.count_nonzero(decisions.removed))
        by_hand = decisions.by_hand if decisions.by_hand is not None else np.zeros(0, np.bool_)
        covered = decisions.covered.in_reference() if decisions.covered is not None else by_hand
        return {
            "rows": self._num_rows,
            "kept": self._num_rows - num_removed,
            "removed": num_removed,
            "orphans": decisions.num_orphans(),
            "in_reference": int(np.count_nonzero(decisions.removed & covered)),
            "kept_by_hand": int(np.count_nonzero(by_rule & ~decisions.removed)),
            "removed_by_hand": int(np.count_nonzero(by_hand)),
            "lost_by_hand": int(np.isin(decisions.kept_row[decisions.removed], self.shared.everywhere.remove).sum()),
        }

    def _by_hand(self, rows: Indices) -> NDArray[np.bool_]:
        """(n,) which rows of the part are among some."""
        chosen = np.zeros(self._num_rows, np.bool_)
        chosen[rows[(rows >= self._first) & (rows < self._first + self._num_rows)] - self._first] = True
        return chosen

    @cached_property
    def _decisions(self) -> Decisions:
        """The decisions on the rows of the part, which name other rows by their numbers among all."""
        keep, remove = (self._by_hand(rows) for rows in (self.shared.everywhere.keep, self.shared.everywhere.remove))
        kept, taken = self._found.by_rule & keep, remove & ~self._found.by_rule
        changed = kept | taken
        max_row, cosine, more = self._found.matches()
        kept_row = self._found.renamed(self._found.spread("kept", -1, np.int64))
        max_row[changed], kept_row[changed] = -1, -1
        score = self._found.spread("kept_score", 0, np.float32)
        score[kept] = 0
        return Decisions(
            self._rows, (self._found.by_rule & ~kept) | taken, max_row, kept_row, cosine, score, np.arange(self._num_rows),
            Rule("overlap", 0.0, self.shared.files.rule.scope), self._found.others(more), self._found.covered, taken,
        )  # fmt: skip

    @cached_property
    def _rows(self) -> RowsOfAll:
        """All rows, with the lines of those of the part and of those that they name."""
        own = RowsInTables(np.arange(self._num_rows) + self._first, self._found.lines + self.task.part.first_line)
        if self._found.named is not None:
            clip, line = (self._found.named[name].to_numpy() for name in ("clip", "line"))
            own = own.joined(clip[line >= 0], line[line >= 0])
        return replace(self.shared.rows, known=own)

    @cached_property
    def _groups(self) -> tuple[Indices, Indices]:
        """(n,) each: the number of the group of each row, and its leader; -1 for none."""
        number, leader = (np.full(self._num_rows, -1) for _ in range(2))
        members = read_shared(self.shared.files.folder, self.shared.members, self.task.part.number)
        if members is not None:
            place = members["row"].to_numpy() - self._first
            number[place], leader[place] = members["group"].to_numpy(), members["leader"].to_numpy()
        return number, leader


@dataclass(frozen=True)
class BothTask:
    """Prepare one part that two rules decided on."""

    part: LinesOfPart
    near: str
    """The file with what was decided by scores on its rows."""
    sending: Sending


@dataclass(frozen=True)
class SharedByBoth:
    """What the work on all such parts has in common."""

    files: BothFiles
    groups: tuple[str, ...]
    """The files of all parts with the groups that they number, in buckets by the part that asks."""
    groups_before: Indices
    """(P,) how many groups have their lowest rows in parts before each one."""
    facts: tuple[str, ...]
    """The files with what the clip index tells; none where nothing is known."""


def send_both_again(task: BothTask, shared: SharedByBoth) -> str:
    """As `send_again`."""
    return send_part(replace(task.sending, done=""), _made(PartOfBoth(task.part, task.near, shared.files), shared))


def prepare_both(task: BothTask, shared: SharedByBoth) -> Prepared:
    """As `prepare_part`."""
    part = PartOfBoth(task.part, task.near, shared.files)
    return Prepared(send_part(task.sending, _made(part, shared)), part.counts())


def _made(part: PartOfBoth, shared: SharedByBoth) -> PartRows:
    """What `send_part` needs."""
    decisions, first, folder = part.decisions, part.part.first, part.copies.files.folder
    facts = read_facts(folder, shared.facts, part.part.number, first, decisions.removed).facts
    groups = groups_of_rows(part, shared.groups, shared.groups_before)
    return PartsOfDecisions(decisions, facts, True, first, groups).rows(0, part.part.num_rows)
