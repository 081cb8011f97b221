"""Read the rows of clusters, their places in the ranking, their scores, and the centroids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.clip_columns import ranking_columns, stored_columns
from curator_dask.data.clusters import VectorPlaces, id_values, read_placed_vectors, stored_centroids
from curator_dask.data.tables import read_parquet
from curator_dask.dedup.cross_cluster.centroids import Centroids, prepare_centroids
from curator_dask.dedup.cross_cluster.scores import Indices
from curator_dask.errors import InputError
from curator_dask.files import layout
from curator_dask.files.folder import Folder
from curator_dask.runtime.device import to_device
from curator_dask.stages.cross_cluster.spec import Cluster, CrossClusterSpec

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Rows:
    """Rows with the columns that rank them, without their vectors: Arrow is several times slower at picking rows of lists."""

    columns: pa.Table
    ids: NDArray[Any]
    keys: dict[str, NDArray[Any]]
    """(N,) the columns that rank, by name."""

    @staticmethod
    def of(spec: CrossClusterSpec, columns: pa.Table) -> Rows:
        ids = id_values(columns, spec.id_field)
        return Rows(columns, ids, ranking_columns(spec.strategy.metadata_cols, columns, ids, spec.index))


def read_members(spec: CrossClusterSpec, cluster: Cluster) -> tuple[Rows, NDArray[np.float32], VectorPlaces | None]:
    """The members of a cluster, their vectors, and the places of these as `read_placed_vectors` gives them."""
    stored = stored_columns(spec.strategy.metadata_cols, spec.index)
    columns = list(dict.fromkeys([spec.id_field, *stored]))
    where = f"cluster {cluster.number}"
    table, X, places = read_placed_vectors(
        spec.input, cluster.paths, columns, spec.embedding_field, spec.embedding_dim, where
    )
    return Rows.of(spec, table), X, places


def places_of(order: Indices) -> Indices:
    """(N,) the place of each row in an order: ``[2, 0, 1]`` for the order ``[1, 2, 0]``."""
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    return places


def read_prepared_centroids(spec: CrossClusterSpec) -> Centroids:
    """The centroids of all clusters on the device, with the clusters' sizes."""
    C = centroids_of(spec.input, spec.groups.numbers)
    costs = np.array([cluster.num_bytes for cluster in spec.groups.clusters], dtype=np.float64)
    return prepare_centroids(to_device(C, spec.device), costs)


def centroids_of(folder: Folder, numbers: Indices) -> NDArray[np.float32]:
    """(len(numbers), D) the centroids of these clusters. Raises InputError if there is none, or too few for the numbers."""
    C = stored_centroids(folder)
    if len(C) <= max(numbers):
        raise InputError(f"{layout.CENTROIDS} has shape {C.shape}, but there is a cluster {max(numbers)}")
    chosen: NDArray[np.float32] = C[numbers]
    return chosen


def places_and_scores(spec: CrossClusterSpec, cluster: Cluster, rows: Rows) -> tuple[Indices, NDArray[np.float32]]:
    """The place of each row in the cluster's ranking, and its score in the similarity table.

    Raises InputError where the table was made with another ranking.
    """
    order = spec.strategy.rank(rows.keys, rows.ids)
    path = layout.pairwise_file(cluster.number)
    table = read_parquet(spec.pairwise, path, [spec.id_field, "cosine_sim_score"])
    if not np.array_equal(id_values(table, spec.id_field), rows.ids[order]):
        raise InputError(
            f"cluster {cluster.number}: {path} does not list the rows of the k-means output in the order of this "
            "ranking: give the ranking of the pairwise stage, or run that stage again"
        )
    places = places_of(order)
    return places, table["cosine_sim_score"].to_numpy()[places]
