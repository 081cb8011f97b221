"""Lines on disk, so that any worker can fetch a few lines of a group without the others: one record batch per line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from curator_dask.dedup.align.line import Line
from curator_dask.files.folder import Folder
from curator_dask.stages.align.batch_files import read_batches, write_batches
from curator_dask.stages.align.lines import ClipsOnLine, LinesOfGroup

if TYPE_CHECKING:
    import pyarrow as pa


def _schema() -> pa.Schema:
    import pyarrow as pa

    return pa.schema(
        [
            ("windows", pa.binary()),
            ("usable", pa.binary()),
            ("ids", pa.list_(pa.string())),
            ("start_s", pa.list_(pa.float64())),
            ("first", pa.list_(pa.int64())),
            ("stop", pa.list_(pa.int64())),
        ]
    )


def write_lines(folder: Folder, path: str, group: LinesOfGroup) -> int:
    """Write the lines of a group and their clips, without still stretches; returns the number of bytes."""
    pairs = zip(group.lines, group.clips, strict=True)
    return write_batches(folder, path, _schema(), (_batch(line, clips) for line, clips in pairs))


def _batch(line: Line, clips: ClipsOnLine) -> pa.RecordBatch:
    import pyarrow as pa

    row = {
        "windows": line.windows.tobytes(),
        "usable": line.usable.tobytes(),
        "ids": list(clips.ids),
        "start_s": clips.start_s.tolist(),
        "first": clips.first.tolist(),
        "stop": clips.stop.tolist(),
    }
    return pa.RecordBatch.from_pylist([row], schema=_schema())


def read_lines(folder: Folder, path: str, numbers: Sequence[int]) -> Iterator[tuple[Line, ClipsOnLine]]:
    """Some lines of a group, in the order of the numbers."""
    for batch in read_batches(folder, path, numbers):
        (row,) = batch.to_pylist()
        usable = np.frombuffer(row["usable"], np.bool_)
        windows = np.frombuffer(row["windows"], np.int16).reshape(len(usable), -1)
        line = Line(windows, usable, np.full(len(usable), -1, np.int32), np.zeros((0, 0), np.uint8))
        first, stop = (np.array(row[name], np.int64) for name in ("first", "stop"))
        yield line, ClipsOnLine(tuple(row["ids"]), np.array(row["start_s"]), first, stop)
