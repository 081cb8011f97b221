"""Rows of a large table by their ids, from a file on the local disk (`TMPDIR`): the memory of a process does not hold the table.

The file has the rows in the order of the hashes of their ids, in a few record batches. It is mapped into memory while rows
are looked up, so that only those pages are read that binary searches and the wanted rows need. It has no name: it goes with
the process, however that ends.
"""

from __future__ import annotations

import mmap
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from curator_dask.files.buckets.buckets import Buckets, bucket_of
from curator_dask.files.buckets.meeting import folder_for_buckets
from curator_dask.files.buckets.places import places

if TYPE_CHECKING:
    import pyarrow as pa

HASH: Final = "__hash"
ROWS_OF_BUCKET: Final = 65_536
"""A bucket has about this many rows, and at most twice as many. Few of them are found faster than many, and take more memory."""


@dataclass(frozen=True)
class RowLookup:
    """A table whose rows can be found by their ids."""

    schema: pa.Schema
    """Of the table, without `HASH`."""
    num_buckets: int
    file: IO[bytes]
    """An Arrow file with a batch per bucket of hashes."""

    @staticmethod
    def of(tables: Iterable[pa.Table], schema: pa.Schema, num_rows: int) -> RowLookup:
        """The rows of these tables of one schema, which has a column ``id`` of text; about `num_rows`."""
        num_buckets = 1 << (num_rows // ROWS_OF_BUCKET).bit_length()
        with folder_for_buckets() as folder:
            buckets = Buckets(folder, num_buckets, schema.append(_hash_field()), ROWS_OF_BUCKET)
            for table in tables:
                hashes = hashes_of(table["id"])
                buckets.add(table.append_column(_hash_field(), [hashes]), bucket_of(hashes, num_buckets))
            _write(buckets, folder / "rows.arrow")
            lookup = RowLookup(schema, num_buckets, (folder / "rows.arrow").open("rb"))
        weakref.finalize(lookup, lookup.file.close)
        return lookup

    def rows(self, ids: pa.Array) -> pa.Table:
        """The rows with these ids, in the order of hashes, and perhaps others with the same hashes.

        Rows with one id are in the order in which they came.
        """
        import pyarrow as pa

        found = self._found(np.unique(hashes_of(ids))) if len(ids) else []
        return pa.concat_tables([self.schema.empty_table(), *found]).combine_chunks()

    def _found(self, hashes: NDArray[np.uint64]) -> list[pa.Table]:
        import pyarrow as pa

        mapped = mmap.mmap(self.file.fileno(), 0, access=mmap.ACCESS_READ)
        reader, found = pa.ipc.open_file(pa.py_buffer(mapped)), []
        numbers = bucket_of(hashes, self.num_buckets)
        for number in np.unique(numbers).tolist():
            found.append(_rows_with(reader.get_batch(number), hashes[numbers == number]))
            mapped.madvise(mmap.MADV_DONTNEED)  # else all pages that were read count as memory of this process
        return found


def hashes_of(ids: pa.Array | pa.ChunkedArray) -> NDArray[np.uint64]:
    """(N,) the hashes of ids."""
    return places(ids, 0)


def _hash_field() -> pa.Field:
    import pyarrow as pa

    return pa.field(HASH, pa.uint64())


def _write(buckets: Buckets, path: Path) -> None:
    import pyarrow as pa

    with pa.ipc.new_file(str(path), buckets.schema) as writer:
        for table in buckets.tables():
            order = np.argsort(table[HASH].to_numpy(), kind="stable")
            batches = table.take(pa.array(order)).combine_chunks().to_batches()
            writer.write_batch(batches[0] if batches else pa.RecordBatch.from_pylist([], schema=buckets.schema))


def _rows_with(batch: pa.RecordBatch, hashes: NDArray[np.uint64]) -> pa.Table:
    """Copies of the rows that have one of these hashes, all different and sorted."""
    import pyarrow as pa

    held = batch.column(HASH).to_numpy()
    first, end = (np.searchsorted(held, hashes, side) for side in ("left", "right"))
    number = end - first
    within = np.arange(number.sum()) - np.repeat(np.cumsum(number) - number, number)
    rows = pa.array(np.repeat(first, number) + within)
    return pa.Table.from_batches([batch]).drop_columns([HASH]).take(rows)
