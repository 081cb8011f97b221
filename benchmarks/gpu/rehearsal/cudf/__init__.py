"""Stands for cuDF in a rehearsal: Arrow reads, and the columns give arrays of the stand-in for CuPy."""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

__version__ = "0 (a stand-in)"


class Series:
    def __init__(self, data: Any) -> None:
        self._data = data if isinstance(data, pa.Array) else pa.array(data)

    @classmethod
    def from_arrow(cls, data: Any) -> Series:
        return cls(data.combine_chunks() if isinstance(data, pa.ChunkedArray) else data)

    @property
    def null_count(self) -> int:
        return self._data.null_count

    @property
    def list(self) -> Series:
        return self

    @property
    def leaves(self) -> Series:
        return Series(self._data.flatten())

    @property
    def values(self) -> Any:
        return cupy.asarray(self._data.to_numpy())

    def len(self) -> Any:
        return np.asarray(pc.list_value_length(self._data))

    def sum(self) -> Any:
        return pc.sum(self._data).as_py()

    def to_arrow(self) -> pa.Array:
        return self._data

    def __len__(self) -> int:
        return len(self._data)


def read_parquet(path: str, columns: list[str], row_groups: Any = None) -> dict[str, Series]:
    try:
        with pq.ParquetFile(path) as file:
            chosen = range(file.num_row_groups) if row_groups is None else row_groups[0]
            table = file.read_row_groups(list(chosen), columns=columns)
    except (OSError, pa.ArrowException) as error:
        raise RuntimeError(str(error)) from error
    return {name: Series.from_arrow(table[name]) for name in columns}
