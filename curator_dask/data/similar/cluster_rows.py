"""The rows of clusters as their Parquet files hold them: ids and vectors, read in threads, without pandas."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.ids import id_texts
from curator_dask.data.vectors import column_matrix
from curator_dask.errors import InputError
from curator_dask.files.layout import centroid_file
from curator_dask.files.names import counted

if TYPE_CHECKING:
    import pyarrow as pa

_NUMBERS = {"halffloat": "float16", "float": "float32", "double": "float64"}


class Row(NamedTuple):
    """A row that was found."""

    id: str
    score: float
    """Its cosine with what is looked for."""


def cluster_files(kmeans: Path) -> list[str]:
    """The files of all clusters. Raises InputError if there are none."""
    files = sorted(str(path) for path in kmeans.glob("centroid=*/*.parquet"))
    if not files:
        raise InputError(
            f"{kmeans.parent} has no clustered vectors (kmeans/centroid=…/*.parquet): give the output folder of run"
        )
    return files


def in_threads(work: Any, over: Iterable[Any]) -> Iterator[Any]:
    """The results for all of them, in order. Where the caller stops, the rest is left undone."""
    rest = iter(over)
    threads = max(1, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads) as pool:
        while several := list(islice(rest, 8 * threads)):
            yield from pool.map(work, several)


def best(found: Iterable[Row], top: int) -> list[Row]:
    """The `top` rows with the highest scores, ties by id."""
    return sorted(found, key=lambda row: (-row.score, row.id))[:top]


def best_of(name: str, wanted: NDArray[Any], top: int) -> list[Row]:
    """The best rows of one file, and all that are as good as the last of them."""
    table = _read(name, "id", "embedding")
    if not table.num_rows:
        return []
    scores = np.einsum("ij,j->i", _matrix(table, wanted), wanted)
    lowest = np.partition(scores, -top)[-top] if len(scores) > top else -np.inf
    return _rows(table, np.flatnonzero(scores >= lowest), scores)


def scored_rows(kmeans: Path, cluster: int, rows: NDArray[np.int64], wanted: NDArray[Any]) -> list[Row]:
    """These rows of a cluster that our k-means wrote. Raises InputError where its file is not there or has fewer rows."""
    name = str(kmeans / centroid_file(cluster))
    table = _read(name, "id", "embedding")
    if len(table) <= rows.max():
        raise InputError(
            f"{name} has {counted(len(table), 'rows')} and had more: find out with curator-dask verify {kmeans.parent}"
        )
    table = table.take(_indices(rows))
    return _rows(table, np.arange(len(rows)), _matrix(table, wanted) @ wanted)


def vector_in_file(name: str, row: int) -> NDArray[Any]:
    """The vector (D,) of a row."""
    return np.asarray(_matrix(_read(name, "embedding").slice(row, 1))[0])


def row_of(name: str, clip_id: str) -> int:
    """The row of an id in a file; -1 where it is not there."""
    return place_of(id_texts(_read(name, "id")["id"]).combine_chunks(), clip_id)


def place_of(texts: pa.Array, clip_id: str) -> int:
    """The place of an id among texts; -1 where it is not there. The bytes of all are searched first, which is quick.

    Arrow's own search would import pandas.
    """
    data = texts.buffers()[2] if len(texts) else None
    if data is None or clip_id.encode() not in data.to_pybytes():
        return -1
    names = texts.to_pylist()
    return names.index(clip_id) if clip_id in names else -1


def require_length(dimension: int, wanted: NDArray[Any]) -> None:
    """Raise InputError for a vector of another length than those of the clusters."""
    if dimension != len(wanted):
        raise InputError(f"the vectors here have {dimension} numbers and that of the clip {len(wanted)}: another model")


def _rows(table: pa.Table, rows: NDArray[np.int64], scores: NDArray[Any]) -> list[Row]:
    texts = id_texts(table["id"].take(_indices(rows))).to_pylist()
    return [Row(text, float(score)) for text, score in zip(texts, scores[rows], strict=True)]


def _indices(rows: NDArray[np.int64]) -> pa.Array:
    """Rows as Arrow wants them. Given an array of NumPy, it would import pandas."""
    import pyarrow as pa

    return pa.Array.from_buffers(pa.int64(), len(rows), [None, pa.py_buffer(rows)])


def _read(name: str, *columns: str) -> pa.Table:
    import pyarrow.parquet as pq

    with pq.ParquetFile(name, memory_map=True) as file:
        return file.read(columns=list(columns), use_threads=False)


def _matrix(table: pa.Table, wanted: NDArray[Any] | None = None) -> NDArray[Any]:
    """(N, D) the vectors of a table that has rows. Good columns are taken as they are, which imports no pandas.

    Raises InputError where they are not as long as `wanted`.
    """
    column = table["embedding"].combine_chunks()
    dimension, values = len(column[0]), column.flatten()
    if wanted is not None:
        require_length(dimension, wanted)
    uneven = column.null_count or values.null_count or len(values) != len(column) * dimension
    if uneven or str(values.type) not in _NUMBERS:
        return column_matrix(table["embedding"], dimension)[0]
    kind = np.dtype(_NUMBERS[str(values.type)])
    X = np.frombuffer(values.buffers()[1], kind, len(values), values.offset * kind.itemsize)
    return X.reshape(-1, dimension)
