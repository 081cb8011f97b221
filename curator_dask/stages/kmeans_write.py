"""The second half of k-means, on the workers: every row to its cluster's file, through a few buckets.

A chunk's rows are appended to bucket files (cluster modulo the number of buckets); then each bucket becomes the files of
its clusters. So there is one file a cluster, and never chunks × clusters small ones.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from curator_dask import layout
from curator_dask.backend import to_device
from curator_dask.dedup.assign import assign, centroid_distances
from curator_dask.dedup.xp import array_module, to_host
from curator_dask.records import UnitRecord
from curator_dask.stages.vector_source import Chunk, one_type, read_rows
from curator_dask.state import StageState
from curator_dask.storage import Folder
from curator_dask.tables import write_parquet
from curator_dask.vectors import matrix_column

if TYPE_CHECKING:
    import pyarrow as pa

    from curator_dask.stages.kmeans import KMeansStage

LABEL = "__cluster"
REJECTS = "_rejects.parquet"


@dataclass(frozen=True)
class AssignTask:
    stage: KMeansStage
    state: StageState
    number: int
    chunk: Chunk
    dimension: int
    n_buckets: int
    device: str


@dataclass(frozen=True)
class BucketTask:
    stage: KMeansStage
    state: StageState
    number: int


def assign_chunk(task: AssignTask) -> None:
    """On a worker: label a chunk's rows and append them to the buckets, sorted by nothing yet."""
    import pyarrow as pa

    stage = task.stage
    rows = read_rows(stage.source(task.dimension), task.chunk)
    C = np.load(io.BytesIO(stage.output.read_bytes(layout.CENTROIDS)))
    X = to_device(rows.X, task.device)
    labels, _ = assign(X, array_module(X).asarray(C))
    l2, cosine = centroid_distances(X, array_module(X).asarray(C), labels)
    host_labels = to_host(labels)
    columns = {stage.id_field: rows.ids, stage.embedding_field: matrix_column(rows.X)}
    columns.update({name: rows.metadata[name] for name in rows.metadata.column_names})
    columns.update({"l2_dist_to_cent": to_host(l2), "cosine_dist_to_cent": to_host(cosine), LABEL: host_labels})
    table = pa.table(columns)
    bucket = host_labels % task.n_buckets
    for number in np.unique(bucket):
        part = table.filter(pa.array(bucket == number)) if task.n_buckets > 1 else table
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, part.schema) as writer:
            writer.write_table(part)
        stage.output.write_bytes(bucket_path(task.state, int(number), task.number), sink.getvalue().to_pybytes())


def write_bucket(task: BucketTask) -> UnitRecord:
    """On a worker: one bucket's rows into one file a cluster, rows by id."""
    import pyarrow as pa

    stage, folder = task.stage, task.stage.output
    entries = folder.entries(task.state.path("buckets", f"{task.number:05d}"), hidden=True)
    parts = [pa.ipc.open_file(folder.read_bytes(entry.path)).read_all() for entry in entries]
    if not parts:
        return UnitRecord("", "", counts={"rows": 0, "clusters": 0})
    table = _sorted(_concatenated(parts, stage.id_field), stage.id_field)
    labels = table[LABEL].to_numpy()
    table = table.drop_columns([LABEL])
    clusters, starts = np.unique(labels, return_index=True)
    outputs = {}
    for cluster, start, end in zip(clusters, starts, [*starts[1:], len(labels)], strict=True):
        path = layout.centroid_file(int(cluster))
        part = table.slice(int(start), int(end - start))
        outputs[path] = write_parquet(folder, path, part, vectors=[stage.embedding_field])
    return UnitRecord("", "", outputs, {"rows": len(labels), "clusters": len(clusters)})


def _concatenated(parts: list[pa.Table], id_field: str) -> pa.Table:
    import pyarrow as pa

    ids = one_type([part[id_field].combine_chunks() for part in parts])
    same = [part.set_column(part.schema.get_field_index(id_field), id_field, column)
            for part, column in zip(parts, ids, strict=True)]  # fmt: skip
    return pa.concat_tables(same, promote_options="permissive")


def _sorted(table: pa.Table, id_field: str) -> pa.Table:
    """By cluster, then by id, so that the order of files and rows in the input leaves no trace."""
    return table.sort_by([(LABEL, "ascending"), (id_field, "ascending")]).combine_chunks()


def bucket_path(state: StageState, bucket: int, chunk: int) -> str:
    return state.path("buckets", f"{bucket:05d}", f"{chunk:06d}.arrow")


def write_rejects(folder: Folder, rejects: Sequence[dict[str, Any]]) -> int:
    import pyarrow as pa

    schema = pa.schema([("file", pa.string()), ("row", pa.int64()), ("id", pa.string()), ("reason", pa.string())])
    return write_parquet(folder, REJECTS, pa.Table.from_pylist(list(rejects), schema=schema))
