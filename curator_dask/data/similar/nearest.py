"""The rows of clustered vectors that are most similar to one vector: in the nearest clusters, or in all of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.clusters import read_centroids
from curator_dask.data.ids import id_texts
from curator_dask.data.vectors import column_matrix
from curator_dask.errors import InputError
from curator_dask.files.layout import CENTROIDS, PUBLIC_CENTROIDS

if TYPE_CHECKING:
    import pyarrow as pa

FEWEST_CLUSTERS = 32
"""So many of the nearest clusters are searched at least; an output with no more clusters is searched whole."""
SHARE_OF_CLUSTERS = 0.04
"""The share of all clusters that is searched, the nearest ones. Measured in ``benchmarks/results/similar_2_cores.md``."""
_NUMBERS = {"halffloat": "float16", "float": "float32", "double": "float64"}
FIRST_CLUSTERS = 8
"""What is found in these says where to look further: clusters near the middle of what is alike."""


class Row(NamedTuple):
    """A row that was found."""

    id: str
    score: float
    """Its cosine with what is looked for."""
    vector: NDArray[Any]


def nearest_rows(
    out: str, wanted: NDArray[Any], top: int, *, but: str | None = None, exact: bool = False
) -> list[tuple[str, float]]:
    """The `top` rows with the highest cosine with `wanted`, a unit vector (D,): ids and cosines, highest first, ties by id.

    Args:
        out: the output folder of ``run``; its ``kmeans`` folder holds unit vectors.
        wanted: what to look for.
        top: how many rows.
        but: the id of a row that is passed over.
        exact: search all clusters, and not only the nearest ones.

    Raises InputError where there are no clustered vectors, or vectors of another length.
    """
    C = None if exact else _centroids(out)
    count = 0 if C is None else max(FEWEST_CLUSTERS, round(SHARE_OF_CLUSTERS * len(C)))
    if C is None or count >= len(C):
        return _names_and_scores(_best_rows(cluster_files(out), wanted, top, but))
    _require_length(C, wanted)
    nearest = [k for k in _by_distance(C, wanted) if _files_of(out, k)][:FIRST_CLUSTERS]
    found = _best_rows([name for k in nearest for name in _files_of(out, k)], wanted, top, but)
    middle = np.sum([wanted, *(row.vector for row in found)], axis=0)
    further = [k for k in _by_distance(C, middle / np.linalg.norm(middle)) if k not in nearest and _files_of(out, k)]
    names = [name for k in further[: count - len(nearest)] for name in _files_of(out, k)]
    return _names_and_scores(_best(found + _best_rows(names, wanted, top, but), top))


def _by_distance(C: NDArray[np.float32], wanted: NDArray[Any]) -> Iterator[int]:
    """The clusters, those with the nearest centroids first."""
    yield from np.argsort((C * C).sum(axis=1) / 2 - C @ wanted, kind="stable").tolist()


def _best_rows(names: Sequence[str], wanted: NDArray[Any], top: int, but: str | None) -> list[Row]:
    found: list[Row] = []
    for rows in in_threads(lambda name: _best_of(name, wanted, top, but), names):
        found = _best(found + rows, top)
    return found


def _names_and_scores(rows: Iterable[Row]) -> list[tuple[str, float]]:
    return [(row.id, row.score) for row in rows]


def vector_of(out: str, clip_id: str) -> NDArray[Any] | None:
    """The vector (D,) of a row; None where no row has this id. Only ids are read until it is found."""
    for name, row in in_threads(lambda name: (name, _row_of(name, clip_id)), cluster_files(out)):
        if row >= 0:
            return np.asarray(_matrix(_read(name, "embedding").slice(row, 1))[0])
    return None


def cluster_files(out: str) -> list[str]:
    """The files of all clusters. Raises InputError if there are none."""
    files = sorted(str(path) for path in Path(out, "kmeans").glob("centroid=*/*.parquet"))
    if not files:
        raise InputError(f"{out} has no clustered vectors (kmeans/centroid=…/*.parquet): give the output folder of run")
    return files


def in_threads(work: Any, names: Iterable[str]) -> Iterator[Any]:
    """The results for all files, in order. Where the caller stops, the rest is left undone."""
    rest = iter(names)
    threads = max(1, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads) as pool:
        while several := list(islice(rest, 8 * threads)):
            yield from pool.map(work, several)


def _files_of(out: str, cluster: int) -> list[str]:
    return sorted(str(path) for path in Path(out, "kmeans", f"centroid={cluster}").glob("*.parquet"))


def _centroids(out: str) -> NDArray[np.float32] | None:
    for name in (CENTROIDS, PUBLIC_CENTROIDS):
        path = Path(out, "kmeans", name)
        if path.is_file():
            return read_centroids(path.read_bytes())
    return None


def _require_length(X: NDArray[Any], wanted: NDArray[Any]) -> None:
    if X.shape[1] != len(wanted):
        raise InputError(
            f"the vectors here have {X.shape[1]} numbers and that of the clip {len(wanted)}: another model"
        )


def _best_of(name: str, wanted: NDArray[Any], top: int, but: str | None) -> list[Row]:
    """The best rows of one file."""
    table = _read(name, "id", "embedding")
    if not table.num_rows:
        return []
    X = _matrix(table)
    _require_length(X, wanted)
    scores = X @ wanted
    rows = _candidates(scores, top)
    names = [id_texts(table["id"].slice(row, 1))[0].as_py() for row in rows.tolist()]
    found = (Row(one, float(scores[row]), X[row]) for one, row in zip(names, rows, strict=True) if one != but)
    return [Row(row.id, row.score, row.vector.copy()) for row in _best(found, top)]


def _row_of(name: str, clip_id: str) -> int:
    """The row of an id; -1 where it is not there. The bytes of all ids are searched first, which is quick."""
    texts = id_texts(_read(name, "id")["id"]).combine_chunks()
    data = texts.buffers()[2] if len(texts) else None
    if data is None or clip_id.encode() not in data.to_pybytes():
        return -1
    names = texts.to_pylist()
    return names.index(clip_id) if clip_id in names else -1


def _read(name: str, *columns: str) -> pa.Table:
    import pyarrow.parquet as pq

    with pq.ParquetFile(name, memory_map=True) as file:
        return file.read(columns=list(columns), use_threads=False)


def _matrix(table: pa.Table) -> NDArray[Any]:
    """(N, D) the vectors of a table that has rows. Good columns are taken as they are, which imports no pandas."""
    column = table["embedding"].combine_chunks()
    dimension, values = len(column[0]), column.flatten()
    uneven = column.null_count or values.null_count or len(values) != len(column) * dimension
    if uneven or str(values.type) not in _NUMBERS:
        return column_matrix(table["embedding"], dimension)[0]
    kind = np.dtype(_NUMBERS[str(values.type)])
    X = np.frombuffer(values.buffers()[1], kind, len(values), values.offset * kind.itemsize)
    return X.reshape(-1, dimension)


def _candidates(scores: NDArray[Any], top: int) -> NDArray[np.int64]:
    """The rows at or above the score of place `top` + 1, so that ties are all there, and the clip itself may be left out."""
    lowest = np.partition(scores, -top - 1)[-top - 1] if len(scores) > top + 1 else -np.inf
    return np.flatnonzero(scores >= lowest)


def _best(found: Iterable[Row], top: int) -> list[Row]:
    return sorted(found, key=lambda row: (-row.score, row.id))[:top]
