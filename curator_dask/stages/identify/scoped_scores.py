"""Similarity tables over the pairs in scope and without dropped clips, one unit per cluster.

The pairwise stage scores all pairs of all rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.ids import id_column
from curator_dask.data.scored_clusters import read_in_order, score_table
from curator_dask.data.tables import read_parquet, write_parquet
from curator_dask.dedup.similarity.scope import max_earlier_in_scope, source_codes
from curator_dask.files import layout
from curator_dask.runtime.device import to_device
from curator_dask.runtime.records import UnitResult
from curator_dask.stages.identify.spec import ScopedScoresTask

if TYPE_CHECKING:
    import pyarrow as pa


def score_in_scope(task: ScopedScoresTask) -> UnitResult:
    """On a worker: write the table of one cluster, with the rows and the columns of the pairwise stage's table."""
    table = _score_all(task) if task.sources is not None else _score_those_left(task)
    path = layout.scoped_scores_file(task.cluster.number)
    return UnitResult({path: write_parquet(task.output, path, table)})


def _score_all(task: ScopedScoresTask) -> pa.Table:
    """Score all rows that stay, over the pairs in scope."""
    import pyarrow as pa

    cluster = task.cluster
    ranked = id_column(read_parquet(cluster.tables, cluster.table, [cluster.id_field]), cluster.id_field)
    stay = _stay(task, ranked)
    X, sources = read_in_order(cluster, ranked, task.sources)
    codes = source_codes(sources[stay]) if sources is not None else None
    score, best = max_earlier_in_scope(to_device(X[stay], task.device), task.scope, codes)
    return score_table(cluster.id_field, ranked.filter(pa.array(stay)), best, score)


def _score_those_left(task: ScopedScoresTask) -> pa.Table:
    """The table without dropped rows. Where the best match of a row was dropped, the next best of the own cluster follows.

    A match in another cluster is only known where it is the best one.
    """
    import pyarrow as pa

    cluster = task.cluster
    names = [cluster.id_field, "max_id", "cosine_sim_score"]
    table = read_parquet(cluster.tables, cluster.table, names)
    whole = id_column(table, cluster.id_field)
    stay = _stay(task, whole)
    table = table.filter(pa.array(stay))
    ranked, matches = (id_column(table, name) for name in names[:2])
    lost = ~_stay(task, matches)
    if not lost.any():
        return table
    X, _ = read_in_order(cluster, whole)
    score, best = max_earlier_in_scope(to_device(X[stay], task.device), "all", None)
    best_ids = pa.concat_arrays([matches, ranked]).take(
        pa.array(np.where(lost, len(lost) + best, np.arange(len(lost))))
    )
    scores = np.where(lost, score, table["cosine_sim_score"].to_numpy())
    return pa.table([ranked, best_ids, pa.array(scores)], names)


def _stay(task: ScopedScoresTask, ids: pa.Array) -> NDArray[np.bool_]:
    return np.ones(len(ids), np.bool_) if task.dropped is None else task.dropped.stay(ids)
