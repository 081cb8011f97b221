"""The rows of one cluster with their scores and the columns that rank them: what runs on workers for the rule ``overlap``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from curator_dask.data.clip_columns import ranking_columns, stored_columns
from curator_dask.data.clusters import column_values, id_values, read_cluster
from curator_dask.data.ids import id_column, stored
from curator_dask.data.tables import read_parquet
from curator_dask.dedup.ranking.strategy import RankingStrategy
from curator_dask.errors import InputError
from curator_dask.runtime.records import UnitResult
from curator_dask.stages.identify.decisions.decision_table import write_unit_table
from curator_dask.stages.identify.overlap.spec import RankedRowsTask

if TYPE_CHECKING:
    import pyarrow as pa


def list_ranked_rows(task: RankedRowsTask) -> UnitResult:
    """Write the table of a cluster: ``id``, ``max_id``, ``cluster``, ``cosine_sim_score`` and the ranking columns."""
    import pyarrow as pa

    cluster = task.cluster
    table = read_parquet(cluster.tables, cluster.table, [cluster.id_field, "max_id", "cosine_sim_score"])
    ids = id_column(table, cluster.id_field)
    rows = {
        "id": ids,
        "max_id": id_column(table, "max_id"),
        "cluster": pa.repeat(cluster.number, len(ids)),
        "cosine_sim_score": table["cosine_sim_score"],
        **_ranking_columns(task, ids),
    }
    return write_unit_table(task.output, task.table, pa.table(rows), {"rows": len(ids)})


def rank_names(strategy: RankingStrategy) -> dict[str, str]:
    """The columns that rank, and their names in the table of a cluster."""
    columns = () if strategy.strategy == "random" else strategy.metadata_cols
    return {name: f"rank_{number}" for number, name in enumerate(columns)}


def values_to_rank_by(table: pa.Table, strategy: RankingStrategy) -> dict[str, NDArray[Any]]:
    """The columns that rank, by their own names, from tables of clusters."""
    return {name: column_values(table, held) for name, held in rank_names(strategy).items()}


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
