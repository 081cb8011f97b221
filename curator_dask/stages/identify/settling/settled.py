"""What was decided on the touched rows, in files: each part reads its own lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from curator_dask.files.buckets.shared import read_shared
from curator_dask.files.folder import Folder
from curator_dask.stages.identify.decisions.by_hand import ByHand
from curator_dask.stages.identify.decisions.table_rows import Indices
from curator_dask.stages.identify.settling.part import RowsOfPart

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
