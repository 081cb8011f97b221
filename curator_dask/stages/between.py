"""Rows on their way from their own cluster to those that they have to meet, in Arrow files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
    """Rows of one cluster that may go to meet others; those that meet a group's clusters do so once, with a list of them."""

    columns: pa.Table
    X: NDArray[np.float32]


def marked(columns: pa.Table, X: NDArray[np.float32], marks: Mapping[str, NDArray[Any]]) -> Travellers:
    """All rows of a cluster with what they take along."""
    import pyarrow as pa

    for name, values in marks.items():
        columns = columns.append_column(name, pa.array(values) if values.ndim == 1 else _lists(values))
    return Travellers(columns, X)


def _lists(values: NDArray[Any]) -> pa.Array:
    import pyarrow as pa

    offsets = np.arange(len(values) + 1, dtype=np.int32) * np.int32(values.shape[1])
    return pa.ListArray.from_arrays(offsets, values.ravel())


def by_group(
    firsts: Sequence[int], everybody: Travellers, row: Indices, target: Indices
) -> Iterator[tuple[int, Travellers]]:
    """The pairs of a row and a cluster that it has to meet → (group of those clusters, rows).

    Args:
        firsts: the first cluster of each group.
    """
    import pyarrow as pa

    group = np.searchsorted(firsts, target, side="right") - 1
    for number in np.unique(group).tolist():
        here = np.flatnonzero(group == number)
        here = here[np.lexsort((target[here], row[here]))]
        some, first = np.unique(row[here], return_index=True)
        targets = pa.ListArray.from_arrays(np.append(first, len(here)).astype(np.int32), target[here])
        yield number, Travellers(everybody.columns.take(some).append_column(TARGETS, targets), everybody.X[some])


def write_travellers(
    folder: Folder, path: str, parts: Sequence[Sequence[Travellers]], columns: Sequence[pa.Table], vectors: str
) -> int:
    """An Arrow file with one record batch a group that the rows travel to; returns its bytes.

    Args:
        columns: tables without rows that have the columns of all rows but ``vectors``, which is the name of that column.
    """
    import pyarrow as pa

    nobody = pa.concat_tables(columns, promote_options="permissive").slice(0, 0)
    nobody = nobody.append_column(TARGETS, pa.array([], pa.list_(pa.int64())))
    schema = nobody.schema.append(pa.field(vectors, pa.list_(pa.float32())))
    with (
        folder.writing(path) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, schema) as writer,
    ):
        for travellers in parts:
            table = pa.concat_tables([nobody, *(part.columns for part in travellers)], promote_options="permissive")
            X = np.concatenate([part.X for part in travellers]) if travellers else np.zeros((0, 1), np.float32)
            arrays = [column.combine_chunks() for column in table.columns]
            writer.write_batch(pa.RecordBatch.from_arrays([*arrays, matrix_column(X)], schema=schema))
    return folder.size(path) or 0


def by_target(columns: pa.Table) -> Iterator[tuple[int, Indices]]:
    """Each cluster that somebody has come to meet, with the rows that have."""
    targets = columns[TARGETS].combine_chunks()
    row = np.repeat(np.arange(len(targets)), targets.value_lengths().to_numpy())
    target = targets.flatten().to_numpy()
    for number in np.unique(target).tolist():
        yield number, row[target == number]
