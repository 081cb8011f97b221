"""Ids of every type that Parquet writers make go through all stages: same decisions, same type, readable lists."""

from __future__ import annotations

import csv
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curator_dask import CrossClusterStage, IdentifyDuplicatesStage, IncrementalStage
from curator_dask.dedup.arrays.rows import normalise
from curator_dask.files.id_lists import cell_text, read_id_list
from curator_dask.stages.base import RunContext
from tests.dedup.reference import random_unit
from tests.stages import builders

NUM_OLD, NUM_NEW, CLUSTERS, EPS = 60, 30, 3, 0.02
ODD = ["=cmd|'/c calc'!A0", "+1", "-1", "@x", "'quoted", "a\nb", "a\rb", "\ta", "a\\nb", "a\u2028b", "", " ", 'a,"b"']
"""Texts that break lists, CSV files or spreadsheets."""

X = random_unit(NUM_OLD + NUM_NEW, 6, 3, copies=0.6, noise=0.06)


def in_order(values: list[Any], kind: pa.DataType) -> pa.Array:
    return pa.array(sorted(values), kind)


def uuids() -> list[bytes]:
    return [uuid.UUID(int=number << 90).bytes for number in range(len(X))]


def texts() -> list[str]:
    return [*ODD, *(f"clip {number:03d}" for number in range(len(X) - len(ODD)))]


def blobs() -> list[bytes]:
    return [bytes([number, 255, 0])[: 1 + number % 3] for number in range(len(X))]


KINDS = {
    "int64": in_order(list(range(-10, len(X) - 10)), pa.int64()),
    "uint64": in_order([2**64 - 1 - number for number in range(len(X))], pa.uint64()),
    "string_view": in_order(texts(), pa.string_view()),
    "uuid": in_order(uuids(), pa.binary(16)).cast(pa.uuid()),
    "bytes": in_order(blobs(), pa.large_binary()),
}
KEPT_AS = {"string_view": pa.string()}


def run_all(ids: pa.Array, root: Path, context: RunContext) -> None:
    """All stages over the old rows, then the new rows beside them, below `root`."""
    half = NUM_OLD // 2
    builders.write_vectors(root / "old" / "a.parquet", ids[:half], X[:half])
    builders.write_vectors(root / "old" / "b.PARQUET", ids[half:NUM_OLD], X[half:NUM_OLD])
    builders.write_vectors(root / "new" / "a.parquet", ids[NUM_OLD:], X[NUM_OLD:])
    centres = normalise(X[:CLUSTERS])[0]  # given, as a start at random depends on the ids
    builders.score_vectors(root / "old", root, context, CLUSTERS, kmeans={"init": centres})
    new, k, p, x, d, n = (str(root / name) for name in ("new", "k", "p", "x", "d", "n"))
    CrossClusterStage(input_path=k, pairwise_path=p, output_path=x, eps=EPS).run(context=context)
    IdentifyDuplicatesStage(x, k, d, eps=EPS, rule="greedy", recall_sample=20).run(context=context)
    IncrementalStage(new, k, d, n).run(context=context)


def places(values: list[Any], ids: pa.Array) -> list[int | None]:
    """The rows that have these ids."""
    row_of = {value: row for row, value in enumerate(ids.to_pylist())} | {None: None}
    return [row_of[value] for value in values]


def column(path: Path, name: str, kind: pa.DataType) -> list[Any]:
    found = pq.ParquetFile(path).read()[name]
    assert found.type == kind, f"{path.name}: {name}"
    return found.to_pylist()


def decided(ids: pa.Array, root: Path, kind: pa.DataType) -> list[object]:
    """All that was decided, with ids as numbers of rows."""
    clusters = sorted((root / "k").glob("centroid=*/*"))
    found: list[object] = [(path.parent.name, places(column(path, "id", kind), ids)) for path in clusters]
    for folder in ("p", "x", "n/pairwise"):
        for path in sorted((root / folder).glob("*.parquet")):
            names = [places(column(path, name, kind), ids) for name in ("id", "max_id")]
            found.append((folder, path.name, *names))
    for folder in ("d", "n/duplicates"):
        path = root / folder / "duplicates.parquet"
        rows = zip(*(places(column(path, name, kind), ids) for name in ("id", "kept_id", "max_id")), strict=True)
        found.append((folder, sorted(rows)))
    groups = [places(column(root / "d" / "groups.parquet", name, kind), ids) for name in ("id", "nearest_kept_id")]
    return [*found, sorted(zip(*groups, strict=True))]


@pytest.fixture(scope="module")
def expected(tmp_path_factory, cluster) -> list[object]:
    root = tmp_path_factory.mktemp("int64")
    run_all(KINDS["int64"], root, RunContext(cluster))
    return decided(KINDS["int64"], root, pa.int64())


@pytest.mark.parametrize("name", [name for name in KINDS if name != "int64"])
def test_all_types_of_ids_decide_alike_and_keep_their_type(name, expected, tmp_path, context):
    ids = KINDS[name]
    run_all(ids, tmp_path, context)
    assert decided(ids, tmp_path, KEPT_AS.get(name, ids.type)) == expected
    shown = [as_text(value) for value in ids.to_pylist()]
    assert len(set(shown)) == len(shown)
    for folder, own in (("d", shown[:NUM_OLD]), ("n/duplicates", shown[NUM_OLD:])):
        keep, remove = (read_id_list((tmp_path / folder / f"{list_}.txt").read_bytes()) for list_ in ("keep", "remove"))
        assert sorted([*keep, *remove]) == sorted(own)
        assert 3 < len(remove) < len(own) - 3
        assert rows_of_csv(tmp_path / folder / "duplicates.csv") == sorted(remove)


def as_text(value: Any) -> str:
    """The text of an id, by another hand."""
    if isinstance(value, bytes):
        return str(uuid.UUID(hex=value.hex())) if len(value) == 16 else "".join(f"{byte:02x}" for byte in value)
    return str(value)


def rows_of_csv(path: Path) -> list[str]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    numbers = all(row["id"].lstrip("-").isdigit() for row in rows)
    assert numbers or not any(row[name].startswith(("=", "+", "-", "@", "\t", "\r")) for row in rows for name in row)
    return sorted(row["id"] if numbers else cell_text(row["id"]) for row in rows)


def test_other_types_are_refused_with_a_remedy(tmp_path, context):
    builders.write_vectors(tmp_path / "v" / "a.parquet", pa.array(np.arange(4.0)), X[:4])
    with pytest.raises(Exception, match=r"a\.parquet: ids must be .* found double: cast the column to integers or"):
        builders.score_vectors(tmp_path / "v", tmp_path, context, 1)
