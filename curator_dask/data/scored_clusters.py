"""A cluster in the order of its similarity table: ids, scores, vectors and sources, row for row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.clip_columns import ClipIndex
from curator_dask.data.clusters import column_values, id_values, read_cluster_vectors
from curator_dask.data.ids import id_column, places_among
from curator_dask.data.tables import read_parquet
from curator_dask.errors import InputError
from curator_dask.files.folder import Folder

if TYPE_CHECKING:
    import pyarrow as pa

SOURCE_COLUMN = "source_video"
"""The column of the clip index that names the source of a clip."""

TASK_BYTES = 8 << 20
"""Bytes of vectors that fill a Dask task: a few thousand rows."""


def task_share(num_bytes: int) -> float:
    """The share of a Dask task that reading and deciding a cluster of this size fills (`Unit.share`)."""
    return min(1.0, num_bytes / TASK_BYTES)


@dataclass(frozen=True)
class ClusterInput:
    """The files of one cluster, as a worker is told of them."""

    number: int
    tables: Folder
    table: str
    """Its similarity table in `tables`, which holds the order of the rows and their scores."""
    kmeans: Folder
    vectors: tuple[str, ...]
    """Its files in `kmeans`."""
    id_field: str
    embedding_field: str
    version: str = ""
    """Digest of its table and its files: if it changes, the decisions on the cluster are stale."""
    num_bytes: int = 0
    """Bytes of its files in `kmeans`."""
    filtered: bool = False
    """Whether its table leaves out rows that its files have: those of dropped clips."""

    def __str__(self) -> str:
        return f"cluster {self.number}"

    @property
    def share(self) -> float:
        """The share of a Dask task that it fills."""
        return task_share(self.num_bytes)


@dataclass(frozen=True)
class SourceColumn:
    """The sources of rows are a column that k-means copied."""

    name: str
    version = ""
    """Empty, as the versions of the clusters cover the column."""

    @property
    def columns(self) -> list[str]:
        """The columns of the k-means output that `of_rows` needs."""
        return [self.name]

    def of_rows(self, table: pa.Table, ids: NDArray[Any]) -> NDArray[Any]:
        """(N,) the source of each row of a cluster."""
        return column_values(table, self.name)


@dataclass(frozen=True)
class SourceVideos:
    """The sources of rows are the source videos that the clip index names."""

    clips: ClipIndex

    @property
    def version(self) -> str:
        """Digest of the clip index."""
        return self.clips.version

    @property
    def columns(self) -> list[str]:
        """The columns of the k-means output that `of_rows` needs: none but the ids."""
        return []

    def of_rows(self, table: pa.Table, ids: NDArray[Any]) -> NDArray[Any]:
        """(N,) the source of each row of a cluster."""
        return self.clips.columns(ids, [SOURCE_COLUMN])[SOURCE_COLUMN]


RowSources = SourceColumn | SourceVideos


@dataclass(frozen=True)
class Scores:
    """A similarity table: N rows in ranked order."""

    ids: pa.Array
    """Of any type that ids have in files."""
    max_ids: pa.Array
    """The row before it that each row is most similar to."""
    score: NDArray[np.float32]
    """(N,) the cosine of each row and that row."""

    def best(self) -> NDArray[np.int64]:
        """(N,) the row of each `max_id`; the row itself where its `max_id` is not in the table.

        >>> import pyarrow as pa
        >>> ids, max_ids = pa.array(["a", "b", "c"]), pa.array(["a", "a", "elsewhere"])
        >>> Scores(ids, max_ids, np.float32([0, 0.9, 0.8])).best()
        array([0, 0, 2])
        """
        found = places_among(self.max_ids, self.ids)
        return np.where(found < 0, np.arange(len(found)), found)


def read_scores(cluster: ClusterInput) -> Scores:
    """The similarity table of a cluster."""
    table = read_parquet(cluster.tables, cluster.table, [cluster.id_field, "max_id", "cosine_sim_score"])
    ids, max_ids = (id_column(table, name) for name in (cluster.id_field, "max_id"))
    return Scores(ids, max_ids, table["cosine_sim_score"].to_numpy())


def read_in_order(
    cluster: ClusterInput, ids: pa.Array, sources: RowSources | None = None
) -> tuple[NDArray[np.float32], NDArray[Any] | None]:
    """The vectors of a cluster, (N, D) float32, and the (N,) sources of its rows, in the order of `ids`.

    Rows of a filtered cluster that `ids` does not name are left out.

    The second is None if and only if `sources` is. Raises InputError if the k-means output holds other ids.
    """
    columns = [cluster.id_field, *(sources.columns if sources else ())]
    table, X = read_cluster_vectors(
        cluster.kmeans, cluster.vectors, columns, cluster.embedding_field, None, str(cluster)
    )
    order = places_among(ids, id_column(table, cluster.id_field))
    if (order < 0).any() or (not cluster.filtered and np.any(np.sort(order) != np.arange(len(table)))):
        raise InputError(
            f"{cluster}: {cluster.table} and the k-means output hold different ids: run the pairwise stage again"
        )
    return X[order], sources.of_rows(table, id_values(table, cluster.id_field))[order] if sources else None


def score_table(id_field: str, ids: pa.Array, best: object, score: object) -> pa.Table:
    """A table with the id, ``max_id`` and ``cosine_sim_score`` of all rows of a cluster, in ranked order."""
    import pyarrow as pa

    return pa.table({id_field: ids, "max_id": ids.take(pa.array(best)), "cosine_sim_score": pa.array(score)})
