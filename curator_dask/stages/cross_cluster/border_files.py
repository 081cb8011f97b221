"""Border rows in files, between the group they lie in and the groups they are compared with.

A border row may be compared with many clusters, and its sketch is enough to tell that most of them hold no duplicate. So
the sketches are written once per group, to Arrow files, and the vectors once in all, to a file from which any group
can fetch a few.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.cross_cluster.scores import Indices
from curator_dask.files.folder import Folder

if TYPE_CHECKING:
    import pyarrow as pa

# Columns of a border row: its own cluster, its place in that cluster's ranking, its score there, its sketch, the clusters
# it is compared with, and the place of its vector in the file of vectors.
SOURCE, PLACE, SCORE, SKETCH, TARGETS = "__source", "__place", "__score", "__sketch", "__targets"
VECTOR = "__vector"

INTERMEDIATE = "_between"  # an older word; files of stopped runs lie there, so it stays
"""Folder of the files between the passes, below the output. The stage removes them at its end."""
VECTOR_DTYPE = np.dtype("<f4")
MOST_SKIPPED_BYTES = 64 << 10
"""Two spans of a file are read as one if at most this many bytes lie between them: that costs less than a second request."""
MOST_INCOMING = 1 << 19
"""Incoming rows in memory: when a group has read this many, they are compared before more are read."""


def borders_path(group: int) -> str:
    """Path of the Arrow file with the border rows of a group, without their vectors."""
    return f"{INTERMEDIATE}/borders-{group:05d}.arrow"


def vectors_path(group: int) -> str:
    """Path of the file with the vectors of a group's border rows: float32 numbers, row after row."""
    return f"{INTERMEDIATE}/vectors-{group:05d}.bin"


@dataclass(frozen=True)
class BorderRows:
    """Rows of some clusters, and the clusters that each is compared with.

    Attributes:
        columns: n rows with all columns but vectors and sketches.
        X: (n, D) float32.
        sketches: (n, width) int16.
        row, target: (P,) int64, pairs of a row and the cluster it is compared with.
        group: (P,) int64, the group of that cluster.
    """

    columns: pa.Table
    X: NDArray[np.float32]
    sketches: NDArray[np.int16]
    row: Indices
    target: Indices
    group: Indices

    @staticmethod
    def concatenate(parts: Sequence[BorderRows]) -> BorderRows:
        import pyarrow as pa

        if len(parts) == 1:  # a cluster may be large
            return parts[0]
        starts = np.cumsum([0, *(len(part.X) for part in parts[:-1])])
        return BorderRows(
            pa.concat_tables([part.columns for part in parts], promote_options="permissive").combine_chunks(),
            np.concatenate([part.X for part in parts]),
            np.concatenate([part.sketches for part in parts]),
            np.concatenate([part.row + start for part, start in zip(parts, starts, strict=True)]),
            np.concatenate([part.target for part in parts]),
            np.concatenate([part.group for part in parts]),
        )


def write_border_rows(folder: Folder, group: int, rows: BorderRows, num_groups: int) -> dict[str, int]:
    """Write the border rows of a group: a file of vectors, and an Arrow file with one record batch per group.

    The batch of a group holds each row that is compared with one of its clusters once, with the list of these clusters.
    Returns the bytes written to each path.

    Five pairs of four rows, where group 0 has clusters 0 and 1, group 1 has clusters 2 and 3::

        row     0  0  1  3  3         batch 0: row 0 [1], row 3 [0]
        target  1  2  2  0  3         batch 1: row 0 [2], row 1 [2], row 3 [3]
                                      vectors: rows 0, 1, 3 at the places 0, 1, 2; row 2 is no border row
    """
    import pyarrow as pa

    pair = rows.row * (rows.target.max(initial=0) + 1) + rows.target  # two keys sort faster than three
    order = np.lexsort((pair, rows.group))
    stops = np.cumsum(np.bincount(rows.group, minlength=num_groups))
    there = np.zeros(len(rows.X), bool)
    there[rows.row] = True
    place = np.cumsum(there, dtype=np.int32) - 1
    schema = _batch(rows, order[:0], place).schema
    path, vectors = borders_path(group), vectors_path(group)
    with (
        folder.writing(path) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, schema) as writer,
    ):
        for pairs in np.split(order, stops[:-1]):
            writer.write_batch(_batch(rows, pairs, place))
    with folder.writing(vectors) as temporary:
        rows.X[there].astype(VECTOR_DTYPE, copy=False).tofile(temporary)
    return {written: folder.size(written) or 0 for written in (path, vectors)}


def _batch(rows: BorderRows, pairs: Indices, place: NDArray[np.int32]) -> pa.RecordBatch:
    """The record batch of some pairs, which are in order of their rows; each row has its place among the vectors."""
    import pyarrow as pa

    row = rows.row[pairs]
    first = np.flatnonzero(np.diff(row, prepend=-1))
    some = row[first]
    columns = rows.columns.take(some)
    arrays = {name: columns[name].combine_chunks() for name in columns.column_names}
    arrays[SKETCH] = _lists(rows.sketches[some])
    offsets = np.append(first, len(pairs)).astype(np.int32)
    arrays[TARGETS] = pa.ListArray.from_arrays(offsets, rows.target[pairs].astype(np.int32))
    arrays[VECTOR] = pa.array(place[some])
    return pa.RecordBatch.from_arrays(list(arrays.values()), names=list(arrays))


def _lists(values: NDArray[Any]) -> pa.Array:
    import pyarrow as pa

    offsets = np.arange(len(values) + 1, dtype=np.int32) * np.int32(values.shape[1])
    return pa.ListArray.from_arrays(offsets, values.ravel())


def rows_by_target(columns: pa.Table) -> Iterator[tuple[int, Indices]]:
    """``(cluster, rows)`` per cluster that incoming rows are compared with."""
    targets = columns[TARGETS].combine_chunks()
    row = np.repeat(np.arange(len(targets)), targets.value_lengths().to_numpy())
    target = targets.flatten().to_numpy()
    for number in np.unique(target).tolist():
        yield number, row[target == number]


def read_incoming(folder: Folder, group: int, num_groups: int) -> Iterator[tuple[pa.Table, Indices]]:
    """The incoming rows of a group, with the group that each comes from; about `MOST_INCOMING` rows at a time."""
    import pyarrow as pa

    parts: list[pa.Table] = []
    source_of: list[int] = []
    for source in range(num_groups):
        with folder.open(borders_path(source)) as stream:
            parts.append(pa.Table.from_batches([pa.ipc.open_file(stream).get_batch(group)]))
        source_of += [source] * len(parts[-1])
        if len(source_of) >= MOST_INCOMING or (source == num_groups - 1 and source_of):
            yield pa.concat_tables(parts, promote_options="permissive"), np.array(source_of)
            parts, source_of = [], []


def fetch_vectors(folder: Folder, group: Indices, place: NDArray[np.integer[Any]], dim: int) -> NDArray[np.float32]:
    """(n, D) vectors of rows: row i lies in the file of `group[i]` at `place[i]`."""
    X = np.empty((len(group), dim), VECTOR_DTYPE)
    order = np.lexsort((place, group))
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    for some in np.split(order, starts[1:]) if len(order) else ():
        X[some] = _read_rows(folder, vectors_path(int(group[some[0]])), place[some].astype(np.int64), dim)
    return X


def _read_rows(folder: Folder, path: str, place: Indices, dim: int) -> NDArray[np.float32]:
    """(n, D) rows of a file at ascending places; a place may come more than once."""
    row_bytes = dim * VECTOR_DTYPE.itemsize
    cuts = np.flatnonzero(np.diff(place) > max(1, MOST_SKIPPED_BYTES // row_bytes)) + 1
    runs = np.split(place, cuts)
    spans = [(int(run[0]) * row_bytes, (int(run[-1]) + 1) * row_bytes) for run in runs]
    found = [
        np.frombuffer(part, VECTOR_DTYPE).reshape(-1, dim)[run - run[0]]
        for run, part in zip(runs, folder.read_spans(path, spans), strict=True)
    ]
    return np.concatenate(found)
