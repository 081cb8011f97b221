"""Read the decisions of the identify stage, a bounded number of rows at a time.

They lie in ``decisions/part-000000.parquet`` …, one row per clip, kept ones too. Outputs of earlier versions have none of
these files: their decisions are read from ``keep.txt``, ``remove.txt``, ``duplicates.parquet`` and ``groups.parquet``.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from curator_dask.data.decisions.edited_list import list_was_edited
from curator_dask.data.ids import id_list, id_texts, plain_ids
from curator_dask.data.tables import open_parquet, read_parquet, unreadable, without_views
from curator_dask.files import layout
from curator_dask.files.entries.entry import Entry
from curator_dask.files.folder import Folder
from curator_dask.files.id_lists import read_id_list

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_AT_ONCE = 65_536
_IDS = ("id", "kept_id", "max_id", "representative_id")
_IDS_IN_LISTS = "kept_ids"


def decision_columns() -> pa.Schema:
    """The columns of a part, in order, with ids as texts. All but the first two and ``cluster`` may be null.

    ``id``; ``removed``; ``group_id`` and ``representative_id`` (null for a clip in no group); the others are those of
    ``duplicates.parquet``, null for kept clips, but for ``cluster`` and ``cosine_sim_score``.
    """
    import pyarrow as pa

    text, number = pa.large_string(), pa.float64()
    return pa.schema(
        [
            ("id", text), ("removed", pa.bool_()), ("kept_id", text), ("max_id", text),
            ("cosine_sim_score", pa.float32()), ("kept_score", pa.float32()), ("cluster", pa.int64()), ("eps", number),
            ("reason", pa.string()), ("source", pa.string()), ("start_s", number), ("end_s", number),
            ("offset_s", number), ("cover", number), ("kind", pa.string()), ("kept_ids", pa.list_(text)),
            ("group_id", pa.int64()), ("representative_id", text),
        ]
    )  # fmt: skip


def has_decisions(folder: Folder) -> bool:
    """Whether a folder, the output of identify, holds decisions on clips: parts, or a list of kept ids."""
    return folder.exists(layout.decision_part(0)) or folder.exists(layout.KEEP_LIST)


def extent(num_parts: int, num_rows: int) -> dict[bytes, bytes]:
    """What the schema metadata of the first part says of all parts. It is written last: without it, there are no parts."""
    return {b"num_parts": b"%d" % num_parts, b"num_rows": b"%d" % num_rows}


def decision_parts(folder: Folder) -> list[str]:
    """The paths of the parts, in order. Raises InputError for a damaged first part.

    There are none in an output of an earlier version, and none count where a person changed ``keep.txt``.
    """
    return _parts(folder)[0]


def _parts(folder: Folder) -> tuple[list[str], int]:
    """The paths of the parts, and the number of their rows."""
    first = layout.decision_part(0)
    if not folder.exists(first) or list_was_edited(folder):
        return [], 0
    with open_parquet(folder, first) as file:
        found = file.schema_arrow.metadata or {}
    num_parts, num_rows = (found.get(name, b"") for name in (b"num_parts", b"num_rows"))
    if not num_parts.isdigit() or not num_rows.isdigit():
        raise unreadable(folder, first, "it does not say how many parts and rows there are")
    return [layout.decision_part(at) for at in range(int(num_parts))], int(num_rows)


def part_entries(folder: Folder) -> list[Entry]:
    """The files of the parts, in order."""
    return [entry for entry in folder.entries(layout.DECISIONS) if entry.path.endswith(".parquet")]


def decision_batches(folder: Folder, columns: Sequence[str], *, texts: bool = True) -> Iterator[pa.Table]:
    """The decisions as tables of at most 65,536 rows, by cluster and rank; see `decision_columns`.

    A folder without parts gives its kept clips and then its removed ones, as far as its lists and tables name them. The
    columns that these do not have are null. It gives nothing if there are none; ask `has_decisions` first.

    Args:
        columns: those to read.
        texts: ids as texts (`id_texts`). False: as they are stored; those of lists are texts all the same.

    Raises InputError for a file that cannot be read.
    """
    parts, num_rows = _parts(folder)
    batches = _batches_of_parts(folder, parts, num_rows, columns) if parts else _batches_of_lists(folder, columns)
    for batch in batches:
        yield with_id_texts(batch) if texts else batch


def _batches_of_parts(
    folder: Folder, parts: Sequence[str], num_rows: int, columns: Sequence[str]
) -> Iterator[pa.Table]:
    """The rows of all parts. Raises InputError at the end where they are more or fewer than were written."""
    found = 0
    for path in parts:
        for batch in parquet_batches(folder, path, columns):
            found += len(batch)
            yield batch
    if found != num_rows:
        raise unreadable(folder, parts[0], f"the parts have {found:,} rows in place of {num_rows:,}")


def ids_left_out(folder: Folder) -> Iterator[pa.Array]:
    """The ids, as texts, of the clips that were removed, and of those that filters dropped."""
    yield from removed_texts(folder)
    yield from dropped_texts(folder)


def dropped_texts(folder: Folder) -> Iterator[pa.Array]:
    """The ids, as texts, of the clips that filters dropped."""
    import pyarrow as pa

    if folder.exists(layout.DROP_LIST):
        yield pa.array(read_id_list(folder.read_bytes(layout.DROP_LIST)), pa.large_string())


def removed_texts(folder: Folder) -> Iterator[pa.Array]:
    """The ids, as texts, of the clips that were removed."""
    for batch in decision_batches(folder, ["id", "removed"]):
        yield from batch.filter(batch["removed"])["id"].chunks


def kept_by_cluster(folder: Folder) -> Iterator[tuple[int, list[str]]]:
    """The number of each cluster, ascending, with the texts of its kept ids, in ranked order; for folders with parts."""
    runs = (run for batch in decision_batches(folder, ["id", "removed", "cluster"]) for run in _kept_runs(batch))
    for cluster, some in itertools.groupby(runs, key=operator.itemgetter(0)):
        yield cluster, [one for _, ids in some for one in ids]


def _kept_runs(batch: pa.Table) -> Iterator[tuple[int, list[str]]]:
    """The kept ids of each cluster of a batch."""
    import pyarrow.compute as pc

    kept = batch.filter(pc.invert(batch["removed"]))
    cluster, ids = kept["cluster"].to_numpy(), kept["id"].to_pylist()
    starts = np.flatnonzero(np.diff(cluster, prepend=-1)).tolist()
    for start, stop in itertools.pairwise([*starts, len(ids)]):
        yield int(cluster[start]), ids[start:stop]


@dataclass(frozen=True)
class Part:
    """Which clusters a part holds."""

    path: str
    lowest: int
    highest: int


def clusters_of_parts(folder: Folder) -> list[Part]:
    """All parts that have rows, with the lowest and the highest cluster of each. Raises InputError for a damaged one."""
    return [part for path in decision_parts(folder) if (part := _clusters_of(folder, path)) is not None]


def _clusters_of(folder: Folder, path: str) -> Part | None:
    """The part, with its clusters; None if it has no rows."""
    import pyarrow.compute as pc

    # The statistics in its footer would say this too, but Arrow ends the process where these are damaged.
    limits = [pc.min_max(batch["cluster"]).as_py() for batch in parquet_batches(folder, path, ["cluster"])]
    lowest, highest = ([one[end] for one in limits] for end in ("min", "max"))
    if None in lowest:
        raise unreadable(folder, path, "rows of it have no cluster")
    return Part(path, min(lowest), max(highest)) if limits else None


def removed_in_cluster(folder: Folder, parts: Sequence[Part], cluster: int) -> list[Any]:
    """The ids of the removed rows of one cluster, as Python values (int, str or bytes). `parts` are those of the folder."""
    import pyarrow.compute as pc

    found: list[Any] = []
    for part in parts:
        if part.lowest <= cluster <= part.highest:
            table = read_parquet(folder, part.path, ["id", "cluster", "removed"])
            own = table.filter((pc.field("cluster") == cluster) & pc.field("removed"))
            found += id_list(plain_ids(own["id"]))
    return found


def parquet_batches(folder: Folder, path: str, columns: Sequence[str]) -> Iterator[pa.Table]:
    """The columns of one Parquet file, at most 65,536 rows at a time. Raises InputError if it cannot be read."""
    import pyarrow as pa

    with open_parquet(folder, path) as file:
        if missing := set(columns) - set(file.schema_arrow.names):
            raise unreadable(folder, path, f"it has no column {', '.join(map(repr, sorted(missing)))}")
        for batch in file.iter_batches(ROWS_AT_ONCE, columns=list(columns)):
            yield without_views(pa.table(batch)).select(list(columns))


def with_id_texts(table: pa.Table) -> pa.Table:
    """The table with all ids as texts."""
    for at, name in enumerate(table.column_names):
        if name in _IDS:
            table = table.set_column(at, name, id_texts(plain_ids(table[name])))
        elif name == _IDS_IN_LISTS:
            table = table.set_column(at, name, _lists_of_texts(table[name]))
    return table


def _lists_of_texts(lists: pa.ChunkedArray) -> pa.ChunkedArray:
    import pyarrow as pa

    whole = lists.combine_chunks()
    if pa.types.is_null(whole.type):
        return pa.chunked_array([whole.cast(pa.list_(pa.large_string()))])
    values = id_texts(pa.chunked_array([plain_ids(whole.flatten())])).combine_chunks()
    lengths = whole.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    offsets = pa.array([0, *lengths.cumsum().tolist()], pa.int32())
    return pa.chunked_array([pa.ListArray.from_arrays(offsets, values, mask=whole.is_null())])


def _batches_of_lists(folder: Folder, columns: Sequence[str]) -> Iterator[pa.Table]:
    """The decisions of an output of an earlier version, or of one whose lists a person changed.

    What ``keep.txt`` names is kept, whatever the other files say.
    """
    group_of = _groups(folder) if {"group_id", "representative_id"} & set(columns) else {}
    kept = read_id_list(folder.read_bytes(layout.KEEP_LIST)) if folder.exists(layout.KEEP_LIST) else []
    yield from _listed(kept, columns, group_of, removed=False)
    if folder.exists(layout.DUPLICATES_TABLE):
        with open_parquet(folder, layout.DUPLICATES_TABLE) as file:
            there = [name for name in decision_columns().names if name in file.schema_arrow.names]
        for batch in parquet_batches(folder, layout.DUPLICATES_TABLE, there):
            yield _completed(_without(kept, batch), columns, group_of, removed=True)
    elif folder.exists(layout.REMOVE_LIST):
        known = set(kept)
        removed = [one for one in read_id_list(folder.read_bytes(layout.REMOVE_LIST)) if one not in known]
        yield from _listed(removed, columns, group_of, removed=True)


def _without(ids: list[str], rows: pa.Table) -> pa.Table:
    """The rows with other ids than these."""
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = id_texts(plain_ids(rows["id"]))
    return rows.filter(pc.invert(pc.is_in(texts, value_set=pa.array(ids, texts.type))))


Groups = dict[str, tuple[int, str]]
"""Id → its group, and the clip that represents it."""


def _groups(folder: Folder) -> Groups:
    if not folder.exists(layout.GROUPS_TABLE):
        return {}
    table = with_id_texts(read_parquet(folder, layout.GROUPS_TABLE, ["id", "group_id", "representative_id"]))
    ids, numbers, leaders = (column.to_pylist() for column in table.itercolumns())
    return dict(zip(ids, zip(numbers, leaders, strict=True), strict=True))


def _listed(ids: list[str], columns: Sequence[str], group_of: Groups, *, removed: bool) -> Iterator[pa.Table]:
    """The ids of a list, as decisions."""
    import pyarrow as pa

    for start in range(0, len(ids), ROWS_AT_ONCE):
        some = pa.array(ids[start : start + ROWS_AT_ONCE], pa.large_string())
        yield _completed(pa.table({"id": some}), columns, group_of, removed=removed)


def _completed(table: pa.Table, columns: Sequence[str], group_of: Groups, *, removed: bool) -> pa.Table:
    """The wanted columns; those that the table does not have are null."""
    import pyarrow as pa

    found: dict[str, Any] = {name: table[name] for name in table.column_names}
    found["removed"] = pa.repeat(removed, len(table))
    if group_of:
        texts = id_texts(plain_ids(table["id"])).to_pylist()
        pairs = [group_of.get(one, (None, None)) for one in texts]
        found["group_id"] = pa.array([number for number, _ in pairs], pa.int64())
        found["representative_id"] = pa.array([leader for _, leader in pairs], pa.large_string())
    schema = decision_columns()
    return pa.table(
        {name: found[name] if name in found else pa.nulls(len(table), schema.field(name).type) for name in columns}
    )
