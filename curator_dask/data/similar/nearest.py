"""The clips of an output that are most similar to one of them: an exact search, file by file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.ids import id_texts
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
    for name in _files(out):
        table = _read(name, "id", "embedding")
        if table.num_rows:
            best = _best(best + _candidates(table["id"], _matrix(table) @ wanted, clip_id, top), top)
    return best


def _vector(out: str, clip_id: str) -> NDArray[Any]:
    """The vector of a clip. Only ids are read until it is found."""
    import pyarrow.compute as pc

    for name in _files(out):
        row = pc.index(id_texts(_read(name, "id")["id"]), clip_id).as_py()
        if row >= 0:
            return np.asarray(_matrix(_read(name, "embedding").slice(row, 1))[0])
    raise InputError(
        f"no clip {clip_id!r} has a vector in {out}: a plain or failed clip has none; see clips.parquet for ids"
    )


def _read(name: str, *columns: str) -> pa.Table:
    import pyarrow.parquet as pq

    with pq.ParquetFile(name, memory_map=True) as file:
        return file.read(columns=list(columns))


def _matrix(table: pa.Table) -> NDArray[Any]:
    """(N, D) the vectors of a table that has rows."""
    return column_matrix(table["embedding"], len(table["embedding"][0]))[0]


def _files(out: str) -> list[str]:
    from pathlib import Path

    files = sorted(str(path) for path in Path(out, "kmeans").glob("centroid=*/*.parquet"))
    if not files:
        raise InputError(f"{out} has no clustered vectors (kmeans/centroid=…/*.parquet): give the output folder of run")
    return files


def _candidates(ids: pa.ChunkedArray, scores: NDArray[Any], but: str, top: int) -> list[tuple[str, float]]:
    """The other rows at or above the score of place `top` + 1, so that ties are all there; only their ids become texts."""
    lowest = np.partition(scores, -top - 1)[-top - 1] if len(scores) > top + 1 else -np.inf
    rows = np.flatnonzero(scores >= lowest)
    names = id_texts(ids.take(rows)).to_pylist()
    return [(name, float(scores[row])) for name, row in zip(names, rows, strict=True) if name != but]


def _best(found: list[tuple[str, float]], top: int) -> list[tuple[str, float]]:
    return sorted(found, key=lambda pair: (-pair[1], pair[0]))[:top]
