"""The rows of one cluster with their scores and the columns that rank them: what runs on workers for the rule ``overlap``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curator_dask.data.clip_columns import ranking_columns, stored_columns
from curator_dask.data.clusters import id_values, read_cluster
from curator_dask.data.ids import id_column, one_type, stored
from curator_dask.data.tables import read_parquet
from curator_dask.dedup.ranking.strategy import RankingStrategy
from curator_dask.errors import InputError
from curator_dask.runtime.records import UnitResult
from curator_dask.stages.identify.decisions.decision_table import with_digests, write_unit_table
from curator_dask.stages.identify.overlap.spec import RankedRowsTask

if TYPE_CHECKING:
    import pyarrow as pa


def list_ranked_rows(task: RankedRowsTask) -> UnitResult:
    """Write the table of a cluster: ``id``, ``max_row`` or ``max_id``, ``cosine_sim_score`` and the ranking columns."""
    import pyarrow as pa
    import pyarrow.compute as pc

    cluster = task.cluster
    table = read_parquet(cluster.tables, cluster.table, [cluster.id_field, "max_id", "cosine_sim_score"])
    ids, max_ids = one_type([id_column(table, name) for name in (cluster.id_field, "max_id")])
    place = pc.fill_null(pc.index_in(stored(max_ids), value_set=stored(ids)), -1)
    rows = {
        "id": id_column(table, cluster.id_field),
        "max_row": place,
        "max_id": pc.if_else(pc.less(place, 0), max_ids, pa.scalar(None, max_ids.type)),
        "cosine_sim_score": table["cosine_sim_score"],
        **_ranking_columns(task, ids),
    }
    return write_unit_table(task.output, task.table, with_digests(rows), {"rows": len(ids)})


def rank_names(strategy: RankingStrategy) -> dict[str, str]:
    """The columns that rank, and their names in the table of a cluster."""
    columns = () if strategy.strategy == "random" else strategy.metadata_cols
    return {name: f"rank_{number}" for number, name in enumerate(columns)}


def _ranking_columns(task: RankedRowsTask, ids: pa.Array) -> dict[str, pa.Array]:
    """The columns that rank, in the order of `ids`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    names, cluster = rank_names(task.strategy), task.cluster
    if not names:
        return {}
    columns = [cluster.id_field, *stored_columns(names, task.index)]
    table = read_cluster(cluster.kmeans, cluster.vectors, columns)
    place = pc.index_in(stored(ids), value_set=stored(id_column(table, cluster.id_field)))
    if place.null_count or len(table) != len(ids):
        raise InputError(
            f"{cluster}: {cluster.table} and the k-means output hold different ids: run the pairwise stage again"
        )
    values = ranking_columns(list(names), table, id_values(table, cluster.id_field), task.index)
    return {held: pa.array(values[name], from_pandas=True).take(place) for name, held in names.items()}
