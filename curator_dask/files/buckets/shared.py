"""Rows in buckets in a folder that all workers reach: each task writes a file with a batch per bucket.

Other tasks read one bucket of all files. So rows move between tasks, and neither the client nor the scheduler holds
them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from curator_dask.files.folder import Folder

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_OF_SHARED_BUCKET: Final = 262_144
"""A bucket has about this many rows, and at most twice as many: fewer and larger reads than `buckets.ROWS_OF_BUCKET` gives."""


def shared_buckets_for(num_rows: int) -> int:
    """A power of two.

    >>> [shared_buckets_for(rows) for rows in (0, 262_143, 262_144, 1_000_000)]
    [1, 1, 2, 4]
    """
    return 1 << (num_rows // ROWS_OF_SHARED_BUCKET).bit_length()


def write_shared(
    folder: Folder,
    path: str,
    rows: pa.Table,
    numbers: NDArray[np.int64],
    num_buckets: int,
    *,
    codec: str | None = "lz4",
) -> str:
    """Write rows to one file, each to the bucket of its number, in the order in which they came; returns the path.

    Without a codec the rows are not compressed: that takes less time where they are few.
    """
    import pyarrow as pa

    in_order = bool((numbers[1:] >= numbers[:-1]).all())
    ordered = (rows if in_order else rows.take(pa.array(np.argsort(numbers, kind="stable")))).combine_chunks()
    batches = ordered.to_batches()
    whole = batches[0] if batches else pa.RecordBatch.from_pylist([], schema=rows.schema)
    ends = np.cumsum(np.bincount(numbers, minlength=num_buckets)).tolist()
    options = pa.ipc.IpcWriteOptions(compression=codec, use_threads=False)
    with (
        folder.writing(path, for_this_run=True) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, rows.schema, options=options) as writer,
    ):
        for start, end in zip([0, *ends[:-1]], ends, strict=True):
            writer.write_batch(whole.slice(start, end - start))
    return path


def read_shared(folder: Folder, paths: Iterable[str], number: int) -> pa.Table | None:
    """The rows of one bucket of all files, in the order of the files; None if there are none."""
    import pyarrow as pa

    found = [batch for batch in shared_batches(folder, paths, number) if batch.num_rows]
    return pa.Table.from_batches(found).combine_chunks() if found else None


def shared_batches(folder: Folder, paths: Iterable[str], number: int) -> Iterator[pa.RecordBatch]:
    """One bucket of each file, in the order of the files; the types of their columns may differ."""
    import pyarrow as pa

    for path in paths:
        with folder.open(path) as stream:
            yield pa.ipc.open_file(stream).get_batch(number)
