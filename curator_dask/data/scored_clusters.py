"""A cluster in the order of its similarity table: ids, scores, vectors and sources, row for row, and its near pairs.

The pairwise stage leaves a list of near pairs beside the marker of each cluster. A list only saves work: where there is
none, or where it cannot be used, the vectors of the cluster tell the same.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.clip_columns import ClipIndex
from curator_dask.data.clusters import column_values, id_values, read_cluster_vectors
from curator_dask.data.ids import id_column, places_among
from curator_dask.data.tables import arrow_table, read_parquet, write_arrow
from curator_dask.dedup.similarity.near_list import NearList
from curator_dask.errors import InputError
from curator_dask.files.content_hash import hash_of
from curator_dask.files.folder import Folder
from curator_dask.runtime.records import hashes_of
from curator_dask.runtime.state import StageState

if TYPE_CHECKING:
    import pyarrow as pa

SOURCE_COLUMN = "source_video"
"""The column of the clip index that names the source of a clip."""

TASK_BYTES = 32 << 20
"""Bytes of vectors that fill a Dask task: at 512 dimensions 16,000 rows, which are read and decided on in .2 s."""
LISTED_SHARE = 0.25
"""What deciding from a list of near pairs takes of that, or less."""


LISTED_FROM = "listed_from"
"""Name, in the data of a cluster's marker, of the digest of the files that its list was made from."""
_REACH = b"reach"
"""The key of the schema's metadata that holds how far the list reaches."""
_UNIT = re.compile(r"cluster-(\d+)")

logger = logging.getLogger(__name__)


def task_share(num_bytes: int) -> float:
    """The share of a Dask task that reading and deciding a cluster of this size fills (`Unit.share`)."""
    return min(1.0, num_bytes / TASK_BYTES)


@dataclass(frozen=True)
class NearListFile:
    """Where the list of a cluster lies."""

    folder: Folder
    path: str
    content_hash: str
    made_from: str
    """Digest of the versions of the cluster's files."""


@dataclass(frozen=True)
class RowSet:
    """Some of the rows of a cluster, a bit per row."""

    bits: bytes
    num_rows: int

    @classmethod
    def of(cls, chosen: NDArray[np.bool_]) -> RowSet:
        """The rows that a mask (N,) chooses, in ranked order."""
        return cls(np.packbits(chosen).tobytes(), len(chosen))

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.bits.strip(b"\0"))

    def mask(self) -> NDArray[np.bool_]:
        """(N,)"""
        return np.unpackbits(np.frombuffer(self.bits, np.uint8), count=self.num_rows).astype(np.bool_)


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
    files: str = ""
    """Digest of the versions of these files."""
    filtered: bool = False
    """Whether its table leaves out rows that its files have: those of dropped clips."""
    near_list: NearListFile | None = None
    """The list of its near pairs, where the pairwise stage left one and all pairs of all rows count."""
    gone: RowSet | None = None
    """Rows that are removed before it is decided on the others; None: there are none. Its version tells them too."""

    def __str__(self) -> str:
        return f"cluster {self.number}"

    @property
    def share(self) -> float:
        """The share of a Dask task that it fills."""
        return task_share(self.num_bytes) * (1.0 if self.near_list is None else LISTED_SHARE)


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
        return np.where(self.places < 0, np.arange(len(self.places)), self.places)

    @cached_property
    def places(self) -> NDArray[np.int64]:
        """(N,) the row of each `max_id`; -1 where its `max_id` is not in the table."""
        return places_among(self.max_ids, self.ids)


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


def write_near_list(folder: Folder, path: str, near: NearList) -> int:
    """Write a list as an Arrow file; returns the number of bytes."""
    import pyarrow as pa

    columns = {"later": near.later.astype(np.int32), "earlier": near.earlier.astype(np.int32)}
    table = pa.table({**columns, "steps": near.steps.astype(np.int32)})
    table = table.replace_schema_metadata({_REACH: repr(near.reach).encode("ascii")})
    return write_arrow(folder, path, table, codec="lz4")


def near_list_files(pairwise: Folder, stage: str) -> dict[int, NearListFile]:
    """Cluster → its list, of the clusters that have one, in an output of the pairwise stage, whose name is `stage`.

    Empty where the output cannot be reached.
    """
    try:
        return dict(_near_list_files(StageState(pairwise, stage)))
    except InputError as error:
        logger.info("no lists of near pairs are used: %s", error)
        return {}


def _near_list_files(state: StageState) -> Iterator[tuple[int, NearListFile]]:
    for record in state.records():
        path, cluster = state.beside_marker(record.key), _UNIT.fullmatch(record.key)
        known = hashes_of(record.outputs).get(path)
        if cluster and known and record.is_done:
            yield int(cluster[1]), NearListFile(state.folder, path, known, str(record.data.get(LISTED_FROM)))


def read_near_list(file: NearListFile) -> NearList | None:
    """The list; None where it is gone or damaged, which the log tells."""
    try:
        data = file.folder.read_bytes(file.path)
        if hash_of(data, like=file.content_hash) != file.content_hash:
            raise InputError(f"{file.folder.join(file.path)}: its bytes are not those that were written")
        table = arrow_table(file.folder, file.path, data)
    except (InputError, FileNotFoundError) as error:
        logger.warning("the vectors are read in place of a list of near pairs: %s", error)
        return None
    later, earlier = (table[name].to_numpy().astype(np.int64) for name in ("later", "earlier"))
    return NearList(float(table.schema.metadata[_REACH]), later, earlier, table["steps"].to_numpy().astype(np.float64))


def near_list_of(cluster: ClusterInput, scores: Scores, best: NDArray[np.int64], eps: float) -> NearList | None:
    """All pairs of rows of a cluster within eps, as the pairwise stage listed them; None where that is not known.

    Args:
        best: (N,) `Scores.best`. A list that does not fit to these scores is passed over.
    """
    near = None if cluster.near_list is None else read_near_list(cluster.near_list)
    within = None if near is None else near.within(eps)
    return within if within is not None and within.fits(scores.score, best) else None
