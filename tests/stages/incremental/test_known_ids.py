"""The ids of finished runs and those of the input meet in buckets: nothing that the client gets grows with their number."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curator_dask import InputError
from curator_dask.data.vector_source import VectorSource, plan_chunks
from curator_dask.dedup.arrays.priority import sample_priority
from curator_dask.files.buckets import shared
from curator_dask.files.folder import Folder
from curator_dask.runtime.waiting import log
from curator_dask.stages.incremental.finished.finished_runs import FinishedRuns
from curator_dask.stages.incremental.finished.id_buckets import IdBuckets, read_known_rows
from curator_dask.stages.incremental.finished.known_ids import (
    IdExchange,
    digest_known_ids,
    find_known_rows,
    refuse_doubled_ids,
    share_known_ids,
)
from curator_dask.stages.incremental.sift_chunk import new_ids_file, sift_chunk
from curator_dask.stages.incremental.spec import SiftTask

D = 4


class Weighed(IdExchange):
    """An exchange that notes how many bytes came to the client."""

    received: list[int]

    def gather(self, function: Callable[..., Any], *lists: Sequence[Any], **given: Any) -> list[Any]:
        results = super().gather(function, *lists, **given)
        self.received.append(len(pickle.dumps(results)))
        return results


@pytest.fixture
def exchange(tmp_path, cluster) -> Weighed:
    one = Weighed(cluster.client, Folder(str(tmp_path / "scratch")), log)
    object.__setattr__(one, "received", [])
    return one


@pytest.fixture
def many_buckets(monkeypatch) -> None:
    monkeypatch.setattr(shared, "ROWS_OF_SHARED_BUCKET", 4)


def clusters(root: Path, *parts: pa.Array) -> FinishedRuns:
    """A finished run with one cluster per array of ids."""
    for number, ids in enumerate(parts):
        folder = root / f"centroid={number}"
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"id": ids}), folder / "a.parquet")
    return FinishedRuns((Folder(str(root)),), (), "id")


def source(root: Path, *parts: list[Any]) -> VectorSource:
    root.mkdir()
    for number, ids in enumerate(parts):
        X = np.ones((len(ids), D), np.float32).tolist()
        pq.write_table(pa.table({"id": ids, "embedding": X}), root / f"{number}.parquet")
    return VectorSource(Folder(str(root)), "parquet", "id", "embedding", (), D)


def sift(exchange: IdExchange, new: VectorSource, known: IdBuckets) -> list[tuple[int, int]]:
    """(new rows, known rows) of each file of the input, after the check for doubled ids."""
    chunks = [(piece,) for chunk in plan_chunks(new, new.folder.entries()) for piece in chunk]
    found = find_known_rows(exchange, new, chunks, known)
    tasks = [
        SiftTask(new, chunk, exchange.folder, number, exchange.folder, known.num_buckets)
        for number, chunk in enumerate(chunks)
    ]
    sifted = exchange.gather(sift_chunk, tasks, found=found)
    names = tuple(new_ids_file(task.number) for task in tasks)
    refuse_doubled_ids(exchange, IdBuckets(exchange.folder, known.num_buckets, names))
    assert sum(len(read_known_rows(exchange.folder, found, number)) for number in range(len(chunks))) == sum(
        part.num_known for part in sifted
    )
    return [(part.num_new, part.num_known) for part in sifted]


@pytest.mark.parametrize("kind", ["text", "number", "bytes"])
def test_ids_are_known_and_digested_as_in_one_piece(exchange, many_buckets, tmp_path, kind):
    rng = np.random.default_rng(7)
    make: Callable[[int], Any] = {"text": str, "number": int, "bytes": lambda one: b"%d" % one}[kind]
    old = [[make(one) for one in rng.choice(300, 40, replace=False)] for _ in range(3)]
    parts = [pa.array(ids) for ids in old]
    if kind == "number":
        parts[1] = parts[1].cast(pa.int16())
    new = [[make(one) for one in range(0, 150)], [make(one) for one in range(150, 400)]]
    known = share_known_ids(exchange, clusters(tmp_path / "k", *parts), 0, D)
    assert known.num_buckets == 32
    every = {one for ids in old for one in ids}
    hashes = np.sort(sample_priority(np.array(list(every), object), 0))
    assert digest_known_ids(exchange, known) == hashlib.sha256(hashes.tobytes()).hexdigest()[:32]
    expected = [(len(set(ids) - every), len(set(ids) & every)) for ids in new]
    assert sift(exchange, source(tmp_path / "n", *new), known) == expected


def test_what_reaches_the_client_does_not_grow_with_the_ids(exchange, tmp_path):
    def received(num_ids: int) -> list[int]:
        exchange.received.clear()
        run = clusters(tmp_path / f"k{num_ids}", pa.array([f"old {one}" for one in range(num_ids)]))
        known = share_known_ids(exchange, run, 0, D)
        digest_known_ids(exchange, known)
        ids = [f"{'old' if one % 2 else 'new'} {one}" for one in range(num_ids)]
        assert sift(exchange, source(tmp_path / f"n{num_ids}", ids), known) == [(num_ids // 2, num_ids // 2)]
        return list(exchange.received)

    few, many = received(20), received(20_000)
    assert len(few) == len(many)
    assert all(more <= fewer + 16 for fewer, more in zip(few, many, strict=True))  # a larger number may take more bytes


def test_doubled_new_ids_of_different_files_are_named_in_their_order(exchange, many_buckets, tmp_path):
    known = share_known_ids(exchange, clusters(tmp_path / "k", pa.array(["k", *map(str, range(99))])), 0, D)
    new = source(tmp_path / "n", ["k", "g", "f", "e", "d"], ["k", "a", "b", "c", "d", "e", "f", "g"], ["c", "b", "z"])
    with pytest.raises(InputError, match="6 doubled new ids, for example b, c, d, e, f: ids must be unique"):
        sift(exchange, new, known)


def test_ids_of_different_kinds_are_refused(exchange, tmp_path):
    known = share_known_ids(exchange, clusters(tmp_path / "k", pa.array([1, 2])), 0, D)
    with pytest.raises(InputError, match="one of the three in all files; found"):
        sift(exchange, source(tmp_path / "n", ["1"]), known)
