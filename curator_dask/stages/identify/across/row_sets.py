"""Rows of many clusters in files, a bit per row: by these, tasks tell each other which rows are kept, or are taken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from curator_dask.data.scored_clusters import RowSet
from curator_dask.files.buckets.shared import shared_batches, write_shared
from curator_dask.files.folder import Folder


def write_row_sets(folder: Folder, path: str, sets: Mapping[int, RowSet]) -> str:
    """Write some rows of each of these clusters to a file; returns its path."""
    import pyarrow as pa

    columns = {
        "cluster": pa.array(sets, pa.int64()),
        "num_rows": pa.array([rows.num_rows for rows in sets.values()], pa.int64()),
        "bits": pa.array([rows.bits for rows in sets.values()], pa.large_binary()),
    }
    return write_shared(folder, path, pa.table(columns), np.zeros(len(sets), np.int64), 1)


def read_row_sets(folder: Folder, paths: Iterable[str]) -> dict[int, RowSet]:
    """Cluster → its rows in these files. If several files tell of a cluster, the last one counts."""
    found: dict[int, RowSet] = {}
    for batch in shared_batches(folder, paths, 0):
        numbers, num_rows, bits = (batch[name].to_pylist() for name in ("cluster", "num_rows", "bits"))
        found |= {one: RowSet(*rows) for one, *rows in zip(numbers, bits, num_rows, strict=True)}
    return found
