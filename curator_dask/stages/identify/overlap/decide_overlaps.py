"""Decide on all rows by the rule ``overlap``: the tables of the clusters and the overlaps → decisions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
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
from curator_dask.files.folder import Folder
from curator_dask.stages.identify.decisions.join_decisions import CoveredRows, Decisions, use_long_offsets
from curator_dask.stages.identify.overlap.ranked_rows import values_to_rank_by
from curator_dask.stages.identify.overlap.read_overlaps import ClipSpans, FoundOverlaps, read_overlaps, read_spans

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


@dataclass(frozen=True)
class OverlapDecisions:
    """The decisions, the sources of the rows, and the least strength, in thousandths, of the overlaps that counted."""

    decisions: Decisions
    sources: pa.ChunkedArray
    min_strength: int


def decide_by_overlaps(tables: Iterable[pa.Table], folder: Folder, rule: OverlapRule) -> OverlapDecisions:
    """Decide on the rows of all clusters, whose tables come in whatever order. `folder` is the output of the align stage."""
    import pyarrow as pa

    ordered = sorted(tables, key=lambda table: table["cluster"][0].as_py())
    table = pa.concat_tables(ordered, promote_options="permissive")
    texts = id_texts(use_long_offsets(table["id"]))
    spans, found = read_spans(folder, texts), read_overlaps(folder, texts)
    place = _places(table, texts, spans, rule.strategy)
    stretches = _in_scope(covered_stretches(found.overlaps, spans.length), spans, rule.scope)
    min_strength = ALL_STRENGTHS
    if rule.target_keep is not None:
        min_strength = strength_that_keeps(stretches, spans.length, place, rule.min_cover, rule.target_keep)
    stretches = stretches[stretches.strength >= min_strength]
    removed = removed_by_cover(stretches, spans.length, place, rule.min_cover)
    covers = kept_covers(stretches, removed, place)
    decisions = _decisions(table, removed, covers, found, rule)
    decisions.covered = _covered_rows(covers, found, spans.length)
    return OverlapDecisions(decisions, spans.source, min_strength)


def _places(table: pa.Table, texts: pa.ChunkedArray, spans: ClipSpans, strategy: RankingStrategy) -> Indices:
    """(N,) the place of each row in the order of preference."""
    import pyarrow.compute as pc

    coded = pc.dictionary_encode(spans.source).combine_chunks()
    clips = SourceClips(
        coded.indices.to_numpy().astype(np.int64), coded.dictionary.to_pylist(), spans.start, spans.length,
        _positions(pc.array_sort_indices(texts).to_numpy()),
    )  # fmt: skip
    return _positions(order_by_source(clips, values_to_rank_by(table, strategy), strategy))


def _positions(order: NDArray[np.integer]) -> Indices:
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return place


def _in_scope(stretches: Stretches, spans: ClipSpans, scope: str) -> Stretches:
    import pyarrow.compute as pc

    if scope == "all":
        return stretches
    source = pc.dictionary_encode(spans.source).combine_chunks().indices.to_numpy()
    same = source[stretches.row] == source[stretches.by]
    return stretches[same if scope == "same" else ~same]


def _decisions(
    table: pa.Table, removed: NDArray[np.bool_], covers: Covers, found: FoundOverlaps, rule: OverlapRule
) -> Decisions:
    import pyarrow as pa
    import pyarrow.compute as pc

    ids, max_ids = (use_long_offsets(table[name]) for name in ("id", "max_id"))
    rows = np.flatnonzero(removed)
    best = np.full(len(removed), -1)
    best[rows] = covers.kept[covers.first[rows]]
    covered_rows = np.repeat(np.arange(len(removed)), np.diff(covers.first))
    score = np.where(removed, found.overlaps.strength[covers.overlap], 0) if len(found.overlaps) else removed
    return Decisions(
        ids=ids,
        max_ids=pc.if_else(pa.array(removed), max_ids, pa.scalar(None, max_ids.type)),
        kept_ids=ids.take(pa.array(best, mask=~removed)),
        cluster=table["cluster"].to_numpy(),
        removed=removed,
        cosine=table["cosine_sim_score"].to_numpy(),
        kept_score=(score / 1000).astype(np.float32),
        group=connected_groups(len(removed), [(covered_rows, covers.kept)]),
        rule=Rule("overlap", 0.0, rule.scope),
        id_type=table["id"].type,
    )


def _covered_rows(covers: Covers, found: FoundOverlaps, length: Indices) -> CoveredRows:
    import pyarrow as pa

    there = covers.overlap >= 0
    rows, best = np.flatnonzero(there), covers.overlap[there]
    share, offset_s = np.zeros(len(there)), np.zeros(len(there))
    share[rows] = covers.covered[rows] / length[rows]
    # The offset in the file is that of `row`; seen from `other` it has the other sign. A zero stays without a sign.
    offset_s[rows] = found.offset_s[best] * np.where(found.overlaps.row[best] == rows, 1, -1) + 0.0
    kind = found.kind.take(pa.array(covers.overlap, mask=~there))
    return CoveredRows(share, offset_s, kind, covers.first, covers.kept)
