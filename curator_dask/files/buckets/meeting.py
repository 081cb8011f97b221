"""Rows of several tables about the same things, brought together by their ids, or by another text of each row."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.files.buckets.buckets import Buckets, bucket_of
from curator_dask.files.buckets.places import places
from curator_dask.files.temporary.temporary_folders import temporary_folder

if TYPE_CHECKING:
    import pyarrow as pa


@contextlib.contextmanager
def folder_for_buckets() -> Iterator[Path]:
    """A folder on the local disk (`TMPDIR`) that is there for as long as the block."""
    with temporary_folder() as folder:
        yield folder


def gather(
    tables: Iterable[pa.Table],
    folder: Path,
    num_buckets: int,
    seed: int = 0,
    by: Callable[[pa.Table], Any] | None = None,
) -> Buckets | None:
    """Tables of one schema in buckets by the places of a text of each row; None if there are no rows.

    Args:
        tables: the rows.
        folder: for the files.
        num_buckets: a power of two.
        seed: of the places.
        by: gives the texts, or bytes, of the rows of a table. None: those of its column ``id``.
    """
    found: Buckets | None = None
    for table in tables:
        if len(table):
            found = found or Buckets(folder, num_buckets, table.schema)
            found.add(table, _bucket_of(table["id"] if by is None else by(table), num_buckets, seed))
    return found


def read_bucket(buckets: Buckets | None, number: int) -> pa.Table | None:
    """The rows of one bucket; None if it has none, or if there are none at all."""
    rows = buckets.read(number) if buckets is not None else None
    return rows if rows is not None and len(rows) else None


def _bucket_of(texts: Any, num_buckets: int, seed: int) -> NDArray[np.int64]:
    if num_buckets == 1:
        return np.zeros(len(texts), np.int64)
    return bucket_of(places(texts, seed), num_buckets)


def rows_of(ids: Any, table: pa.Table) -> pa.Array:
    """(n,) where each id stands in a table with a column ``id``; null where it does not. Of equal ids the first one counts."""
    import pyarrow as pa
    import pyarrow.compute as pc

    known = table["id"].combine_chunks()
    found = pc.index_in(ids.cast(known.type), value_set=known)
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found
