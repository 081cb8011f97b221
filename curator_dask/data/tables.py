"""Read Parquet and JSON-lines files as Arrow tables; write Parquet and Arrow files: whole, with the same bytes every time."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from curator_dask.data.pages.plain_vectors import Buffer, parquet_with_vectors, plain_vectors
from curator_dask.errors import InputError, ParameterError
from curator_dask.files.content_hash import hash_of
from curator_dask.files.entries.entry import Entry
from curator_dask.files.folder import Folder
from curator_dask.files.layout import STATE
from curator_dask.files.names import printable
from curator_dask.files.temporary.temporary_folders import temporary_folder
from curator_dask.runtime.state import StageState, recorded_versions

if TYPE_CHECKING:
    import pyarrow as pa
    from dask.dataframe import DataFrame


def unreadable(folder: Folder, path: str, why: object) -> InputError:
    """The error for a file that is not what it should be; it names the remedy for files that one of our stages wrote."""
    remedy = "Replace the file, or take it out of the folder"
    if folder.below(STATE).exists():
        remedy = (
            f"If it is damaged, mark it with: curator-dask verify {folder.url} --repair; "
            "the command that wrote it then makes it anew"
        )
    return InputError(f"cannot read {printable(folder.join(path))}: {why}. {remedy}")


FILETYPES = {"parquet": (".parquet", ".pq"), "jsonl": (".jsonl", ".ndjson", ".json"), "tmk": (".tmk",)}
NUMBER_TYPES = ("auto", "float16", "float32")
ROW_GROUP_ROWS = 65_536
THREAD_ROWS, THREAD_BYTES = 16_384, 1 << 20
"""Larger files are read, and larger tables packed, on Arrow's threads. For smaller ones, waking the threads costs more."""
# The largest block that pyarrow's JSON reader takes.
MAX_JSON_BYTES = 2**31 - 1


COMPRESSED_SHARE = 0.85
"""Vectors are compressed where the first ones shrink to at most this share. Those of the default model shrink to .92."""
SAMPLE_ROWS, SAMPLE_NUMBERS = 32, 16_384
"""The first vectors, and at most so many of their numbers, tell how far a column shrinks."""


def parquet_bytes(table: pa.Table, *, vectors: Sequence[str] = (), lean: bool = False) -> bytes:
    """The table as a Parquet file. Vector columns have neither dictionaries nor statistics: no value occurs twice.

    They are compressed only where that saves enough (`COMPRESSED_SHARE`), as it takes about as long as the rest of writing.

    A lean file has no dictionaries, no statistics and no Arrow schema, which in a file of few rows weigh more than these.
    """
    return b"".join(parquet_parts(table, vectors=vectors, lean=lean))


def parquet_parts(table: pa.Table, *, vectors: Sequence[str] = (), lean: bool = False) -> list[Buffer]:
    """The same file in parts, in their order. The numbers of vectors are not copied: the table keeps them."""
    codecs = {name: "zstd" if _shrinks(table[name]) else "none" for name in vectors}
    found = {name: plain_vectors(table.schema.field(name), table[name]) for name in vectors if codecs[name] == "none"}
    plain = {name: vectors for name, vectors in found.items() if vectors is not None}
    leaf_codecs = {f"{name}.list.element": codec for name, codec in codecs.items()}
    return parquet_with_vectors(table, plain, lambda one: _parquet(one.schema, [one], leaf_codecs, lean=lean))


def _shrinks(column: pa.ChunkedArray) -> bool:
    """Whether compression is worth its time for a column of vectors: the first numbers alone decide, however it is cut."""
    import pyarrow as pa

    numbers = column.slice(0, SAMPLE_ROWS).combine_chunks().flatten().slice(0, SAMPLE_NUMBERS)
    data = numbers.to_numpy(zero_copy_only=False).tobytes()
    return not data or len(pa.Codec("zstd").compress(data)) <= COMPRESSED_SHARE * len(data)


def parquet_bytes_of_batches(schema: pa.Schema, batches: Iterable[pa.Table]) -> bytes:
    """As `parquet_bytes`, of the rows of all tables, which have this schema. It does not matter where they are cut."""
    return bytes(_parquet(schema, _row_groups(schema, batches), {}))


def write_parquet_file(path: Path, schema: pa.Schema, batches: Iterable[pa.Table]) -> None:
    """Write what `parquet_bytes_of_batches` gives to a local file. Memory holds a row group."""
    _write(str(path), schema, _row_groups(schema, batches), {})


def publish_parquet(state: StageState, path: str, schema: pa.Schema, batches: Iterable[pa.Table]) -> None:
    """Publish what `parquet_bytes_of_batches` gives as a file of the stage. Memory holds a row group."""
    with temporary_folder() as scratch:
        local = scratch / "table.parquet"
        write_parquet_file(local, schema, batches)
        state.publish_file(path, local)


def _parquet(
    schema: pa.Schema, tables: Iterable[pa.Table], vector_codecs: Mapping[str, str], *, lean: bool = False
) -> memoryview:
    import pyarrow as pa

    sink = pa.BufferOutputStream()  # not a BytesIO: it needs no GIL, so several files can be encoded side by side
    _write(sink, schema, tables, vector_codecs, lean=lean)
    return memoryview(sink.getvalue()).cast("B")


def _write(
    sink: Any, schema: pa.Schema, tables: Iterable[pa.Table], vector_codecs: Mapping[str, str], *, lean: bool = False
) -> None:
    import pyarrow.parquet as pq

    leaves = [name for name in _leaf_paths(schema) if name not in vector_codecs]
    described = False if lean else leaves or False  # which columns have dictionaries and statistics
    options = {"use_dictionary": described, "write_statistics": described, "store_schema": not lean}
    options["write_page_checksum"] = True  # so that a changed byte is noticed when the file is read
    codecs = {**dict.fromkeys(leaves, "zstd"), **vector_codecs}
    with pq.ParquetWriter(sink, schema, compression=codecs, **options) as writer:
        for table in tables:
            writer.write_table(table, ROW_GROUP_ROWS)


def _row_groups(schema: pa.Schema, batches: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The rows in tables of `ROW_GROUP_ROWS` rows; one table without rows where there are none."""
    import pyarrow as pa

    waiting = schema.empty_table()
    for batch in batches:
        waiting = pa.concat_tables([waiting, batch])
        while len(waiting) > ROW_GROUP_ROWS:
            yield waiting.slice(0, ROW_GROUP_ROWS).combine_chunks()  # pages are cut at the ends of chunks
            waiting = waiting.slice(ROW_GROUP_ROWS)
    yield waiting.combine_chunks()


def write_parquet(
    folder: Folder, path: str, table: pa.Table, *, vectors: Sequence[str] = (), lean: bool = False
) -> int:
    """Write a whole table; returns the number of bytes. See `parquet_bytes`."""
    return folder.write_parts(path, parquet_parts(table, vectors=vectors, lean=lean))


def read_parquet(folder: Folder, path: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Read one file. Raises InputError if it is no Parquet file, was changed since it was written, or lacks a column."""
    with open_parquet(folder, path) as file:
        return columns_of(file, folder, path, columns)


def columns_of(file: Any, folder: Folder, path: str, columns: Sequence[str] | None = None) -> pa.Table:
    """What `read_parquet` reads, of a file that `open_parquet` has opened."""
    _require_in(folder, path, file.schema_arrow.names, columns or ())
    threads = file.metadata.num_rows > THREAD_ROWS
    return without_views(file.read(columns=list(columns) if columns is not None else None, use_threads=threads))


@contextlib.contextmanager
def open_parquet(folder: Folder, path: str, *, read_bytes: int | None = None) -> Iterator[Any]:
    """A `pyarrow.parquet.ParquetFile`, closed at the end of the block. Raises InputError for other files.

    With `read_bytes`, this many bytes of a column are read at a time instead of a row group: batches then need little memory.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with folder.open(path) as stream:
            yield pq.ParquetFile(
                stream,
                buffer_size=read_bytes or 0,
                # A store is asked for all parts at once. From a local disk that only makes one thread wait for another.
                pre_buffer=read_bytes is None and not folder.is_local,
                page_checksum_verification=True,
            )
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # the last of these for the name of a column
        raise unreadable(folder, path, f"it is no whole Parquet file ({error})") from error


def read_table(folder: Folder, path: str, filetype: str, columns: Sequence[str]) -> pa.Table:
    """Read the named columns of a Parquet or JSON-lines file."""
    if filetype == "parquet":
        return read_parquet(folder, path, columns)
    import pyarrow as pa
    import pyarrow.json as pj

    data = folder.read_bytes(path)
    if not data.strip():
        return pa.table({name: pa.nulls(0) for name in columns})
    if len(data) >= MAX_JSON_BYTES:
        raise InputError(
            f"{printable(folder.join(path))} has {len(data):,} bytes: JSON lines files must be below 2 GiB each"
        )
    try:
        # One block, as types are inferred from the first block, where vectors may hold integers only.
        table = pj.read_json(io.BytesIO(data), read_options=pj.ReadOptions(block_size=len(data) + 1))
    except pa.ArrowException as error:
        raise unreadable(folder, path, f"it holds no JSON lines ({error})") from error
    require_columns(path, table.column_names, columns)
    return table.select(list(columns))


def read_row_groups(folder: Folder, path: str, row_groups: Sequence[int], columns: Sequence[str]) -> pa.Table:
    """Read some row groups of a Parquet file. Raises InputError as `read_parquet` does."""
    with open_parquet(folder, path) as file:
        _require_in(folder, path, file.schema_arrow.names, columns)
        return without_views(file.read_row_groups(list(row_groups), columns=list(columns)))


def row_group_tables(folder: Folder, path: str, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The row groups of a Parquet file in order, one in memory at a time. Raises InputError as `read_parquet` does."""
    with open_parquet(folder, path) as file:
        _require_in(folder, path, file.schema_arrow.names, columns or ())
        for number in range(file.num_row_groups):
            yield without_views(file.read_row_group(number, columns=None if columns is None else list(columns)))


def without_views(table: pa.Table) -> pa.Table:
    """The table with plain text and bytes in place of the ``_view`` types, which Arrow can neither pick from nor sort."""
    import pyarrow as pa

    plain = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}
    return _recast(table, {field.name: plain[field.type] for field in table.schema if field.type in plain})


def without_dictionaries(table: pa.Table) -> pa.Table:
    """The table with plain values in place of dictionaries, which files of one cluster may number differently."""
    import pyarrow as pa

    dictionaries = (field for field in table.schema if pa.types.is_dictionary(field.type))
    return _recast(table, {field.name: field.type.value_type for field in dictionaries})


def _recast(table: pa.Table, types: dict[str, pa.DataType]) -> pa.Table:
    """The table with other types for some of its columns."""
    for name, kind in types.items():
        at = table.schema.get_field_index(name)
        table = table.set_column(at, table.schema.field(at).with_type(kind), table.column(at).cast(kind))
    return table


def require_columns(path: str, present: Iterable[str], wanted: Iterable[str]) -> None:
    """Raise InputError unless each wanted column is present, and once."""
    names, wanted = list(present), list(wanted)
    missing = [name for name in wanted if name not in names]
    if missing:
        raise InputError(
            f"{printable(path)} has no column {', '.join(map(repr, missing))}; its columns are {', '.join(names)}"
        )
    doubled = [name for name in wanted if names.count(name) > 1]
    if doubled:
        raise InputError(f"{printable(path)} has more than one column {doubled[0]!r}")


def _require_in(folder: Folder, path: str, present: Iterable[str], wanted: Iterable[str]) -> None:
    """As `require_columns`; in a file that one of our stages wrote, the name of a column may be damaged."""
    try:
        require_columns(path, present, wanted)
    except InputError as error:
        if folder.below(STATE).exists():
            raise unreadable(folder, path, error) from error
        raise


def check_filetype(filetype: str) -> None:
    """Raise ParameterError unless vectors can be read from files of this type."""
    if filetype not in FILETYPES:
        raise ParameterError(f"input_filetype ({filetype!r}) must be one of {', '.join(FILETYPES)}")


def check_number_type(name: str, value: str) -> None:
    """Raise ParameterError unless the value is a number type that scripts of the original workflow name."""
    if value not in NUMBER_TYPES:
        raise ParameterError(f"{name} ({value!r}) must be one of {', '.join(NUMBER_TYPES)}")


def data_files(folder: Folder, filetype: str = "parquet", endings: Sequence[str] = ()) -> list[Entry]:
    """The data files below a folder in path order; names that start with ``_`` or ``.`` are not data.

    `endings` replaces the usual endings of the type.

    The version of a file that one of our stages wrote identifies what it was made from. Raises InputError if there are none.
    """
    check_filetype(filetype)
    found = [
        entry
        for entry in folder.entries()
        if entry.path.lower().endswith(tuple(endings) or FILETYPES[filetype])
        and not any(part.startswith("_") for part in entry.path.split("/"))
    ]
    if not found:
        state = "has none" if folder.exists() else "does not exist"
        named = f" with the ending {' or '.join(endings)}" if endings else ""
        raise InputError(f"no {filetype} files{named} to read: {folder.url} {state}. Give the folder that has them")
    versions = recorded_versions(folder)
    return [replace(entry, version=versions.get(entry.path, entry.version)) for entry in found]


def lazy_frame(folder: Folder, paths: Sequence[str]) -> DataFrame:
    """A Dask DataFrame over Parquet files, one partition each, with Arrow types."""
    import dask.dataframe as dd
    import pandas as pd

    if not paths:
        return cast("DataFrame", dd.from_pandas(pd.DataFrame(), npartitions=1))
    with open_parquet(folder, paths[0]) as file:
        meta = without_views(file.schema_arrow.empty_table()).to_pandas(types_mapper=pd.ArrowDtype)
    return cast("DataFrame", dd.from_map(read_frame, list(paths), folder=folder, meta=meta))


def read_frame(path: str, folder: Folder) -> Any:
    """One Parquet file as a pandas DataFrame with Arrow types."""
    import pandas as pd

    return read_parquet(folder, path).to_pandas(types_mapper=pd.ArrowDtype)


def _leaf_paths(schema: pa.Schema) -> list[str]:
    import pyarrow as pa

    def leaves(prefix: str, kind: pa.DataType) -> list[str]:
        if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
            return leaves(f"{prefix}.list.element", kind.value_type)
        return [prefix]

    return cast("list[str]", [leaf for field in schema for leaf in leaves(field.name, field.type)])


def write_arrow(folder: Folder, path: str, table: pa.Table, *, codec: str = "zstd") -> int:
    """Write a table, compressed; returns the number of bytes."""
    return folder.write_bytes(path, arrow_bytes(table, codec=codec))


def arrow_bytes(table: pa.Table, *, codec: str = "zstd") -> bytes:
    """The table as an Arrow file, compressed.

    A table of some kB takes a quarter of the time with ``lz4``, and half as much room again.
    """
    import pyarrow as pa

    options = pa.ipc.IpcWriteOptions(compression=codec, use_threads=table.nbytes > THREAD_BYTES)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema, options=options) as writer:
        writer.write_table(table.combine_chunks())
    return cast("bytes", sink.getvalue().to_pybytes())


def arrow_table(folder: Folder, path: str, data: bytes, columns: Sequence[str] | None = None) -> pa.Table:
    """The table of an Arrow file with these bytes. Raises InputError if they hold none.

    Only the `columns` are unpacked; None: all. One thread does it: for the small tables of units, several cost more.
    """
    import pyarrow as pa

    try:
        fields = columns and sorted(map(pa.ipc.open_file(data).schema.names.index, columns))
        options = pa.ipc.IpcReadOptions(included_fields=fields, use_threads=False)
        return pa.ipc.open_file(data, options=options).read_all()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise unreadable(folder, path, f"it is no whole Arrow file ({error})") from error


def read_unit_tables(
    state: StageState, paths: Iterable[str], columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """The tables that units left beside their markers, in the order given, or some of their columns.

    Raises InputError for one that is not what its unit wrote.
    """
    for path, data, recorded in state.beside_markers(list(paths)):
        if recorded and hash_of(data, like=recorded) != recorded:
            raise unreadable(state.folder, path, "its bytes are not those that were written")
        yield arrow_table(state.folder, path, data, columns)
