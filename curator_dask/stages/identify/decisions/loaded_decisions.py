"""The decisions on the rows of several clusters as one: what is known of each row, and how it is read from their tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.ids import id_texts, one_type, stored
from curator_dask.data.scored_clusters import ClusterInput
from curator_dask.dedup.arrays.growing import Growing
from curator_dask.dedup.arrays.xp import row_blocks
from curator_dask.dedup.decide.rules import Rule
from curator_dask.stages.identify.decisions.decision_table import IDS, count_orphans
from curator_dask.stages.identify.decisions.table_rows import ClusterTables, Indices, TableRows, UnitTables
from curator_dask.stages.workplace import Workplace

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


class TakenTable(Protocol):
    """The rows that kept rows of other clusters remove: one line per row, by places in the rankings of the clusters."""

    def write(self, place: Workplace, path: str) -> None:
        """Write to one bucket of a file: ``cluster`` and ``place`` of the row, ``kept_cluster``, ``kept_place``, ``cosine``."""


@dataclass(frozen=True)
class DecidedClusters:
    """Where the decisions on all clusters are."""

    tables: UnitTables
    inputs: tuple[str, ...]
    """What each was made from."""
    rule: Rule
    taken: TakenTable | None
    """By the greedy rule, the rows that kept rows of other clusters remove; None: only the best match of a row is known."""
    clusters: tuple[ClusterInput, ...] = ()
    """The clusters, where some rows may still need the nearest kept row of their own one."""


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
    ids: list[Any]
    """The ids of the rows, an array per table."""


def load_decisions(tables: ClusterTables, rule: Rule) -> LoadedDecisions:
    """Read the tables of all clusters."""
    import pyarrow as pa

    columns = {name: Growing(KINDS.get(name, np.int32)) for name in NUMBERS}
    named: dict[str, list[Named]] = {name: [] for name in NAMES}
    starts, digests, kinds, ids = [0], [], [], list[Any]()
    for table in tables.read(range(len(tables.numbers)), ["id", *NUMBERS, *NAMES]):
        for name, column in columns.items():
            column.add(_of_all_rows(table[name], name, starts[-1]))
        for name in NAMES:
            named[name] += named_in(table[name], starts[-1])
        starts.append(starts[-1] + len(table))
        digests.append(table.schema.metadata[IDS])
        kinds.append(table["kept_id"].type)  # that of all ids of the table
        ids.append(table["id"].combine_chunks())
    rows = TableRows(tables, np.array(starts), common_type(kinds), digests=tuple(digests))
    joined = {name: column.values() for name, column in columns.items()}
    no_others = pa.chunked_array([], stored_type(rows.id_type))
    decisions = Decisions(
        rows, joined["removed"], joined["max_row"], joined["kept_row"], joined["cosine_sim_score"], joined["kept_score"],
        joined["group"], rule, no_others,
    )  # fmt: skip
    return LoadedDecisions(decisions, np.flatnonzero(joined["cross_cluster"]), named, ids)


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
