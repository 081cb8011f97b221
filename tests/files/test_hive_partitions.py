"""Columns in the names of folders: the values and types that Arrow finds in the same folders."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from curator_dask.files.hive_partitions import NULL, partition_types, partition_values

VALUES = [
    ["2024", "2023"], ["007", "-3"], ["2024", "abc"], ["20240101123"], ["2147483647", "-2147483648"], ["2147483648"],
    [NULL, "3"], [NULL, "x"], ["+4"], ["1.5"], ["2024-01-01"], ["a b", "c=d", "é", "50%"], ["٣"],
]  # fmt: skip


@pytest.mark.parametrize("values", VALUES, ids=str)
def test_arrow_finds_the_same(tmp_path: Path, values: list[str]):
    paths = [f"y={value if value == NULL else quote(value)}/z=1/a.parquet" for value in values]
    for number, path in enumerate(paths):
        (tmp_path / path).parent.mkdir(parents=True)
        pq.write_table(pa.table({"id": [number]}), tmp_path / path)
    hive = ds.HivePartitioning.discover(infer_dictionary=False)
    expected = ds.dataset(tmp_path, partitioning=hive).to_table().sort_by("id")
    types = partition_types(paths)
    assert types == {name: str(expected[name].type) for name in ("y", "z")}
    found = [partition_values(path)["y"] for path in paths]
    assert pa.array(found, pa.string()).cast(types["y"]).to_pylist() == expected["y"].to_pylist()


def test_only_folders_count():
    assert partition_values("a=1.parquet") == {}
    assert partition_values("x/=1/a=/b=2/c.parquet") == {"": "1", "a": "", "b": "2"}
    assert partition_types([]) == {}
