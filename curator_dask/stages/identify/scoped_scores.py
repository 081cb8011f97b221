"""Similarity tables over the pairs in scope, one unit per cluster. (The pairwise stage scores all pairs.)"""

from __future__ import annotations

from curator_dask.data.ids import id_column, id_list
from curator_dask.data.scored_clusters import read_in_order, score_table
from curator_dask.data.tables import read_parquet, write_parquet
from curator_dask.dedup.similarity.scope import max_earlier_in_scope, source_codes
from curator_dask.files import layout
from curator_dask.runtime.device import to_device
from curator_dask.runtime.records import UnitResult
from curator_dask.stages.identify.spec import ScopedScoresTask


def score_in_scope(task: ScopedScoresTask) -> UnitResult:
    """On a worker: write the table of one cluster, with the rows and the columns of the pairwise stage's table."""
    cluster = task.cluster
    ranked = id_column(read_parquet(cluster.tables, cluster.table, [cluster.id_field]), cluster.id_field)
    X, sources = read_in_order(cluster, id_list(ranked), task.sources)
    score, best = max_earlier_in_scope(to_device(X, task.device), task.scope, source_codes(sources))
    path = layout.scoped_scores_file(cluster.number)
    table = score_table(cluster.id_field, ranked, best, score)
    return UnitResult({path: write_parquet(task.output, path, table)})
