"""A part as two rules decided on it, on a worker: copies by the rule ``overlap``, then near neighbours among the other rows.

Copies go first, so the clips that near neighbours are looked for among are those that show moments of their own. A clip
that stands for copies may then go itself, as the neighbour of a kept one. What was kept for it moves on to that clip::

    A ── copy ── B ── near ── C      B shows what A shows, C is near B and ranks before it
    copies first      A goes for B
    neighbours then   B goes for C, and A goes for C too: only C is there to be named

So whatever is named as kept is kept. The seconds that A and B share say nothing of A and C: they are left empty.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.decide.stretches import Indices
from curator_dask.files.buckets.shared import read_shared
from curator_dask.stages.identify.by_overlaps.decided_part import DecidedPart
from curator_dask.stages.identify.by_overlaps.meet_scores import CopyFiles, ScoredRows, roots_of_copies
from curator_dask.stages.identify.by_overlaps.results import Everywhere
from curator_dask.stages.identify.decisions.loaded_decisions import CoveredRows, Decisions
from curator_dask.stages.identify.source_groups.connect import labels_of
from curator_dask.stages.identify.source_groups.rows import LinesOfPart

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class BothFiles:
    """What the work on all parts has in common, once copies and near neighbours met."""

    copies: CopyFiles
    scored: ScoredRows
    everywhere: Everywhere
    answers: tuple[str, ...]
    """The files that tell what became of rows that copies went for, in buckets by the part of the copies."""
    labels: str
    """The file with the groups that are one, by their lowest rows (`connect`)."""


class _Links(NamedTuple):
    """L pairs of a removed row and a kept one, by row, the most covering first."""

    row: Indices
    kept: Indices
    moved: NDArray[np.bool_]
    """Whether the clip that shows the same went as a near neighbour, and `kept` is the one that it went for."""


@dataclass(frozen=True)
class PartOfBoth:
    """One part of n rows, which name others by their numbers among all N. Other clips have numbers from N on."""

    part: LinesOfPart
    near_path: str
    """The file with what was decided by scores on its rows."""
    files: BothFiles

    @cached_property
    def near(self) -> dict[str, NDArray[Any]]:
        """What was decided by scores: ``removed``, ``max_row``, ``kept_row``, ``cosine``, ``kept_score`` and ``root``."""
        found = read_shared(self.copies.files.folder, [self.near_path], 0)
        names = ("removed", "max_row", "kept_row", "cosine", "kept_score", "root")
        nothing = {"removed": np.zeros(0, np.bool_), "cosine": np.zeros(0, np.float32)}
        if found is None:
            return {name: nothing.get(name, np.zeros(0, np.int64)) for name in names}
        return {name: found[name].to_numpy() for name in names}

    @cached_property
    def copies(self) -> DecidedPart:
        """What the rule ``overlap`` decided."""
        return DecidedPart(self.part, self.files.copies.decided)

    @cached_property
    def decisions(self) -> Decisions:
        """The decisions on the rows, with what a person decided."""
        is_copy, links = self.copies.by_rule, self._links
        first = np.searchsorted(links.row, np.arange(self.part.num_rows + 1))
        leading = np.full(self.part.num_rows, -1)
        starts = first[:-1][np.diff(first) > 0]
        leading[links.row[starts]] = links.kept[starts]
        max_row, others = self._matches
        return self._by_hand(
            Decisions(
                self.files.scored.rows, self.near["removed"] | is_copy, max_row, leading, self.near["cosine"],
                self._scores(leading, links), np.arange(self.part.num_rows), self.files.scored.rule, others,
                self._covered(links, first), copies=is_copy,
            )
        )  # fmt: skip

    @cached_property
    def _links(self) -> _Links:
        neighbours = np.flatnonzero(self.near["removed"] & ~self.copies.by_rule)
        there = neighbours[self.near["kept_row"][neighbours] >= 0]
        kept = self.near["kept_row"][there].astype(np.int64)
        parts = zip(self._followed(), (there, kept, np.zeros(len(there), np.bool_)), strict=True)
        row, kept, moved = (np.concatenate(pair) for pair in parts)
        order = np.argsort(row, kind="stable")
        return _Links(row[order], kept[order], moved[order])

    def _followed(self) -> _Links:
        """The copies with the kept rows that show them, or with those that these went for; each kept row once."""
        covered = self.copies.covered
        row = np.repeat(np.arange(self.part.num_rows), np.diff(covered.first))
        moved, to = self._moved(covered.kept)
        kept = np.where(moved, to, covered.kept)
        _, first = np.unique(np.stack([row, kept]), axis=1, return_index=True)
        some = np.sort(first[kept[first] >= 0])
        return _Links(row[some], kept[some], moved[some])

    def _moved(self, kept: Indices) -> tuple[NDArray[np.bool_], Indices]:
        """(L,) each: which rows that copies go for went as near neighbours, and the rows that these went for."""
        found = read_shared(self.copies.files.folder, self.files.answers, self.part.number)
        if found is None:
            return np.zeros(len(kept), np.bool_), kept
        found = found.sort_by("row")
        row, to = found["row"].to_numpy(), found["to"].to_numpy()
        at = np.minimum(np.searchsorted(row, kept), len(row) - 1)
        return row[at] == kept, to[at]

    @cached_property
    def _matches(self) -> tuple[Indices, pa.ChunkedArray]:
        """(n,) what the scores of the rows come from; and the ids of clips that are no rows, from N on."""
        import pyarrow as pa

        of_copies, _, more = self.copies.matches()
        others = self.copies.others(more)
        num_rows, near = self.copies.files.num_rows, self.near["max_row"].astype(np.int64)
        near = np.where(near >= num_rows, near + len(others), near)
        scored = self.files.scored.others.cast(others.type)
        every = pa.chunked_array([*others.chunks, *scored.chunks], others.type)
        return np.where(self.copies.by_rule, of_copies, near), every

    def _scores(self, leading: Indices, links: _Links) -> NDArray[np.float32]:
        """The strength of copies, the cosine of neighbours; 0 for copies of which neither belongs to the kept row named."""
        is_copy, removed = self.copies.by_rule, self.near["removed"]
        score = np.where(is_copy, self.copies.spread("kept_score", 0, np.float32), self.near["kept_score"])
        score[links.row[links.moved & (links.kept == leading[links.row])]] = 0
        return np.where(removed | is_copy, score, 0).astype(np.float32)

    def _covered(self, links: _Links, first: Indices) -> CoveredRows:
        """How rows are covered, by the links. Of a copy with a link that moved, the seconds are not known."""
        import pyarrow as pa
        import pyarrow.compute as pc

        covered, unknown = self.copies.covered, np.zeros(self.part.num_rows, np.bool_)
        unknown[links.row[links.moved]] = True
        kind = pc.if_else(pa.array(unknown), pa.scalar(None, covered.kind.type), covered.kind)
        return replace(covered, kind=kind, first=first, kept=links.kept)

    def _by_hand(self, decided: Decisions) -> Decisions:
        """The decisions with those of a person, which leave a row without kept one."""
        keep, remove = (self._chosen(rows) for rows in (self.files.everywhere.keep, self.files.everywhere.remove))
        kept, taken = decided.removed & keep, remove & ~decided.removed
        changed = kept | taken
        decided.max_row[changed], decided.kept_row[changed] = -1, -1
        decided.kept_score[kept] = 0
        decided.removed, decided.by_hand = (decided.removed & ~kept) | taken, taken
        return decided

    def _chosen(self, rows: Indices) -> NDArray[np.bool_]:
        """(n,) which rows of the part are among some."""
        return np.isin(np.arange(self.part.first, self.part.first + self.part.num_rows), rows)

    def counts(self) -> dict[str, int]:
        """The rows, those that go and by which rule, and what a person changed."""
        decided, by_rule = self.decisions, self.near["removed"] | self.copies.by_rule
        num_removed = int(np.count_nonzero(decided.removed))
        lost = np.isin(decided.kept_row[decided.removed], self.files.everywhere.remove)
        return {
            "rows": self.part.num_rows,
            "kept": self.part.num_rows - num_removed,
            "removed": num_removed,
            "orphans": decided.num_orphans(),
            **decided.counts_by_rule(),
            "in_reference": int(np.count_nonzero(decided.removed & self._in_reference())),
            "kept_by_hand": int(np.count_nonzero(by_rule & ~decided.removed)),
            "removed_by_hand": int(np.count_nonzero(decided.removed & ~by_rule)),
            "lost_by_hand": int(np.count_nonzero(lost)),
        }

    def _in_reference(self) -> NDArray[np.bool_]:
        covered = self.decisions.covered
        return np.zeros(self.part.num_rows, np.bool_) if covered is None else covered.in_reference()

    @cached_property
    def roots(self) -> Indices:
        """(n,) the lowest row of the group of each row, of copies and near neighbours; -1 for a row in no group."""
        of_copies = roots_of_copies(self.copies.files, self.files.copies.members, self.part)
        root = np.where(of_copies >= 0, of_copies, self.near["root"])
        grouped = root >= 0
        _, lowest = labels_of(self.copies.files.folder, self.files.labels, root[grouped].astype(np.uint64))
        root[grouped] = lowest.astype(np.int64)
        return root
