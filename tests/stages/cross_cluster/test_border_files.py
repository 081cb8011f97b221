"""Border rows in files: each reaches the groups it is compared with, and its vector is written once."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from curator_dask.errors import InputError
from curator_dask.files.folder import Folder
from curator_dask.stages.cross_cluster import border_files
from curator_dask.stages.cross_cluster.border_files import (
    MOST_SKIPPED_BYTES,
    SKETCH,
    TARGETS,
    VECTOR,
    BorderRows,
    fetch_vectors,
    read_incoming,
    rows_by_target,
    vectors_path,
    write_border_rows,
)

DIM = 20
GROUP_OF = np.array([0, 0, 1, 1, 2])  # of five clusters


def border_rows(seed: int, num_rows: int, pairs: list[tuple[int, int]]) -> BorderRows:
    """Rows with their number as id, and pairs of a row and a cluster that it is compared with."""
    random = np.random.default_rng(seed)
    row, target = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    columns = pa.table({"id": [f"{seed}-{number}" for number in range(num_rows)]})
    X = random.standard_normal((num_rows, DIM)).astype(np.float32)
    sketches = random.integers(-99, 99, (num_rows, 6), dtype=np.int16)
    return BorderRows(columns, X, sketches, row, target, GROUP_OF[target])


SENT = [
    border_rows(0, 6, [(4, 2), (1, 4), (4, 3), (1, 2), (5, 0)]),
    border_rows(1, 3, [(2, 4), (0, 0), (0, 1)]),
    border_rows(2, 4, []),
]


def the_local(tmp_path, s3, name):
    return Folder(str(tmp_path / "out"))


def the_remote(tmp_path, s3, name):
    return Folder(f"{s3.url}/{name}", s3.storage_options)


@pytest.fixture(params=[the_local, the_remote], ids=["disk", "s3"])
def folder(request, tmp_path, s3) -> Folder:
    folder: Folder = request.param(tmp_path, s3, request.node.name.replace("[", "-").rstrip("]"))
    for group, one in enumerate(SENT):
        written = write_border_rows(folder, group, one, len(SENT))
        assert written == {path: folder.size(path) for path in written}
    return folder


def all_incoming(folder: Folder, group: int) -> tuple[pa.Table, np.ndarray]:
    [arrived] = read_incoming(folder, group, len(SENT))
    return arrived


def test_every_row_arrives_where_it_has_to_with_its_sketch_and_vector(folder):
    arrived = set()
    for group in range(len(SENT)):
        table, source = all_incoming(folder, group)
        X = fetch_vectors(folder, source, table[VECTOR].to_numpy(), DIM)
        for target, rows in rows_by_target(table):
            for row in rows:
                seed, number = map(int, table["id"][row].as_py().split("-"))
                assert np.array_equal(X[row], SENT[seed].X[number])
                assert table[SKETCH][row].as_py() == SENT[seed].sketches[number].tolist()
                arrived.add((seed, number, int(target)))
    sent = {(seed, *pair) for seed, one in enumerate(SENT) for pair in zip(one.row, one.target, strict=True)}
    assert arrived == sent


def test_a_row_comes_once_to_a_group_and_its_vector_is_written_once(folder):
    table, _ = all_incoming(folder, 1)
    assert table["id"].to_pylist() == ["0-1", "0-4"]
    assert table[TARGETS].to_pylist() == [[2], [2, 3]]
    assert [folder.size(vectors_path(group)) for group in range(3)] == [3 * DIM * 4, 2 * DIM * 4, 0]


@pytest.mark.parametrize(("most", "parts"), [(1, [1, 1, 2]), (2, [2, 2]), (3, [4]), (9, [4])])
def test_many_rows_come_by_and_by(tmp_path, monkeypatch, most, parts):
    monkeypatch.setattr(border_files, "MOST_INCOMING", most)
    folder = Folder(str(tmp_path))
    for group, rows in enumerate([1, 1, 0, 2]):
        write_border_rows(folder, group, border_rows(group, rows, [(row, 0) for row in range(rows)]), 4)
    found = list(read_incoming(folder, 0, 4))
    assert [len(table) for table, _ in found] == parts
    assert np.concatenate([source for _, source in found]).tolist() == [0, 1, 3, 3]
    assert pa.concat_tables([table for table, _ in found])["id"].to_pylist() == ["0-0", "1-0", "3-0", "3-1"]
    assert list(read_incoming(folder, 1, 4)) == []


def test_nobody_asked_for_nobody_comes(folder):
    assert fetch_vectors(folder, np.zeros(0, np.int64), np.zeros(0, np.int64), DIM).shape == (0, DIM)


@pytest.mark.parametrize("gap", [1, 5, MOST_SKIPPED_BYTES // (4 * DIM), MOST_SKIPPED_BYTES // (4 * DIM) + 1])
def test_vectors_are_fetched_in_any_order_and_more_than_once(tmp_path, gap):
    folder = Folder(str(tmp_path))
    one = border_rows(7, 3 * gap + 1, [(row, 0) for row in range(3 * gap + 1)])
    write_border_rows(folder, 0, one, 1)
    place = np.array([3 * gap, 0, gap, gap, 2 * gap, 0])
    assert np.array_equal(fetch_vectors(folder, np.zeros(6, np.int64), place, DIM), one.X[place])


def test_a_file_that_was_cut_short_is_an_error(tmp_path):
    folder = Folder(str(tmp_path))
    write_border_rows(folder, 0, SENT[0], len(SENT))
    folder.local_path(vectors_path(0)).write_bytes(b"\0" * (2 * DIM * 4))
    with pytest.raises(InputError, match="cut short: it ends before byte 240"):
        fetch_vectors(folder, np.array([0]), np.array([2]), DIM)
