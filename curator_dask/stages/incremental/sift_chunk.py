"""Find the new rows of a chunk, on a worker: those whose ids the finished run does not know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from curator_dask.data.ids import id_column, one_type, stored
from curator_dask.data.tables import write_parquet
from curator_dask.data.vector_source import Piece, read_columns, read_rows
from curator_dask.stages.incremental.finished.id_buckets import read_known_rows, write_ids
from curator_dask.stages.incremental.spec import Sifted, SiftTask

if TYPE_CHECKING:
    import pyarrow as pa


def sift_chunk(task: SiftTask, found: tuple[str, ...]) -> Sifted:
    """On a worker: find the rows of a chunk that are not known. If some are known, copy its files without them.

    `found` are the files of `write_known_rows`. The ids of the new rows go to the file `new_ids_file` of the task's folder.
    """
    known = read_known_rows(task.ids, found, task.number)
    rows = read_rows(task.source, task.chunk)
    ids = rows.ids.filter(_invert(_is_known(rows.ids, known)))
    write_ids(task.ids, new_ids_file(task.number), ids, task.num_buckets)
    num_known = len(rows.ids) - len(ids)
    if not num_known:
        return Sifted(task.chunk, False, len(ids), 0, rows.rejects)
    pieces = tuple(_copy_new_rows(task, number, piece, known) for number, piece in enumerate(task.chunk))
    return Sifted(pieces, True, len(ids), num_known, rows.rejects)


def new_ids_file(chunk: int) -> str:
    """The file of the ids of a chunk's new rows."""
    return f"new-{chunk:06d}"


def _copy_new_rows(task: SiftTask, number: int, piece: Piece, known: pa.Array) -> Piece:
    source = task.source
    # Not normalised: a vector that is normalised twice could differ in its last bit.
    table = read_columns(source, piece, source.columns)
    path = f"{task.number:06d}-{number:06d}.parquet"
    new = table.filter(_invert(_is_known(id_column(table, source.id_field), known)))
    write_parquet(task.output, path, new, vectors=[source.embedding_field])
    return Piece(path)


def _is_known(ids: pa.Array, known: pa.Array) -> Any:
    import pyarrow.compute as pc

    if not len(ids) or not len(known):
        return pc.is_in(stored(ids), value_set=stored(ids).slice(0, 0))
    new, old = map(stored, one_type([ids, known]))
    return pc.is_in(new, value_set=old)


def _invert(mask: Any) -> Any:
    import pyarrow.compute as pc

    return pc.invert(mask)
