"""Decide on all rows by the rule ``overlap``: the tables of the clusters and the overlaps → decisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.decisions.row_index import RowIndex, id_digests
from curator_dask.data.ids import id_texts
from curator_dask.dedup.decide.cover import ALL_STRENGTHS, removed_by_cover, strength_that_keeps
from curator_dask.dedup.decide.covered_by import Covers, kept_covers
from curator_dask.dedup.decide.groups import joined_groups
from curator_dask.dedup.decide.rules import Rule
from curator_dask.dedup.decide.source_order import SourceClips, order_by_source
from curator_dask.dedup.decide.stretches import Indices, Stretches, covered_stretches
from curator_dask.dedup.ranking.strategy import RankingStrategy
from curator_dask.dedup.similarity.threshold import rows_that_may_go
from curator_dask.errors import InputError
from curator_dask.files.folder import Folder
from curator_dask.stages.identify.decisions.join_decisions import (
    CoveredRows,
    Decisions,
    find_named,
    row_type,
    stored_type,
)
from curator_dask.stages.identify.decisions.own_source import Sources
from curator_dask.stages.identify.decisions.table_rows import ClusterTables, TableRows
from curator_dask.stages.identify.overlap.load_rows import Matches, Stay, load_ranked_rows, staying_lines
from curator_dask.stages.identify.overlap.read_overlaps import (
    ClipSet,
    ClipSpans,
    FoundOverlaps,
    read_overlaps,
    read_spans,
    with_standing_pictures,
)
from curator_dask.stages.identify.overlap.reference import StayingClips

if TYPE_CHECKING:
    import pyarrow as pa


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
class OverlapDecisions:
    """The decisions, the sources of the rows, and the least strength, in thousandths, of the overlaps that counted."""

    decisions: Decisions
    sources: Sources
    min_strength: int


@dataclass(frozen=True)
class _Rows:
    """N rows to decide on, in the order of cluster and rank, followed by the clips that stay."""

    rows: TableRows
    matches: Matches
    """What their scores come from."""
    values: dict[str, NDArray[Any]]
    """(N,) each, the columns that rank, by name."""
    others: pa.ChunkedArray
    """The texts of the ids of the clips that stay."""
    sets: tuple[ClipSet, ...]
    first_reference: int
    """The place of the first clip of another output."""

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def num_clips(self) -> int:
        return len(self.rows) + len(self.others)

    def texts(self, places: Indices) -> list[str]:
        """The ids at some places, ascending, as texts."""
        import pyarrow as pa

        own = places[places < len(self.rows)]
        ids = id_texts(pa.chunked_array([self.rows.ids(own)]))
        found: list[str] = [*ids.to_pylist(), *self.others.take(places[len(own) :] - len(self.rows)).to_pylist()]
        return found


def decide_by_overlaps(
    tables: ClusterTables, folder: Folder, rule: OverlapRule, staying: Sequence[StayingClips] = (),
    stay: Stay | None = None,
) -> OverlapDecisions:  # fmt: skip
    """Decide on the rows of all clusters.

    Args:
        folder: the output of the align stage.
        staying: clips that stay and come before all rows.
        stay: says of ids, as texts, whether these rows are decided on; the others are as if they were not there. None: all.
    """
    rows = _rows(tables, rule.strategy, staying)
    spans = read_spans(folder, rows.sets, rows.num_clips, rows.texts)
    found = with_standing_pictures(read_overlaps(folder, rows.sets, rows.num_clips))
    if stay is not None:
        rows, spans, found = _only_those_that_stay(rows, spans, found, staying_lines(rows.rows, stay))
    place = _places(rows, spans, rule.strategy)
    stretches = covered_stretches(found.overlaps, spans.length)
    stretches = _in_scope(stretches[stretches.row < len(rows)], spans, rule.scope, len(rows))  # the others stay
    min_strength = rule.min_strength
    if rule.target_keep is not None:
        may_go = rows_that_may_go(len(rows), rule.target_keep)
        min_strength = strength_that_keeps(stretches, spans.length, place, rule.min_cover, may_go)
    stretches = stretches[stretches.strength >= min_strength]
    removed = removed_by_cover(stretches, spans.length, place, rule.min_cover)
    covers = kept_covers(stretches, removed, place)
    decisions = _decisions(rows, removed[: len(rows)], covers, found, rule)
    decisions.covered = _covered_rows(rows, covers, found, spans.length)
    return OverlapDecisions(decisions, Sources(spans.source[: len(rows)], spans.names), min_strength)


def _rows(tables: ClusterTables, strategy: RankingStrategy, staying: Sequence[StayingClips]) -> _Rows:
    import pyarrow as pa

    rows, matches, values = load_ranked_rows(tables, strategy)
    staying = sorted(staying, key=lambda one: one.in_reference)
    first = np.cumsum([len(rows), *(len(one.ids) for one in staying)]).tolist()
    others = pa.chunked_array([chunk for one in staying for chunk in one.ids.chunks], pa.large_string())
    sets = [ClipSet(0, 0, rows.index)]
    for one, at in zip(staying, first[:-1], strict=True):
        sets.append(ClipSet(one.number, at, RowIndex.of([*id_digests(one.ids).T])))
    first_reference = first[sum(not one.in_reference for one in staying)]
    return _Rows(rows, matches, values, others, tuple(sets), first_reference)


def _only_those_that_stay(
    rows: _Rows, spans: ClipSpans, found: FoundOverlaps, lines: NDArray[np.bool_]
) -> tuple[_Rows, ClipSpans, FoundOverlaps]:
    """The rows without dropped ones, and the spans and overlaps of these.

    Overlaps that follow by way of a dropped clip's picture count: they were made before.
    """
    import pyarrow as pa

    stays = np.concatenate([lines, np.ones(len(rows.others), np.bool_)])
    left = replace(
        rows,
        rows=replace(rows.rows, staying=np.flatnonzero(lines)),
        matches=rows.matches.of(lines),
        values={name: values[lines] for name, values in rows.values.items()},
        first_reference=rows.first_reference - int((~stays).sum()),
    )
    chosen = stays[found.overlaps.row] & stays[found.overlaps.other]
    place = np.cumsum(stays) - 1
    overlaps = found.overlaps[chosen]
    overlaps = replace(overlaps, row=place[overlaps.row], other=place[overlaps.other])
    within = ClipSpans(spans.source[stays], spans.names, spans.start[stays], spans.length[stays])
    return left, within, FoundOverlaps(overlaps, found.offset_s[chosen], found.kind.filter(pa.array(chosen)))


def _places(rows: _Rows, spans: ClipSpans, strategy: RankingStrategy) -> Indices:
    """The place of each row in the order of preference; all clips that stay come first."""
    num_others, num_rows = len(rows.others), len(rows)
    used, source = np.unique(spans.source[:num_rows], return_inverse=True)
    start, length = spans.start[:num_rows], spans.length[:num_rows]
    names = [spans.names[one] for one in used.tolist()]
    clips = SourceClips(source, names, start, length, _order_of_ties(rows, source, start))
    place = _positions(order_by_source(clips, rows.values, strategy))
    return np.concatenate([place + num_others, np.arange(num_others)])


def _order_of_ties(rows: _Rows, source: Indices, start: Indices) -> Indices:
    """(N,) the order by ids, as texts, of rows that have source and start in common with others; 0 for all others."""
    import pyarrow as pa
    import pyarrow.compute as pc

    order = np.lexsort((start, source))
    same = (np.diff(source[order]) == 0) & (np.diff(start[order]) == 0)
    tied = np.sort(order[np.append(same, False) | np.append(False, same)]) if len(order) else order
    tie = np.zeros(len(source), np.int64)
    tie[tied] = _positions(pc.array_sort_indices(pa.array(rows.texts(tied), pa.large_string())).to_numpy())
    return tie


def _positions(order: NDArray[np.integer]) -> Indices:
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return place


def _in_scope(stretches: Stretches, spans: ClipSpans, scope: str, num_rows: int) -> Stretches:
    """The stretches that count. A clip of a reference is of another source than all rows, whatever its name is."""
    if scope == "all":
        return stretches
    same = (spans.source[stretches.row] == spans.source[stretches.by]) & (stretches.by < num_rows)
    return stretches[same if scope == "same" else ~same]


def _decisions(
    rows: _Rows, removed: NDArray[np.bool_], covers: Covers, found: FoundOverlaps, rule: OverlapRule
) -> Decisions:
    kind = row_type(rows.num_clips)
    covered_rows = np.repeat(np.arange(rows.num_clips), np.diff(covers.first))
    within = covers.kept < len(rows)
    strength = np.zeros(len(rows), np.int64)
    strength[removed] = found.overlaps.strength[covers.overlap[: len(rows)][removed]]
    max_row, named = rows.matches.rows(rows.rows, removed)
    decisions = Decisions(
        rows=rows.rows,
        removed=removed,
        max_row=max_row.astype(kind),
        kept_row=_first_kept(covers, removed).astype(kind),
        cosine=rows.matches.cosine,
        kept_score=(strength / 1000).astype(np.float32),
        group=joined_groups(np.arange(len(rows), dtype=kind), covered_rows[within], covers.kept[within]),
        rule=Rule("overlap", 0.0, rule.scope),
        others=_other_ids(rows),
    )
    find_named(decisions, {"max_id": named})
    return decisions


def _first_kept(covers: Covers, removed: NDArray[np.bool_]) -> Indices:
    """(N,) the kept clip that covers most of each removed row; -1 for the others."""
    first = np.full(len(removed), -1)
    first[removed] = covers.kept[covers.first[np.flatnonzero(removed)]]
    return first


def _other_ids(rows: _Rows) -> pa.ChunkedArray:
    """The ids of the clips that stay, in the type of the rows' ids. Raises InputError where they do not fit."""
    import pyarrow as pa

    kind = stored_type(rows.rows.id_type)
    try:
        return rows.others.cast(kind)
    except pa.ArrowException as error:
        raise InputError(f"ids of the reference are no {kind}, as those of the clips are: {error}") from error


def _covered_rows(rows: _Rows, covers: Covers, found: FoundOverlaps, length: Indices) -> CoveredRows:
    import pyarrow as pa

    overlap = covers.overlap[: len(rows)]
    there = overlap >= 0
    at, best = np.flatnonzero(there), overlap[there]
    share, offset_s = np.zeros(len(rows)), np.zeros(len(rows))
    share[at] = covers.covered[at] / length[at]
    # The offset in the file is that of `row`; seen from `other` it has the other sign. A zero stays without a sign.
    offset_s[at] = found.offset_s[best] * np.where(found.overlaps.row[best] == at, 1, -1) + 0.0
    kind = found.kind.take(pa.array(overlap, mask=~there))
    first = covers.first[: len(rows) + 1]
    return CoveredRows(share, offset_s, kind, first, covers.kept, rows.first_reference)
