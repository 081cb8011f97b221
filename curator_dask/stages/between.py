"""Rows on their way from their own cluster to those that they have to meet, in Arrow files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.cross_cluster import Indices
from curator_dask.storage import Folder
from curator_dask.vectors import matrix_column

if TYPE_CHECKING:
    import pyarrow as pa

# A row's own cluster, its place in that cluster's ranking, its score there, its sketch, and the clusters it has to meet.
SOURCE, PLACE, SCORE, SKETCH, TARGETS = "__source", "__place", "__score", "__sketch", "__targets"


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


def write_travellers(folder: Folder, path: str, travellers: Travellers, num_groups: int, vectors: str) -> int:
    """An Arrow file with one record batch a group that rows travel to, each row once with a list of its clusters there.

    `vectors` is the name of the column of vectors. Returns the bytes written.
    """
    import pyarrow as pa

    order = np.lexsort((travellers.target, travellers.row, travellers.group))
    stops = np.cumsum(np.bincount(travellers.group, minlength=num_groups))
    schema = _batch(travellers, order[:0], vectors).schema
    with (
        folder.writing(path) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, schema) as writer,
    ):
        for pairs in np.split(order, stops[:-1]):
            writer.write_batch(_batch(travellers, pairs, vectors))
    return folder.size(path) or 0


def _batch(travellers: Travellers, pairs: Indices, vectors: str) -> pa.RecordBatch:
    """The rows of some pairs, which are in order of the rows."""
    import pyarrow as pa

    row = travellers.row[pairs]
    first = np.flatnonzero(np.diff(row, prepend=-1))
    some = row[first]
    columns = travellers.columns.take(some)
    arrays = {name: columns[name].combine_chunks() for name in columns.column_names}
    arrays[SKETCH] = _lists(travellers.sketches[some])
    offsets = np.append(first, len(pairs)).astype(np.int32)
    arrays[TARGETS] = pa.ListArray.from_arrays(offsets, travellers.target[pairs])
    arrays[vectors] = matrix_column(travellers.X[some])
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
