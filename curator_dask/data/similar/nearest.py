"""The clips of an output that are most similar to one of them: an exact search, file by file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.vectors import column_matrix
from curator_dask.errors import InputError, ParameterError

if TYPE_CHECKING:
    import pyarrow as pa


def similar_clips(out: str, clip_id: str, top: int = 10) -> list[tuple[str, float]]:
    """The `top` clips whose vectors have the highest cosine with that of `clip_id`, highest first, ties by id.

    Args:
        out: the output folder of ``run``; its ``kmeans`` folder holds unit vectors.
        clip_id: a clip of this output. It is not in the result.
        top: how many clips, at least 1.

    Raises:
        ParameterError: `top` is below 1.
        InputError: there are no clustered vectors, or none of this id.
    """
    if top < 1:
        raise ParameterError(f"top is {top}; it must be at least 1")
    wanted = _vector(out, clip_id)
    best: list[tuple[str, float]] = []
    for ids, X in _parts(out):
        best = _best(best + _candidates(ids, X @ wanted, clip_id, top), top)
    return best


def _vector(out: str, clip_id: str) -> NDArray[Any]:
    for ids, X in _parts(out):
        rows = np.flatnonzero(ids == clip_id)
        if len(rows):
            return np.asarray(X[rows[0]])
    raise InputError(
        f"no clip {clip_id!r} has a vector in {out}: a plain or failed clip has none; see clips.parquet for ids"
    )


def _parts(out: str) -> Iterator[tuple[NDArray[np.object_], NDArray[Any]]]:
    """Ids as strings, and unit vectors, of one file of ``kmeans`` after the other."""
    import pyarrow.parquet as pq

    names = _files(out)
    for name in names:
        with pq.ParquetFile(name, memory_map=True) as file:
            table = file.read(columns=["id", "embedding"])
        if table.num_rows:
            yield _ids(table), column_matrix(table["embedding"], _dimension(table))[0]


def _files(out: str) -> list[str]:
    from pathlib import Path

    files = sorted(str(path) for path in Path(out, "kmeans").glob("centroid=*/*.parquet"))
    if not files:
        raise InputError(f"{out} has no clustered vectors (kmeans/centroid=…/*.parquet): give the output folder of run")
    return files


def _ids(table: pa.Table) -> NDArray[np.object_]:
    return np.array([str(value) for value in table["id"].to_pylist()], dtype=object)


def _dimension(table: pa.Table) -> int:
    return len(table["embedding"][0])


def _candidates(ids: NDArray[np.object_], scores: NDArray[Any], but: str, top: int) -> list[tuple[str, float]]:
    """The rows at or above the `top`-th score, so that ties are all there."""
    scores = np.where(ids == but, -np.inf, scores)
    lowest = np.partition(scores, -top)[-top] if len(scores) > top else -np.inf
    return [(str(ids[i]), float(scores[i])) for i in np.flatnonzero((scores >= lowest) & (scores > -np.inf))]


def _best(found: list[tuple[str, float]], top: int) -> list[tuple[str, float]]:
    return sorted(found, key=lambda pair: (-pair[1], pair[0]))[:top]
