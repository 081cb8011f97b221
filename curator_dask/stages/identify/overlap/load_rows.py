"""Load the rows of some clusters for the rule ``overlap``, and what their scores come from; ids stay in the tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curator_dask.stages.identify.decisions.decision_table import IDS
from curator_dask.stages.identify.decisions.loaded_decisions import Named, common_type, named_in, row_type, short_copy
from curator_dask.stages.identify.decisions.table_rows import ClusterTables, Indices, TableRows


@dataclass(frozen=True)
class Matches:
    """What the scores of N rows come from."""

    line: Indices
    """(N,) the line of the row before it that each one is most similar to; -1 where its id is in `named`."""
    named: tuple[Named, ...]
    """Rows, and the ids of these other ones: they are in other clusters."""
    cosine: NDArray[np.float32]
    """(N,) the scores."""

    def of(self, chosen: NDArray[np.bool_]) -> Matches:
        """Those of some rows."""
        return Matches(self.line[chosen], _of_chosen(self.named, chosen, np.cumsum(chosen) - 1), self.cosine[chosen])

    def rows(self, rows: TableRows, wanted: NDArray[np.bool_]) -> tuple[Indices, tuple[Named, ...]]:
        """(N,) the rows that they are, -1 for others; and the ids of the others, for the wanted rows."""
        import pyarrow as pa

        named = _of_chosen(self.named, wanted, np.arange(len(wanted)))
        if rows.staying is None:
            return self.line, named
        at = np.minimum(np.searchsorted(rows.staying, self.line), len(rows) - 1)
        is_row = rows.staying[at] == self.line
        lost = np.flatnonzero(wanted & ~is_row & (self.line >= 0))  # it is left out
        if len(lost):
            named = (*named, (lost, pa.array(rows.of_all_lines().ids(self.line[lost]))))
        return np.where(is_row, at, -1), named


def _of_chosen(named: tuple[Named, ...], chosen: NDArray[np.bool_], place: Indices) -> tuple[Named, ...]:
    """Those of the chosen rows, which now have other places."""
    import pyarrow as pa

    return tuple((place[rows[chosen[rows]]], ids.filter(pa.array(chosen[rows]))) for rows, ids in named)


def load_ranked_rows(tables: ClusterTables) -> tuple[TableRows, Matches]:
    """The rows of some clusters, and what their scores come from."""
    starts, lines, cosines, digests, kinds = [0], [], [], [], []
    named: list[Named] = []
    for table in tables.read(range(len(tables.numbers)), ["id", "max_row", "max_id", "cosine_sim_score"]):
        line, first = table["max_row"].to_numpy(), starts[-1]
        lines.append(np.where(line >= 0, line.astype(np.int64) + first, -1).astype(row_type(first + len(line))))
        named += named_in(table["max_id"], first)
        cosines.append(short_copy(table["cosine_sim_score"]))
        digests.append(table.schema.metadata[IDS])
        kinds.append(table["id"].type)
        starts.append(first + len(table))
    rows = TableRows(tables, np.array(starts), common_type(kinds), digests=tuple(digests))
    return rows, Matches(np.concatenate(lines), tuple(named), np.concatenate(cosines))
