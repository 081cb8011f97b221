"""Ids in buckets by their hashes, on the workers: those of the finished runs and those of the input meet bucket by bucket.

So neither the client nor a worker holds the ids of all clips. A worker holds one bucket of them, or those of one chunk.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from curator_dask.data.ids import id_array, id_column, id_list, id_text, one_type, stored
from curator_dask.data.tables import read_parquet
from curator_dask.data.vector_source import Chunk, VectorSource, read_columns
from curator_dask.dedup.arrays.priority import sample_priority
from curator_dask.files.buckets.buckets import bucket_of
from curator_dask.files.buckets.shared import shared_batches, write_shared
from curator_dask.files.folder import Folder

if TYPE_CHECKING:
    import pyarrow as pa

SEED = 0
"""Of the hashes. The record of an assignment holds their digest."""
SHOWN = 5
"""So many ids name what is wrong."""


@dataclass(frozen=True)
class IdBuckets:
    """Files with ids in buckets by their hashes, in a folder that all workers reach."""

    folder: Folder
    num_buckets: int
    paths: tuple[str, ...]


class Doubled(NamedTuple):
    """The ids of a bucket that occur more than once."""

    number: int
    first: list[str]
    """The texts of the first of them, in their order; at most `SHOWN`."""


def write_ids(folder: Folder, path: str, ids: pa.Array, num_buckets: int) -> str:
    """Write ids to one file, each to the bucket of its hash; nulls are left out. Returns the path."""
    import pyarrow as pa

    values = stored(ids).drop_null()
    numbers = bucket_of(sample_priority(id_array(values), SEED), num_buckets)
    return write_shared(folder, path, pa.table({"id": values}), numbers, num_buckets)


def write_finished_ids(
    files: tuple[Folder, list[str]], path: str, *, id_field: str, output: Folder, num_buckets: int
) -> str:
    """On a worker: write the ids of some clusters' files."""
    folder, paths = files
    found = [id_column(read_parquet(folder, one, [id_field]), id_field) for one in paths]
    return write_ids(output, path, _joined(found), num_buckets)


def write_input_ids(chunk: Chunk, path: str, *, source: VectorSource, output: Folder, num_buckets: int) -> str:
    """On a worker: write the ids of all rows of a chunk, those that cannot be used too."""
    field = source.id_field
    found = [id_column(read_columns(source, piece, [field]), field) for piece in chunk]
    return write_ids(output, path, _joined(found), num_buckets)


def write_hashes(number: int, path: str, *, known: IdBuckets) -> str:
    """On a worker: write the sorted hashes of the different ids of a bucket: 8 bytes each."""
    import pyarrow.compute as pc

    ids = _joined([batch.column(0) for batch in shared_batches(known.folder, known.paths, number)])
    hashes = sample_priority(id_array(pc.unique(stored(ids))), SEED)
    known.folder.write_bytes(path, np.sort(hashes).tobytes())
    return path


def write_known_rows(number: int, path: str, *, known: IdBuckets, new: IdBuckets) -> str:
    """On a worker: write those ids of a bucket of the input that finished runs have. The file has a batch per chunk."""
    import pyarrow as pa
    import pyarrow.compute as pc

    chunks = [batch.column(0) for batch in shared_batches(new.folder, new.paths, number)]
    old = [batch.column(0) for batch in shared_batches(known.folder, known.paths, number)]
    typed = [stored(one) for one in one_type([*chunks, *old])]
    ids = pa.concat_arrays(typed[: len(chunks)])
    of_chunk = np.repeat(np.arange(len(chunks)), [len(one) for one in chunks])
    is_known = pc.is_in(ids, value_set=pa.concat_arrays(typed[len(chunks) :]))
    found = pa.table({"id": ids.filter(is_known)})
    chosen = of_chunk[is_known.to_numpy(zero_copy_only=False)]
    return write_shared(new.folder, path, found, chosen, len(chunks))


def read_known_rows(folder: Folder, paths: Iterable[str], chunk: int) -> pa.Array:
    """The ids of a chunk that finished runs have, from the files that `write_known_rows` wrote."""
    return _joined([batch.column(0) for batch in shared_batches(folder, paths, chunk)])


def find_doubled(number: int, *, new: IdBuckets) -> Doubled:
    """On a worker: the ids of a bucket of the new rows that occur more than once."""
    import pyarrow.compute as pc

    ids = _joined([batch.column(0) for batch in shared_batches(new.folder, new.paths, number)])
    found = pc.value_counts(ids)
    doubled = found.filter(pc.greater(found.field("counts"), 1)).field("values")
    return Doubled(len(doubled), sorted(map(id_text, id_list(doubled)))[:SHOWN])


def _joined(parts: list[pa.Array]) -> pa.Array:
    import pyarrow as pa

    return pa.concat_arrays([stored(one) for one in one_type(parts)])
