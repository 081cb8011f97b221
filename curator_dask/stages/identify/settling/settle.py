"""Settle the touched rows of all parts, on one worker: as `join_decisions` does, with these rows alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.decide.rules import Rule
from curator_dask.files.buckets.shared import read_shared, write_shared
from curator_dask.report.review.overrides import Override
from curator_dask.stages.identify.across.own_kept_rows import OwnKept, rows_without_kept_row
from curator_dask.stages.identify.decisions.by_hand import ByHand, decide_by_hand
from curator_dask.stages.identify.decisions.loaded_decisions import Decisions, stored_type
from curator_dask.stages.identify.decisions.table_rows import Indices, TableRows
from curator_dask.stages.identify.settling.crossing import Crossing, CrossingFiles
from curator_dask.stages.identify.settling.settle_crossing import Takers, settle_crossing
from curator_dask.stages.identify.settling.settled import Settled
from curator_dask.stages.identify.settling.touched import no_touched_rows

if TYPE_CHECKING:
    import pyarrow as pa

REFERENCES = ("max_row", "kept_row")


@dataclass(frozen=True)
class SettleTask:
    """Settle the touched rows of all parts. The last three are the paths of `Settled`."""

    crossing: CrossingFiles
    touched: tuple[tuple[int, str], ...]
    """The numbers of the parts that have touched rows, ascending, and the files with these."""
    groups_before: Indices
    """(P + 1,) how many groups that are not touched are in the parts before each one."""
    rule: Rule
    rows: TableRows
    firsts: Indices
    """(P,) the first row of each part."""
    overrides: Mapping[str, Override] | None
    """What a person decided; None: nobody had a say, or has it later."""
    by_hand: Indices
    """The rows of these."""
    path: str
    roots_path: str
    asked_path: str

    def read_touched(self) -> tuple[pa.Table, Indices]:
        """The touched rows of all parts, and the number of the part of each."""
        import pyarrow as pa

        nothing = no_touched_rows()
        tables = [read_shared(self.crossing.folder, [path], 0) or nothing for _, path in self.touched]
        numbers = np.array([number for number, _ in self.touched], np.int64)
        return pa.concat_tables([nothing, *tables]), np.repeat(numbers, list(map(len, tables)))


def without_own_kept_row(task: SettleTask) -> Indices:
    """Those of the touched rows for which the kept rows of the own cluster are to be looked for (`rows_without_kept_row`)."""
    crossing = task.crossing.read()
    return rows_without_kept_row(task.read_touched()[0], crossing.rows, crossing.matches)


def settle_all(task: SettleTask, own: OwnKept) -> Settled:
    """Decide on the touched rows, and write the files.

    Args:
        own: the kept rows that were looked for.
    """
    import pyarrow as pa

    touched, part = task.read_touched()
    table, roots, told = settle(own.put(touched), task.groups_before[part], task.crossing.read(), task)
    folder, num_parts = task.crossing.folder, len(task.firsts)
    write_shared(folder, task.path, table, _part_of(task.firsts, table["row"].to_numpy()), num_parts)
    of_root = _part_of(task.firsts, roots)
    write_shared(folder, task.roots_path, pa.table({"root": roots}), of_root, num_parts)
    asked = _kept_elsewhere(task, table)
    write_shared(folder, task.asked_path, asked, np.zeros(len(asked), np.int64), 1)
    num_roots = np.bincount(of_root, minlength=num_parts)
    return Settled(folder, task.path, task.roots_path, task.asked_path, num_roots, told)


def _part_of(firsts: Indices, rows: Indices) -> Indices:
    found: Indices = np.searchsorted(firsts, rows, side="right") - 1
    return found


def _kept_elsewhere(task: SettleTask, settled: pa.Table) -> pa.Table:
    """The rows that removed rows of other parts name as kept, and these parts."""
    import pyarrow as pa

    row, kept = (settled[name].to_numpy() for name in ("row", "kept_row"))
    there = settled["removed"].to_numpy() & (kept >= 0) & (kept < len(task.rows))
    part, kept = _part_of(task.firsts, row[there]), kept[there]
    away = _part_of(task.firsts, kept) != part
    pairs = np.unique(kept[away] * len(task.firsts) + part[away])
    return pa.table({"row": pairs // len(task.firsts), "part": pairs % len(task.firsts)})


def settle(
    touched: pa.Table, groups_before: Indices, crossing: Crossing, task: SettleTask
) -> tuple[pa.Table, Indices, ByHand]:
    """The table of `Settled`, the lowest rows of the groups, and what a person changed.

    Args:
        touched: of all parts, one after the other (see `touched.write_touched`).
        groups_before: for each of them, how many groups that are not touched are in the parts before its own.
    """
    import pyarrow as pa

    held = _Held.of(touched, crossing)
    decisions = held.decisions(task.rule, task.rows)
    settle_crossing(
        decisions, held.places(crossing.rows), held.places(crossing.matches), held.takers(crossing.takers),
        lambda: list(crossing.ids),
    )  # fmt: skip
    told = _decide_by_hand(task, decisions, held)
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
    return pa.table(found).filter(pa.array(held.column["is_whole"])), held.row[lowest], told


def _decide_by_hand(task: SettleTask, decisions: Decisions, held: _Held) -> ByHand:
    if task.overrides is None:
        return ByHand({}, ())
    return decide_by_hand(decisions, task.overrides, held.places(task.by_hand))


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
