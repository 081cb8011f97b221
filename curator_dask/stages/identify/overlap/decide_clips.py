"""The rule ``overlap`` on clips whose numbers are at hand: their order, which seconds of them count, and which go."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.decide.cover import ALL_STRENGTHS, removed_by_cover
from curator_dask.dedup.decide.covered_by import Covers, kept_covers
from curator_dask.dedup.decide.groups import joined_groups
from curator_dask.dedup.decide.source_order import SourceClips, order_by_source
from curator_dask.dedup.decide.stretches import Indices, Stretches, covered_stretches
from curator_dask.dedup.ranking.strategy import RankingStrategy
from curator_dask.stages.identify.overlap.read_overlaps import ClipSpans, FoundOverlaps


@dataclass(frozen=True)
class OverlapRule:
    """When a row is removed by the rule ``overlap``."""

    min_cover: float
    scope: str
    target_keep: float | None
    strategy: RankingStrategy
    """The ranking of the pairwise stage, by which sources are preferred."""
    min_strength: int = ALL_STRENGTHS
    """Overlaps of less strength, in thousandths, do not count; with `target_keep` it is chosen."""


@dataclass(frozen=True)
class ClipsToDecide:
    """N rows to decide on, in the order of cluster and rank, followed by clips that stay."""

    num_rows: int
    spans: ClipSpans
    """Of all clips."""
    values: Mapping[str, NDArray[Any]]
    """(N,) each, the columns that rank, by name."""
    found: FoundOverlaps
    texts: Callable[[Indices], list[str]]
    """Gives the ids, as texts, of some rows, ascending."""
    rule: OverlapRule

    @cached_property
    def place(self) -> Indices:
        """The place of each clip in the order of preference; all clips that stay come first."""
        num_rows, num_others = self.num_rows, len(self.spans.length) - self.num_rows
        used, source = np.unique(self.spans.source[:num_rows], return_inverse=True)
        start, length = self.spans.start[:num_rows], self.spans.length[:num_rows]
        names = [self.spans.names[one] for one in used.tolist()]
        clips = SourceClips(source, names, start, length, self._order_of_ties(source, start))
        place = _positions(order_by_source(clips, self.values, self.rule.strategy))
        return np.concatenate([place + num_others, np.arange(num_others)])

    def _order_of_ties(self, source: Indices, start: Indices) -> Indices:
        """(N,) the order by ids, as texts, of rows that have source and start in common with others; 0 for all others."""
        import pyarrow as pa
        import pyarrow.compute as pc

        order = np.lexsort((start, source))
        same = (np.diff(source[order]) == 0) & (np.diff(start[order]) == 0)
        tied = np.sort(order[np.append(same, False) | np.append(False, same)]) if len(order) else order
        tie = np.zeros(len(source), np.int64)
        tie[tied] = _positions(pc.array_sort_indices(pa.array(self.texts(tied), pa.large_string())).to_numpy())
        return tie

    @cached_property
    def stretches(self) -> Stretches:
        """Those in scope. A clip of a reference is of another source than all rows, whatever its name is."""
        found = covered_stretches(self.found.overlaps, self.spans.length)
        found = found[found.row < self.num_rows]  # the others stay
        if self.rule.scope == "all":
            return found
        same = (self.spans.source[found.row] == self.spans.source[found.by]) & (found.by < self.num_rows)
        return found[same if self.rule.scope == "same" else ~same]

    def removed(self, min_strength: int) -> NDArray[np.bool_]:
        """Which clips go, if overlaps of less strength do not count."""
        strong = self.stretches[self.stretches.strength >= min_strength]
        return removed_by_cover(strong, self.spans.length, self.place, self.rule.min_cover)

    def decide(self, min_strength: int) -> DecidedClips:
        """Which clips go, and for which."""
        removed = self.removed(min_strength)
        strong = self.stretches[self.stretches.strength >= min_strength]
        return DecidedClips(self, removed[: self.num_rows], kept_covers(strong, removed, self.place))


@dataclass(frozen=True)
class DecidedClips:
    """What was decided on N rows."""

    clips: ClipsToDecide
    removed: NDArray[np.bool_]
    """(N,)"""
    covers: Covers
    """Of all clips."""

    @property
    def kept(self) -> Indices:
        """(N,) the kept clip that covers most of each removed row; -1 for the others."""
        kept = np.full(len(self.removed), -1)
        kept[self.removed] = self.covers.kept[self.covers.first[np.flatnonzero(self.removed)]]
        return kept

    @property
    def strength(self) -> Indices:
        """(N,) the strength of the longest overlap with that one, in thousandths; 0 for the others."""
        strength = np.zeros(len(self.removed), np.int64)
        overlap = self.covers.overlap[: len(self.removed)]
        strength[self.removed] = self.clips.found.overlaps.strength[overlap[self.removed]]
        return strength

    def groups(self, kind: type) -> NDArray[Any]:
        """(N,) the lowest row of the group of each row, as numbers of a type."""
        num_rows = len(self.removed)
        rows = np.repeat(np.arange(len(self.covers.first) - 1), np.diff(self.covers.first))
        within = self.covers.kept < num_rows
        return joined_groups(np.arange(num_rows, dtype=kind), rows[within], self.covers.kept[within])

    def covered(self) -> tuple[NDArray[np.float64], NDArray[np.float64], Any]:
        """(N,) each: the share of the row's length that kept clips cover, the offset of the first one, and the kind.

        The last one is text, null for rows that are not covered.
        """
        import pyarrow as pa

        num_rows, found = len(self.removed), self.clips.found
        overlap = self.covers.overlap[:num_rows]
        there = overlap >= 0
        at, best = np.flatnonzero(there), overlap[there]
        share, offset_s = np.zeros(num_rows), np.zeros(num_rows)
        share[at] = self.covers.covered[at] / self.clips.spans.length[at]
        # The offset in the file is that of `row`; seen from `other` it has the other sign. A zero stays without a sign.
        offset_s[at] = found.offset_s[best] * np.where(found.overlaps.row[best] == at, 1, -1) + 0.0
        return share, offset_s, found.kind.take(pa.array(overlap, mask=~there))


def _positions(order: NDArray[np.integer]) -> Indices:
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return place
