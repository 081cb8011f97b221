"""Files of Arrow record batches of which each is read by itself: every group reads one of every other.

Arrow's own format for files takes a tenth of a millisecond to open, and the square of the number of groups are opened. So
the places of the batches stand in front of them, and a batch is read in two requests of known length::

    bytes of the head | number of batches | first byte of each, end of the last | bytes of the schema | schema | zeros
    batch | batch | …                                                             (numbers are int64; Arrow IPC messages)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from curator_dask.dedup.cross_cluster.scores import Indices
from curator_dask.files.folder import Folder

if TYPE_CHECKING:
    import pyarrow as pa

HEAD_BYTES = 4096
"""A head has a multiple of so many bytes; most have this length, and are read at once."""
_NUMBER = np.dtype("<i8")


class BatchWriter:
    """Writes tables, and slices of them, as batches of one file. All have one schema; their number is known before.

    Used as ``with folder.writing(path) as temporary, BatchWriter(temporary, schema, number) as writer:``.
    """

    def __init__(self, path: object, schema: pa.Schema, num_batches: int) -> None:
        self._schema = schema.serialize().to_pybytes()
        fixed = (num_batches + 4) * _NUMBER.itemsize + len(self._schema)
        self._starts = [-(-fixed // HEAD_BYTES) * HEAD_BYTES]
        self._num_batches = num_batches
        self._sink = open(str(path), "wb")  # noqa: SIM115, PTH123
        self._sink.write(bytes(self._starts[0]))

    def __enter__(self) -> BatchWriter:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                self._write_head()
        finally:
            self._sink.close()

    def write_slices(self, table: pa.Table, starts: Indices) -> None:
        """Write the slices of a table of one chunk that begin at these rows; the last start is the number of rows."""
        import pyarrow as pa

        [whole] = table.to_batches() or [pa.RecordBatch.from_pylist([], schema=table.schema)]
        for start, stop in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
            message = whole.slice(start, stop - start).serialize()
            self._sink.write(message)
            self._starts.append(self._starts[-1] + message.size)

    def _write_head(self) -> None:
        if len(self._starts) != self._num_batches + 1:
            raise ValueError(f"{len(self._starts) - 1} batches were written, not {self._num_batches}")
        numbers = [self._starts[0], self._num_batches, *self._starts, len(self._schema)]
        self._sink.seek(0)
        self._sink.write(np.array(numbers, _NUMBER).tobytes() + self._schema)


@dataclass(frozen=True)
class Batches:
    """The batches of a file; each is read when it is asked for."""

    folder: Folder
    path: str
    schema: pa.Schema
    starts: Sequence[int]

    @staticmethod
    def of(folder: Folder, path: str) -> Batches:
        import pyarrow as pa

        [head] = folder.read_spans(path, [(0, HEAD_BYTES)])
        num_bytes, num_batches = np.frombuffer(head, _NUMBER, 2).tolist()
        if num_bytes > HEAD_BYTES:
            head += folder.read_spans(path, [(HEAD_BYTES, num_bytes)])[0]
        numbers = np.frombuffer(head, _NUMBER, num_batches + 4).tolist()
        at = len(numbers) * _NUMBER.itemsize
        schema = pa.ipc.read_schema(pa.py_buffer(head[at : at + numbers[-1]]))
        return Batches(folder, path, schema, numbers[2:-1])

    def __len__(self) -> int:
        return len(self.starts) - 1

    def table(self, number: int) -> pa.Table:
        """One of the batches."""
        import pyarrow as pa

        [message] = self.folder.read_spans(self.path, [(self.starts[number], self.starts[number + 1])])
        batch = pa.ipc.read_record_batch(pa.py_buffer(message), self.schema)
        return pa.Table.from_batches([batch])
