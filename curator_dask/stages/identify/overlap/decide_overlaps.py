"""Decide on all rows by the rule ``overlap``: the tables of the clusters and the overlaps → decisions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.ids import id_texts
from curator_dask.dedup.decide.cover import ALL_STRENGTHS, removed_by_cover, strength_that_keeps
from curator_dask.dedup.decide.covered_by import Covers, kept_covers
from curator_dask.dedup.decide.groups import connected_groups
from curator_dask.dedup.decide.rules import Rule
from curator_dask.dedup.decide.source_order import SourceClips, order_by_source
from curator_dask.dedup.decide.stretches import Indices, Stretches, covered_stretches
from curator_dask.dedup.ranking.strategy import RankingStrategy
from curator_dask.dedup.similarity.threshold import rows_that_may_go
from curator_dask.errors import InputError
from curator_dask.files.folder import Folder
from curator_dask.stages.identify.decisions.join_decisions import CoveredRows, Decisions, use_long_offsets
from curator_dask.stages.identify.overlap.ranked_rows import values_to_rank_by
from curator_dask.stages.identify.overlap.read_overlaps import (
    ClipSpans,
    FoundOverlaps,
    read_overlaps,
    read_spans,
    with_standing_pictures,
)
from curator_dask.stages.identify.overlap.reference import StayingClips

if TYPE_CHECKING:
    import pyarrow as pa


Stay = Callable[["pa.ChunkedArray"], NDArray[np.bool_]]


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
    sources: pa.ChunkedArray
    min_strength: int


@dataclass(frozen=True)
class _Rows:
    """N rows to decide on, in the order of cluster and rank, followed by the clips that stay."""

    table: pa.Table
    """N rows."""
    texts: pa.ChunkedArray
    """The texts of all ids."""
    sets: tuple[tuple[int, int], ...]
    """The number of each set of clips as align numbers them, and the place of its first id; the rows are the first set."""
    first_reference: int
    """The place of the first clip of another output."""

    def __len__(self) -> int:
        return len(self.table)


def decide_by_overlaps(
    tables: Iterable[pa.Table], folder: Folder, rule: OverlapRule, staying: Sequence[StayingClips] = (),
    stay: Stay | None = None,
) -> OverlapDecisions:  # fmt: skip
    """Decide on the rows of all clusters, whose tables come in whatever order.

    Args:
        folder: the output of the align stage.
        staying: clips that stay and come before all rows.
        stay: says of ids, as texts, whether these rows are decided on; the others are as if they were not there. None: all.
    """
    rows = _rows(tables, staying)
    spans = read_spans(folder, rows.texts)
    found = with_standing_pictures(read_overlaps(folder, rows.texts, rows.sets))
    if stay is not None:
        rows, spans, found = _only_those_that_stay(rows, spans, found, stay)
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
    return OverlapDecisions(decisions, spans.source.slice(0, len(rows)), min_strength)


def _rows(tables: Iterable[pa.Table], staying: Sequence[StayingClips]) -> _Rows:
    import pyarrow as pa

    ordered = sorted(tables, key=lambda table: table["cluster"][0].as_py())
    table = pa.concat_tables(ordered, promote_options="permissive")
    texts = id_texts(use_long_offsets(table["id"]))
    staying = sorted(staying, key=lambda one: one.in_reference)
    first = np.cumsum([len(texts), *(len(one.ids) for one in staying)]).tolist()
    chunks = [*texts.chunks, *(chunk for one in staying for chunk in one.ids.chunks)]
    sets = ((0, 0), *((one.number, at) for one, at in zip(staying, first[:-1], strict=True)))
    first_reference = first[sum(not one.in_reference for one in staying)]
    return _Rows(table, pa.chunked_array(chunks, pa.large_string()), sets, first_reference)


def _only_those_that_stay(
    rows: _Rows, spans: ClipSpans, found: FoundOverlaps, stay: Stay
) -> tuple[_Rows, ClipSpans, FoundOverlaps]:
    """The rows without dropped ones, and the spans and overlaps of these.

    Overlaps that follow by way of a dropped clip's picture count: they were made before.
    """
    import pyarrow as pa

    stays = np.ones(len(rows.texts), np.bool_)
    stays[: len(rows)] = stay(rows.texts.slice(0, len(rows)))
    num_dropped = int((~stays).sum())
    sets = (rows.sets[0], *((number, at - num_dropped) for number, at in rows.sets[1:]))
    table = rows.table.filter(pa.array(stays[: len(rows)]))
    left = _Rows(table, rows.texts.filter(pa.array(stays)), sets, rows.first_reference - num_dropped)
    chosen = stays[found.overlaps.row] & stays[found.overlaps.other]
    place = np.cumsum(stays) - 1
    overlaps = found.overlaps[chosen]
    overlaps = replace(overlaps, row=place[overlaps.row], other=place[overlaps.other])
    within = ClipSpans(spans.source.filter(pa.array(stays)), spans.start[stays], spans.length[stays])
    return left, within, FoundOverlaps(overlaps, found.offset_s[chosen], found.kind.filter(pa.array(chosen)))


def _places(rows: _Rows, spans: ClipSpans, strategy: RankingStrategy) -> Indices:
    """The place of each row in the order of preference; all clips that stay come first."""
    import pyarrow.compute as pc

    num_others = len(rows.texts) - len(rows)
    coded = pc.dictionary_encode(spans.source.slice(0, len(rows))).combine_chunks()
    clips = SourceClips(
        coded.indices.to_numpy().astype(np.int64),
        coded.dictionary.to_pylist(),
        spans.start[: len(rows)],
        spans.length[: len(rows)],
        _positions(pc.array_sort_indices(rows.texts.slice(0, len(rows))).to_numpy()),
    )
    place = _positions(order_by_source(clips, values_to_rank_by(rows.table, strategy), strategy))
    return np.concatenate([place + num_others, np.arange(num_others)])


def _positions(order: NDArray[np.integer]) -> Indices:
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return place


def _in_scope(stretches: Stretches, spans: ClipSpans, scope: str, num_rows: int) -> Stretches:
    """The stretches that count. A clip of a reference is of another source than all rows, whatever its name is."""
    import pyarrow.compute as pc

    if scope == "all":
        return stretches
    source = pc.dictionary_encode(spans.source).combine_chunks().indices.to_numpy()
    same = (source[stretches.row] == source[stretches.by]) & (stretches.by < num_rows)
    return stretches[same if scope == "same" else ~same]


def _decisions(
    rows: _Rows, removed: NDArray[np.bool_], covers: Covers, found: FoundOverlaps, rule: OverlapRule
) -> Decisions:
    import pyarrow as pa
    import pyarrow.compute as pc

    ids, max_ids = (use_long_offsets(rows.table[name]) for name in ("id", "max_id"))
    covered_rows = np.repeat(np.arange(len(rows.texts)), np.diff(covers.first))
    within = covers.kept < len(rows)
    strength = np.zeros(len(rows), np.int64)
    strength[removed] = found.overlaps.strength[covers.overlap[: len(rows)][removed]]
    return Decisions(
        ids=ids,
        max_ids=pc.if_else(pa.array(removed), max_ids, pa.scalar(None, max_ids.type)),
        kept_ids=_all_ids(rows).take(pa.array(_first_kept(covers, removed), mask=~removed)),
        cluster=rows.table["cluster"].to_numpy(),
        removed=removed,
        cosine=rows.table["cosine_sim_score"].to_numpy(),
        kept_score=(strength / 1000).astype(np.float32),
        group=connected_groups(len(rows), [(covered_rows[within], covers.kept[within])]),
        rule=Rule("overlap", 0.0, rule.scope),
        id_type=rows.table["id"].type,
    )


def _first_kept(covers: Covers, removed: NDArray[np.bool_]) -> Indices:
    """(N,) the kept clip that covers most of each removed row; -1 for the others."""
    first = np.full(len(removed), -1)
    first[removed] = covers.kept[covers.first[np.flatnonzero(removed)]]
    return first


def _all_ids(rows: _Rows) -> pa.ChunkedArray:
    """The ids of the rows and of the reference, in the type of the rows' ids. Raises InputError where they do not fit."""
    import pyarrow as pa

    ids = use_long_offsets(rows.table["id"])
    others = rows.texts.slice(len(rows))
    try:
        return pa.chunked_array([*ids.chunks, *others.cast(ids.type).chunks], ids.type)
    except pa.ArrowException as error:
        raise InputError(f"ids of the reference are no {ids.type}, as those of the clips are: {error}") from error


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
    return CoveredRows(share, offset_s, kind, first, covers.kept, _all_ids(rows), rows.first_reference)
