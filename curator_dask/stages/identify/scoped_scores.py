"""Similarity tables over the pairs in scope: the pairwise stage's tables hold the best over all pairs. One unit a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from curator_dask.data.scored_clusters import ClusterInput, SourceOf, read_in_order
from curator_dask.data.tables import read_parquet, write_parquet
from curator_dask.dedup.similarity.scope import max_earlier_in_scope, source_codes
from curator_dask.files import layout
from curator_dask.files.folder import Folder
from curator_dask.runtime.device import to_device
from curator_dask.runtime.records import UnitResult

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class ScopedScoresTask:
    given: ClusterInput
    output: Folder
    scope: str
    source_of: SourceOf
    device: str


def score_in_scope(task: ScopedScoresTask) -> UnitResult:
    """On a worker: the table of one cluster, in the order of the pairwise stage's and with its columns."""
    given = task.given
    ranked = read_parquet(given.tables, given.table, [given.id_field])[given.id_field].combine_chunks()
    X, sources = read_in_order(given, ranked.to_pylist(), task.source_of)
    score, best = max_earlier_in_scope(to_device(X, task.device), task.scope, source_codes(sources))
    path = layout.scoped_scores_file(given.cluster)
    table = score_table(given.id_field, ranked, best, score)
    return UnitResult({path: write_parquet(task.output, path, table)})


def score_table(id_field: str, ids: pa.Array, best: object, score: object) -> pa.Table:
    """Columns id, ``max_id`` and ``cosine_sim_score``, all rows, in ranked order."""
    import pyarrow as pa

    return pa.table({id_field: ids, "max_id": ids.take(pa.array(best)), "cosine_sim_score": pa.array(score)})
