"""Reading the clusters that k-means wrote (ours, or the original workflow's: any number of files per cluster)."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.ids import id_column, stored
from curator_dask.data.pages.vector_pages import PlainChunk, PlainVectors, plain_chunks, vectors_of_pages
from curator_dask.data.tables import (
    columns_of,
    data_files,
    open_parquet,
    read_parquet,
    require_columns,
    unreadable,
    without_dictionaries,
)
from curator_dask.data.vectors import GOOD, column_matrix, vector_length
from curator_dask.dedup.arrays.xp import row_blocks
from curator_dask.errors import InputError
from curator_dask.files.entries.entry import Entry
from curator_dask.files.folder import Folder
from curator_dask.files.layout import CENTROIDS, PUBLIC_CENTROIDS
from curator_dask.files.names import counted

if TYPE_CHECKING:
    import pyarrow as pa

_CLUSTER_FOLDER = re.compile(r"centroid=(\d+)/[^/]+")
_CLUSTER_FILE = re.compile(r"cluster_(\d+)\.parquet")
BATCH_ROWS = 8192
"""Rows of a large cluster that are processed together: enough for fast products, few enough for any memory."""
READ_BYTES = 1 << 20
"""Bytes of a file that are read at a time, however large its row groups are."""


def cluster_folders(folder: Folder) -> dict[int, list[Entry]]:
    """The files of each cluster of a k-means output, by cluster number. Raises InputError if there are none."""
    found: dict[int, list[Entry]] = {}
    for entry in data_files(folder):
        match = _CLUSTER_FOLDER.fullmatch(entry.path)
        if match:
            found.setdefault(int(match[1]), []).append(entry)
    if not found:
        raise InputError(f"{folder.url} holds no centroid=… folders: give the output of a k-means stage")
    return dict(sorted(found.items()))


def centroids_name(folder: Folder) -> str:
    """The name of the file of centroids in a k-means output. Raises InputError if there is none."""
    for name in (CENTROIDS, PUBLIC_CENTROIDS):
        if folder.exists(name):
            return name
    raise InputError(f"{folder.url} holds no {CENTROIDS}, nor {PUBLIC_CENTROIDS}: give the output of a k-means stage")


def read_centroids(data: bytes) -> NDArray[np.float32]:
    """(n_clusters, D) float32, from the bytes of the file.

    Raises InputError if they hold no such array, or one with values that are not finite: such a centroid is nearest to all
    rows or to none, so rows would be compared with the wrong ones.
    """
    try:
        C = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise InputError(f"{CENTROIDS} cannot be read: {error}") from error
    if C.ndim != 2 or C.dtype.kind != "f":
        raise InputError(f"{CENTROIDS} holds {C.dtype} of shape {C.shape}, not a row of floats for each cluster")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite
        C = np.ascontiguousarray(C, dtype=np.float32)
    bad = np.flatnonzero(~np.isfinite(C).all(axis=1))
    if len(bad):
        raise InputError(
            f"{CENTROIDS} has {counted(len(bad), 'centroids')} with values that are not finite, the first for cluster {bad[0]}: "
            "if k-means wrote it so, run it again"
        )
    return C


def stored_centroids(folder: Folder) -> NDArray[np.float32]:
    """The centroids of a k-means output, as `read_centroids` gives them."""
    name = centroids_name(folder)
    try:
        return read_centroids(folder.read_bytes(name))
    except InputError as error:
        raise unreadable(folder, name, error) from error


def cluster_files(folder: Folder) -> dict[int, Entry]:
    """The table of each cluster of a pairwise output, by cluster number. Raises InputError if there are none."""
    matches = [(_CLUSTER_FILE.fullmatch(entry.path), entry) for entry in data_files(folder)]
    found = {int(match[1]): entry for match, entry in matches if match}
    if not found:
        raise InputError(f"{folder.url} holds no cluster_….parquet files: give the output of a pairwise stage")
    return dict(sorted(found.items()))


def clusters_and_tables(kmeans: Folder, tables: Folder) -> tuple[dict[int, list[Entry]], dict[int, Entry]]:
    """`cluster_folders` of a k-means output and `cluster_files` of the similarity tables made from it.

    Raises InputError where they do not hold the same clusters.
    """
    folders, files = cluster_folders(kmeans), cluster_files(tables)
    if folders.keys() != files.keys():
        raise InputError(
            f"{tables.url} has {counted(len(files), 'clusters')} and {kmeans.url} has {len(folders)}, not the same ones: "
            "run the pairwise stage again on these clusters"
        )
    return folders, files


def read_cluster(folder: Folder, paths: Sequence[str], columns: Sequence[str]) -> pa.Table:
    """The named columns of all files of one cluster."""
    return _join([read_parquet(folder, path, list(dict.fromkeys(columns))) for path in paths])


def _join(tables: Sequence[pa.Table]) -> pa.Table:
    import pyarrow as pa

    return pa.concat_tables(map(without_dictionaries, tables), promote_options="permissive").combine_chunks()


def read_cluster_vectors(
    folder: Folder,
    paths: Sequence[str],
    columns: Sequence[str],
    embedding_field: str,
    dimension: int | None,
    where: str,
) -> tuple[pa.Table, NDArray[np.float32]]:
    """The named columns of all files of one cluster, and its vectors, (n, D) float32.

    Raises InputError as `unit_rows` does, which gets `where` and the expected dimension, None for any.
    """
    table, X, _ = read_placed_vectors(folder, paths, columns, embedding_field, dimension, where)
    return table, X


class VectorPlaces(NamedTuple):
    """Where the vectors of a cluster lie in its files."""

    file: NDArray[np.int32]
    """(n,) which of the cluster's files has each."""
    at: NDArray[np.int64]
    """(n,) its first byte there."""


def read_placed_vectors(
    folder: Folder,
    paths: Sequence[str],
    columns: Sequence[str],
    embedding_field: str,
    dimension: int | None,
    where: str,
) -> tuple[pa.Table, NDArray[np.float32], VectorPlaces | None]:
    """As `read_cluster_vectors`, with the places of the vectors; None where they cannot be read from the files as they lie."""
    plain = [_read_plain(folder, path, columns, embedding_field) for path in paths]
    found = [part for part in plain if part is not None]
    vectors = [part for _, part in found]
    lengths = {part.X.shape[1] for part in vectors} | ({dimension} if dimension else set())
    if len(found) == len(plain) and len(lengths) == 1:
        X = finite_rows(vectors[0].X if len(found) == 1 else np.concatenate([part.X for part in vectors]), where)
        return _join([table for table, _ in found]), X, _places(vectors)
    table = read_cluster(folder, paths, [*columns, embedding_field])
    return table.select(list(columns)), unit_rows(table, embedding_field, dimension, where), None


def _read_plain(
    folder: Folder, path: str, columns: Sequence[str], embedding_field: str
) -> tuple[pa.Table, PlainVectors] | None:
    """The named columns of a file and its vectors; None where these do not lie in it as plain numbers."""
    with open_parquet(folder, path) as file:
        chunks = plain_chunks(file.metadata, embedding_field)
        table = columns_of(file, folder, path, list(dict.fromkeys(columns))) if chunks else None
    vectors = _vectors_at(folder, path, chunks)
    return None if table is None or vectors is None else (table, vectors)


def _places(parts: Sequence[PlainVectors]) -> VectorPlaces | None:
    starts = [part.at for part in parts if part.at is not None]
    if len(starts) < len(parts):
        return None
    return VectorPlaces(
        np.repeat(np.arange(len(parts), dtype=np.int32), [len(part) for part in starts]), np.concatenate(starts)
    )


def plain_vectors_of(
    folder: Folder,
    path: str,
    embedding_field: str,
    row_groups: Sequence[int] | None = None,
    room: NDArray[np.float32] | None = None,
) -> NDArray[np.float32] | None:
    """The vectors of a Parquet file, or of some of its row groups, (n, D); None where they do not lie in it as plain numbers.

    They take the first rows of `room` (m, D), where it has enough. Raises InputError for a file of another type.
    """
    with open_parquet(folder, path) as file:
        chunks = plain_chunks(file.metadata, embedding_field, row_groups)
    found = _vectors_at(folder, path, chunks, room)
    return None if found is None else found.X


def _vectors_at(
    folder: Folder, path: str, chunks: Sequence[PlainChunk] | None, room: NDArray[np.float32] | None = None
) -> PlainVectors | None:
    if not chunks:
        return None
    with folder.reading(path, [(chunk.start, chunk.start + chunk.num_bytes) for chunk in chunks]) as read:
        return vectors_of_pages(read, chunks, room)


def count_rows(folder: Folder, paths: Sequence[str]) -> int:
    """The number of rows of a cluster, from the files' footers."""
    num_rows = 0
    for path in paths:
        with open_parquet(folder, path) as file:
            num_rows += int(file.metadata.num_rows)
    return num_rows


def vector_batches(
    folder: Folder, paths: Sequence[str], embedding_field: str, dimension: int | None, where: str
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """The vectors of a cluster in batches, in the order of `read_cluster`: the number of the first row, and (n, D) float32.

    Memory holds a few batches, however large the files' row groups are. Raises InputError as `unit_rows` does.
    """
    import pyarrow as pa

    first = 0
    for path in paths:
        with open_parquet(folder, path, read_bytes=READ_BYTES) as file:
            require_columns(path, file.schema_arrow.names, [embedding_field])
            for batch in file.iter_batches(BATCH_ROWS, columns=[embedding_field]):
                X = unit_rows(pa.table(batch), embedding_field, dimension, f"{where}, rows from {first}")
                dimension = dimension or X.shape[1]
                yield first, X
                first += len(X)


def part_at(
    batches: Iterator[tuple[int, NDArray[np.float32]]], place: NDArray[np.int64], run: slice, file: IO[bytes]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The rows whose places lie in a run, (n, D) by place, and the places of the earlier rows, which go to `file`.

    Decoding Parquet takes longer than writing plain numbers and reading them back (`read_back`), so it is done once.
    Memory holds the run and one batch.
    """
    X, earlier = np.empty((0, 0), dtype=np.float32), []
    for first, rows in batches:
        X = X if X.size else np.empty((run.stop - run.start, rows.shape[1]), dtype=np.float32)
        at = place[first : first + len(rows)]
        before, own = at < run.start, (at >= run.start) & (at < run.stop)
        X[at[own] - run.start] = rows[own]
        rows[before].tofile(file)
        earlier.append(at[before])
    return X, np.concatenate(earlier)


def read_back(
    file: IO[bytes], places: NDArray[np.int64], dimension: int
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """The rows that `part_at` wrote to a file, in batches, with their places."""
    file.seek(0)
    for rows in row_blocks(len(places), BATCH_ROWS):
        at = places[rows]
        yield np.fromfile(file, np.float32, len(at) * dimension).reshape(-1, dimension), at


def unit_rows(table: pa.Table, embedding_field: str, dimension: int | None, where: str) -> NDArray[np.float32]:
    """The vectors of a cluster, (n, D) float32. Raises InputError if one is missing, of another length or not finite."""
    D = dimension or vector_length(table[embedding_field])
    if D is None:
        raise InputError(f"{where} holds no vectors in column {embedding_field!r}")
    X, reasons = column_matrix(table[embedding_field], D)
    bad = np.flatnonzero(reasons != GOOD)
    if len(bad):
        raise InputError(f"{where}: row {bad[0]} has no vector of {D} numbers ({reasons[bad[0]]}): run k-means again")
    return finite_rows(np.ascontiguousarray(X, dtype=np.float32), where)


def finite_rows(X: NDArray[np.float32], where: str) -> NDArray[np.float32]:
    """The same rows. Raises InputError for a number that is not finite, which would hide the duplicates of other rows.

    K-means lets none pass; a k-means output of another program may have some.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        total = X.sum()  # a single pass, which cannot miss one; a sum that is only too large is looked at
    if not np.isfinite(total):
        bad = np.flatnonzero(~np.isfinite(X).all(axis=1))
        if len(bad):
            raise InputError(f"{where}: row {bad[0]} has a number that is not finite: run k-means again")
    return X


def id_values(table: pa.Table, id_field: str) -> NDArray[Any]:
    """Ids as a NumPy array: integers of any width, or objects that are str or bytes."""
    values: NDArray[Any] = stored(id_column(table, id_field)).to_numpy(zero_copy_only=False)
    return values


def column_values(table: pa.Table, name: str) -> NDArray[Any]:
    """A column as a NumPy array; text and nulls as objects."""
    values: NDArray[Any] = table[name].combine_chunks().to_numpy(zero_copy_only=False)
    return values
