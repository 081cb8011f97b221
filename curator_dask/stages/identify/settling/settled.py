"""What was decided on the touched rows, in files: each part reads its own lines, and puts them in its decisions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from curator_dask.files.buckets.shared import read_shared
from curator_dask.files.folder import Folder
from curator_dask.stages.identify.decisions.by_hand import ByHand
from curator_dask.stages.identify.decisions.loaded_decisions import Decisions
from curator_dask.stages.identify.decisions.table_rows import Indices, TableRows
from curator_dask.stages.identify.settling.part import RowsOfPart, among_all
from curator_dask.stages.identify.settling.settle_crossing import name_nearer_matches
from curator_dask.stages.identify.settling.touched import touched_groups

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Settled:
    """What was decided on the touched rows, in files that are in buckets by part."""

    folder: Folder
    path: str
    """By row: ``row``, ``removed``, ``max_row``, ``kept_row``, ``cosine``, ``kept_score``, ``by_hand``, ``root`` (the lowest
    row of its group), ``group`` (the number of its group, -1 for none) and ``leader``."""
    roots_path: str
    """``root``, the lowest row of each of their groups, ascending."""
    asked_path: str
    """In one bucket: ``row``, that removed rows of other parts name as kept, ascending, and ``part``, which one that is."""
    num_roots: Indices
    """(P,) how many of the lowest rows are in each part."""
    by_hand: ByHand

    def of_part(self, part: RowsOfPart) -> pa.Table:
        """The lines of one part."""
        found = read_shared(self.folder, [self.path], part.number)
        return no_settled_rows() if found is None else found

    def roots_of_part(self, part: RowsOfPart) -> Indices:
        """The lowest rows that are in one part."""
        found = read_shared(self.folder, [self.roots_path], part.number)
        return np.zeros(0, np.int64) if found is None else found["root"].to_numpy()

    def roots_before(self, part: RowsOfPart) -> int:
        """How many of the lowest rows are in parts before one."""
        return int(self.num_roots[: part.number].sum())


def no_settled_rows() -> pa.Table:
    """A table of `Settled` without rows."""
    import pyarrow as pa

    kinds = {"removed": pa.bool_(), "cosine": pa.float32(), "kept_score": pa.float32(), "by_hand": pa.bool_()}
    names = ("row", "removed", "max_row", "kept_row", "cosine", "kept_score", "by_hand", "root", "group", "leader")
    return pa.schema([(name, kinds.get(name, pa.int64())) for name in names]).empty_table()


def settled_decisions(
    part: RowsOfPart, own: Decisions, settled: pa.Table, rows: TableRows, others: pa.ChunkedArray
) -> Decisions:
    """The decisions on the rows of a part, which name other rows by their numbers among all. Groups stay as they are.

    Args:
        own: as its clusters decided; it is changed.
        settled: the lines of `Settled` that are of this part.
        rows, others: all rows, and the ids of other clips.
    """
    at = settled["row"].to_numpy() - part.first
    name_nearer_matches(own)
    own.rows, own.others = rows, others
    own.max_row, own.kept_row = among_all(own.max_row, part.first), among_all(own.kept_row, part.first)
    for name in ("removed", "max_row", "kept_row", "cosine", "kept_score"):
        getattr(own, name)[at] = settled[name].to_numpy()
    own.by_hand = np.zeros(len(own.removed), np.bool_)
    own.by_hand[at] = settled["by_hand"].to_numpy()
    return own


def roots_of_part(part: RowsOfPart, own: Decisions, settled: pa.Table) -> Indices:
    """(n,) the lowest row of the group of each row, among all; -1 for a row in no group.

    Args:
        own: as the clusters of the part decided.
        settled: the lines of `Settled` that are of this part.
    """
    at = settled["row"].to_numpy() - part.first
    rows, _ = without_touched_groups(own, at).grouped()
    roots = np.full(len(own.group), -1)
    roots[rows] = own.group[rows].astype(np.int64) + part.first
    roots[at] = np.where(settled["group"].to_numpy() >= 0, settled["root"].to_numpy(), -1)
    return roots


def without_touched_groups(own: Decisions, touched: Indices) -> Decisions:
    """The decisions without the groups of touched rows."""
    is_touched = touched_groups(own, touched)
    return replace(own, group=np.where(is_touched, np.arange(len(own.group)), own.group))
