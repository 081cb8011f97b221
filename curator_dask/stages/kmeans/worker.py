"""The second half of k-means, on the workers: write each row to its cluster's file, by way of a few buckets.

A chunk's rows are written to a few files, one record batch per bucket (cluster modulo the number of buckets). Then each
bucket, gathered from all chunks, becomes the files of its clusters. So there is one file per cluster, and never chunks ×
clusters small files.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.clusters import stored_centroids
from curator_dask.data.ids import one_type, stored
from curator_dask.data.similar.coded_clusters import coded_bytes
from curator_dask.data.tables import ROW_GROUP_ROWS, write_parquet
from curator_dask.data.vector_source import Rows, VectorSource, read_rows
from curator_dask.data.vectors import matrix_column
from curator_dask.dedup.arrays.xp import array_module, row_blocks, to_host
from curator_dask.dedup.kmeans.assign import assign, centroid_distances
from curator_dask.dedup.kmeans.grouped import assign_in_groups, groups_of
from curator_dask.files import layout
from curator_dask.files.folder import Folder
from curator_dask.runtime.device import load_quick_products, to_device
from curator_dask.runtime.records import UnitResult
from curator_dask.runtime.state import StageState
from curator_dask.stages.kmeans.sample_cost import INERTIA, inertia_of
from curator_dask.stages.kmeans.spec import AssignTask, BucketTask, WriteClustersSpec

if TYPE_CHECKING:
    import pyarrow as pa

LABEL = "__cluster"
BUCKET_GROUPS = 4
"""A chunk has so many files of buckets. More of them would free disk and memory earlier, in more and smaller files."""
MOST_VALUES = np.iinfo(np.int32).max
"""An Arrow array of lists holds at most this many values."""
WRITERS = 8
"""Files of a bucket that are written at a time: a small file mostly waits for the disk's flush or for a remote store."""


def assign_chunk(task: AssignTask, kept: Rows | None) -> None:
    """On a worker: label a chunk's rows and write them to its files, by bucket. The rows are read unless they were kept.

    The files are for this run only: a later one assigns anew.
    """
    import pyarrow as pa

    spec = task.spec
    load_quick_products(spec.device, spec.num_multiplications)
    table, X, order = assign_rows(task, kept)
    starts = np.searchsorted(table[LABEL].to_numpy() % spec.n_buckets, np.arange(spec.n_buckets + 1))
    schema = _with_vectors(spec.source, table.slice(0, 0), X[:0]).schema
    for group, buckets in enumerate(bucket_groups(spec.n_buckets)):
        with (
            spec.output.writing(bucket_file(spec.state, task.number, group), for_this_run=True) as temporary,
            pa.OSFile(str(temporary), "wb") as sink,
            pa.ipc.new_file(sink, schema) as writer,
        ):
            for start, end in itertools.pairwise(starts[buckets.start : buckets.stop + 1].tolist()):
                # The vectors of one bucket at a time: the same memory serves all, and what was just copied is still in the cache.
                part = _with_vectors(spec.source, table.slice(start, end - start), X[order[start:end]])
                writer.write_batch(_one_batch(part))


def assign_rows(task: AssignTask, kept: Rows | None = None) -> tuple[pa.Table, NDArray[np.float32], NDArray[np.int64]]:
    """A chunk's good rows as they will be written, but for their vectors, and `LABEL`; in the order of their buckets.

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
    order = np.argsort(host_labels % spec.n_buckets, kind="stable")
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
    table, at, X = _sort_rows(parts, source)
    labels = table[LABEL].to_numpy()
    table = table.drop_columns([LABEL])
    clusters, starts = np.unique(labels, return_index=True)
    ends = [*starts[1:], len(labels)]

    def write(cluster: int, start: int, end: int) -> tuple[str, int]:
        path = layout.centroid_file(int(cluster))
        part = table.slice(int(start), int(end - start))
        part = part.add_column(at, source.embedding_field, _vector_column(X[start:end]))
        return path, write_parquet(folder, path, part, vectors=[source.embedding_field])

    with ThreadPoolExecutor(WRITERS) as pool:
        written = pool.map(write, clusters, starts, ends)
        ids, spans = table[source.id_field], zip(clusters, starts, ends, strict=True)
        coded = coded_bytes([(k, ids.slice(start, end - start), X[start:end]) for k, start, end in spans])
        codes = folder.write_parts(task.codes_path, [coded])  # while the clusters wait for the disk
        outputs = {**dict(written), task.codes_path: codes}
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


def _sort_rows(parts: list[pa.Table], source: VectorSource) -> tuple[pa.Table, int, NDArray[np.float32]]:
    """The rows sorted by cluster, then by id, so that the order of files and rows in the input does not matter.

    The vectors are returned apart, (n, D), with the number of their column. NumPy moves them to their places: Arrow's own
    sort would copy them twice, and slowly, and one array of lists could not hold all vectors of a large cluster.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    vectors = [part[source.embedding_field].combine_chunks().flatten().to_numpy() for part in parts]
    at = parts[0].schema.get_field_index(source.embedding_field)
    table = _concatenate([part.remove_column(at) for part in parts], source.id_field)
    keys = pa.table({"cluster": table[LABEL], "id": stored(table[source.id_field])})
    order = pc.sort_indices(keys, sort_keys=[("cluster", "ascending"), ("id", "ascending")])
    places = np.empty(len(order), dtype=np.int64)
    places[order.to_numpy()] = np.arange(len(order))
    X = np.empty((len(order), sum(map(len, vectors)) // len(order)), dtype=np.float32)
    start = 0
    for part, values in zip(parts, vectors, strict=True):
        X[places[start : start + len(part)]] = values.reshape(len(part), X.shape[1])
        start += len(part)
    return table.take(order), at, X


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

    >>> bucket_groups(6)
    [range(0, 1), range(1, 3), range(3, 4), range(4, 6)]
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
