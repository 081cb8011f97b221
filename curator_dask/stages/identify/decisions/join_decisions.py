"""Join the decisions of all clusters, and settle those where the duplicate of a row lies in another cluster.

The tables of the pairwise stage name rows of the own cluster only; those of the cross-cluster stage name rows of other
clusters too. Two things are unknown while one cluster is decided by itself: the kept row nearest to a removed row may
lie in another cluster; and by the greedy rule, a row is removed only if its match in another cluster is kept. Where the
cross-cluster stage wrote the tables, `across.find_taken` settles the latter before; for other tables that name rows of
other clusters it is settled here, by the best match of each row alone.

All rows of all clusters are in memory at once, so they are held in Arrow and NumPy, not as Python objects.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.ids import id_list, id_text, stored
from curator_dask.dedup.decide.groups import connected_groups
from curator_dask.dedup.decide.rules import Rule
from curator_dask.errors import InputError
from curator_dask.stages.identify.decisions.decision_table import count_orphans, empty_decision_table

if TYPE_CHECKING:
    import pyarrow as pa

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class CoveredRows:
    """How kept rows cover each of N rows by the rule ``overlap``. Only removed rows have them."""

    share: NDArray[np.float64]
    """(N,) the share of the row's length that kept rows cover."""
    offset_s: NDArray[np.float64]
    """(N,) second t of the row shows what second t - offset_s of its first kept row shows."""
    kind: pa.Array
    """(N,) text, the kind of their overlap."""
    first: Indices
    """(N + 1,) the kept rows of row i are ``kept[first[i] : first[i + 1]]``."""
    kept: Indices
    """Kept rows, most covering first. Those from N on are clips that were not decided on here."""
    ids: pa.ChunkedArray
    """The ids of the N rows, then those of the clips that stay."""
    first_reference: int
    """Kept rows from here on are clips of another output."""

    def in_reference(self) -> NDArray[np.bool_]:
        """(N,) the rows that a clip of another output covers most of."""
        num_rows = len(self.share)
        covered = np.flatnonzero(np.diff(self.first))
        found = np.zeros(num_rows, np.bool_)
        found[covered] = self.kept[self.first[covered]] >= self.first_reference
        return found


@dataclass
class Decisions:
    """The decisions on all rows, ordered by cluster and rank.

    Attributes:
        ids, max_ids, kept_ids: N each. `max_ids` (the row that the score comes from) and `kept_ids` (the nearest kept
            row) are those of removed rows, and null elsewhere. They are held as they can be compared (`stored`).
        cluster: (N,) int64.
        removed: (N,) bool.
        cosine: (N,) float32, the score of each row.
        kept_score: (N,) float32, the cosine of each removed row with its kept row.
        group: (N,) int64, the lowest row of the group of duplicates of each row; itself where it is in none.
        id_type: the type of ids in the files that are read and written.
        covered: how kept rows cover the removed ones, where the rule is ``overlap``; else None.
        by_hand: (N,) bool, the rows that a person removed and the rule did not; None: no person had a say.
        copies: (N,) bool, the rows that were removed as copies where the rule `greedy` decided on all others; None: one
            rule decided on all. `covered` then has the kept row of each of the others too, without share and kind.
    """

    ids: pa.ChunkedArray
    max_ids: pa.ChunkedArray
    kept_ids: pa.ChunkedArray
    cluster: NDArray[np.int64]
    removed: NDArray[np.bool_]
    cosine: NDArray[np.float32]
    kept_score: NDArray[np.float32]
    group: Indices
    rule: Rule
    id_type: Any = None
    covered: CoveredRows | None = None
    by_hand: NDArray[np.bool_] | None = None
    copies: NDArray[np.bool_] | None = None

    def counts(self) -> dict[str, int]:
        """Kept and removed rows, orphans (removed rows without a kept row within eps), and groups of duplicates."""
        num_removed = int(self.removed.sum())
        return {
            "kept": len(self.removed) - num_removed,
            "removed": num_removed,
            "orphans": self._count_orphans(),
            "groups": int((np.bincount(self.group) > 1).sum()) if len(self.group) else 0,
        }

    def _count_orphans(self) -> int:
        by_rule = self.removed if self.by_hand is None else self.removed & ~self.by_hand
        if self.covered is None:
            return count_orphans(by_rule, self.kept_score, self.rule)
        alone = int((by_rule & (np.diff(self.covered.first) == 0)).sum())
        return (
            alone if self.copies is None else alone + count_orphans(by_rule & ~self.copies, self.kept_score, self.rule)
        )

    def counts_by_rule(self) -> dict[str, int]:
        """How many rows each of two rules removed; empty where one decided on all."""
        if self.copies is None:
            return {}
        near = self.removed & ~self.copies if self.by_hand is None else self.removed & ~self.copies & ~self.by_hand
        return {"removed_as_copies": int((self.removed & self.copies).sum()), "removed_as_near": int(near.sum())}

    def removed_by_cluster(self) -> dict[int, NDArray[np.bool_]]:
        """Cluster → (N,) which of its rows are removed, in ranked order."""
        numbers, starts = np.unique(self.cluster, return_index=True)
        return dict(zip(numbers.tolist(), np.split(self.removed, starts[1:]), strict=True)) if len(numbers) else {}

    def has_eps(self) -> NDArray[np.bool_]:
        """(N,) the rows that were decided on by their cosine with others."""
        if self.covered is None:
            return np.ones(len(self.removed), np.bool_)
        return np.zeros(len(self.removed), np.bool_) if self.copies is None else ~self.copies

    def rows_in_groups(self) -> tuple[Indices, Indices]:
        """The rows that are in groups, group by group, and for each the row that leads its group.

        A group is led by its first kept row; the others follow in order::

            row      0  1  2  3  4  5
            group    0  1  0  3  1  0
            removed  -  x  x  -  -  -     → rows (0, 2, 5, 4, 1), leaders (0, 0, 0, 4, 4)
        """
        sizes = np.bincount(self.group, minlength=len(self.group))
        rows = np.flatnonzero(sizes[self.group] > 1)
        group = self.group[rows]
        kept = rows[~self.removed[rows]]
        follows = np.ones(len(self.group), np.bool_)
        follows[kept[np.unique(self.group[kept], return_index=True)[1]]] = False
        order = np.lexsort((rows, follows[rows], group))
        rows, group = rows[order], group[order]
        starts = np.flatnonzero(np.diff(group, prepend=-1))
        return rows, np.repeat(rows[starts], np.diff(starts, append=len(rows)))

    def rows_of(self, ids: pa.ChunkedArray) -> Indices:
        """The rows with these ids; -1 for an id that is not there."""
        import pyarrow.compute as pc

        found = pc.index_in(ids, value_set=self.ids)
        rows: Indices = pc.fill_null(found, -1).to_numpy().astype(np.int64)
        return rows


def join_decisions(
    tables: Iterable[pa.Table], rule: Rule, taken: pa.Table | None = None, gone: NDArray[np.bool_] | None = None
) -> Decisions:
    """Join the decision tables of all clusters, in whatever order they come.

    Args:
        taken: by the greedy rule, the rows that kept rows of other clusters remove (`across.find_taken`), which the tables
            say are removed. None: only the best match of a row is known, and removes it if it is kept.
        gone: (N,) rows that are removed anyway, and so are the kept row of none; None: there are none.

    Raises InputError where the duplicate of a row is in no cluster.
    """
    decisions, rows = _concatenate(tables, rule)
    if gone is not None:
        decisions.removed |= gone
    matches = _match_rows(decisions, rows)
    pairs = [(rows, matches)]
    if taken is not None:
        pairs.append(_name_takers(decisions, taken))
    elif rule.name == "greedy":
        _remove_matched(decisions, dict(zip(rows.tolist(), matches.tolist(), strict=True)))
    _name_nearer_matches(decisions)
    _join_groups(decisions, pairs)
    return decisions


def _join_groups(decisions: Decisions, pairs: Iterable[tuple[Indices, Indices]]) -> None:
    """Join the groups of removed rows and their matches in other clusters."""
    linked = [(rows[decisions.removed[rows]], matches[decisions.removed[rows]]) for rows, matches in pairs]
    if any(len(rows) for rows, _ in linked):
        within = np.arange(len(decisions.group)), decisions.group
        decisions.group = connected_groups(len(decisions.group), [within, *linked])


def _concatenate(tables: Iterable[pa.Table], rule: Rule) -> tuple[Decisions, Indices]:
    """The tables of all clusters as one, and the rows that have a duplicate in another cluster."""
    import pyarrow as pa

    ordered = sorted(tables, key=lambda table: table["cluster"][0].as_py())
    starts = np.cumsum([0, *map(len, ordered)])
    table = pa.concat_tables(ordered or [empty_decision_table()], promote_options="permissive")
    names = ("cluster", "removed", "cosine_sim_score", "kept_score", "group", "cross_cluster")
    cluster, removed, cosine, kept_score, group, cross_cluster = (table[name].to_numpy() for name in names)
    ids, max_ids, kept_ids = (use_long_offsets(table[name]) for name in ("id", "max_id", "kept_id"))
    group = group + np.repeat(starts[:-1], np.diff(starts))
    decisions = Decisions(ids, max_ids, kept_ids, cluster, removed.copy(), cosine, kept_score.copy(), group, rule)
    decisions.id_type = table["id"].type
    return decisions, np.flatnonzero(cross_cluster)


def use_long_offsets(ids: pa.ChunkedArray) -> pa.ChunkedArray:
    """Stored ids with 64-bit offsets: the text of all clusters together may be longer than 2 GiB."""
    import pyarrow as pa

    ids = stored(ids)
    long = {pa.string(): pa.large_string(), pa.binary(): pa.large_binary()}
    return ids.cast(long.get(ids.type, ids.type))


def _match_rows(decisions: Decisions, rows: Indices) -> Indices:
    """The row in another cluster that each of `rows` is a duplicate of."""
    import pyarrow as pa

    matches = decisions.rows_of(decisions.max_ids.take(pa.array(rows)))
    if (matches < 0).any():
        lost = id_text(decisions.max_ids[int(rows[np.argmin(matches)])].as_py())
        raise InputError(f"a similarity table names {lost!r}, which is in no cluster: run the pairwise stage again")
    return matches


def _name_takers(decisions: Decisions, taken: pa.Table) -> tuple[Indices, Indices]:
    """Name the kept rows of other clusters that are nearer than all of the own one; returns the rows, and the kept rows."""
    names = (("cluster", "place"), ("kept_cluster", "kept_place"))
    numbers, starts = np.unique(decisions.cluster, return_index=True)
    rows, kept = (
        starts[np.searchsorted(numbers, taken[cluster].to_numpy())] + taken[place].to_numpy()
        for cluster, place in names
    )
    cosine = taken["cosine"].to_numpy()
    _name_as_best(decisions, rows, kept, cosine)
    nearer = cosine > decisions.kept_score[rows]
    _name_kept_rows(decisions, zip(rows[nearer].tolist(), kept[nearer].tolist(), strict=True), cosine[nearer])
    return rows, kept


def _name_as_best(decisions: Decisions, rows: Indices, kept: Indices, cosine: NDArray[np.float32]) -> None:
    """Name the kept rows as the best matches of rows whose tables know none so near: it was one that the filters drop."""
    import pyarrow as pa
    import pyarrow.compute as pc

    nearer = cosine > decisions.cosine[rows]
    if not nearer.any():
        return
    match = np.full(len(decisions.removed), -1)
    match[rows[nearer]] = kept[nearer]
    decisions.cosine = decisions.cosine.copy()
    decisions.cosine[rows[nearer]] = cosine[nearer]
    named = decisions.ids.take(pa.array(np.maximum(match, 0)))
    decisions.max_ids = pc.if_else(pa.array(match >= 0), named, decisions.max_ids)


def _remove_matched(decisions: Decisions, match_of: Mapping[int, int]) -> None:
    """Greedy rule: remove a kept row if its match in another cluster is kept too, unless a removed row relies on it.

    ::

        cluster 0   A             kept
        cluster 1   B → A   C     B is removed, as its match A is kept, unless C was removed with B as its kept row
        cluster 2   D → B         settled after B: D is removed if B is still kept, else D is kept
    """
    if not match_of:
        return
    relied_on = _kept_rows_in_use(decisions)
    pairs: list[tuple[int, int]] = []
    for row in _matches_first(decisions, match_of):
        match = match_of[row]
        if not decisions.removed[row] and not relied_on[row] and not decisions.removed[match]:
            decisions.removed[row] = relied_on[match] = True
            pairs.append((row, match))
    _name_kept_rows(decisions, pairs)


def _kept_rows_in_use(decisions: Decisions) -> NDArray[np.bool_]:
    """(N,) the rows that are named as the kept row of a removed one."""
    import pyarrow as pa

    in_use = np.zeros(len(decisions.removed), np.bool_)
    kept_rows = decisions.rows_of(decisions.kept_ids.filter(pa.array(decisions.removed)))
    in_use[kept_rows[kept_rows >= 0]] = True
    return in_use


def _matches_first(decisions: Decisions, match_of: Mapping[int, int]) -> Iterator[int]:
    """The rows that have a match, each after its match if that has one too; otherwise in the order of ids as text.

    A row may come more than once; what is settled does not change then.
    """
    import pyarrow as pa

    names = id_list(decisions.ids.take(pa.array(list(match_of))))
    for _, start in sorted(zip(map(id_text, names), match_of, strict=True)):
        path = {start: None}  # an ordered set
        row = start
        # The ranking over all clusters has no circles; a damaged table must not make this loop endless.
        while (row := match_of[row]) in match_of and row not in path:
            path[row] = None
        yield from reversed(path)


def _name_nearer_matches(decisions: Decisions) -> None:
    """Name the match of a removed row as its kept row, where it is kept and nearer than all kept rows of the own cluster."""
    import pyarrow as pa

    rows = np.flatnonzero(decisions.removed & (decisions.cosine > decisions.kept_score))
    matches = decisions.rows_of(decisions.max_ids.take(pa.array(rows)))
    is_kept = (matches >= 0) & ~decisions.removed[matches]
    _name_kept_rows(decisions, zip(rows[is_kept].tolist(), matches[is_kept].tolist(), strict=True))


def _name_kept_rows(
    decisions: Decisions, pairs: Iterable[tuple[int, int]], cosine: NDArray[np.float32] | None = None
) -> None:
    """For each (removed row, its match): name the match as the kept row nearest to the removed one.

    Args:
        cosine: of the pairs. None: those that the similarity tables have.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    pairs = list(pairs)
    if not pairs:
        return
    rows, matches = np.array(pairs).T
    match = np.full(len(decisions.removed), -1)
    match[rows] = matches
    match_ids = decisions.ids.take(pa.array(np.maximum(match, 0)))
    decisions.kept_ids = pc.if_else(pa.array(match >= 0), match_ids, decisions.kept_ids)
    decisions.kept_score[rows] = decisions.cosine[rows] if cosine is None else cosine
