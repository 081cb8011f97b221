"""Decide on all rows by the rule ``overlap``: the tables of the clusters and the overlaps → decisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.decisions.row_index import RowIndex, id_digests
from curator_dask.data.ids import id_texts
from curator_dask.dedup.decide.cover import strength_that_keeps
from curator_dask.dedup.decide.rules import Rule
from curator_dask.dedup.decide.stretches import Indices
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
from curator_dask.stages.identify.overlap.decide_clips import ClipsToDecide, DecidedClips, OverlapRule
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
    clips = ClipsToDecide(len(rows), spans, rows.values, found, rows.texts, rule)
    min_strength = rule.min_strength
    if rule.target_keep is not None:
        may_go = rows_that_may_go(len(rows), rule.target_keep)
        min_strength = strength_that_keeps(
            np.unique(clips.stretches.strength), lambda least: int(clips.removed(least).sum()), may_go
        )
    decisions = _decisions(rows, clips.decide(min_strength))
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


def _decisions(rows: _Rows, decided: DecidedClips) -> Decisions:
    kind, removed = row_type(rows.num_clips), decided.removed
    max_row, named = rows.matches.rows(rows.rows, removed)
    share, offset_s, kinds = decided.covered()
    first = decided.covers.first[: len(rows) + 1]
    decisions = Decisions(
        rows=rows.rows,
        removed=removed,
        max_row=max_row.astype(kind),
        kept_row=decided.kept.astype(kind),
        cosine=rows.matches.cosine,
        kept_score=(decided.strength / 1000).astype(np.float32),
        group=decided.groups(kind),
        rule=Rule("overlap", 0.0, decided.clips.rule.scope),
        others=_other_ids(rows),
        covered=CoveredRows(share, offset_s, kinds, first, decided.covers.kept, rows.first_reference),
    )
    find_named(decisions, {"max_id": named})
    return decisions


def _other_ids(rows: _Rows) -> pa.ChunkedArray:
    """The ids of the clips that stay, in the type of the rows' ids. Raises InputError where they do not fit."""
    import pyarrow as pa

    kind = stored_type(rows.rows.id_type)
    try:
        return rows.others.cast(kind)
    except pa.ArrowException as error:
        raise InputError(f"ids of the reference are no {kind}, as those of the clips are: {error}") from error
