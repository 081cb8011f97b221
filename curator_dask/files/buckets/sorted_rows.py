"""The rows of many tables in one order, in bounded memory: sorted blocks go to a local file, and are merged as they are read.

Memory holds a block of rows while they come. While they are read, it holds the batches of which some rows are due: at most
one of each block beside those that are read together, as all rows of a block before its last batch come before that one.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from curator_dask.files.buckets.buckets import BLOCK_BYTES

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK_ROWS: Final = 262_144
"""Rows that are sorted together, and written together where there are more."""
BATCH_ROWS: Final = 1_024
"""Rows of a sorted block that are read together."""
BATCHES_AT_ONCE: Final = 64

_NUMBER: Final = "__number"
"""The column of the numbers in which the rows came: the last key, so that no two rows have the same place."""

Key = tuple[tuple[int, Any], ...]


class SortedRows:
    """Rows of one schema, sorted by some columns as one table would be: stable, with NaN and then nulls at the end."""

    _names = itertools.count()

    def __init__(self, folder: Path, schema: pa.Schema, by: Sequence[str]) -> None:
        """
        Args:
            folder: on the local disk, for a file.
            schema: of the rows.
            by: the columns, whose values can be compared.
        """
        self.schema, self.num_rows = schema, 0
        self._by, self._path = (*by, _NUMBER), folder / f"sorted-{next(self._names)}.arrow"
        self._waiting: list[pa.Table] = []
        self._num_waiting = self._bytes_waiting = 0
        self._writer: Any = None
        self._firsts: list[tuple[Key, int]] = []

    def add(self, rows: pa.Table) -> None:
        """Add rows. To be called before rows are read."""
        if not len(rows):
            return
        self._waiting.append(rows.select(self.schema.names))
        self._num_waiting, self._bytes_waiting = self._num_waiting + len(rows), self._bytes_waiting + rows.nbytes
        self.num_rows += len(rows)
        if self._num_waiting >= BLOCK_ROWS or self._bytes_waiting >= BLOCK_BYTES:
            self._write_block()

    def tables(self) -> Iterator[pa.Table]:
        """All rows in their order, some at a time; as often as it is called."""
        import pyarrow as pa

        if self._writer is None:
            yield from (self._bare(rows) for rows in self._sorted_waiting())
            return
        self._close()
        with pa.OSFile(str(self._path)) as stream, pa.ipc.open_file(stream) as reader:
            yield from map(self._bare, self._merged(reader))

    def _merged(self, reader: Any) -> Iterator[pa.Table]:
        import pyarrow as pa

        firsts, rest = sorted(self._firsts), list[Any]()
        for start in range(0, len(firsts), BATCHES_AT_ONCE):
            numbers = [number for _, number in firsts[start : start + BATCHES_AT_ONCE]]
            batches = [*rest, *map(reader.get_batch, numbers)]
            rows = self._sorted(pa.Table.from_batches(batches).combine_chunks())
            num_due = self._place_of(rows, firsts[start + BATCHES_AT_ONCE :][:1])
            yield rows.slice(0, num_due)
            rest = rows.take(
                _range(num_due, len(rows) - num_due)
            ).to_batches()  # a slice would keep the others in memory

    def _place_of(self, rows: pa.Table, following: Sequence[tuple[Key, int]]) -> int:
        """How many of the rows come before the first one of the batch that is read next."""
        if not following:
            return len(rows)
        return bisect_left(range(len(rows)), following[0][0], key=lambda at: self._key_of(rows, at))

    def _write_block(self) -> None:
        import pyarrow as pa

        for rows in self._sorted_waiting():
            if self._writer is None:
                options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
                self._writer = pa.ipc.new_file(str(self._path), rows.schema, options=options)
            for start in range(0, len(rows), BATCH_ROWS):
                self._firsts.append((self._key_of(rows, start), len(self._firsts)))
                self._writer.write_batch(rows.slice(start, BATCH_ROWS).to_batches()[0])
        self._waiting, self._num_waiting, self._bytes_waiting = [], 0, 0

    def _close(self) -> None:
        """Write what is left, and end the file, if that is not done."""
        self._write_block()
        self._writer.close()

    def _sorted_waiting(self) -> Iterator[pa.Table]:
        """The rows that wait, in one table with their numbers; none if there are none."""
        import pyarrow as pa

        if self._waiting:
            rows = pa.concat_tables(
                self._waiting
            ).combine_chunks()  # many short chunks take several times as long to sort
            self._waiting = [rows]
            yield self._sorted(rows.append_column(_NUMBER, _range(self.num_rows - len(rows), len(rows))))

    def _sorted(self, rows: pa.Table) -> pa.Table:
        return rows.sort_by([(name, "ascending") for name in self._by]).combine_chunks()

    def _key_of(self, rows: pa.Table, at: int) -> Key:
        return tuple(_comparable(rows[name][at].as_py()) for name in self._by)

    def _bare(self, rows: pa.Table) -> pa.Table:
        return rows.select(self.schema.names)


def sorted_rows(tables: Iterable[pa.Table], folder: Path, schema: pa.Schema, by: Sequence[str]) -> SortedRows:
    """The rows of all tables."""
    rows = SortedRows(folder, schema, by)
    for table in tables:
        rows.add(table)
    return rows


def _comparable(value: Any) -> tuple[int, Any]:
    """In the order in which Arrow sorts: values, NaN, nulls."""
    if value is None:
        return 2, 0
    return (1, 0) if value != value else (0, value)  # NaN alone is not itself


def _range(start: int, length: int) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    return pa.array(np.arange(start, start + length), pa.int64())
