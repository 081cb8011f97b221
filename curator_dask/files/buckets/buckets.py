"""Rows of tables in buckets, by a number that each row has: written to local files as they come, read bucket by bucket.

So rows of several tables that belong together meet, and a table is sorted, in the memory of one bucket. Rows that fit into
one block stay in memory, and no file is written.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK_ROWS: Final = 131_072
"""Rows that are sorted by bucket and written together."""
BLOCK_BYTES: Final = 64 << 20
"""Fewer rows are written together where they take more than this."""
ROWS_OF_BUCKET: Final = 32_768
"""How many rows a bucket should have, about."""


def buckets_for(num_rows: int) -> int:
    """A power of two: one bucket for rows that fit into a block, else as many as make buckets of a good size."""
    if num_rows <= BLOCK_ROWS:
        return 1
    return 1 << (num_rows // ROWS_OF_BUCKET - 1).bit_length()


def bucket_of(places: NDArray[np.uint64], num_buckets: int) -> NDArray[np.int64]:
    """(n,) the bucket of each place: its first bits, so that buckets are in the order of places."""
    shift = np.uint64(64 - (num_buckets.bit_length() - 1))
    return (places >> shift).astype(np.int64) if num_buckets > 1 else np.zeros(len(places), np.int64)


class Buckets:
    """Rows of one schema in ``num_buckets`` buckets; the rows of a bucket keep the order in which they came."""

    _names = itertools.count()

    def __init__(self, folder: Path, num_buckets: int, schema: pa.Schema, block_rows: int = 0) -> None:
        self.num_buckets, self.schema, self.num_rows = num_buckets, schema, 0
        self._block_rows = block_rows or BLOCK_ROWS
        self._folder, self._prefix = folder, f"{next(self._names)}"
        self._files: list[Path] = []
        self._pending: list[tuple[pa.Table, NDArray[np.int64]]] = []
        self._num_pending = self._bytes_pending = 0

    def add(self, rows: pa.Table, numbers: NDArray[np.int64]) -> None:
        """Add rows, each to the bucket of its number."""
        if not len(rows):
            return
        self._pending.append((rows.select(self.schema.names), numbers))
        self._num_pending, self._bytes_pending = self._num_pending + len(rows), self._bytes_pending + rows.nbytes
        self.num_rows += len(rows)
        is_full = self._num_pending >= self._block_rows or self._bytes_pending >= BLOCK_BYTES
        if self.num_buckets > 1 and is_full:
            self._write_block()

    def read(self, number: int) -> pa.Table:
        """The rows of one bucket, in one chunk."""
        import pyarrow as pa

        if self.num_buckets == 1:
            found = [rows for rows, _ in self._pending]
        else:
            self._write_block()
            found = [_read(path, number, self.schema) for path in self._files]
        return pa.concat_tables([self.schema.empty_table(), *found]).combine_chunks()

    def tables(self) -> Iterator[pa.Table]:
        """The rows of all buckets, one after the other."""
        for number in range(self.num_buckets):
            yield self.read(number)

    def remove(self) -> None:
        """Remove the files."""
        for path in self._files:
            path.unlink(missing_ok=True)
        self._files, self._pending, self._num_pending, self._bytes_pending = [], [], 0, 0

    def _write_block(self) -> None:
        """Write the rows that are waiting as one file with a batch for each bucket."""
        import pyarrow as pa

        if not self._pending:
            return
        rows = pa.concat_tables([rows for rows, _ in self._pending]).combine_chunks()
        numbers = np.concatenate([numbers for _, numbers in self._pending])
        self._pending, self._num_pending, self._bytes_pending = [], 0, 0
        rows = rows.take(pa.array(np.argsort(numbers, kind="stable")))
        ends = np.cumsum(np.bincount(numbers, minlength=self.num_buckets))
        path = self._folder / f"{self._prefix}-{len(self._files)}.arrow"
        _write(path, rows, ends)
        self._files.append(path)


def _write(path: Path, rows: pa.Table, ends: NDArray[np.int64]) -> None:
    import pyarrow as pa

    batch = rows.combine_chunks().to_batches()[0]
    with pa.ipc.new_file(str(path), rows.schema, options=_options()) as writer:
        for start, end in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True):
            writer.write_batch(batch.slice(start, end - start))


def _read(path: Path, number: int, schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    with pa.OSFile(str(path)) as stream, pa.ipc.open_file(stream) as reader:
        return pa.Table.from_batches([reader.get_batch(number)], schema=schema)


def _options() -> Any:
    import pyarrow as pa

    return pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
