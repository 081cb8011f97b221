"""Write the decisions to files: all of them in parts; as single files the table of duplicates, the groups and lists of ids."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.clip_index import read_clip_index
from curator_dask.data.ids import id_texts
from curator_dask.data.tables import parquet_bytes
from curator_dask.files.folder import Folder
from curator_dask.files.id_lists import escaped_lines, safe_cells
from curator_dask.files.layout import (
    DECISIONS,
    DUPLICATES_CSV,
    DUPLICATES_TABLE,
    GROUPS_TABLE,
    KEEP_LIST,
    REMOVE_LIST,
    SINGLE_FILE_ROWS,
    decision_part,
)
from curator_dask.runtime.state import StageState
from curator_dask.stages.identify.decisions.covering_columns import covering_columns, joined_lists, reasons
from curator_dask.stages.identify.decisions.join_decisions import Decisions

if TYPE_CHECKING:
    import pyarrow as pa

PART_ROWS = 65_536
"""A part is closed behind the cluster with which it has so many rows."""


def write_decisions(
    state: StageState, decisions: Decisions, clips: Folder | None, *, below: str = "", with_groups: bool = True
) -> None:
    """Write the files of the decisions; unchanged ones are left alone. `below` is a prefix of their paths: ``duplicates/``.

    The single files are left out where there are more than `SINGLE_FILE_ROWS` clips.
    """
    table = _duplicates_table(decisions, clips)
    _publish_parts(state, decisions, table, below, with_groups=with_groups)
    if len(decisions.removed) > SINGLE_FILE_ROWS:
        for name in (DUPLICATES_TABLE, DUPLICATES_CSV, GROUPS_TABLE, KEEP_LIST, REMOVE_LIST):
            _unpublish(state, below + name)
        return
    table = table.take(_order(table["id"], table["cluster"].to_numpy()))
    state.publish(below + DUPLICATES_TABLE, parquet_bytes(table))
    state.publish(below + DUPLICATES_CSV, _csv(table))
    if with_groups:
        state.publish(below + GROUPS_TABLE, parquet_bytes(_groups_table(decisions)))
    state.publish(below + KEEP_LIST, _id_list(decisions.ids, ~decisions.removed))
    state.publish(below + REMOVE_LIST, _id_list(decisions.ids, decisions.removed))


def _unpublish(state: StageState, path: str) -> None:
    """Remove a file, if it is one of the stage."""
    if path in state.published():
        state.unpublish(path)


def _publish_parts(
    state: StageState, decisions: Decisions, duplicates: pa.Table, below: str, *, with_groups: bool
) -> None:
    """Write all rows in parts; `duplicates` are the removed ones, in their order."""
    groups = _groups_of_rows(decisions) if with_groups else None
    spans = part_spans(decisions.cluster)
    for number, (start, stop) in enumerate(spans):
        table = _part_table(decisions, duplicates, groups, start, stop)
        state.publish(below + decision_part(number), parquet_bytes(table))
    written = {below + decision_part(number) for number in range(len(spans))}
    for path in [path for path in state.published() if path.startswith(f"{below}{DECISIONS}/")]:
        if path not in written:
            state.unpublish(path)


def part_spans(cluster: NDArray[np.int64]) -> list[tuple[int, int]]:
    """The first row of each part and the first behind it: whole clusters, until there are 65,536 rows or more.

    >>> part_spans(np.repeat([0, 1, 5], [40_000, 30_000, 7]))
    [(0, 70000), (70000, 70007)]
    """
    stops = np.append(np.flatnonzero(np.diff(cluster)) + 1, len(cluster)).tolist()
    spans, start = [], 0
    for stop in stops:
        if stop - start >= PART_ROWS or stop == stops[-1]:
            spans.append((start, stop))
            start = stop
    return spans


Groups = tuple[NDArray[np.int64], NDArray[np.int64]]
"""(N,) each: the number of the group of each row, and the row that leads it; -1 for a row in none."""


def _groups_of_rows(decisions: Decisions) -> Groups:
    rows, first = decisions.rows_in_groups()
    number, leader = np.full((2, len(decisions.removed)), -1)
    number[rows], leader[rows] = np.cumsum(np.diff(first, prepend=-1) != 0) - 1, first
    return number, leader


def _part_table(decisions: Decisions, duplicates: pa.Table, groups: Groups | None, start: int, stop: int) -> pa.Table:
    """The rows from start to stop; see `data.decisions.read_decisions.decision_columns`."""
    import pyarrow as pa

    removed = decisions.removed[start:stop]
    first = int(np.count_nonzero(decisions.removed[:start]))
    table = duplicates.take(pa.array(first + np.cumsum(removed) - 1, mask=~removed))
    number, leader = (np.full(stop - start, -1),) * 2 if groups is None else (one[start:stop] for one in groups)
    columns = {name: table[name] for name in table.column_names}
    columns |= {
        "id": decisions.ids.slice(start, stop - start).cast(decisions.id_type),
        "cluster": pa.array(decisions.cluster[start:stop]),
        "cosine_sim_score": pa.array(decisions.cosine[start:stop]),
        "group_id": pa.array(number, mask=number < 0),
        "representative_id": decisions.ids.take(pa.array(leader, mask=leader < 0)).cast(decisions.id_type),
    }
    return pa.table({"id": columns.pop("id"), "removed": removed, **columns})


def _duplicates_table(decisions: Decisions, clips: Folder | None) -> pa.Table:
    """One line per removed row, by cluster and rank."""
    import pyarrow as pa

    rows = np.flatnonzero(decisions.removed)
    some = pa.array(rows)
    kind = decisions.id_type
    ids = decisions.ids.take(some)
    return pa.table(
        {
            "id": ids.cast(kind),
            "kept_id": decisions.kept_ids.take(some).cast(kind),
            "max_id": decisions.max_ids.take(some).cast(kind),
            "cosine_sim_score": decisions.cosine[rows],
            "kept_score": decisions.kept_score[rows],
            "cluster": decisions.cluster[rows],
            "eps": _eps(decisions, rows),
            "reason": reasons(decisions, rows),
            **_sources(ids, clips),
            **covering_columns(decisions, rows),
        }
    )


def _eps(decisions: Decisions, rows: NDArray[np.int64]) -> pa.Array:
    """The eps that the rows were decided by; nulls where the rule that has none decided."""
    import pyarrow as pa

    return pa.array(np.full(len(rows), decisions.rule.eps, np.float64), mask=~decisions.has_eps()[rows])


def _sources(ids: pa.ChunkedArray, clips: Folder | None) -> dict[str, pa.ChunkedArray]:
    """Source, start and end of rows from the clip index; empty values for rows that it does not hold."""
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = {"source_video": pa.scalar(""), "start_s": pa.scalar(0.0), "end_s": pa.scalar(0.0)}
    if clips is None:
        values = {name: pa.chunked_array([pa.repeat(nothing, len(ids))]) for name, nothing in columns.items()}
    else:
        index = read_clip_index(clips).select(["id", *columns])
        place = pc.index_in(id_texts(ids), value_set=index["id"].cast(pa.large_string()))
        values = {name: pc.fill_null(index[name].take(place), nothing) for name, nothing in columns.items()}
    return {"source": values["source_video"], "start_s": values["start_s"], "end_s": values["end_s"]}


def source_videos(ids: pa.ChunkedArray, clips: Folder) -> pa.ChunkedArray:
    """The source videos of rows from the clip index; null for rows that it does not hold."""
    import pyarrow as pa
    import pyarrow.compute as pc

    index = read_clip_index(clips).select(["id", "source_video"])
    place = pc.index_in(id_texts(ids), value_set=index["id"].cast(pa.large_string()))
    return index["source_video"].take(place)


def _groups_table(decisions: Decisions) -> pa.Table:
    """One row per member of a group. Groups are numbered in the order of cluster and rank of their first members."""
    import pyarrow as pa
    import pyarrow.compute as pc

    rows, first = decisions.rows_in_groups()
    kind, some = decisions.id_type, pa.array(rows)
    kept_ids = decisions.kept_ids.take(some)
    has_cosine = pc.and_(pc.is_valid(kept_ids), pa.array(decisions.has_eps()[rows]))
    return pa.table(
        {
            "group_id": np.cumsum(np.diff(first, prepend=-1) != 0) - 1,
            "id": decisions.ids.take(some).cast(kind),
            "cluster": decisions.cluster[rows],
            "kept": ~decisions.removed[rows],
            "representative_id": decisions.ids.take(pa.array(first)).cast(kind),
            "nearest_kept_id": kept_ids.cast(kind),
            "nearest_kept_cosine": pc.if_else(
                has_cosine, pa.array(decisions.kept_score[rows]), pa.scalar(None, pa.float32())
            ),
        }
    )


def _order(ids: pa.ChunkedArray, cluster: NDArray[np.int64] | None = None) -> pa.Array:
    """The positions that sort ids as text, or by cluster and then as text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = {} if cluster is None else {"cluster": pa.array(cluster)}
    table = pa.table({**columns, "id": id_texts(ids)})
    return pc.sort_indices(table, sort_keys=[(name, "ascending") for name in table.column_names])


def _csv(table: pa.Table) -> bytes:
    import pyarrow as pa
    import pyarrow.csv as pc

    cells = [_cells(column) for column in table.itercolumns()]
    sink = io.BytesIO()
    pc.write_csv(pa.table(cells, table.column_names), sink)
    return sink.getvalue()


def _cells(column: pa.ChunkedArray) -> pa.ChunkedArray:
    import pyarrow as pa

    if pa.types.is_list(column.type):
        return safe_cells(joined_lists(column))
    return column if pa.types.is_primitive(column.type) else safe_cells(id_texts(column))


def _id_list(ids: pa.ChunkedArray, chosen: NDArray[np.bool_]) -> bytes:
    """The chosen ids, sorted by their text, one per line."""
    import pyarrow as pa
    import pyarrow.compute as pc

    some = id_texts(ids.filter(pa.array(chosen)))
    nothing, end = (pa.scalar(text, pa.large_string()) for text in ("", "\n"))
    text = pc.binary_join_element_wise(escaped_lines(some.take(_order(some))), nothing, end)
    return b"".join(_text(chunk) for chunk in text.chunks)


def _text(strings: pa.LargeStringArray) -> bytes:
    """All strings of an array, one after the other, copied from its buffer."""
    _, offsets, data = strings.buffers()
    starts = np.frombuffer(offsets, np.int64)[strings.offset : strings.offset + len(strings) + 1]
    return data[int(starts[0]) : int(starts[-1])].to_pybytes() if len(strings) and data is not None else b""
