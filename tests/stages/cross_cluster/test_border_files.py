"""Rows in files between the groups: each reaches the groups it is compared with, and its vector is fetched from where it lies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curator_dask.data.clusters import VectorPlaces, read_placed_vectors
from curator_dask.data.vectors import matrix_column
from curator_dask.errors import InputError
from curator_dask.files.folder import Folder
from curator_dask.stages.cross_cluster import border_files
from curator_dask.stages.cross_cluster.batch_files import HEAD_BYTES, Batches, BatchWriter
from curator_dask.stages.cross_cluster.border_files import (
    ABOUT,
    TARGETS,
    GroupRows,
    read_incoming,
    rows_by_target,
    rows_path,
    sketches_of,
    with_row_columns,
    write_group_rows,
)
from curator_dask.stages.cross_cluster.fetch_vectors import (
    MOST_SKIPPED_BYTES,
    Vectors,
    copied_vectors_path,
    copy_vectors,
)
from curator_dask.stages.cross_cluster.spec import Cluster

DIM = 20
GROUP_OF = np.array([0, 0, 1, 1, 2])  # of five clusters


def group_rows(seed: int, num_rows: list[int], pairs: list[tuple[int, int]]) -> GroupRows:
    """Rows with their number as id, so many per cluster, and pairs of a row and a cluster that it is compared with."""
    random = np.random.default_rng(seed)
    row, target = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    tables, sketches, first = [], [], 0
    for count in num_rows:
        columns = pa.table({"id": [f"{seed}-{number}" for number in range(first, first + count)]})
        where = VectorPlaces(np.zeros(count, np.int32), np.arange(first, first + count))
        scores = random.standard_normal(count).astype(np.float32)
        tables.append(with_row_columns(columns, np.full(count, seed, np.int32), np.arange(count), scores, where))
        sketches.append(random.integers(-99, 99, (count, 6), dtype=np.int16))
        first += count
    return GroupRows(tables, sketches, row, target, GROUP_OF[target], b"seed %d" % seed)


SENT = [
    group_rows(0, [4, 2], [(4, 2), (1, 4), (4, 3), (1, 2), (5, 0)]),
    group_rows(1, [2, 1], [(2, 4), (0, 0), (0, 1)]),
    group_rows(2, [4], []),
]


def the_local(tmp_path, s3, name):
    return Folder(str(tmp_path / "out"))


def the_remote(tmp_path, s3, name):
    return Folder(f"{s3.url}/{name}", s3.storage_options)


@pytest.fixture(params=[the_local, the_remote], ids=["disk", "s3"])
def folder(request, tmp_path, s3) -> Folder:
    folder: Folder = request.param(tmp_path, s3, request.node.name.replace("[", "-").rstrip("]"))
    for group, one in enumerate(SENT):
        written = write_group_rows(folder, group, one, len(SENT))
        assert written == {path: folder.size(path) for path in written}
    return folder


def all_incoming(folder: Folder, group: int) -> pa.Table:
    [arrived] = read_incoming(folder, group, len(SENT))
    return arrived


def test_every_row_arrives_where_it_has_to_with_its_sketch(folder):
    arrived = set()
    for group in range(len(SENT)):
        table = all_incoming(folder, group)
        sketches = sketches_of(table)
        for target, rows in rows_by_target(table):
            for row in rows:
                seed, number = map(int, table["id"][row].as_py().split("-"))
                assert np.array_equal(sketches[row], np.concatenate(SENT[seed].sketches)[number])
                assert table["__at"][row].as_py() == number
                arrived.add((seed, number, int(target)))
    sent = {(seed, *pair) for seed, one in enumerate(SENT) for pair in zip(one.row, one.target, strict=True)}
    assert arrived == sent


def test_a_row_comes_once_to_a_group_with_all_its_targets_there(folder):
    table = all_incoming(folder, 1)
    assert table["id"].to_pylist() == ["0-1", "0-4"]
    assert table[TARGETS].to_pylist() == [[2], [2, 3]]


def test_all_rows_of_a_group_lie_there_cluster_by_cluster(folder):
    for group, sent in enumerate(SENT):
        batches = Batches.of(folder, rows_path(group))
        assert batches.schema.metadata[ABOUT] == sent.about
        tables = [batches.table(index) for index in range(len(sent.tables))]
        assert len(batches) == len(tables)
        for table, expected, sketches in zip(tables, sent.tables, sent.sketches, strict=True):
            assert table.select(expected.column_names).equals(expected)
            assert np.array_equal(sketches_of(table), sketches)


@pytest.mark.parametrize("outgoing", [1, 2, 1 << 18])
@pytest.mark.parametrize(("most", "parts"), [(1, [1, 1, 2]), (2, [2, 2]), (3, [4]), (9, [4])])
def test_many_rows_come_by_and_by(tmp_path, monkeypatch, outgoing, most, parts):
    monkeypatch.setattr(border_files, "MOST_INCOMING", most)
    monkeypatch.setattr(border_files, "MOST_OUTGOING", outgoing)
    folder = Folder(str(tmp_path))
    for group, rows in enumerate([1, 1, 0, 2]):
        write_group_rows(folder, group, group_rows(group, [2], [(row, 0) for row in range(rows)]), 4)
    found = list(read_incoming(folder, 0, 4))
    assert [len(table) for table in found] == parts
    assert pa.concat_tables(found)["id"].to_pylist() == ["0-0", "1-0", "3-0", "3-1"]
    assert list(read_incoming(folder, 1, 4)) == []


@pytest.mark.parametrize("num_batches", [0, 3, HEAD_BYTES])
def test_batches_are_read_one_by_one_however_many_there_are(tmp_path, num_batches):
    folder, table = Folder(str(tmp_path)), pa.table({"id": [f"row {row}" for row in range(2 * num_batches)]})
    starts = np.minimum(3 * np.arange(num_batches + 1), len(table))  # the last ones are empty
    with folder.writing("some") as temporary, BatchWriter(temporary, table.schema, num_batches) as writer:
        writer.write_slices(table, starts)
    batches = Batches.of(folder, "some")
    found = [batches.table(number) for number in range(len(batches))]
    assert len(found) == num_batches
    assert [row for one in found for row in one["id"].to_pylist()] == table["id"].to_pylist()
    assert [len(one) for one in found] == np.diff(starts).tolist()


def test_too_few_batches_make_no_file(tmp_path):
    folder, table = Folder(str(tmp_path)), pa.table({"id": [1, 2]})
    with pytest.raises(ValueError, match="1 batches were written, not 2"):  # noqa: SIM117
        with folder.writing("some") as temporary, BatchWriter(temporary, table.schema, 2) as writer:
            writer.write_slices(table, np.array([0, 2]))
    assert not folder.exists("some")


# Vectors


def numbers(num_rows: int) -> np.ndarray:
    return np.random.default_rng(num_rows).standard_normal((num_rows, DIM)).astype(np.float32)


def write_plain_vectors(path: Path, X: np.ndarray, row_group_size: int) -> None:
    table = pa.table({"id": np.arange(len(X)), "embedding": matrix_column(X)})
    pq.write_table(table, path, row_group_size=row_group_size, compression="none", use_dictionary=False)


def vectors_of(folder: Folder, X: np.ndarray, places: VectorPlaces) -> Vectors:
    cluster = Cluster(3, ("a.parquet", "b.parquet"), 0)
    return Vectors(folder, folder, {3: cluster}, np.full(len(X), 3, np.int32), places, DIM)


@pytest.mark.parametrize("gap", [1, 5, MOST_SKIPPED_BYTES // (4 * DIM), MOST_SKIPPED_BYTES // (4 * DIM) + 1])
@pytest.mark.parametrize("make", [the_local, the_remote], ids=["disk", "s3"])
def test_copied_vectors_are_fetched_in_any_order_and_more_than_once(tmp_path, s3, make, gap):
    folder, X = make(tmp_path, s3, f"copied-{gap}"), numbers(3 * gap + 1)
    vectors = vectors_of(folder, X, copy_vectors(folder, 3, X))
    some = np.array([3 * gap, 0, gap, gap, 2 * gap, 0])
    assert np.array_equal(vectors.fetch(some), X[some])
    assert np.array_equal(vectors.fetch(np.arange(len(X))), X)
    assert vectors.fetch(np.zeros(0, np.int64)).shape == (0, DIM)


@pytest.mark.parametrize("row_group_size", [700, 40_000])
def test_vectors_are_fetched_from_the_files_that_hold_them_as_plain_numbers(tmp_path, row_group_size):
    folder, X = Folder(str(tmp_path)), numbers(30_000)  # more than a page holds
    for name, rows in (("a.parquet", X[:20_000]), ("b.parquet", X[20_000:])):
        write_plain_vectors(tmp_path / name, rows, row_group_size)
    table, found, places = read_placed_vectors(folder, ["a.parquet", "b.parquet"], ["id"], "embedding", DIM, "here")
    assert len(table) == 30_000
    assert np.array_equal(found, X)
    some = np.random.default_rng(1).integers(0, 30_000, 500)
    vectors = vectors_of(folder, X, places)
    assert np.array_equal(vectors.fetch(some), X[some])
    assert np.array_equal(vectors.fetch(np.arange(30_000)), X)


def test_other_files_have_no_places(tmp_path):
    folder, X = Folder(str(tmp_path)), numbers(50)
    write_plain_vectors(tmp_path / "a.parquet", X, 50)
    table = pq.read_table(tmp_path / "a.parquet")
    pq.write_table(table, tmp_path / "b.parquet", compression="zstd")
    _, found, places = read_placed_vectors(folder, ["a.parquet", "b.parquet"], ["id"], "embedding", DIM, "here")
    assert places is None
    assert np.array_equal(found, np.concatenate([X, X]))


def test_a_file_that_was_cut_short_is_an_error(tmp_path):
    folder, X = Folder(str(tmp_path)), numbers(4)
    vectors = vectors_of(folder, X, copy_vectors(folder, 3, X))
    folder.local_path(copied_vectors_path(3)).write_bytes(b"\0" * (2 * DIM * 4))
    with pytest.raises(InputError, match="cut short: it ends before byte 240"):
        vectors.fetch(np.array([2]))
