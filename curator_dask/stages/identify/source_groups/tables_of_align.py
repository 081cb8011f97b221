"""The output of the align stage, cut into chunks for workers; and the clips of other outputs, which stay as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.decisions.row_index import id_digests
from curator_dask.data.tables import open_parquet, read_row_groups
from curator_dask.errors import InputError
from curator_dask.files.buckets.buckets import bucket_of
from curator_dask.files.buckets.shared import ROWS_OF_SHARED_BUCKET, write_shared
from curator_dask.files.folder import Folder
from curator_dask.files.layout import CLIP_INDEX, OVERLAPS_TABLE
from curator_dask.stages.identify.decisions.count_sources import write_counts
from curator_dask.stages.identify.overlap.read_overlaps import IN_REFERENCE, OTHER_NUMBER, TIMES, micros, texts_of

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Chunk:
    """Some row groups of a table of the align stage."""

    folder: Folder
    path: str
    number: int
    groups: tuple[int, ...]
    first: int
    """Its first line in the table."""
    num_lines: int
    mark: str
    """A column that older tables lack; "" where it is not there."""

    def read(self, columns: Sequence[str]) -> tuple[pa.Table, NDArray[Any] | None]:
        """The columns, and the values of the mark."""
        names = [*columns, self.mark] if self.mark else list(columns)
        table = read_row_groups(self.folder, self.path, self.groups, names)
        return table, table[self.mark].to_numpy() if self.mark else None


def chunks_of(folder: Folder, path: str, mark: str) -> list[Chunk]:
    """A table in chunks of 262,144 lines or some more. Raises InputError if it is not there."""
    if not folder.exists(path):
        raise InputError(f"{folder.url} holds no {path}: give the output of the align stage as overlaps_path")
    with open_parquet(folder, path) as file:
        sizes = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
        marked = mark if mark in file.schema_arrow.names else ""
    found, groups, first, num_lines = list[Chunk](), list[int](), 0, 0
    for group, size in enumerate(sizes):
        groups.append(group)
        num_lines += size
        if num_lines >= ROWS_OF_SHARED_BUCKET or group + 1 == len(sizes):
            found.append(Chunk(folder, path, len(found), tuple(groups), first, num_lines, marked))
            groups, first, num_lines = [], first + num_lines, 0
    return found


def chunks_of_overlaps(folder: Folder) -> list[Chunk]:
    """The chunks of the table of overlaps."""
    return chunks_of(folder, OVERLAPS_TABLE, OTHER_NUMBER)


def chunks_of_clips(folder: Folder) -> list[Chunk]:
    """The chunks of the table of clips."""
    return chunks_of(folder, CLIP_INDEX, IN_REFERENCE)


@dataclass(frozen=True)
class Scatter:
    """Where the lines of tables meet, in buckets by the digests of ids."""

    folder: Folder
    num_buckets: int

    def write(self, path: str, digests: NDArray[np.uint64], columns: dict[str, Any]) -> str:
        """Write some lines, each with the digest of its id; returns the path."""
        import pyarrow as pa

        high, low = digests.T
        table = pa.table({"high": high, "low": low, **columns})
        return write_shared(self.folder, path, table, bucket_of(high, self.num_buckets), self.num_buckets)


@dataclass(frozen=True)
class ChunkTask:
    """Write the lines of a chunk where they meet rows."""

    chunk: Chunk
    written: str
    counts: str = ""
    """Path of the file to write with the first lines of sources."""


def scatter_spans(task: ChunkTask, scatter: Scatter) -> str:
    """Write source, start and length of the clips of a chunk, without those of references.

    Clips without a source are left out: their ids stand for one.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    table, in_reference = task.chunk.read(["id", "source", *TIMES[:2]])
    line = np.arange(task.chunk.first, task.chunk.first + len(table))
    own = np.ones(len(table), np.bool_) if in_reference is None else ~in_reference
    own &= table["source"].is_valid().to_numpy()
    some, line = table.filter(pa.array(own)), line[own]
    start, end = (micros(pc.fill_null(some[name], 0.0), task.chunk.folder, CLIP_INDEX) for name in TIMES[:2])
    source = some["source"].cast(pa.large_string())
    columns = {"source": source, "start": start, "length": np.maximum(end - start, 0), "node": nodes_of_names(source)}
    _note_first_lines(task, scatter, source, line)
    return scatter.write(task.written, id_digests(texts_of(some["id"])), columns)


def _note_first_lines(task: ChunkTask, scatter: Scatter, source: pa.ChunkedArray, line: NDArray[np.int64]) -> None:
    import pyarrow as pa

    first = (
        pa.table({"source": source, "line": line}).group_by("source", use_threads=False).aggregate([("line", "min")])
    )
    nothing = np.zeros(len(first), np.int64)
    counts = pa.table({"source": first["source"], "rows": nothing, "lost": nothing, "line": first["line_min"]})
    write_counts(scatter.folder, task.counts, counts, scatter.num_buckets)


def nodes_of_names(names: pa.ChunkedArray) -> NDArray[np.uint64]:
    """(n,) a number for each name. Two names may share one: their sources are then decided on together."""
    import pyarrow as pa

    coded = names.combine_chunks().dictionary_encode() if len(names) else None
    if coded is None:
        return np.zeros(0, np.uint64)
    coded = coded.combine_chunks() if isinstance(coded, pa.ChunkedArray) else coded
    nodes: NDArray[np.uint64] = id_digests(pa.chunked_array([coded.dictionary]))[:, 0][coded.indices.to_numpy()]
    return nodes


def scatter_sides(task: ChunkTask, scatter: Scatter) -> str:
    """Write the two ids of each overlap of a chunk, in place 2i and 2i + 1 for line i, with the numbers of their sets."""
    import pyarrow as pa

    table, number = task.chunk.read(["id", "other_id"])
    num_lines = len(table)
    digests = np.stack([id_digests(texts_of(table[name])) for name in ("id", "other_id")], axis=1).reshape(-1, 2)
    of_set = np.full((num_lines, 2), -1)
    if number is not None:
        of_set[:, 0], of_set[:, 1] = 0, number
    place = np.arange(2 * task.chunk.first, 2 * (task.chunk.first + num_lines))
    columns = {"place": place, "of_set": pa.array(of_set.reshape(-1))}
    return scatter.write(task.written, digests, columns)
