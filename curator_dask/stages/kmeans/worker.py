"""The second half of k-means, on the workers: write each row to its cluster's file, by way of a few buckets.

A chunk's rows are written to a few files, one record batch per bucket (cluster modulo the number of buckets). Then each
bucket, gathered from all chunks, becomes the files of its clusters. So there is one file per cluster, and never chunks ×
clusters small files.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.clusters import stored_centroids
from curator_dask.data.ids import one_type, stored
from curator_dask.data.similar.coded_clusters import coded_batch, coded_parts
from curator_dask.data.tables import ROW_GROUP_ROWS, write_parquet
from curator_dask.data.vector_source import Rows, VectorSource, read_rows
from curator_dask.data.vectors import matrix_column
from curator_dask.dedup.arrays.xp import array_module, row_blocks, to_host
from curator_dask.dedup.kmeans.assign import assign
from curator_dask.dedup.kmeans.distances import centroid_distances
from curator_dask.dedup.kmeans.grouped import assign_in_groups, groups_of
from curator_dask.files import layout
from curator_dask.files.folder import Folder
from curator_dask.runtime.device import to_device
from curator_dask.runtime.records import UnitResult
from curator_dask.runtime.state import StageState
from curator_dask.stages.kmeans.sample_cost import INERTIA, inertia_of
from curator_dask.stages.kmeans.spec import AssignTask, BucketTask, WriteClustersSpec

if TYPE_CHECKING:
    import pyarrow as pa

LABEL = "__cluster"
BUCKET_GROUPS = 16
"""A chunk has so many files of buckets. More of them would free disk and memory earlier, in more and smaller files."""
MOST_VALUES = np.iinfo(np.int32).max
"""An Arrow array of lists holds at most this many values."""
WRITERS = 8
"""Files of a bucket that are written at a time: a small file mostly waits for the disk's flush or for a remote store."""
MOVED_BYTES = 8 << 20
"""At least so many bytes of vectors are put in order together, unless a bucket has fewer."""


def assign_chunk(task: AssignTask, kept: Rows | None) -> None:
    """On a worker: label a chunk's rows and write them to its files, by bucket. The rows are read unless they were kept.

    The files are for this run only: a later one assigns anew.
    """
    import pyarrow as pa

    spec = task.spec
    table, X, order = assign_rows(task, kept)
    starts = np.searchsorted(table[LABEL].to_numpy() % spec.n_buckets, np.arange(spec.n_buckets + 1))
    place = np.empty((np.diff(starts).max(), X.shape[1]), np.float32)
    schema = _with_vectors(spec.source, table.slice(0, 0), X[:0]).schema
    for group, buckets in enumerate(bucket_groups(spec.n_buckets)):
        with (
            spec.output.writing(bucket_file(spec.state, task.number, group), for_this_run=True) as temporary,
            pa.OSFile(str(temporary), "wb") as sink,
            pa.ipc.new_file(sink, schema) as writer,
        ):
            for start, end in itertools.pairwise(starts[buckets.start : buckets.stop + 1].tolist()):
                # The vectors of one bucket at a time: the same memory serves all, and what was just copied is still in the cache.
                vectors = place[: end - start]
                X.take(order[start:end], axis=0, out=vectors, mode="clip")  # "raise" would copy them twice
                writer.write_batch(_one_batch(_with_vectors(spec.source, table.slice(start, end - start), vectors)))


def assign_rows(task: AssignTask, kept: Rows | None = None) -> tuple[pa.Table, NDArray[np.float32], NDArray[np.int64]]:
    """A chunk's good rows as they will be written, but for their vectors, and `LABEL`; sorted by buckets, then by clusters.

    Then come the vectors, (n, D), in the order of the chunk, and (n,) which of them each row has.
    """
    import pyarrow as pa

    spec = task.spec
    rows = kept or read_rows(spec.source, task.chunk, spec.device)
    C = stored_centroids(spec.output)
    X = to_device(rows.X, spec.device)
    centres = array_module(X).asarray(C)
    labels = _nearest(X, C, spec)
    l2, cosine = (to_host(distance) for distance in centroid_distances(X, centres, labels))
    host_labels = to_host(labels)
    order = np.lexsort((host_labels, host_labels % spec.n_buckets))
    index, found = pa.array(order), {"l2_dist_to_cent": l2, "cosine_dist_to_cent": cosine, LABEL: host_labels}
    metadata = rows.metadata.take(index)
    columns = {
        spec.source.id_field: rows.ids.take(index),
        **{name: metadata[name] for name in metadata.column_names},
        **{name: values[order] for name, values in found.items()},
    }
    return pa.table(columns), to_host(rows.X), order


def _nearest(X: Any, C: NDArray[np.float32], spec: WriteClustersSpec) -> Any:
    xp = array_module(X)
    if spec.looked_at is None:
        return assign(X, xp.asarray(C), max_rows=spec.max_rows)
    return xp.asarray(assign_in_groups(to_host(X), groups_of(C), spec.looked_at, max_rows=spec.max_rows))


def _with_vectors(source: VectorSource, table: pa.Table, X: NDArray[np.float32]) -> pa.Table:
    return table.add_column(1, source.embedding_field, matrix_column(X))


def _one_batch(table: pa.Table) -> pa.RecordBatch:
    import pyarrow as pa

    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)


def write_bucket(task: BucketTask) -> UnitResult:
    """On a worker: write one bucket's rows to one file per cluster, in the order of ids."""
    source, folder = task.spec.source, task.spec.output
    parts = _read_bucket(task)
    if not parts:
        return UnitResult(counts={"rows": 0, "clusters": 0}, data={INERTIA: 0.0})
    bucket = _sort_rows(parts, source)
    table, labels = bucket.table.drop_columns([LABEL]), bucket.table[LABEL].to_numpy()
    clusters, starts = (found.tolist() for found in np.unique(labels, return_index=True))

    def write(cluster: int, start: int, end: int, vectors: _Moved) -> tuple[str, int, pa.RecordBatch]:
        rows, X = table.slice(start, end - start), vectors.between(start, end)
        part = rows.add_column(bucket.at, source.embedding_field, _vector_column(X))
        path = layout.centroid_file(cluster)
        num_bytes = write_parquet(folder, path, part, vectors=[source.embedding_field])
        return path, num_bytes, coded_batch(rows[source.id_field], X)

    with ThreadPoolExecutor(WRITERS) as pool:
        ends = [*starts[1:], len(labels)]
        written = list(pool.map(write, clusters, starts, ends, _moved(bucket.parts, clusters, starts, ends)))
    outputs = {path: num_bytes for path, num_bytes, _ in written}
    coded = coded_parts([(cluster, batch) for cluster, (*_, batch) in zip(clusters, written, strict=True)])
    outputs[task.codes_path] = folder.write_parts(task.codes_path, coded)
    data = {INERTIA: inertia_of(table["l2_dist_to_cent"].to_numpy())}
    return UnitResult(outputs, {"rows": len(labels), "clusters": len(clusters)}, data=data)


def _read_bucket(task: BucketTask) -> list[pa.Table]:
    """The bucket's rows, one table per chunk that has some."""
    import pyarrow as pa

    spec = task.spec
    group, buckets = next(found for found in enumerate(bucket_groups(spec.n_buckets)) if task.number in found[1])
    parts = []
    for chunk in task.chunks:
        with _open_to_read(spec.output, bucket_file(spec.state, chunk, group)) as stream:
            parts.append(pa.Table.from_batches([pa.ipc.open_file(stream).get_batch(task.number - buckets.start)]))
    return [part for part in parts if part.num_rows]


def _open_to_read(folder: Folder, path: str) -> Any:
    """A local file mapped into memory, so that its numbers are copied once only: to their places in the cluster."""
    import pyarrow as pa

    return pa.memory_map(str(folder.local_path(path))) if folder.is_local else folder.open(path)


class _Part(NamedTuple):
    """The vectors that a bucket has from one chunk, in the order of their clusters."""

    X: NDArray[np.float32]
    """(n, D)"""
    labels: NDArray[np.int32]
    """(n,)"""
    places: NDArray[np.int64]
    """(n,), the rows of the sorted bucket that they belong to."""


@dataclass(frozen=True)
class _Bucket:
    """A bucket's rows sorted by cluster, then by id, so that the order of files and rows in the input does not matter.

    The vectors stay where they were read until their cluster is written: few of them fit the processor's cache, and their
    memory serves those that come next.
    """

    table: pa.Table
    """All columns but that of the vectors."""
    at: int
    """The number of the column of the vectors."""
    parts: Sequence[_Part]


class _Moved:
    """The vectors of clusters that follow each other, moved to their places when the first of these clusters is written."""

    def __init__(self, parts: Sequence[_Part], clusters: tuple[int, int], start: int, end: int) -> None:
        """The clusters from the first number to before the second have the rows ``start`` to ``end`` of the sorted bucket."""
        self._parts, self._clusters, self._start, self._end = parts, clusters, start, end
        self._lock = threading.Lock()
        self._X: NDArray[np.float32] | None = None

    def between(self, start: int, end: int) -> NDArray[np.float32]:
        """(n, D), those of some rows of the sorted bucket."""
        with self._lock:
            X = self._X = self._move() if self._X is None else self._X
        return X[start - self._start : end - self._start]

    def _move(self) -> NDArray[np.float32]:
        """NumPy moves them: Arrow's own sort would copy them twice, and slowly, and one array of lists could not hold all
        vectors of a large cluster."""
        X = np.empty((self._end - self._start, self._parts[0].X.shape[1]), dtype=np.float32)
        for part in self._parts:
            rows = slice(*np.searchsorted(part.labels, np.array(self._clusters, part.labels.dtype)))
            X[part.places[rows] - self._start] = part.X[rows]
        return X


def _moved(
    parts: Sequence[_Part], clusters: Sequence[int], starts: Sequence[int], ends: Sequence[int]
) -> Iterator[_Moved]:
    """What holds the vectors of each cluster. Small clusters share it: else every part would be looked at for each of them."""
    enough, first = MOVED_BYTES // (4 * parts[0].X.shape[1]), 0
    for last, cluster in enumerate(clusters):
        if ends[last] - starts[first] >= enough or last == len(clusters) - 1:
            shared = _Moved(parts, (clusters[first], cluster + 1), starts[first], ends[last])
            yield from itertools.repeat(shared, last + 1 - first)
            first = last + 1


def _sort_rows(tables: list[pa.Table], source: VectorSource) -> _Bucket:
    import pyarrow as pa
    import pyarrow.compute as pc

    at = tables[0].schema.get_field_index(source.embedding_field)
    table = _concatenate([part.remove_column(at) for part in tables], source.id_field)
    keys = pa.table({"cluster": table[LABEL], "id": stored(table[source.id_field])})
    order = pc.sort_indices(keys, sort_keys=[("cluster", "ascending"), ("id", "ascending")])
    places = np.empty(len(order), dtype=np.int64)
    places[order.to_numpy()] = np.arange(len(order))
    parts, start = [], 0
    for part in tables:
        numbers = part[source.embedding_field].chunk(0).flatten().to_numpy()  # `combine_chunks` would copy them
        X = numbers.reshape(len(part), -1)
        parts.append(_Part(X, part[LABEL].to_numpy(), places[start : start + len(part)]))
        start += len(part)
    return _Bucket(table.take(order), at, parts)


def _vector_column(X: NDArray[np.float32]) -> pa.ChunkedArray:
    """(n, D) as ``list<float32>``, in as many arrays as their 32-bit offsets need; they end where row groups do."""
    import pyarrow as pa

    fitting = max(1, MOST_VALUES // X.shape[1])
    fitting = fitting // ROW_GROUP_ROWS * ROW_GROUP_ROWS or fitting
    return pa.chunked_array([matrix_column(X[rows]) for rows in row_blocks(len(X), fitting)])


def _concatenate(parts: list[pa.Table], id_field: str) -> pa.Table:
    import pyarrow as pa

    ids = one_type([part[id_field].combine_chunks() for part in parts])
    same = [part.set_column(part.schema.get_field_index(id_field), id_field, column)
            for part, column in zip(parts, ids, strict=True)]  # fmt: skip
    return pa.concat_tables(same, promote_options="permissive")


def bucket_folder(state: StageState) -> str:
    """The folder of the bucket files, below the stage's."""
    return state.path("buckets")


def bucket_groups(n_buckets: int) -> list[range]:
    """The buckets that share a file of each chunk. Such files can be removed as soon as these buckets are written.

    >>> bucket_groups(6)[:2], bucket_groups(40)[:2]
    ([range(0, 1), range(1, 2)], [range(0, 2), range(2, 5)])
    """
    stops = [n_buckets * group // BUCKET_GROUPS for group in range(BUCKET_GROUPS + 1)]
    return [range(start, stop) for start, stop in itertools.pairwise(stops) if start < stop]


def bucket_file(state: StageState, chunk: int, group: int) -> str:
    """The path of the file with a chunk's rows of a group of buckets."""
    return f"{bucket_folder(state)}/{chunk:06d}-{group}.arrow"


def write_rejects(folder: Folder, rejects: Sequence[dict[str, Any]]) -> int:
    import pyarrow as pa

    schema = pa.schema([("file", pa.string()), ("row", pa.int64()), ("id", pa.string()), ("reason", pa.string())])
    return write_parquet(folder, layout.REJECTS, pa.Table.from_pylist(list(rejects), schema=schema))
