"""The files that decisions end in: the table of duplicates, the groups, and the lists of ids."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.clip_index import read_clip_index
from curator_dask.data.tables import parquet_bytes
from curator_dask.files.folder import Folder
from curator_dask.runtime.state import StageState
from curator_dask.stages.identify.join_decisions import Decisions

if TYPE_CHECKING:
    import pyarrow as pa

TABLE = "duplicates.parquet"
CSV = "duplicates.csv"
GROUPS = "groups.parquet"
KEEP = "keep.txt"
REMOVE = "remove.txt"


def write_decisions(
    state: StageState, found: Decisions, clips: Folder | None, *, below: str = "", with_groups: bool = True
) -> None:
    """Publish the files of the decisions; unchanged ones are left alone. `below` is a prefix, such as ``duplicates/``."""
    table = _duplicates_table(found, clips)
    state.publish(below + TABLE, parquet_bytes(table))
    state.publish(below + CSV, _csv(table))
    if with_groups:
        state.publish(below + GROUPS, parquet_bytes(_groups_table(found)))
    state.publish(below + KEEP, _lines(found.ids, ~found.removed))
    state.publish(below + REMOVE, _lines(found.ids, found.removed))


def _duplicates_table(found: Decisions, clips: Folder | None) -> pa.Table:
    """One row a removed row, by cluster and id."""
    import pyarrow as pa

    rows = np.flatnonzero(found.removed)
    rows = rows[_order(found.ids.take(pa.array(rows)), found.cluster[rows])]
    some = pa.array(rows)
    kind = _kind(found.ids)
    ids = found.ids.take(some)
    return pa.table(
        {
            "id": ids.cast(kind),
            "kept_id": found.kept_ids.take(some).cast(kind),
            "max_id": found.max_ids.take(some).cast(kind),
            "cosine_sim_score": found.cosine[rows],
            "kept_score": found.kept_score[rows],
            "cluster": found.cluster[rows],
            "eps": np.full(len(rows), float(found.rule.eps)),
            "reason": pa.repeat("near-duplicate", len(rows)),
            **_sources(ids, clips),
        }
    )


def _sources(ids: pa.ChunkedArray, clips: Folder | None) -> dict[str, pa.ChunkedArray]:
    """Where the rows come from, by the clip index; nothing of rows that it does not hold."""
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = {"source_video": pa.scalar(""), "start_s": pa.scalar(0.0), "end_s": pa.scalar(0.0)}
    if clips is None:
        values = {name: pa.chunked_array([pa.repeat(nothing, len(ids))]) for name, nothing in columns.items()}
    else:
        index = read_clip_index(clips).select(["id", *columns])
        place = pc.index_in(ids.cast(pa.large_string()), value_set=index["id"].cast(pa.large_string()))
        values = {name: pc.fill_null(index[name].take(place), nothing) for name, nothing in columns.items()}
    return {"source": values["source_video"], "start_s": values["start_s"], "end_s": values["end_s"]}


def _groups_table(found: Decisions) -> pa.Table:
    """One row a member of a group; numbered by the cluster and the rank of their first members."""
    import pyarrow as pa
    import pyarrow.compute as pc

    rows, first = found.grouped()
    kind, some = _kind(found.ids), pa.array(rows)
    kept_ids = found.kept_ids.take(some)
    has_kept = pc.is_valid(kept_ids)
    return pa.table(
        {
            "group_id": np.cumsum(np.diff(first, prepend=-1) != 0) - 1,
            "id": found.ids.take(some).cast(kind),
            "cluster": found.cluster[rows],
            "kept": ~found.removed[rows],
            "representative_id": found.ids.take(pa.array(first)).cast(kind),
            "nearest_kept_id": kept_ids.cast(kind),
            "nearest_kept_cosine": pc.if_else(
                has_kept, pa.array(found.kept_score[rows]), pa.scalar(None, pa.float32())
            ),
        }
    )


def _kind(ids: pa.ChunkedArray) -> pa.DataType:
    """As ids are written."""
    import pyarrow as pa

    return pa.string() if pa.types.is_large_string(ids.type) else ids.type


def _order(ids: pa.ChunkedArray, cluster: NDArray[np.int64] | None = None) -> pa.Array:
    """The order of ids as text, of those of a cluster where there are several."""
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = {} if cluster is None else {"cluster": pa.array(cluster)}
    table = pa.table({**columns, "id": ids.cast(pa.large_string())})
    return pc.sort_indices(table, sort_keys=[(name, "ascending") for name in table.column_names])


def _csv(table: pa.Table) -> bytes:
    import pyarrow.csv as pc

    sink = io.BytesIO()
    pc.write_csv(table, sink)
    return sink.getvalue()


def _lines(ids: pa.ChunkedArray, chosen: NDArray[np.bool_]) -> bytes:
    """The chosen ids, sorted, one a line."""
    import pyarrow as pa
    import pyarrow.compute as pc

    some = ids.filter(pa.array(chosen)).cast(pa.large_string())
    nothing, end = (pa.scalar(text, pa.large_string()) for text in ("", "\n"))
    text = pc.binary_join_element_wise(some.take(_order(some)), nothing, end)
    return b"".join(_text(chunk) for chunk in text.chunks)


def _text(strings: pa.LargeStringArray) -> bytes:
    """All strings of an array, one after the other: what its buffer holds."""
    _, offsets, data = strings.buffers()
    starts = np.frombuffer(offsets, np.int64)[strings.offset : strings.offset + len(strings) + 1]
    return data[int(starts[0]) : int(starts[-1])].to_pybytes() if len(strings) and data is not None else b""
