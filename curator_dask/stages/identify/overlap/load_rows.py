"""Load the rows of all clusters for the rule ``overlap``: numbers, and the columns that rank; ids stay in the tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.clusters import column_values
from curator_dask.data.ids import id_texts
from curator_dask.dedup.ranking.strategy import RankingStrategy
from curator_dask.stages.identify.decisions.decision_table import IDS
from curator_dask.stages.identify.decisions.join_decisions import Named, common_type, named_in, row_type, short_copy
from curator_dask.stages.identify.decisions.table_rows import ClusterTables, Indices, TableRows
from curator_dask.stages.identify.overlap.ranked_rows import rank_names

if TYPE_CHECKING:
    import pyarrow as pa

Stay = Callable[["pa.ChunkedArray"], NDArray[np.bool_]]
"""Says of ids, as texts, which of them are decided on."""
IDS_AT_ONCE = 262_144


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


def load_ranked_rows(
    tables: ClusterTables, strategy: RankingStrategy
) -> tuple[TableRows, Matches, dict[str, NDArray[Any]]]:
    """The rows of all clusters, what their scores come from, and the columns that rank, by their own names."""
    import pyarrow as pa

    names, starts = rank_names(strategy), [0]
    lines, cosines, digests, kinds, ranking = [], [], [], [], []
    named: list[Named] = []
    columns = ["id", "max_row", "max_id", "cosine_sim_score", *names.values()]
    for table in tables.read(range(len(tables.numbers)), columns):
        line, first = table["max_row"].to_numpy(), starts[-1]
        lines.append(np.where(line >= 0, line.astype(np.int64) + first, -1).astype(row_type(first + len(line))))
        named += named_in(table["max_id"], first)
        cosines.append(short_copy(table["cosine_sim_score"]))
        digests.append(table.schema.metadata[IDS])
        kinds.append(table["id"].type)
        ranking.append(table.select(list(names.values())))
        starts.append(first + len(table))
    rows = TableRows(tables, np.array(starts), common_type(kinds), digests=tuple(digests))
    values = pa.concat_tables(ranking, promote_options="permissive")
    matches = Matches(np.concatenate(lines), tuple(named), np.concatenate(cosines))
    return rows, matches, {name: column_values(values, held) for name, held in names.items()}


def staying_lines(rows: TableRows, stay: Stay) -> NDArray[np.bool_]:
    """(N,) the rows whose ids are to be decided on."""
    return np.concatenate([stay(texts) for texts in _texts(rows)])


def _texts(rows: TableRows) -> Iterator[pa.ChunkedArray]:
    """The ids of all rows, as texts, some hundred thousand at a time."""
    import pyarrow as pa

    waiting: list[pa.Array] = []
    for table in rows.tables.read(range(len(rows.tables.numbers)), ["id"]):
        waiting += id_texts(table["id"]).chunks
        if sum(map(len, waiting)) >= IDS_AT_ONCE:
            yield pa.chunked_array(waiting, pa.large_string())
            waiting = []
    yield pa.chunked_array(waiting, pa.large_string())
