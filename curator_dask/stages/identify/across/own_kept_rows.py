"""By the rule ``pairwise``, the nearest kept row in the own cluster of rows that are removed for a row of another cluster.

A cluster is decided on without its vectors where the pairwise stage listed its near pairs. Such a row may have none in the
list. Mostly its match in the other cluster is kept, and is its kept row. Only where that is removed too, the row is compared
with the kept rows of its own cluster, when the decisions of all clusters are known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.scored_clusters import ClusterInput, read_in_order, read_scores
from curator_dask.dedup.decide.decisions import Removals, nearest_among
from curator_dask.dedup.similarity.pairs import side
from curator_dask.dedup.similarity.pairwise import TILE_ROWS
from curator_dask.dedup.similarity.threshold import is_duplicate
from curator_dask.runtime.device import to_device

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class OwnKeptTask:
    """Compare some removed rows of a cluster with its kept ones."""

    cluster: ClusterInput
    eps: float
    places: NDArray[np.int64]
    """(M,) the rows, in the ranking."""
    device: str


def own_kept_rows(task: OwnKeptTask) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """On a worker: (M,) the place of the nearest kept row, -1 for none, and (M,) the cosine."""
    scores = read_scores(task.cluster)
    removed = is_duplicate(scores.score, task.eps)
    X, _ = read_in_order(task.cluster, scores.ids)
    found = Removals(removed, np.arange(len(removed)), np.zeros(len(removed), np.float32))
    nearest_among(found, side(to_device(X, task.device)), task.places, None, TILE_ROWS)
    return found.kept_row[task.places], found.kept_score[task.places]


def rows_without_kept_row(touched: pa.Table, rows: NDArray[np.int64], matches: NDArray[np.int64]) -> NDArray[np.int64]:
    """Those of some removed rows that have no kept row, and whose match is removed too; ascending.

    Args:
        touched: has ``row``, ascending, ``removed`` and ``kept_row`` of these rows and of their matches among others.
        rows, matches: (M,) rows, and the row of another cluster that each is a duplicate of.
    """
    row, removed, kept = (touched[name].to_numpy() for name in ("row", "removed", "kept_row"))
    if not len(row):
        return rows[:0]
    at, of_match = (np.searchsorted(row, one) for one in (rows, matches))
    known = row[np.minimum(of_match, len(row) - 1)] == matches
    is_lost = known & removed[np.minimum(of_match, len(row) - 1)]
    found: NDArray[np.int64] = np.unique(rows[removed[at] & (kept[at] < 0) & is_lost])
    return found


@dataclass(frozen=True)
class OwnKept:
    """The kept rows of their own clusters that were looked for: M rows, ascending, among all."""

    rows: NDArray[np.int64]
    kept_row: NDArray[np.int64]
    """-1 for none."""
    kept_score: NDArray[np.float32]

    @staticmethod
    def nothing() -> OwnKept:
        none = np.zeros(0, np.int64)
        return OwnKept(none, none, np.zeros(0, np.float32))

    def put(self, touched: pa.Table) -> pa.Table:
        """The touched rows with these kept rows."""
        import pyarrow as pa

        at = np.searchsorted(touched["row"].to_numpy(), self.rows)
        for name in ("kept_row", "kept_score") if len(at) else ():
            values = touched[name].to_numpy().copy()
            values[at] = getattr(self, name)
            touched = touched.set_column(touched.column_names.index(name), name, pa.array(values))
        return touched
