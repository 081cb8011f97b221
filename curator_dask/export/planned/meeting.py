"""Rows of several tables about the same clips, brought together by their ids."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.export.planned.buckets import Buckets, bucket_of
from curator_dask.export.planned.places import places

if TYPE_CHECKING:
    import pyarrow as pa


def gather(tables: Iterable[pa.Table], folder: Path, num_buckets: int, seed: int) -> Buckets | None:
    """Tables of one schema with a column ``id``, in buckets by the places of their ids; None if there are no rows."""
    found: Buckets | None = None
    for table in tables:
        if len(table):
            found = found or Buckets(folder, num_buckets, table.schema)
            found.add(table, _bucket_of(table["id"], num_buckets, seed))
    return found


def _bucket_of(ids: pa.ChunkedArray, num_buckets: int, seed: int) -> NDArray[np.int64]:
    if num_buckets == 1:
        return np.zeros(len(ids), np.int64)
    return bucket_of(places(ids, seed), num_buckets)


def rows_of(ids: Any, table: pa.Table) -> pa.Array:
    """(n,) where each id stands in a table with a column ``id``; null where it does not. Of equal ids the first one counts."""
    import pyarrow as pa
    import pyarrow.compute as pc

    known = table["id"].combine_chunks()
    found = pc.index_in(ids.cast(known.type), value_set=known)
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found
