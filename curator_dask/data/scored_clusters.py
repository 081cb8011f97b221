"""A cluster in the order of its similarity table: ids, scores, vectors and sources, row for row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.clip_columns import ClipIndex
from curator_dask.data.clusters import column_values, id_values, read_cluster, unit_rows
from curator_dask.data.tables import read_parquet
from curator_dask.errors import InputError
from curator_dask.files.folder import Folder

SOURCE_COLUMN = "source_video"
"""Of the clip index: what a clip's source is unless another column is named."""


TASK_BYTES = 8 << 20
"""Of vectors that fill a task: a few thousand rows."""


def task_share(num_bytes: int) -> float:
    """Which part of a task it fills to read a cluster of that size and decide on it (`execution.Unit.share`)."""
    return min(1.0, num_bytes / TASK_BYTES)


@dataclass(frozen=True)
class ClusterInput:
    """Where one cluster lies, as it travels to a worker."""

    cluster: int
    tables: Folder
    table: str
    """Its similarity table in `tables`: the order, and scores."""
    kmeans: Folder
    vectors: tuple[str, ...]
    """Its files in `kmeans`."""
    id_field: str
    embedding_field: str
    num_bytes: int = 0
    """Of its files in `kmeans`."""

    def __str__(self) -> str:
        return f"cluster {self.cluster}"

    @property
    def share(self) -> float:
        """Which part of a task it fills."""
        return task_share(self.num_bytes)


@dataclass(frozen=True)
class SourceOf:
    """Where the sources of rows are found: a column of the k-means output, or of the clip index."""

    field: str | None
    clips: ClipIndex | None = None

    @property
    def version(self) -> str:
        """Of what is not in the clusters themselves."""
        return self.clips.version if self.clips else ""

    @property
    def metadata_fields(self) -> list[str]:
        return [self.field] if self.field is not None else []


@dataclass(frozen=True)
class Scores:
    """A similarity table: (N,) each, in ranked order."""

    ids: list[Any]
    max_ids: list[Any]
    score: NDArray[np.float32]

    def best(self) -> NDArray[np.int64]:
        """The row of each `max_id`; a row whose `max_id` is not in the table is its own."""
        place = {identifier: row for row, identifier in enumerate(self.ids)}
        return np.array([place.get(best, row) for row, best in enumerate(self.max_ids)], dtype=np.int64)


def read_scores(given: ClusterInput) -> Scores:
    table = read_parquet(given.tables, given.table, [given.id_field, "max_id", "cosine_sim_score"])
    ids, max_ids = table[given.id_field].to_pylist(), table["max_id"].to_pylist()
    return Scores(ids, max_ids, table["cosine_sim_score"].to_numpy())


def read_in_order(
    given: ClusterInput, ids: list[Any], source_of: SourceOf | None = None
) -> tuple[NDArray[np.float32], NDArray[Any] | None]:
    """The vectors of a cluster, (N, D) float32, and (N,) sources if asked for, in the order of `ids`.

    Raises InputError if the k-means output holds other ids.
    """
    fields = source_of.metadata_fields if source_of else []
    table = read_cluster(given.kmeans, given.vectors, [given.id_field, given.embedding_field, *fields])
    own_ids = id_values(table, given.id_field)
    place = {identifier: row for row, identifier in enumerate(own_ids.tolist())}
    if place.keys() != set(ids):
        raise InputError(
            f"{given}: {given.table} and the k-means output hold different ids: run the pairwise stage again"
        )
    order = np.array([place[identifier] for identifier in ids], dtype=np.int64)
    X = unit_rows(table, given.embedding_field, None, str(given))[order]
    if source_of is None:
        return X, None
    if source_of.field is not None:
        return X, column_values(table, source_of.field)[order]
    if source_of.clips is None:
        return X, None
    return X, source_of.clips.columns(own_ids[order], [SOURCE_COLUMN])[SOURCE_COLUMN]
