"""Two questions, one answer: copies by the rule ``overlap``, then near neighbours among the clips that are left.

Copies go first, so the clips that near neighbours are looked for among are those that show moments of their own. A clip
that stands for copies may then go itself, as the neighbour of a kept one. What was kept for it moves on to that clip::

    A ── copy ── B ── near ── C      B shows what A shows, C is near B and ranks before it
    copies first      A goes for B
    neighbours then   B goes for C, and A goes for C too: only C is there to be named

So whatever is named as kept is kept. The seconds that A and B share say nothing of A and C: they are left empty.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.decide.groups import joined_groups
from curator_dask.errors import InputError
from curator_dask.stages.identify.decisions.join_decisions import CoveredRows, Decisions
from curator_dask.stages.identify.decisions.table_rows import Indices, TableRows


class _Links(NamedTuple):
    """L pairs of a removed row and a kept one, by row, the most covering first."""

    row: Indices
    kept: Indices
    """From N on, a clip that was not decided on here."""
    moved: NDArray[np.bool_]
    """Whether the clip that shows the same went as a near neighbour, and `kept` is the one that it went for."""


def copies_and_neighbours(copies: Decisions, near: Decisions) -> Decisions:
    """The decisions on N rows as one.

    Args:
        copies: by the rule ``overlap``.
        near: by the rule ``greedy``, with the copies as rows that are removed anyway.
    """
    import pyarrow as pa

    if copies.covered is None or not _are_same(copies.rows, near.rows):
        raise InputError("the similarity tables changed while they were decided on: run identify again")
    is_copy, num_rows, kind = copies.removed, len(near.removed), copies.others.type
    followed = _follow(copies.covered, near, is_copy)
    neighbours = np.flatnonzero(near.removed & ~is_copy)
    kept_of = near.kept_row
    there = neighbours[kept_of[neighbours] >= 0]
    links = _joined(followed, _Links(there, kept_of[there], np.zeros(len(there), np.bool_)))
    first = np.searchsorted(links.row, np.arange(num_rows + 1))
    covered = _covered(copies.covered, links, first)
    leading = np.full(num_rows, -1, near.kept_row.dtype)
    starts = first[:-1][np.diff(first) > 0]
    leading[links.row[starts]] = links.kept[starts]
    return replace(
        near,
        removed=near.removed | is_copy,
        max_row=np.where(is_copy, copies.max_row, _behind(near.max_row, num_rows, len(copies.others))),
        kept_row=leading,
        kept_score=_scores(copies, near, leading, links),
        group=_groups(copies, near),
        others=pa.chunked_array([*copies.others.chunks, *near.others.cast(kind).chunks], kind),
        covered=covered,
        copies=is_copy,
    )


def _are_same(one: TableRows, other: TableRows) -> bool:
    """Whether rows have the same ids, by digests."""
    return len(one) == len(other) and all(
        np.array_equal(getattr(one.index, name), getattr(other.index, name)) for name in ("high", "low")
    )


def _behind(rows: Indices, num_rows: int, num_others: int) -> Indices:
    """Rows, of which those from N on come after some other clips."""
    return np.where(rows >= num_rows, rows + num_others, rows)


def _follow(covered: CoveredRows, near: Decisions, is_copy: NDArray[np.bool_]) -> _Links:
    """The copies with the kept rows that show them, or with those that these went for; each kept row once."""
    num_rows = len(is_copy)
    row = np.repeat(np.arange(num_rows), np.diff(covered.first))
    kept_of = np.append(near.kept_row, -1)
    within = np.where(covered.kept < num_rows, covered.kept, num_rows)
    moved = np.append(near.removed & ~is_copy, False)[within]
    kept = np.where(moved, kept_of[within], covered.kept)
    _, first = np.unique(np.stack([row, kept]), axis=1, return_index=True)
    some = np.sort(first[kept[first] >= 0])
    return _Links(row[some], kept[some], moved[some])


def _joined(one: _Links, other: _Links) -> _Links:
    row, kept, moved = (np.concatenate(parts) for parts in zip(one, other, strict=True))
    order = np.argsort(row, kind="stable")
    return _Links(row[order], kept[order], moved[order])


def _covered(covered: CoveredRows, links: _Links, first: Indices) -> CoveredRows:
    """How rows are covered, by the links. Of a copy with a link that moved, the seconds are not known."""
    import pyarrow as pa
    import pyarrow.compute as pc

    unknown = np.zeros(len(first) - 1, np.bool_)
    unknown[links.row[links.moved]] = True
    kind = pc.if_else(pa.array(unknown), pa.scalar(None, covered.kind.type), covered.kind)
    return replace(covered, kind=kind, first=first, kept=links.kept)


def _scores(copies: Decisions, near: Decisions, leading: Indices, links: _Links) -> NDArray[np.float32]:
    """The strength of copies, the cosine of neighbours; 0 for copies of which neither belongs to the kept row named."""
    score = np.where(copies.removed, copies.kept_score, near.kept_score).astype(np.float32)
    moved = links.row[links.moved & (links.kept == leading[links.row])]
    score[moved] = 0
    return np.where(near.removed | copies.removed, score, np.float32(0))


def _groups(copies: Decisions, near: Decisions) -> Indices:
    """Rows that are connected as copies or as neighbours."""
    rows = np.flatnonzero(copies.group != np.arange(len(copies.group)))
    return joined_groups(near.group, rows, copies.group[rows])
