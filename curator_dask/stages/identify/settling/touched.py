"""The rows of a part that rows of other clusters, or a person, have a say on: those of touched groups. It runs on workers.

A group is touched if one of its rows has a duplicate in another cluster, is one for another cluster, or is decided on by
hand. What is decided on all other groups stays as their clusters decided it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.decide.rules import Rule
from curator_dask.files.buckets.shared import read_shared, write_shared
from curator_dask.stages.identify.decisions.loaded_decisions import Decisions
from curator_dask.stages.identify.decisions.table_rows import Indices
from curator_dask.stages.identify.settling.part import Numbers, RowsOfPart, among_all
from curator_dask.stages.identify.settling.settle_crossing import name_nearer_matches

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class TouchedTask:
    """List the touched rows of one part."""

    part: RowsOfPart
    rule: Rule
    numbers: Numbers
    touching: str
    """The file with the rows that touch their groups, in buckets by part."""
    written: str
    """The file to write."""


def write_touched(task: TouchedTask) -> int:
    """Write the touched rows of a part, and those that they are named with; returns how many groups are not touched.

    By row: ``row``, ``removed``, ``max_row``, ``kept_row``, ``cosine``, ``kept_score`` and ``group`` as in `Decisions`, with
    rows as numbers among all; ``is_whole``, whether all of its group is here; ``below``, how many other groups of the part
    have a lower lowest row. Rows that are named as kept ones, and those that name touched ones, are here too.
    """
    folder, found = task.numbers.folder, read_shared(task.numbers.folder, [task.touching], task.part.number)
    rows = np.zeros(0, np.int64) if found is None else found["row"].to_numpy()
    table, num_others = _touched(task.numbers.read(task.rule), task.part.first, rows)
    write_shared(folder, task.written, table, np.zeros(len(table), np.int64), 1)
    return num_others


def _touched(decisions: Decisions, first: int, touching: Indices) -> tuple[pa.Table, int]:
    import pyarrow as pa

    is_touched = touched_groups(decisions, touching - first)
    rows = _chosen(decisions, is_touched)
    whole, nearer = is_touched[rows], _with_nearer_matches(decisions)
    others = decisions.grouped()[1]
    others = others[~is_touched[others]]
    table = pa.table(
        {
            "row": rows + first,
            "removed": decisions.removed[rows],
            "max_row": among_all(decisions.max_row[rows], first),
            "kept_row": among_all(np.where(whole, decisions.kept_row[rows], nearer.kept_row[rows]), first),
            "cosine": decisions.cosine[rows],
            "kept_score": np.where(whole, decisions.kept_score[rows], nearer.kept_score[rows]),
            "group": among_all(np.where(whole, decisions.group[rows], rows), first),
            "is_whole": whole,
            "below": np.searchsorted(others, rows),
        }
    )
    return table, len(others)


def no_touched_rows() -> pa.Table:
    """A table of `write_touched` without rows."""
    import pyarrow as pa

    kinds = {"removed": pa.bool_(), "cosine": pa.float32(), "kept_score": pa.float32(), "is_whole": pa.bool_()}
    names = ("row", "removed", "max_row", "kept_row", "cosine", "kept_score", "group", "is_whole", "below")
    return pa.schema([(name, kinds.get(name, pa.int64())) for name in names]).empty_table()


def touched_groups(decisions: Decisions, rows: Indices) -> NDArray[np.bool_]:
    """(N,) the rows in the groups of some rows."""
    roots = np.zeros(len(decisions.group), np.bool_)
    roots[decisions.group[rows]] = True
    found: NDArray[np.bool_] = roots[decisions.group]
    return found


def _chosen(decisions: Decisions, is_touched: NDArray[np.bool_]) -> Indices:
    """The touched rows, those that name a touched row as kept, and the kept rows of all of these."""
    chosen = is_touched.copy()
    removed = np.flatnonzero(decisions.removed & (decisions.kept_row >= 0))
    kept = decisions.kept_row[removed]
    chosen[removed[is_touched[kept]]] = True
    chosen[kept[chosen[removed]]] = True
    return np.flatnonzero(chosen)


def _with_nearer_matches(decisions: Decisions) -> Decisions:
    """The decisions as they are where no other cluster has a say."""
    copy = replace(decisions, kept_row=decisions.kept_row.copy(), kept_score=decisions.kept_score.copy())
    name_nearer_matches(copy)
    return copy
