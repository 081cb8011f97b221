"""Read files of vectors in chunks of bounded size and check each row: good rows form a matrix, bad rows get a reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.clusters import count_rows, plain_vectors_of
from curator_dask.data.device_vectors import read_matrix
from curator_dask.data.ids import id_text, one_type, plain_ids, stored
from curator_dask.data.pages.room import Room
from curator_dask.data.tables import open_parquet, read_row_groups, read_table, require_columns
from curator_dask.data.tmk_file import tmk_table
from curator_dask.data.vectors import GOOD, column_matrix, vector_length
from curator_dask.dedup.arrays.rows import REASONS, normalise
from curator_dask.dedup.arrays.xp import Array, array_module, to_host
from curator_dask.errors import InputError, ParameterError
from curator_dask.files.entries.entry import Entry
from curator_dask.files.folder import Folder
from curator_dask.files.hive_partitions import partition_types, partition_values
from curator_dask.files.names import printable

if TYPE_CHECKING:
    import pyarrow as pa

# Compressed bytes that a chunk gathers before it is closed; vectors compress to about nine tenths.
CHUNK_BYTES = 64 << 20
# A small input is cut into at least this many chunks, unless they get tiny, so that workers share it evenly.
CHUNKS = 16
MIN_CHUNK_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Piece:
    """One file, or some of its row groups."""

    path: str
    row_groups: tuple[int, ...] | None = None
    """None: the whole file."""
    first_row: int = 0
    """Number, in the file, of the first row."""


Chunk = tuple[Piece, ...]


@dataclass(frozen=True)
class VectorSource:
    """The folder of vectors and the names of their columns."""

    folder: Folder
    filetype: str
    id_field: str
    embedding_field: str
    metadata_fields: tuple[str, ...] = ()
    dimension: int | None = None
    """D, the length of a vector. Reading rows needs it; `find_dimension` finds it."""
    partitions: Mapping[str, str] = field(default_factory=dict)
    """The Arrow types of the metadata fields that stand in the names of folders; `with_partitions` finds them."""

    @property
    def columns(self) -> list[str]:
        """The names of all columns to read."""
        return [self.id_field, self.embedding_field, *self.metadata_fields]

    def with_partitions(self, entries: Iterable[Entry]) -> VectorSource:
        """The source with those of its metadata fields that stand in the names of folders of these files."""
        types = partition_types(entry.path for entry in entries)
        return replace(self, partitions={name: kind for name, kind in types.items() if name in self.metadata_fields})

    @property
    def known_dimension(self) -> int:
        """The length of the vectors, which reading them needs. Raises ParameterError where it is not set."""
        if self.dimension is None:
            raise ParameterError(
                f"the length of the vectors in {self.folder.url} is not known: call find_dimension first"
            )
        return self.dimension


@dataclass(frozen=True)
class Rows:
    """The good rows of a chunk, in file order, and the bad ones."""

    ids: pa.Array
    X: Array
    """(n, D) float32, unit rows; on the device where they were read there."""
    metadata: pa.Table
    rejects: tuple[dict[str, Any], ...]
    """``{file, row, id, reason}`` of each bad row."""

    def __sizeof__(self) -> int:
        """Dask moves small results to idle workers, and by default it takes an object of ours for one."""
        return int(self.X.nbytes + self.ids.nbytes + self.metadata.nbytes)


def plan_chunks(source: VectorSource, entries: Sequence[Entry]) -> list[Chunk]:
    """Join consecutive small files, and split large Parquet files by row groups.

    A chunk has about `CHUNK_BYTES`, or less if the input is small.
    """
    num_bytes = sum(entry.num_bytes for entry in entries)
    enough = min(CHUNK_BYTES, max(MIN_CHUNK_BYTES, num_bytes // CHUNKS))
    chunks: list[Chunk] = []
    open_chunk: list[Piece] = []
    filled = 0

    def close() -> None:
        nonlocal filled
        if open_chunk:
            chunks.append(tuple(open_chunk))
        open_chunk.clear()
        filled = 0

    for entry in entries:
        if entry.num_bytes > 2 * enough and source.filetype == "parquet":
            close()
            chunks.extend((piece,) for piece in _row_group_pieces(source.folder, entry.path, enough))
            continue
        open_chunk.append(Piece(entry.path))
        filled += entry.num_bytes
        if filled >= enough:
            close()
    close()
    return chunks


def _row_group_pieces(folder: Folder, path: str, enough: int) -> list[Piece]:
    with open_parquet(folder, path) as file:
        metadata = file.metadata
    pieces: list[Piece] = []
    groups: list[int] = []
    filled = first_row = rows = 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        groups.append(number)
        filled += group.total_byte_size
        rows += group.num_rows
        if filled >= enough or number == metadata.num_row_groups - 1:
            pieces.append(Piece(path, tuple(groups), first_row))
            groups, filled, first_row = [], 0, first_row + rows
            rows = 0
    return pieces


def read_rows(source: VectorSource, chunk: Chunk, device: str = "cpu") -> Rows:
    """Read and check a chunk; on a GPU worker, vectors go from Parquet to the device.

    Raises InputError for files of another type or without a column; ParameterError for a source without a dimension.
    """
    import pyarrow as pa

    room = _room_for(source, chunk, device)
    parts = [_read_piece(source, piece, source.known_dimension, device, room) for piece in chunk]
    return Rows(
        ids=pa.concat_arrays(one_type([part.ids for part in parts])),
        X=room.join([part.X for part in parts]),
        metadata=_concatenate([part.metadata for part in parts]),
        rejects=tuple(reject for part in parts for reject in part.rejects),
    )


def count_source_rows(source: VectorSource, entries: Iterable[Entry]) -> int:
    """The number of rows, those that cannot be used too. Of Parquet files only the footers are read."""
    paths = [entry.path for entry in entries]
    if source.filetype == "parquet":
        return count_rows(source.folder, paths)
    return sum(len(read_columns(source, Piece(path), [source.id_field])) for path in paths)


def find_dimension(source: VectorSource, chunks: Sequence[Chunk]) -> int:
    """The length of most vectors in the first file that has any. Raises InputError if none has."""
    for chunk in chunks:
        for piece in chunk:
            X = _plain_vectors(source, piece)
            if X is not None:
                return int(X.shape[1])
            length = vector_length(read_columns(source, piece, source.columns)[source.embedding_field])
            if length is not None:
                return length
    raise InputError(f"no vectors: column {source.embedding_field!r} is empty in every file of {source.folder.url}")


def _room_for(source: VectorSource, chunk: Chunk, device: str) -> Room:
    """For the vectors of several local Parquet files: plain numbers take no more bytes than their files."""
    fits = device == "cpu" and source.filetype == "parquet" and source.folder.is_local and len(chunk) > 1
    entries = [source.folder.entry(piece.path) for piece in chunk] if fits else []
    num_bytes = sum(entry.num_bytes for entry in entries if entry is not None)
    return Room(num_bytes // (4 * source.known_dimension), source.known_dimension)


def _read_piece(source: VectorSource, piece: Piece, dimension: int, device: str, room: Room) -> Rows:
    import pyarrow as pa

    table, X, reasons = _read_vectors(source, piece, dimension, device, room.free)
    ids = _check_ids(table[source.id_field].combine_chunks(), piece.path)
    reasons[np.asarray(ids.is_null())] = "null-id"
    unit, device_codes = normalise(X, in_place=_is_ours(X))
    codes = to_host(device_codes)
    for code, reason in REASONS.items():
        reasons[(codes == code) & (reasons == GOOD)] = reason
    good = reasons == GOOD
    values = stored(ids)
    rejects = tuple(
        {
            "file": piece.path,
            "row": int(piece.first_row + row),
            "id": _text(values[int(row)].as_py()),
            "reason": reasons[row],
        }
        for row in np.flatnonzero(~good)
    )
    metadata = table.select(list(source.metadata_fields))
    if not good.all():
        mask = pa.array(good)
        ids, unit, metadata = ids.filter(mask), unit[good], metadata.filter(mask)
    room.take(unit)
    return Rows(ids, unit, metadata, rejects)


def _is_ours(X: Array) -> bool:
    """Whether nobody else reads this matrix: views of Arrow's buffers cannot be written to."""
    return array_module(X) is np and bool(X.flags.writeable)


def _read_vectors(
    source: VectorSource, piece: Piece, dimension: int, device: str, room: NDArray[np.float32]
) -> tuple[pa.Table, Array, Any]:
    """The columns of a piece, those of its vectors perhaps left out, and its vectors as `column_matrix` gives them."""
    others = [name for name in source.columns if name != source.embedding_field]
    if device == "gpu" and source.filetype == "parquet":
        table = read_columns(source, piece, others)
        return table, *read_matrix(source.folder, piece.path, source.embedding_field, dimension, piece.row_groups)
    before = source.folder.entry(piece.path) if source.folder.is_local else None
    X = _plain_vectors(source, piece, room)
    if X is not None and X.shape[1] == dimension:
        table = read_columns(source, piece, others)
        if source.folder.entry(piece.path) != before:  # these would be the vectors of other ids
            path = printable(source.folder.join(piece.path))
            raise InputError(f"{path} was replaced while it was read. Run again when nothing writes to the folder")
        return table, X, np.full(len(X), GOOD, dtype=object)
    table = read_columns(source, piece, source.columns)
    return table, *column_matrix(table[source.embedding_field], dimension)


def _plain_vectors(source: VectorSource, piece: Piece, room: NDArray[np.float32] | None = None) -> Any:
    """The vectors of a piece where they lie in a local file as plain numbers; else None.

    All columns of a file in an object store are fetched together.
    """
    if source.filetype != "parquet" or not source.folder.is_local or source.embedding_field in source.metadata_fields:
        return None
    return plain_vectors_of(source.folder, piece.path, source.embedding_field, piece.row_groups, room)


def read_columns(source: VectorSource, piece: Piece, columns: Sequence[str]) -> pa.Table:
    """Columns of a piece as they stand in its file and in the names of its folders; nothing is checked or normalised."""
    import pyarrow as pa

    of_folders = {name: value for name, value in partition_values(piece.path).items() if name in source.partitions}
    table = _read_file(source, piece, [name for name in columns if name not in of_folders])
    for name, value in of_folders.items():
        if name in columns:
            values = pa.repeat(pa.scalar(value, pa.string()), len(table)).cast(source.partitions[name])
            table = table.append_column(name, values)
    return table.select(list(columns))


def _read_file(source: VectorSource, piece: Piece, columns: list[str]) -> pa.Table:
    if source.filetype == "tmk":
        table = tmk_table(source.folder, piece.path, source.id_field, source.embedding_field)
        require_columns(piece.path, table.column_names, columns)
        return table
    if piece.row_groups is None:
        return read_table(source.folder, piece.path, source.filetype, columns)
    return read_row_groups(source.folder, piece.path, piece.row_groups, columns)


def _check_ids(ids: Any, path: str) -> Any:
    """Ids as plain values. Raises InputError for text that is not UTF-8, which Arrow itself reads without an error."""
    import pyarrow as pa

    try:
        ids.validate(full=True)
    except pa.ArrowInvalid as error:
        raise InputError(f"{printable(path)}: the ids are damaged: {error}") from error
    try:
        return plain_ids(ids)
    except InputError as error:
        raise InputError(f"{printable(path)}: {error}") from error


def _concatenate(tables: list[pa.Table]) -> pa.Table:
    import pyarrow as pa

    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise InputError(f"the metadata columns differ from file to file: {error}") from error


def _text(value: Any) -> str:
    return "" if value is None else id_text(value)
