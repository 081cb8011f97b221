"""Settle the touched rows of all parts, on the client: as `decisions.join_decisions` does, with these rows alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.decide.rules import Rule
from curator_dask.stages.identify.decisions.by_hand import ByHand
from curator_dask.stages.identify.decisions.join_decisions import Decisions, Takers, settle_crossing, stored_type
from curator_dask.stages.identify.decisions.table_rows import Indices, TableRows
from curator_dask.stages.identify.in_parts.part import RowsOfPart, in_part

if TYPE_CHECKING:
    import pyarrow as pa

REFERENCES = ("max_row", "kept_row")


@dataclass(frozen=True)
class Crossing:
    """What is known of rows of several clusters. Rows are numbers among all N rows, from N on those of other clips."""

    rows: Indices
    """Those that have a duplicate in another cluster."""
    matches: Indices
    """That one."""
    ids: Sequence[Any]
    """The ids of `rows`, where they are needed."""
    named: dict[str, tuple[Indices, Indices]]
    """By column, rows, and those that they name by their ids."""
    takers: Takers | None
    """By the greedy rule, who removes rows of other clusters, where that was looked for."""

    def touching(self) -> Indices:
        """The rows that touch their groups, ascending."""
        found = [self.rows, self.matches, *(rows for pair in self.named.values() for rows in pair)]
        if self.takers is not None:
            found += [self.takers.row, self.takers.kept]
        return np.unique(np.concatenate(found))


@dataclass(frozen=True)
class Settled:
    """What was decided on the touched rows."""

    table: pa.Table
    """By row: ``row``, ``removed``, ``max_row``, ``kept_row``, ``cosine``, ``kept_score``, ``by_hand``, ``root`` (the
    lowest row of its group), ``group`` (the number of its group, -1 for none) and ``leader``."""
    roots: Indices
    """The lowest row of each of their groups, ascending."""
    by_hand: ByHand

    def of_part(self, part: RowsOfPart) -> pa.Table:
        """The lines of one part."""
        start, stop = np.searchsorted(self.table["row"].to_numpy(), (part.first, part.stop)).tolist()
        return self.table.take(np.arange(start, stop))  # a slice would travel with all lines

    def roots_of_part(self, part: RowsOfPart) -> Indices:
        """The lowest rows that are in one part."""
        return self.roots[(self.roots >= part.first) & (self.roots < part.stop)]

    def roots_before(self, part: RowsOfPart) -> int:
        """How many of the lowest rows are in parts before one."""
        return int(np.searchsorted(self.roots, part.first))

    def named_elsewhere(self, part: RowsOfPart, rows: pa.Table) -> pa.Table:
        """Those lines of a table with a column ``row`` whose rows are named as kept by rows of one part."""
        import pyarrow as pa

        return rows.filter(pa.array(np.isin(rows["row"].to_numpy(), self.of_part(part)["kept_row"].to_numpy())))

    def kept_elsewhere(self, parts: Sequence[RowsOfPart], num_rows: int) -> Indices:
        """The rows of other parts that removed rows name as kept, ascending."""
        row, kept = (self.table[name].to_numpy() for name in ("row", "kept_row"))
        there = self.table["removed"].to_numpy() & (kept >= 0) & (kept < num_rows)
        row, kept = row[there], kept[there]
        return np.unique(kept[in_part(parts, kept) != in_part(parts, row)])


DecideByHand = Callable[[Decisions, Callable[[Indices], Indices]], ByHand]
"""Changes decisions by hand. It is given what turns numbers of all rows into those of the decisions; -1 stays."""


def settle(
    touched: pa.Table, groups_before: Indices, crossing: Crossing, rule: Rule, rows: TableRows, by_hand: DecideByHand
) -> Settled:
    """Decide on the touched rows.

    Args:
        touched: of all parts, one after the other (see `touched.Touched`).
        groups_before: for each of them, how many groups that are not touched are in the parts before its own.
        rows: all rows.
        by_hand: is called when the rule has decided.
    """
    import pyarrow as pa

    held = _Held.of(touched, crossing)
    decisions = held.decisions(rule, rows)
    settle_crossing(
        decisions, held.places(crossing.rows), held.places(crossing.matches), held.takers(crossing.takers),
        lambda: list(crossing.ids),
    )  # fmt: skip
    told = by_hand(decisions, held.places)
    number, leader = decisions.groups()
    lowest = decisions.grouped()[1]
    before = np.append(groups_before[lowest] + held.column["below"][lowest], 0)
    found = {
        "row": held.row,
        "removed": decisions.removed,
        "max_row": held.among_all(decisions.max_row),
        "kept_row": held.among_all(decisions.kept_row),
        "cosine": decisions.cosine,
        "kept_score": decisions.kept_score,
        "by_hand": np.zeros(len(number), np.bool_) if decisions.by_hand is None else decisions.by_hand,
        "root": held.among_all(decisions.group),
        "group": np.where(number >= 0, number + before[number], -1),
        "leader": held.among_all(leader),
    }
    table = pa.table(found).filter(pa.array(held.column["is_whole"]))
    return Settled(table, held.row[lowest], told)


@dataclass(frozen=True)
class _Held:
    """The T touched rows. In decisions on them they have numbers from 0 on, and rows that they name otherwise those from T on."""

    column: dict[str, NDArray[Any]]
    outside: Indices
    """These others, ascending, among all."""

    @classmethod
    def of(cls, touched: pa.Table, crossing: Crossing) -> _Held:
        column = {name: touched[name].to_numpy() for name in touched.column_names}
        for name, (naming, named) in crossing.named.items():
            column[name] = column[name].copy()
            column[name][np.searchsorted(column["row"], naming)] = named
        references = np.concatenate([column[name] for name in REFERENCES])
        return cls(column, np.setdiff1d(references[references >= 0], column["row"]))

    @property
    def row(self) -> Indices:
        return self.column["row"]

    def places(self, rows: Indices) -> Indices:
        """The numbers in decisions of some rows; -1 stays."""
        if not len(self.row):
            return np.where(rows >= 0, np.searchsorted(self.outside, rows), -1)
        at = np.searchsorted(self.row, rows)
        inside = self.row[np.minimum(at, len(self.row) - 1)] == rows
        other = len(self.row) + np.searchsorted(self.outside, rows)
        return np.where(rows >= 0, np.where(inside, at, other), -1)

    def among_all(self, places: Indices) -> Indices:
        """The rows that have these numbers; -1 stays."""
        every = np.concatenate([self.row, self.outside, [-1]])
        return every[places]

    def takers(self, takers: Takers | None) -> Takers | None:
        return takers and Takers(self.places(takers.row), self.places(takers.kept), takers.cosine)

    def decisions(self, rule: Rule, rows: TableRows) -> Decisions:
        import pyarrow as pa

        max_row, kept_row, group = (self.places(self.column[name]) for name in (*REFERENCES, "group"))
        no_others = pa.chunked_array([], stored_type(rows.id_type))
        return Decisions(
            rows, self.column["removed"].copy(), max_row, kept_row, self.column["cosine"].copy(),
            self.column["kept_score"].copy(), group, rule, no_others,
        )  # fmt: skip
