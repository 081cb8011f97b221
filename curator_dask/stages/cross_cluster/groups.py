"""Groups of clusters that are compared with one another, and their rows."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.clip_columns import ClipIndex, ranking_columns, stored_columns
from curator_dask.data.clusters import id_values, read_cluster, unit_rows
from curator_dask.data.tables import read_parquet
from curator_dask.dedup.cross_cluster.borders import Centroids, prepare_centroids
from curator_dask.dedup.cross_cluster.scores import Indices
from curator_dask.errors import InputError
from curator_dask.files import layout
from curator_dask.files.folder import Folder
from curator_dask.runtime.device import to_device

if TYPE_CHECKING:
    import pyarrow as pa

    from curator_dask.stages.cross_cluster.stage import CrossClusterStage


@dataclass(frozen=True)
class Cluster:
    """A cluster's files in the k-means output."""

    number: int
    paths: tuple[str, ...]
    num_bytes: int


@dataclass(frozen=True)
class Between:
    """All clusters in order, and which of them, by their places in that order, each group has."""

    clusters: tuple[Cluster, ...]
    groups: tuple[tuple[int, ...], ...]

    def group(self, number: int) -> tuple[Cluster, ...]:
        return tuple(self.clusters[place] for place in self.groups[number])

    @property
    def numbers(self) -> Indices:
        """(k,) of the clusters, ascending."""
        return np.array([cluster.number for cluster in self.clusters])

    @property
    def group_of(self) -> Indices:
        """(k,) the group of each cluster."""
        found = np.empty(len(self.clusters), np.int64)
        for number, places in enumerate(self.groups):
            found[list(places)] = number
        return found

    @property
    def num_groups(self) -> int:
        return len(self.groups)


@dataclass(frozen=True)
class GroupTask:
    stage: CrossClusterStage
    between: Between
    group: int
    device: str
    index: ClipIndex | None = None

    @property
    def clusters(self) -> tuple[Cluster, ...]:
        return self.between.group(self.group)


@dataclass(frozen=True)
class Rows:
    """Rows with what ranks them, but for their vectors: Arrow takes several times as long to pick rows of lists."""

    columns: pa.Table
    ids: NDArray[Any]
    keys: dict[str, NDArray[Any]]

    @staticmethod
    def of(task: GroupTask, columns: pa.Table) -> Rows:
        ids = id_values(columns, task.stage.id_field)
        return Rows(columns, ids, ranking_columns(task.stage.strategy.metadata_cols, columns, ids, task.index))


def read_members(task: GroupTask, cluster: Cluster) -> tuple[Rows, NDArray[np.float32]]:
    """The members of a cluster, and their vectors."""
    stage = task.stage
    stored = stored_columns(stage.strategy.metadata_cols, task.index)
    columns = list(dict.fromkeys([stage.id_field, stage.embedding_field, *stored]))
    table = read_cluster(stage.input, cluster.paths, columns)
    X = unit_rows(table, stage.embedding_field, stage.embedding_dim, f"cluster {cluster.number}")
    return Rows.of(task, table.drop_columns([stage.embedding_field])), X


def places_of(order: Indices) -> Indices:
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    return places


def centroids_of(task: GroupTask) -> Centroids:
    C = read_centroids(task.stage.input, task.between.numbers)
    costs = np.array([cluster.num_bytes for cluster in task.between.clusters], dtype=np.float64)
    return prepare_centroids(to_device(C, task.device), costs)


def read_centroids(folder: Folder, numbers: Indices) -> NDArray[np.float32]:
    """(len(numbers), D), those of some clusters. Raises InputError if there are none, or fewer than the numbers need."""
    if not folder.exists(layout.CENTROIDS):
        raise InputError(f"{folder.url} has no {layout.CENTROIDS}: it is not the output of a k-means stage")
    C = np.load(io.BytesIO(folder.read_bytes(layout.CENTROIDS)))
    if C.ndim != 2 or len(C) <= max(numbers):
        raise InputError(f"{layout.CENTROIDS} has shape {C.shape}, but there is a cluster {max(numbers)}")
    chosen: NDArray[np.float32] = C[numbers]
    return chosen


def places_and_scores(stage: CrossClusterStage, cluster: Cluster, rows: Rows) -> tuple[Indices, NDArray[np.float32]]:
    """Each row's place in the cluster's ranking, and its score. Raises InputError where the similarity table has another."""
    order = stage.strategy.rank(rows.keys, rows.ids)
    path = layout.pairwise_file(cluster.number)
    table = read_parquet(stage.pairwise, path, [stage.id_field, "cosine_sim_score"])
    if not np.array_equal(id_values(table, stage.id_field), rows.ids[order]):
        raise InputError(
            f"cluster {cluster.number}: {path} does not list the rows of the k-means output in the order of this "
            "ranking: give the ranking of the pairwise stage, or run that stage again"
        )
    places = places_of(order)
    return places, table["cosine_sim_score"].to_numpy()[places]
