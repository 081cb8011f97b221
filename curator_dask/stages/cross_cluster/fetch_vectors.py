"""Fetch the vectors of a few rows from where they lie: in the files of their clusters, or in one that was written for them.

The files of our own k-means hold vectors as plain numbers, whose places are known once a cluster was read. Those of other
programs may not (compressed pages, other number types); the vectors of such a cluster are written to a file of plain numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.clusters import VectorPlaces
from curator_dask.dedup.cross_cluster.scores import Indices
from curator_dask.files.folder import Folder
from curator_dask.stages.cross_cluster.spec import INTERMEDIATE, Cluster

VECTOR_DTYPE = np.dtype("<f4")
MOST_SKIPPED_BYTES = 64 << 10
"""Two spans of an object are read as one if at most this many bytes lie between them: that costs less than a second request."""
COPIED = -1
"""The number of the file that the vectors of a cluster are written to where its own files do not hold plain numbers."""


def copied_vectors_path(cluster: int) -> str:
    """Path of the file with copied vectors of a cluster: float32 numbers, row after row."""
    return f"{INTERMEDIATE}/vectors-{cluster:07d}.bin"


def copy_vectors(folder: Folder, cluster: int, X: NDArray[np.float32]) -> VectorPlaces:
    """Write the vectors of a cluster as plain numbers; returns their places."""
    with folder.writing(copied_vectors_path(cluster)) as temporary:
        X.astype(VECTOR_DTYPE, copy=False).tofile(temporary)
    at = np.arange(len(X), dtype=np.int64) * X.shape[1] * VECTOR_DTYPE.itemsize
    return VectorPlaces(np.full(len(X), COPIED, np.int32), at)


@dataclass(frozen=True)
class Vectors:
    """N rows whose vectors can be fetched.

    Attributes:
        input: the k-means output. output: the folder with the copied vectors.
        clusters: by number; those of all rows are among them.
        cluster: (N,) the cluster of each row. places: of its vector.
        dim: D, the numbers of a vector.
    """

    input: Folder
    output: Folder
    clusters: Mapping[int, Cluster]
    cluster: Indices
    places: VectorPlaces
    dim: int

    def fetch(self, some: Indices) -> NDArray[np.float32]:
        """(n, D) vectors of some rows, in any order; a row may come more than once."""
        cluster, file, at = self.cluster[some], self.places.file[some], self.places.at[some]
        X = np.empty((len(some), self.dim), VECTOR_DTYPE)
        order = np.lexsort((at, file, cluster))
        new = (np.diff(cluster[order], prepend=-1) != 0) | (np.diff(file[order], prepend=COPIED - 1) != 0)
        for start, stop in pairwise([*np.flatnonzero(new).tolist(), len(order)]):
            rows = order[start:stop]
            X[rows] = _read_rows(*self._file(int(cluster[rows[0]]), int(file[rows[0]])), at[rows], self.dim)
        return X

    def _file(self, cluster: int, file: int) -> tuple[Folder, str]:
        if file == COPIED:
            return self.output, copied_vectors_path(cluster)
        return self.input, self.clusters[cluster].paths[file]


def _read_rows(folder: Folder, path: str, at: Indices, dim: int) -> NDArray[np.float32]:
    """(n, D) rows of a file that begin at these bytes, which ascend; a row may come more than once."""
    row_bytes = dim * VECTOR_DTYPE.itemsize
    if len(at) == 1:  # most files hold one of the rows that are asked for
        [part] = folder.read_spans(path, [(int(at[0]), int(at[0]) + row_bytes)])
        return np.frombuffer(part, VECTOR_DTYPE).reshape(1, dim)
    most = max(row_bytes, 0 if folder.is_local else MOST_SKIPPED_BYTES)
    first = np.append(0, np.flatnonzero(np.diff(at) > most) + 1)
    counts = np.diff(first, append=len(at))
    starts, stops = at[first], at[first + counts - 1] + row_bytes
    parts = folder.read_spans(path, list(zip(starts.tolist(), stops.tolist(), strict=True)))
    # Where each row begins in all parts together. Headers of pages lie between rows, so it may be at any byte.
    place = at + np.repeat(np.cumsum(stops - starts) - stops, counts)
    data = np.frombuffer(b"".join(parts), np.uint8)
    rows: NDArray[np.float32] = np.lib.stride_tricks.sliding_window_view(data, row_bytes)[place].view(VECTOR_DTYPE)
    return rows
