"""Clusters from buckets: a bucket with more vectors than one Arrow array of lists can hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curator_dask.data.vector_source import VectorSource
from curator_dask.files.folder import Folder
from curator_dask.files.layout import centroid_file
from curator_dask.runtime.records import UnitRecord
from curator_dask.runtime.state import StageState
from curator_dask.stages.kmeans import worker as kmeans_write
from curator_dask.stages.kmeans.spec import BucketTask, WriteClustersSpec
from curator_dask.stages.kmeans.worker import LABEL, _moved, _Part, bucket_file, bucket_groups, write_bucket
from curator_dask.stages.kmeans.write_clusters import bucket_units, remove_when_written

ROWS, DIM = 700, 6


def bucket_of(folder: Path) -> BucketTask:
    """A bucket of two chunks: cluster 0 with 600 of the rows and cluster 3 with the rest."""
    output = Folder(str(folder / "k"))
    state = StageState(output, "kmeans")
    source = VectorSource(Folder(str(folder / "v")), "parquet", "id", "embedding", (), DIM)
    random = np.random.default_rng(0)
    X = random.standard_normal((ROWS, DIM), dtype=np.float32)
    labels = np.where(np.arange(ROWS) % 7 == 3, 3, 0).astype(np.int32)
    for number, drawn in enumerate(np.array_split(random.permutation(ROWS), 2)):
        rows = drawn[np.argsort(labels[drawn], kind="stable")]
        columns = {
            "id": pa.array(rows, pa.int64()),
            "embedding": pa.array(X[rows].tolist(), pa.list_(pa.float32())),
            "l2_dist_to_cent": random.random(len(rows), dtype=np.float32),
            "cosine_dist_to_cent": random.random(len(rows), dtype=np.float32),
            LABEL: labels[rows],
        }
        batch = pa.record_batch(columns)
        with (
            output.writing(bucket_file(state, number, 0)) as path,
            pa.ipc.new_file(str(path), batch.schema) as writer,
        ):
            writer.write_batch(batch)
    spec = WriteClustersSpec(source, output, state, n_buckets=1, max_rows=ROWS, device="cpu")
    return BucketTask(spec, 0, state.beside_marker("bucket-00000"), (0, 1))


def files_of(task: BucketTask) -> list[bytes]:
    record = write_bucket(task)
    assert record.counts == {"rows": ROWS, "clusters": 2}
    assert list(record.outputs) == [centroid_file(0), centroid_file(3), task.codes_path]
    return [task.spec.output.read_bytes(path) for path in record.outputs]


@pytest.mark.parametrize(("most_values", "group_rows"), [(ROWS * DIM, 100), (1300, 100), (600, 100), (100 * DIM, 700)])
def test_vectors_beyond_one_array_make_the_same_files(tmp_path, monkeypatch, most_values, group_rows):
    """The limit of an array is lowered, for the writer and for Arrow; the rows do not depend on where it falls."""
    make = kmeans_write.matrix_column
    sizes = []

    def limited(X: np.ndarray) -> pa.ListArray:
        sizes.append(X.size)
        assert X.size <= most_values
        return make(X)

    task = bucket_of(tmp_path)
    monkeypatch.setattr("curator_dask.data.tables.ROW_GROUP_ROWS", group_rows)
    monkeypatch.setattr(kmeans_write, "ROW_GROUP_ROWS", group_rows)
    whole = files_of(task)
    monkeypatch.setattr(kmeans_write, "matrix_column", limited)
    monkeypatch.setattr(kmeans_write, "MOST_VALUES", most_values)
    cut = files_of(task)
    assert sum(sizes) == ROWS * DIM
    assert (len(sizes) == 2) == (most_values >= 600 * DIM)
    tables = [[pq.read_table(pa.BufferReader(data)) for data in files[:2]] for files in (whole, cut)]
    assert tables[0] == tables[1]
    assert whole[2] == cut[2]
    if group_rows * DIM <= most_values:  # the arrays end where row groups do
        assert whole == cut


def test_the_rows_of_a_cluster_are_its_own(tmp_path):
    table = pq.read_table(pa.BufferReader(files_of(bucket_of(tmp_path))[0]))
    assert table.column_names == ["id", "embedding", "l2_dist_to_cent", "cosine_dist_to_cent"]
    ids = table["id"].to_numpy()
    assert ids.tolist() == [row for row in range(ROWS) if row % 7 != 3]
    X = np.random.default_rng(0).standard_normal((ROWS, DIM), dtype=np.float32)
    np.testing.assert_array_equal(np.stack(table["embedding"].to_numpy()), X[ids])


@pytest.mark.parametrize("moved_bytes", [1, 600 * 4 * DIM, 601 * 4 * DIM])
def test_the_files_do_not_depend_on_how_many_vectors_are_moved_together(tmp_path, monkeypatch, moved_bytes):
    task = bucket_of(tmp_path)
    expected = files_of(task)
    monkeypatch.setattr(kmeans_write, "MOVED_BYTES", moved_bytes)
    assert files_of(task) == expected


def test_small_clusters_are_moved_together_and_large_ones_alone(monkeypatch):
    """Else all parts would be looked at for each of many small clusters."""
    labels = np.repeat([0, 3, 4, 9, 10], [6, 5, 1, 20, 2]).astype(np.int32)
    X, places = np.arange(len(labels), dtype=np.float32)[:, None], np.arange(len(labels))
    parts = [_Part(X[rows], labels[rows], places[rows]) for rows in (slice(0, None, 2), slice(1, None, 2))]
    clusters, starts = (found.tolist() for found in np.unique(labels, return_index=True))
    ends = [*starts[1:], len(labels)]
    monkeypatch.setattr(kmeans_write, "MOVED_BYTES", 4 * 10)
    moved = list(_moved(parts, clusters, starts, ends))
    assert [moved.index(one) for one in moved] == [0, 0, 2, 2, 4]
    for one, start, end in zip(moved, starts, ends, strict=True):
        np.testing.assert_array_equal(one.between(start, end), X[start:end])


@pytest.mark.parametrize("n_buckets", [1, 3, 4, 7, 16])
def test_files_of_buckets_go_as_soon_as_these_are_written(tmp_path, n_buckets):
    task = bucket_of(tmp_path)
    state, spec = task.spec.state, replace(task.spec, n_buckets=n_buckets)
    groups = bucket_groups(n_buckets)
    assert [bucket for buckets in groups for bucket in buckets] == list(range(n_buckets))
    files = {(chunk, group): bucket_file(state, chunk, group) for chunk in (0, 5) for group in range(len(groups))}
    for path in files.values():
        state.folder.write_bytes(path, b"rows")
    units = bucket_units(spec, "inputs")
    remove = remove_when_written(state, (0, 5), units)
    remove(UnitRecord(units[-1].key, "inputs", final=False))  # it is tried again
    for group, buckets in enumerate(groups):
        for bucket in buckets:
            assert all(state.folder.exists(path) == (of >= group) for (_, of), path in files.items())
            remove(UnitRecord(units[bucket].key, "inputs"))
    assert not any(map(state.folder.exists, files.values()))
