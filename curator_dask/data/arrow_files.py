"""Arrow IPC files that a stage writes for itself: tables that no user needs and that are read whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from curator_dask.errors import InputError
from curator_dask.files.folder import Folder

if TYPE_CHECKING:
    import pyarrow as pa


def write_arrow(folder: Folder, path: str, table: pa.Table) -> int:
    """Write a table, compressed; returns the number of bytes."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table.combine_chunks())
    return folder.write_bytes(path, sink.getvalue().to_pybytes())


def read_arrow_tables(folder: Folder, paths: Iterable[str]) -> Iterator[pa.Table]:
    """The tables of files, in the order of their paths. Raises InputError for one that cannot be read."""
    import pyarrow as pa

    for path, data in folder.read_many(sorted(paths)):
        try:
            yield pa.ipc.open_file(data).read_all()
        except pa.ArrowException as error:
            raise InputError(f"{folder.join(path)} is damaged ({error}): remove it and run again") from error
