"""Write the decisions to files: in parts, on workers; and from these, up to a size, tables and lists of all clips."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.ids import id_texts, sorted_texts
from curator_dask.data.tables import arrow_bytes, parquet_bytes, read_parquet
from curator_dask.files.content_hash import NAMES_CONTENT, hash_of
from curator_dask.files.folder import Folder
from curator_dask.files.id_lists import escaped_lines, safe_cells
from curator_dask.files.layout import (
    DUPLICATES_CSV,
    DUPLICATES_TABLE,
    GROUPS_TABLE,
    KEEP_LIST,
    REMOVE_LIST,
    SINGLE_FILE_ROWS,
    decision_part,
)
from curator_dask.files.names import counted
from curator_dask.runtime.records import digest
from curator_dask.runtime.state import StageState
from curator_dask.runtime.units import Unit, has_work, run_units
from curator_dask.stages.base import RunContext
from curator_dask.stages.identify.decisions.part_files import PartTask, pack, write_part
from curator_dask.stages.identify.decisions.part_rows import PartRows
from curator_dask.stages.identify.decisions.table_rows import TableRows

if TYPE_CHECKING:
    import pyarrow as pa

PART_ROWS = 65_536
"""A part is closed behind the cluster with which it has so many rows."""
PART_VERSION = 1
"""Version of the parts. One that an older version wrote is written anew."""
PART_UNIT = "part-"
"""The keys of the units that write parts begin so."""
DUPLICATES_COLUMNS = (
    *("id", "kept_id", "max_id", "cosine_sim_score", "kept_score", "cluster", "eps", "reason", "source", "start_s"),
    *("end_s", "offset_s", "cover", "kind", "kept_ids"),
)
GROUP_COLUMNS = ("group_id", "id", "cluster", "representative_id", "kept_id", "kept_score")
SINGLE_FILES = (DUPLICATES_TABLE, DUPLICATES_CSV, REMOVE_LIST, GROUPS_TABLE, KEEP_LIST)
THREADS = 2
"""Threads of the client that make the single files, each of which needs the memory of some of them."""


def write_parts(
    context: RunContext, state: StageState, sendings: Sequence[Sending], inputs: Sequence[str],
    send_first_anew: Callable[[], object], *, with_groups: bool = True,
) -> None:  # fmt: skip
    """Write the files of the decisions, where the rows of the parts were sent.

    Args:
        sendings: of all parts.
        inputs: what `send_rows` returned for each.
        send_first_anew: sends the rows of the first part whatever was done before.
    """
    units = [Unit(one.key, made, one.task, one.task.path) for one, made in zip(sendings, inputs, strict=True)]
    _write_parts(context, state, units, send_first_anew)
    below = units[0].task.path.removesuffix(decision_part(0))
    of_all = units[0].task.of_all
    num_rows = of_all[1] if of_all is not None else 0
    publish_single_files(state, [unit.task.path for unit in units], num_rows, below, with_groups=with_groups)


def publish_single_files(
    state: StageState, parts: Sequence[str], num_rows: int, below: str = "", *, with_groups: bool = True
) -> None:
    """Write the tables and lists of all clips, from the parts; or remove them where there are too many rows."""
    if num_rows > SINGLE_FILE_ROWS:
        for name in SINGLE_FILES:
            _unpublish(state, below + name)
        return
    _publish_single_files(state, parts, below, with_groups=with_groups)


def part_inputs(state: StageState) -> dict[str, str]:
    """What the parts that are there were made from, by the keys of their units."""
    return state.done_units(_Parts())


@dataclass(frozen=True)
class Sending:
    """How the rows of one part get to the worker that writes it."""

    state: StageState
    key: str
    task: PartTask
    done: str
    """What the part that is there was made from; "" where there is none."""

    @classmethod
    def of(
        cls, state: StageState, number: int, num_parts: int, rows: TableRows, eps: float, below: str,
        done: Mapping[str, str],
    ) -> Sending:  # fmt: skip
        """For part `number`. `rows` are all rows, `done` what `part_inputs` told."""
        key = f"{PART_UNIT}{number:06d}"
        task = PartTask(
            state.folder, below + decision_part(number), state.beside_marker(key), rows.tables.of_clusters(()),
            rows.id_type, eps, None if number else (num_parts, len(rows)),
        )  # fmt: skip
        return cls(state, key, task, done.get(key, ""))


def send_rows(sending: Sending, part: PartRows) -> str:
    """Write the rows of a part to where the worker finds them, unless they are done; returns their digest."""
    task = sending.task
    data = arrow_bytes(pack(part.columns))
    ids = [one.hex() for one in part.digests]
    inputs = digest(PART_VERSION, hash_of(data, like=NAMES_CONTENT), ids, str(task.id_type), task.eps, task.of_all)
    if sending.done != inputs:
        sending.state.folder.write_bytes(task.rows, data)
    return inputs


def _unpublish(state: StageState, path: str) -> None:
    """Remove a file, if it is one of the stage."""
    if path in state.published():
        state.unpublish(path)


def is_part(key: str) -> bool:
    """Whether a unit writes a part of the decisions."""
    return key.startswith(PART_UNIT)


class _Parts:
    """The keys of all units that write parts."""

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and is_part(key)


def _write_parts(
    context: RunContext, state: StageState, units: Sequence[Unit[PartTask]], send_first_anew: Callable[[], object]
) -> None:
    """Write all parts. The first one comes last: without it there are no parts for readers."""
    done = part_inputs(state)
    state.forget(done.keys() - {unit.key for unit in units})
    first, others = units[:1], units[1:]
    if has_work(state, others) and first[0].key in done:
        state.forget([first[0].key])
        send_first_anew()
    for some in (others, first):
        outcome = run_units(context.cluster, state, some, write_part, reporter=context.reporter, what="parts")
        outcome.raise_failures(f"{counted(len(outcome.failures), 'parts')} of the decisions could not be written")
    for unit in units:
        state.folder.remove(unit.task.rows)


def part_spans(starts: NDArray[np.int64]) -> list[tuple[int, int]]:
    """The first row of each part and the first behind it: whole clusters, until there are 65,536 rows or more.

    >>> part_spans(np.array([0, 40_000, 70_000, 70_007]))
    [(0, 70000), (70000, 70007)]

    Args:
        starts: (C + 1,) the first row of each cluster, and the number of rows.
    """
    spans, start, num_rows = [], 0, int(starts[-1])
    for stop in starts[1:].tolist():
        if stop - start >= PART_ROWS or (stop == num_rows and stop > start):
            spans.append((start, stop))
            start = stop
    return spans or [(0, 0)]


def _publish_single_files(state: StageState, parts: Sequence[str], below: str, *, with_groups: bool) -> None:
    """Write the tables and lists of all clips, from the parts, each of which is read once.

    Reading, sorting and packing are Arrow's, which needs no GIL: two threads do them side by side.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        removed, members, kept = _chosen(state.folder, parts, pool, with_groups=with_groups)
        making = {KEEP_LIST: pool.submit(_id_list, kept)}  # first, as it takes longest
        removed = removed.take(_order(removed["id"], removed["cluster"]))
        making[DUPLICATES_CSV] = pool.submit(_csv, removed)
        if members is not None:
            making[GROUPS_TABLE] = pool.submit(_groups_file, members)
        making[DUPLICATES_TABLE] = pool.submit(parquet_bytes, removed)
        making[REMOVE_LIST] = pool.submit(_id_list, removed["id"])
        for name in SINGLE_FILES:
            if name in making:
                state.publish(below + name, making.pop(name).result())


def _chosen(
    folder: Folder, parts: Sequence[str], pool: ThreadPoolExecutor, *, with_groups: bool
) -> tuple[pa.Table, pa.Table | None, pa.ChunkedArray]:
    """The removed rows of all parts, the members of groups (None without groups), and the ids of kept rows."""
    import pyarrow as pa

    found = list(pool.map(functools.partial(_chosen_in, folder, with_groups=with_groups), parts))
    removed, members, kept = (pa.concat_tables(tables) for tables in zip(*found, strict=True))
    return _with_plain_lists(removed), members if with_groups else None, kept["id"]


def _chosen_in(folder: Folder, path: str, *, with_groups: bool) -> tuple[pa.Table, pa.Table, pa.Table]:
    """As `_chosen`, of one part; without groups, its members have no columns."""
    import pyarrow.compute as pc

    groups = ["removed", "eps", *GROUP_COLUMNS] if with_groups else []
    read = list(dict.fromkeys([*DUPLICATES_COLUMNS, "removed", *groups]))
    part = read_parquet(folder, path, read).replace_schema_metadata(None)
    removed = part.filter(part["removed"]).select(list(DUPLICATES_COLUMNS))
    members = part.filter(pc.is_valid(part["group_id"])) if with_groups else part
    return removed, members.select(groups), part.select(["id"]).filter(pc.invert(part["removed"]))


def _with_plain_lists(table: pa.Table) -> pa.Table:
    """Parquet names what is in a list, and Arrow keeps the name; earlier versions did not write it."""
    import pyarrow as pa

    at = table.schema.get_field_index("kept_ids")
    return table.set_column(at, "kept_ids", table["kept_ids"].cast(pa.list_(table["id"].type)))


def _groups_file(members: pa.Table) -> bytes:
    return parquet_bytes(_groups_table(members))


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


def _order(ids: pa.ChunkedArray, cluster: pa.ChunkedArray) -> pa.Array:
    """The positions that sort rows by cluster, and ids in it as text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    table = pa.table({"cluster": cluster, "id": id_texts(ids)})
    return pc.sort_indices(table, sort_keys=[(name, "ascending") for name in table.column_names])


def _csv(table: pa.Table) -> bytes:
    import pyarrow as pa
    import pyarrow.csv as pc

    cells = [_cells(column) for column in table.itercolumns()]
    sink = pa.BufferOutputStream()  # not a BytesIO: it needs no GIL
    pc.write_csv(pa.table(cells, table.column_names), sink)
    return bytes(sink.getvalue().to_pybytes())


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
