"""Arrow files of numbered record batches, of which a reader needs one: rows on their way from one pass to the next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.files.folder import Folder

if TYPE_CHECKING:
    import pyarrow as pa


def write_batches(folder: Folder, path: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> int:
    """Write the batches, in order; returns the number of bytes."""
    import pyarrow as pa

    with (
        folder.writing(path) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, schema) as writer,
    ):
        for batch in batches:
            writer.write_batch(batch)
    return folder.size(path) or 0


def read_batch(folder: Folder, path: str, number: int) -> pa.RecordBatch:
    """One batch of a file."""
    return next(read_batches(folder, path, [number]))


def read_batches(folder: Folder, path: str, numbers: Sequence[int]) -> Iterator[pa.RecordBatch]:
    """Some batches of a file, in the order of the numbers."""
    import pyarrow as pa

    with folder.open(path) as stream:
        reader = pa.ipc.open_file(stream)
        for number in numbers:
            yield reader.get_batch(number)


def read_batch_of_all(folder: Folder, paths: Sequence[str], number: int) -> pa.Table:
    """The batches of this number of several files, in their order."""
    import pyarrow as pa

    return pa.Table.from_batches([read_batch(folder, path, number) for path in paths]).combine_chunks()


def split_by(table: pa.Table, batch: NDArray[np.integer[Any]], num_batches: int) -> Iterator[pa.RecordBatch]:
    """The rows of each batch, in their order; `batch` holds the number of each row's batch."""
    import pyarrow as pa

    order = np.argsort(batch, kind="stable")
    stops = np.cumsum(np.bincount(batch, minlength=num_batches))
    sorted_table = table.take(pa.array(order)).combine_chunks()
    for start, stop in zip([0, *stops[:-1].tolist()], stops.tolist(), strict=True):
        batches = sorted_table.slice(start, stop - start).to_batches()
        yield batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)


def byte_column(rows: NDArray[Any]) -> pa.Array:
    """(N, n) numbers as one fixed piece of bytes per row."""
    import pyarrow as pa

    data = np.ascontiguousarray(rows)
    width = data.dtype.itemsize * data.shape[1]
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(data), [None, pa.py_buffer(data)])


def rows_of_bytes(column: pa.ChunkedArray, dtype: type[np.int8] | type[np.uint8]) -> NDArray[Any]:
    """(N, n) what `byte_column` was made from, one byte per number."""
    array = column.combine_chunks()
    width = column.type.byte_width
    start = array.offset * width
    data = (
        np.frombuffer(array.buffers()[1], np.uint8, len(array) * width, start) if len(array) else np.zeros(0, np.uint8)
    )
    return data.reshape(-1, width).view(dtype)
