"""Rows on their way from their own cluster to those that they have to meet.

A row may have to meet many clusters, and most of them tell from its sketch that it is no twin. So sketches travel, in
Arrow files, and the vectors stay where all can fetch them, each once.
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

# A row's own cluster, its place in that cluster's ranking, its score there, its sketch, the clusters it has to meet, and
# where its vector is.
SOURCE, PLACE, SCORE, SKETCH, TARGETS = "__source", "__place", "__score", "__sketch", "__targets"
VECTOR = "__vector"

VECTOR_DTYPE = np.dtype("<f4")
MOST_SKIPPED_BYTES = 64 << 10
"""Reading over so much that nobody asked for costs less than asking again."""
MOST_ARRIVALS = 1 << 19
"""Once so many rows have come to a group, they are compared before more are let in."""


def borders_path(group: int) -> str:
    """Of the rows that travel from a group of clusters to others, but for their vectors."""
    return f"_between/borders-{group:05d}.arrow"


def vectors_path(group: int) -> str:
    """Of their vectors: float32 numbers, row after row."""
    return f"_between/vectors-{group:05d}.bin"


@dataclass(frozen=True)
class Travellers:
    """Rows of some clusters, and which clusters each has to meet.

    Attributes:
        columns: n rows of all but the vectors and the sketches.
        X: (n, D) float32.
        sketches: (n, width) int16.
        row, target: (P,) int64, the pairs of a row and a cluster that it has to meet.
        group: (P,) int64, the group of that cluster.
    """

    columns: pa.Table
    X: NDArray[np.float32]
    sketches: NDArray[np.int16]
    row: Indices
    target: Indices
    group: Indices

    @staticmethod
    def together(parts: Sequence[Travellers]) -> Travellers:
        import pyarrow as pa

        if len(parts) == 1:  # a cluster may be large
            return parts[0]
        starts = np.cumsum([0, *(len(part.X) for part in parts[:-1])])
        return Travellers(
            pa.concat_tables([part.columns for part in parts], promote_options="permissive").combine_chunks(),
            np.concatenate([part.X for part in parts]),
            np.concatenate([part.sketches for part in parts]),
            np.concatenate([part.row + start for part, start in zip(parts, starts, strict=True)]),
            np.concatenate([part.target for part in parts]),
            np.concatenate([part.group for part in parts]),
        )


def write_travellers(folder: Folder, group: int, travellers: Travellers, num_groups: int) -> dict[str, int]:
    """Write the files of the rows that travel from a group: their vectors, and an Arrow file with one record batch a group
    that they travel to, with each row once and a list of its clusters there.

    Returns the bytes written to each path.
    """
    import pyarrow as pa

    order = np.lexsort((travellers.target, travellers.row, travellers.group))
    stops = np.cumsum(np.bincount(travellers.group, minlength=num_groups))
    there = np.zeros(len(travellers.X), bool)
    there[travellers.row] = True
    place = np.cumsum(there, dtype=np.int32) - 1
    schema = _batch(travellers, order[:0], place).schema
    path, vectors = borders_path(group), vectors_path(group)
    with (
        folder.writing(path) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, schema) as writer,
    ):
        for pairs in np.split(order, stops[:-1]):
            writer.write_batch(_batch(travellers, pairs, place))
    with folder.writing(vectors) as temporary:
        travellers.X[there].astype(VECTOR_DTYPE, copy=False).tofile(temporary)
    return {written: folder.size(written) or 0 for written in (path, vectors)}


def _batch(travellers: Travellers, pairs: Indices, place: NDArray[np.int32]) -> pa.RecordBatch:
    """The rows of some pairs, which are in order of the rows; each with its place among the vectors."""
    import pyarrow as pa

    row = travellers.row[pairs]
    first = np.flatnonzero(np.diff(row, prepend=-1))
    some = row[first]
    columns = travellers.columns.take(some)
    arrays = {name: columns[name].combine_chunks() for name in columns.column_names}
    arrays[SKETCH] = _lists(travellers.sketches[some])
    offsets = np.append(first, len(pairs)).astype(np.int32)
    arrays[TARGETS] = pa.ListArray.from_arrays(offsets, travellers.target[pairs].astype(np.int32))
    arrays[VECTOR] = pa.array(place[some])
    return pa.RecordBatch.from_arrays(list(arrays.values()), names=list(arrays))


def _lists(values: NDArray[Any]) -> pa.Array:
    import pyarrow as pa

    offsets = np.arange(len(values) + 1, dtype=np.int32) * np.int32(values.shape[1])
    return pa.ListArray.from_arrays(offsets, values.ravel())


def by_target(columns: pa.Table) -> Iterator[tuple[int, Indices]]:
    """Each cluster that somebody has come to meet, with the rows that have."""
    targets = columns[TARGETS].combine_chunks()
    row = np.repeat(np.arange(len(targets)), targets.value_lengths().to_numpy())
    target = targets.flatten().to_numpy()
    for number in np.unique(target).tolist():
        yield number, row[target == number]


def read_arrivals(folder: Folder, group: int, num_groups: int) -> Iterator[tuple[pa.Table, Indices]]:
    """The rows of all groups that come to one group, with the group that each comes from; some groups' at a time."""
    import pyarrow as pa

    parts: list[pa.Table] = []
    source_of: list[int] = []
    for source in range(num_groups):
        with folder.open(borders_path(source)) as stream:
            parts.append(pa.Table.from_batches([pa.ipc.open_file(stream).get_batch(group)]))
        source_of += [source] * len(parts[-1])
        if len(source_of) >= MOST_ARRIVALS or (source == num_groups - 1 and source_of):
            yield pa.concat_tables(parts, promote_options="permissive"), np.array(source_of)
            parts, source_of = [], []


def fetch_vectors(folder: Folder, group: Indices, place: NDArray[np.integer[Any]], dim: int) -> NDArray[np.float32]:
    """(n, D) vectors of rows, each from the file of a group, at a place there."""
    X = np.empty((len(group), dim), VECTOR_DTYPE)
    order = np.lexsort((place, group))
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    for some in np.split(order, starts[1:]) if len(order) else ():
        X[some] = _read_rows(folder, vectors_path(int(group[some[0]])), place[some].astype(np.int64), dim)
    return X


def _read_rows(folder: Folder, path: str, place: Indices, dim: int) -> NDArray[np.float32]:
    """Rows of a file at ascending places, which may come more than once."""
    row_bytes = dim * VECTOR_DTYPE.itemsize
    cuts = np.flatnonzero(np.diff(place) > max(1, MOST_SKIPPED_BYTES // row_bytes)) + 1
    runs = np.split(place, cuts)
    spans = [(int(run[0]) * row_bytes, (int(run[-1]) + 1) * row_bytes) for run in runs]
    found = [
        np.frombuffer(part, VECTOR_DTYPE).reshape(-1, dim)[run - run[0]]
        for run, part in zip(runs, folder.read_spans(path, spans), strict=True)
    ]
    return np.concatenate(found)
