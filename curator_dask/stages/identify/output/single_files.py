"""The tables and lists of all clips, up to a size: each is made from pieces of the parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from curator_dask.data.ids import id_texts, sorted_texts
from curator_dask.data.tables import parquet_bytes
from curator_dask.files.id_lists import escaped_lines, safe_cells
from curator_dask.files.layout import DUPLICATES_CSV, DUPLICATES_TABLE, GROUPS_TABLE, KEEP_LIST, REMOVE_LIST

if TYPE_CHECKING:
    import pyarrow as pa

DUPLICATES_COLUMNS: Final = (
    *("id", "kept_id", "max_id", "cosine_sim_score", "kept_score", "cluster", "eps", "reason", "source", "start_s"),
    *("end_s", "offset_s", "cover", "kind", "kept_ids"),
)
GROUP_COLUMNS: Final = ("removed", "eps", "group_id", "id", "cluster", "representative_id", "kept_id", "kept_score")
COLUMNS: Final = {
    **dict.fromkeys((DUPLICATES_TABLE, DUPLICATES_CSV), (*DUPLICATES_COLUMNS, "removed")),
    **dict.fromkeys((REMOVE_LIST, KEEP_LIST), ("id", "removed")),
    GROUPS_TABLE: GROUP_COLUMNS,
}
"""The columns of a part that each file needs."""


def pieces_of(part: pa.Table, names: Sequence[str]) -> list[bytes]:
    """What the rows of a part give to each of these files."""
    rows = _Rows(part)
    cut: dict[str, Callable[[], bytes]] = {
        DUPLICATES_TABLE: lambda: _packed(rows.removed),
        DUPLICATES_CSV: lambda: _csv(rows.removed),
        REMOVE_LIST: lambda: _packed(rows.removed.select(["id"])),
        GROUPS_TABLE: lambda: _packed(rows.members),
        KEEP_LIST: lambda: _packed(rows.kept),
    }
    return [cut[name]() for name in names]


def file_of(name: str, pieces: Sequence[pa.Buffer]) -> bytes:
    """A file, from the pieces of all parts, in the order of the parts."""
    make: dict[str, Callable[[], bytes]] = {
        DUPLICATES_TABLE: lambda: parquet_bytes(_unpacked(pieces)),
        DUPLICATES_CSV: lambda: b"".join([_heading(), *pieces]),
        REMOVE_LIST: lambda: _id_list(_unpacked(pieces)["id"]),
        GROUPS_TABLE: lambda: parquet_bytes(_groups_table(_unpacked(pieces))),
        KEEP_LIST: lambda: _id_list(_unpacked(pieces)["id"]),
    }
    return make[name]()


class _Rows:
    """Some of the rows of a part."""

    def __init__(self, part: pa.Table) -> None:
        self._part = part.replace_schema_metadata(None)

    @cached_property
    def removed(self) -> pa.Table:
        """By cluster, and ids in it as text: so do the rows of all parts come, as a cluster is in one of them."""
        found = self._part.filter(self._part["removed"]).select(list(DUPLICATES_COLUMNS))
        return _with_plain_lists(found.take(_order(found)))

    @property
    def members(self) -> pa.Table:
        """The rows that are in groups of duplicates."""
        import pyarrow.compute as pc

        return self._part.select(list(GROUP_COLUMNS)).filter(pc.is_valid(self._part["group_id"]))

    @property
    def kept(self) -> pa.Table:
        """The ids of the rows that stay."""
        import pyarrow.compute as pc

        return self._part.select(["id"]).filter(pc.invert(self._part["removed"]))


def _order(rows: pa.Table) -> pa.Array:
    """The positions that sort rows by cluster, and ids in it as text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    table = pa.table({"cluster": rows["cluster"], "id": id_texts(rows["id"])})
    return pc.sort_indices(table, sort_keys=[(name, "ascending") for name in table.column_names])


def _with_plain_lists(table: pa.Table) -> pa.Table:
    """Parquet names what is in a list, and Arrow keeps the name; earlier versions did not write it."""
    import pyarrow as pa

    at = table.schema.get_field_index("kept_ids")
    return table.set_column(at, "kept_ids", table["kept_ids"].cast(pa.list_(table["id"].type)))


def _packed(table: pa.Table) -> bytes:
    """The table as an Arrow stream."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return bytes(sink.getvalue())


def _unpacked(pieces: Sequence[pa.Buffer]) -> pa.Table:
    """The rows of all pieces."""
    import pyarrow as pa

    return pa.concat_tables([pa.ipc.open_stream(piece).read_all() for piece in pieces]).combine_chunks()


def _groups_table(members: pa.Table) -> pa.Table:
    """One row per member of a group. Members come by cluster and rank, and groups are numbered by their first members."""
    import pyarrow as pa
    import pyarrow.compute as pc

    follows = pc.not_equal(id_texts(members["id"]), id_texts(members["representative_id"]))
    order = np.lexsort((np.arange(len(members)), follows.to_numpy(), members["group_id"].to_numpy()))
    members = members.take(pa.array(order))
    has_cosine = pc.and_(pc.is_valid(members["kept_id"]), pc.is_valid(members["eps"]))
    return pa.table(
        {
            "group_id": members["group_id"],
            "id": members["id"],
            "cluster": members["cluster"],
            "kept": pc.invert(members["removed"]),
            "representative_id": members["representative_id"],
            "nearest_kept_id": members["kept_id"],
            "nearest_kept_cosine": pc.if_else(has_cosine, members["kept_score"], pa.scalar(None, pa.float32())),
        }
    )


def _heading() -> bytes:
    """The first line of ``duplicates.csv``."""
    return (",".join(f'"{name}"' for name in DUPLICATES_COLUMNS) + "\n").encode("ascii")


def _csv(table: pa.Table) -> bytes:
    """The lines of rows."""
    import pyarrow as pa
    import pyarrow.csv as pc

    cells = [_cells(column) for column in table.itercolumns()]
    sink = pa.BufferOutputStream()
    pc.write_csv(pa.table(cells, table.column_names), sink, pc.WriteOptions(include_header=False))
    return bytes(sink.getvalue())


def _cells(column: pa.ChunkedArray) -> pa.ChunkedArray:
    import pyarrow as pa

    if pa.types.is_list(column.type):
        return safe_cells(joined_lists(column))
    return column if pa.types.is_primitive(column.type) else safe_cells(id_texts(column))


def _id_list(ids: pa.ChunkedArray) -> bytes:
    """The ids, sorted by their text, one per line."""
    import pyarrow as pa
    import pyarrow.compute as pc

    some = sorted_texts(_one_array(id_texts(ids)))
    lines = _one_array(escaped_lines(pa.chunked_array([some])))
    [text] = pc.binary_join(pa.LargeListArray.from_arrays([0, len(lines)], lines), pa.scalar("\n", lines.type))
    return bytes(text.as_buffer()) + b"\n" if len(lines) else b""


def joined_lists(lists: pa.ChunkedArray) -> pa.ChunkedArray:
    """Lists of ids as texts, with semicolons between the ids. A backslash or semicolon in an id gets a backslash in front."""
    import pyarrow as pa
    import pyarrow.compute as pc

    whole = _one_array(lists)
    texts = _escaped(id_texts(pa.chunked_array([whole.flatten()])))
    lengths = pc.fill_null(pc.list_value_length(whole), 0).to_numpy()
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
    return pa.chunked_array(
        [pc.binary_join(pa.ListArray.from_arrays(offsets, _one_array(texts.cast(pa.string()))), ";")]
    )


def _escaped(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    import pyarrow.compute as pc

    special = r"([\\;])"
    if not pc.any(pc.match_substring_regex(texts, special)).as_py():
        return texts
    return pc.replace_substring_regex(texts, special, r"\\\1")


def _one_array(values: pa.ChunkedArray) -> pa.Array:
    import pyarrow as pa

    return pa.concat_arrays(values.chunks) if values.num_chunks else pa.array([], values.type)
