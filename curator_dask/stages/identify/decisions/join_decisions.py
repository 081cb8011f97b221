"""Join the decisions of all clusters, and settle those where the duplicate of a row lies in another cluster.

The tables of the pairwise stage name rows of the own cluster only; those of the cross-cluster stage name rows of other
clusters too. Two things are unknown while one cluster is decided by itself: the kept row nearest to a removed row may
lie in another cluster; and by the greedy rule, a row is removed only if its match in another cluster is kept. Where the
cross-cluster stage wrote the tables, `across.find_taken` settles the latter before; for other tables that name rows of
other clusters it is settled here, by the best match of each row alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.ids import id_list, id_text, id_texts, one_type, stored
from curator_dask.data.scored_clusters import ClusterInput
from curator_dask.dedup.arrays.growing import Growing
from curator_dask.dedup.arrays.xp import row_blocks
from curator_dask.dedup.decide.groups import joined_groups
from curator_dask.dedup.decide.rules import Rule
from curator_dask.errors import InputError
from curator_dask.stages.identify.decisions.decision_table import IDS, count_orphans
from curator_dask.stages.identify.decisions.table_rows import ClusterTables, Indices, TableRows, UnitTables

if TYPE_CHECKING:
    import pyarrow as pa


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
    """The decisions on N rows, ordered by cluster and rank.

    Attributes:
        rows: where their ids are.
        removed: (N,) bool.
        max_row, kept_row: (N,) the row that the score comes from, and the nearest kept row. They count for removed rows; -1
            where there is none. From N on they are clips that were not decided on here, see `others`.
        cosine: (N,) float32, the score of each row.
        kept_score: (N,) float32, the cosine of each removed row with its kept row.
        group: (N,) the lowest row of the group of duplicates of each row; itself where it is in none.
        others: the ids of the clips from N on, by the values that stand in files (`data.ids.stored`).
        covered: how kept rows cover the removed ones, where the rule is ``overlap``; else None.
        by_hand: (N,) bool, the rows that a person removed and the rule did not; None: no person had a say.
        copies: (N,) bool, the rows that were removed as copies where the rule `greedy` decided on all others; None: one
            rule decided on all. `covered` then has the kept row of each of the others too, without share and kind.
    """

    rows: TableRows
    removed: NDArray[np.bool_]
    max_row: Indices
    kept_row: Indices
    cosine: NDArray[np.float32]
    kept_score: NDArray[np.float32]
    group: Indices
    rule: Rule
    others: pa.ChunkedArray
    covered: CoveredRows | None = None
    by_hand: NDArray[np.bool_] | None = None
    copies: NDArray[np.bool_] | None = None

    def num_orphans(self) -> int:
        """How many rows the rule removed without a kept row that stands for them."""
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

    def has_eps(self) -> NDArray[np.bool_]:
        """(N,) the rows that were decided on by their cosine with others."""
        if self.covered is None:
            return np.ones(len(self.removed), np.bool_)
        return np.zeros(len(self.removed), np.bool_) if self.copies is None else ~self.copies

    def groups(self) -> tuple[Indices, Indices]:
        """(N,) each: the number of the group of each row, and the row that leads it; -1 for a row in no group.

        Groups are numbered in the order of their lowest rows. A group is led by its first kept row, if it has one::

            row      0  1  2  3  4  5
            group    0  1  0  3  1  0
            removed  -  x  x  -  -  -     → numbers (0, 1, 0, -1, 1, 0), leaders (0, 4, 0, -1, 4, 0)
        """
        rows, lowest = self.grouped()
        of = np.searchsorted(lowest, self.group[rows])
        leaders = lowest.copy()
        kept = ~self.removed[rows]
        leaders[of[kept][::-1]] = rows[kept][::-1]  # the last one that is written stays: the first kept row
        number, leader = (np.full(len(self.group), -1, self.group.dtype) for _ in range(2))
        number[rows], leader[rows] = of, leaders[of]
        return number, leader

    def grouped(self) -> tuple[Indices, Indices]:
        """The rows that are in a group, and the lowest row of each group, both ascending."""
        in_group = np.zeros(len(self.group), np.bool_)
        for block in row_blocks(len(self.group), BLOCK_ROWS):
            own = np.arange(block.start, block.stop)
            follows = self.group[block] != own
            in_group[own[follows]] = in_group[self.group[block][follows]] = True
        rows = np.flatnonzero(in_group).astype(self.group.dtype)
        return rows, rows[self.group[rows] == rows]


def join_decisions(tables: ClusterTables, rule: Rule) -> Decisions:
    """Join the decision tables of some clusters, whose rows have duplicates in these clusters alone.

    By the greedy rule only the best match of a row in another cluster is known, and removes it if it is kept.

    Raises InputError where the duplicate of a row is in no cluster.
    """
    loaded = load_decisions(tables, rule)
    decisions, rows = loaded.decisions, loaded.crossing
    find_named(decisions, loaded.named)
    settle_crossing(decisions, rows, _match_rows(decisions, rows), None, lambda: id_list(decisions.rows.ids(rows)))
    return decisions


@dataclass(frozen=True)
class DecidedClusters:
    """Where the decisions on all clusters are."""

    tables: UnitTables
    inputs: tuple[str, ...]
    """What each was made from."""
    rule: Rule
    taken: pa.Table | None
    """By the greedy rule, the rows that kept rows of other clusters remove (`across.find_taken`); None: only the best match of
    a row is known."""
    clusters: tuple[ClusterInput, ...] = ()
    """The clusters, where some rows may still need the nearest kept row of their own one."""


class Takers(NamedTuple):
    """T pairs of a row and the kept row of another cluster that removes it."""

    row: Indices
    kept: Indices
    cosine: NDArray[np.float32]


def takers_of(rows: TableRows, taken: pa.Table) -> Takers:
    """The pairs of a table of taken rows (`across.find_taken`), as rows of all clusters."""
    names = (("cluster", "place"), ("kept_cluster", "kept_place"))
    numbers, starts = np.array(rows.tables.numbers), rows.starts
    row, kept = (
        starts[np.searchsorted(numbers, taken[cluster].to_numpy())] + taken[place].to_numpy()
        for cluster, place in names
    )
    return Takers(row, kept, taken["cosine"].to_numpy())


def settle_crossing(
    decisions: Decisions, rows: Indices, matches: Indices, takers: Takers | None, ids: Callable[[], list[Any]]
) -> None:
    """Settle what depends on rows of other clusters.

    Args:
        rows, matches: the rows that are duplicates of a row of another cluster, and that row.
        takers: by the greedy rule, who removes rows of other clusters; None: only the best match of a row is known.
        ids: gives the ids of `rows`.
    """
    pairs = [(rows, matches)]
    if takers is not None:
        _name_takers(decisions, takers)
        pairs.append((takers.row, takers.kept))
    elif decisions.rule.name == "greedy":
        _remove_matched(decisions, rows, matches, ids)
    name_nearer_matches(decisions)
    _join_groups(decisions, pairs)


def _join_groups(decisions: Decisions, pairs: Iterable[tuple[Indices, Indices]]) -> None:
    """Join the groups of removed rows and their matches in other clusters."""
    linked = [(rows[decisions.removed[rows]], matches[decisions.removed[rows]]) for rows, matches in pairs]
    rows, matches = (np.concatenate(ends) for ends in zip(*linked, strict=True))
    decisions.group = joined_groups(decisions.group, rows, matches)


BLOCK_ROWS = 1 << 20
NUMBERS = ("removed", "cross_cluster", "group", "max_row", "kept_row", "cosine_sim_score", "kept_score")
NAMES = ("max_id", "kept_id")
KINDS = {
    **dict.fromkeys(("removed", "cross_cluster"), np.bool_),
    **dict.fromkeys(("cosine_sim_score", "kept_score"), np.float32),
}
"""The types of those columns that are no numbers of rows."""


class LoadedDecisions(NamedTuple):
    """The tables of some clusters as one."""

    decisions: Decisions
    crossing: Indices
    """The rows that have a duplicate in another cluster."""
    named: dict[str, list[Named]]
    """By column, the rows that name another one by its id. In `decisions` they have none yet."""


def load_decisions(tables: ClusterTables, rule: Rule) -> LoadedDecisions:
    """Read the tables of all clusters."""
    import pyarrow as pa

    columns = {name: Growing(KINDS.get(name, np.int32)) for name in NUMBERS}
    named: dict[str, list[Named]] = {name: [] for name in NAMES}
    starts, digests, kinds = [0], [], []
    for table in tables.read(range(len(tables.numbers)), [*NUMBERS, *NAMES]):
        for name, column in columns.items():
            column.add(_of_all_rows(table[name], name, starts[-1]))
        for name in NAMES:
            named[name] += named_in(table[name], starts[-1])
        starts.append(starts[-1] + len(table))
        digests.append(table.schema.metadata[IDS])
        kinds.append(table["kept_id"].type)  # that of all ids of the table
    rows = TableRows(tables, np.array(starts), common_type(kinds), digests=tuple(digests))
    joined = {name: column.values() for name, column in columns.items()}
    no_others = pa.chunked_array([], stored_type(rows.id_type))
    decisions = Decisions(
        rows, joined["removed"], joined["max_row"], joined["kept_row"], joined["cosine_sim_score"], joined["kept_score"],
        joined["group"], rule, no_others,
    )  # fmt: skip
    return LoadedDecisions(decisions, np.flatnonzero(joined["cross_cluster"]), named)


def _of_all_rows(column: pa.ChunkedArray, name: str, start: int) -> NDArray[Any]:
    """The values of a cluster; numbers of rows in a cluster, whose first row is `start`, become those of all rows."""
    values: NDArray[Any] = column.to_numpy()
    if name in KINDS:
        return values
    return np.where(values >= 0, values + np.int64(start), -1).astype(row_type(start + len(values)))


def short_copy(column: pa.ChunkedArray) -> NDArray[Any]:
    """The values of a cluster as numbers of four bytes at most: a view would keep the whole file in memory."""
    values: NDArray[Any] = column.to_numpy()
    return values.astype(np.int32 if values.dtype == np.int64 else values.dtype)


def row_type(num_rows: int) -> type[np.int32] | type[np.int64]:
    """The type of numbers of rows. Clips that are not decided on have numbers from N on; half of the range is theirs."""
    return np.int32 if num_rows < 2**30 else np.int64


def common_type(kinds: Sequence[Any]) -> Any:
    """The type of ids of all tables."""
    import pyarrow as pa

    schemas = [pa.schema([("id", kind)]) for kind in dict.fromkeys(kinds)] or [pa.schema([("id", pa.string())])]
    return pa.unify_schemas(schemas, promote_options="permissive").field(0).type


def stored_type(kind: Any) -> Any:
    """The type of the values that stand in files for ids of a type."""
    import pyarrow as pa

    return stored(pa.nulls(0, kind)).type


Named = tuple[Indices, Any]
"""Rows, and the ids that they name."""


def named_in(ids: pa.ChunkedArray, first: int) -> list[Named]:
    """The rows of a table whose first row is `first` that name an id, and these ids."""
    there = ids.is_valid().to_numpy()
    return [(np.flatnonzero(there) + first, ids.drop_null().combine_chunks())] if there.any() else []


def find_named(decisions: Decisions, named: Mapping[str, Sequence[Named]]) -> None:
    """Put rows in place of the ids that rows name, ``max_id`` and ``kept_id``. Ids of no rows join the other clips."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not any(named.values()):
        return
    ids = _one_array([one for name in named for _, one in named[name]], decisions.rows.id_type)
    found = decisions.rows.index.find(id_texts(pa.chunked_array([ids])))
    coded = pc.dictionary_encode(stored(ids).filter(pa.array(found < 0)))
    first = len(decisions.removed) + len(decisions.others)
    found[found < 0] = coded.indices.to_numpy().astype(np.int64) + first
    kind = decisions.others.type
    decisions.others = pa.chunked_array([*decisions.others.chunks, coded.dictionary.cast(kind)], kind)
    at = 0
    for name in named:
        target = decisions.max_row if name == "max_id" else decisions.kept_row
        for rows, _ in named[name]:
            target[rows] = found[at : at + len(rows)]
            at += len(rows)


def _one_array(parts: list[pa.Array], kind: Any) -> pa.Array:
    import pyarrow as pa

    return pa.concat_arrays(one_type(parts)).cast(kind)


def _match_rows(decisions: Decisions, rows: Indices) -> Indices:
    """The row in another cluster that each of `rows` is a duplicate of."""
    matches: Indices = decisions.max_row[rows]
    lost = matches[matches >= len(decisions.removed)]
    if len(lost):
        name = id_text(decisions.others[int(lost[0]) - len(decisions.removed)].as_py())
        raise InputError(f"a similarity table names {name!r}, which is in no cluster: run the pairwise stage again")
    return matches


def _name_takers(decisions: Decisions, takers: Takers) -> None:
    """Name the kept rows of other clusters that are nearer than all of the own one."""
    rows, kept, cosine = takers
    _name_as_best(decisions, rows, kept, cosine)
    nearer = cosine > decisions.kept_score[rows]
    _name_kept_rows(decisions, rows[nearer], kept[nearer], cosine[nearer])


def _name_as_best(decisions: Decisions, rows: Indices, kept: Indices, cosine: NDArray[np.float32]) -> None:
    """Name the kept rows as the best matches of rows whose tables know none so near: it was one that the filters drop."""
    nearer = cosine > decisions.cosine[rows]
    decisions.cosine[rows[nearer]] = cosine[nearer]
    decisions.max_row[rows[nearer]] = kept[nearer]


def _remove_matched(decisions: Decisions, rows: Indices, matches: Indices, ids: Callable[[], list[Any]]) -> None:
    """Greedy rule: remove a kept row if its match in another cluster is kept too, unless a removed row relies on it.

    ::

        cluster 0   A             kept
        cluster 1   B → A   C     B is removed, as its match A is kept, unless C was removed with B as its kept row
        cluster 2   D → B         settled after B: D is removed if B is still kept, else D is kept
    """
    if not len(rows):
        return
    match_of = dict(zip(rows.tolist(), matches.tolist(), strict=True))
    relied_on = _kept_rows_in_use(decisions)
    pairs: list[tuple[int, int]] = []
    for row in _matches_first(ids(), match_of):
        match = match_of[row]
        if not decisions.removed[row] and not relied_on[row] and not decisions.removed[match]:
            decisions.removed[row] = relied_on[match] = True
            pairs.append((row, match))
    if pairs:
        _name_kept_rows(decisions, *np.array(pairs).T)


def _kept_rows_in_use(decisions: Decisions) -> NDArray[np.bool_]:
    """(N,) the rows that are named as the kept row of a removed one."""
    in_use = np.zeros(len(decisions.removed), np.bool_)
    kept_rows = decisions.kept_row[decisions.removed]
    in_use[kept_rows[(kept_rows >= 0) & (kept_rows < len(in_use))]] = True
    return in_use


def _matches_first(names: Sequence[Any], match_of: Mapping[int, int]) -> Iterator[int]:
    """The rows that have a match, each after its match if that has one too; otherwise in the order of ids as text.

    A row may come more than once; what is settled does not change then.
    """
    for _, start in sorted(zip(map(id_text, names), match_of, strict=True)):
        path = {start: None}  # an ordered set
        row = start
        # The ranking over all clusters has no circles; a damaged table must not make this loop endless.
        while (row := match_of[row]) in match_of and row not in path:
            path[row] = None
        yield from reversed(path)


def name_nearer_matches(decisions: Decisions) -> None:
    """Name the match of a removed row as its kept row, where it is kept and nearer than all kept rows of the own cluster."""
    rows = np.flatnonzero(decisions.removed & (decisions.cosine > decisions.kept_score))
    matches = decisions.max_row[rows]
    is_row = (matches >= 0) & (matches < len(decisions.removed))
    rows, matches = rows[is_row], matches[is_row]
    is_kept = ~decisions.removed[matches]
    _name_kept_rows(decisions, rows[is_kept], matches[is_kept])


def _name_kept_rows(
    decisions: Decisions, rows: Indices, matches: Indices, cosine: NDArray[np.float32] | None = None
) -> None:
    """Name each match as the kept row nearest to its removed row.

    Args:
        cosine: of the pairs. None: those that the similarity tables have.
    """
    decisions.kept_row[rows] = matches
    decisions.kept_score[rows] = decisions.cosine[rows] if cosine is None else cosine
