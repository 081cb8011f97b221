"""The files that decisions end in: the table of duplicates, the groups, and the lists of ids."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from curator_dask.stages.across_clusters import Decisions
from curator_dask.stages.clip_index import read_clip_index
from curator_dask.state import StageState
from curator_dask.storage import Folder
from curator_dask.tables import parquet_bytes

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
    removed = sorted(found.removed.values(), key=lambda row: (row["cluster"], str(row["id"])))
    _add_sources(removed, clips)
    table = _duplicates_table(removed)
    state.publish(below + TABLE, parquet_bytes(table))
    state.publish(below + CSV, _csv(table))
    if with_groups:
        state.publish(below + GROUPS, parquet_bytes(_groups_table(found)))
    state.publish(below + KEEP, _lines(found.kept))
    state.publish(below + REMOVE, _lines(found.removed))


def _add_sources(removed: list[dict[str, Any]], clips: Folder | None) -> None:
    known: dict[str, tuple[str, float, float]] = {}
    if clips is not None:
        index = read_clip_index(clips).select(["id", "source_video", "start_s", "end_s"])
        wanted = {row["id"] for row in removed}
        known = {
            identifier: (source, start_s, end_s)
            for identifier, source, start_s, end_s in zip(
                *(column.to_pylist() for column in index.columns), strict=True
            )
            if identifier in wanted
        }
    for row in removed:
        row["source"], row["start_s"], row["end_s"] = known.get(str(row["id"]), ("", 0.0, 0.0))


def _duplicates_table(rows: list[dict[str, Any]]) -> pa.Table:
    import pyarrow as pa

    kind = _id_type([row["id"] for row in rows[:1]])
    schema = pa.schema(
        [
            ("id", kind),
            ("kept_id", kind),
            ("max_id", kind),
            ("cosine_sim_score", pa.float32()),
            ("kept_score", pa.float32()),
            ("cluster", pa.int64()),
            ("eps", pa.float64()),
            ("reason", pa.string()),
            ("source", pa.string()),
            ("start_s", pa.float64()),
            ("end_s", pa.float64()),
        ]
    )
    return pa.Table.from_pylist(rows, schema=schema)


def _groups_table(found: Decisions) -> pa.Table:
    """One row a member of a group; numbered by the cluster and the rank of their first members."""
    import pyarrow as pa

    ids = [one for members in found.groups for one in members]
    kind = _id_type(ids[:1])
    gone = [found.removed.get(one, {"kept_id": None, "kept_score": None}) for one in ids]
    cosines = [row["kept_score"] if row["kept_id"] is not None else None for row in gone]
    return pa.table(
        {
            "group_id": pa.array([number for number, group in enumerate(found.groups) for _ in group], pa.int64()),
            "id": pa.array(ids, kind),
            "cluster": pa.array([found.cluster_of(one) for one in ids], pa.int64()),
            "kept": pa.array([one in found.kept for one in ids], pa.bool_()),
            "representative_id": pa.array([group[0] for group in found.groups for _ in group], kind),
            "nearest_kept_id": pa.array([row["kept_id"] for row in gone], kind),
            "nearest_kept_cosine": pa.array(cosines, pa.float32()),
        }
    )


def _id_type(some_ids: Sequence[Any]) -> pa.DataType:
    import pyarrow as pa

    return pa.int64() if some_ids and isinstance(some_ids[0], int) else pa.string()


def _csv(table: pa.Table) -> bytes:
    import pyarrow.csv as pc

    sink = io.BytesIO()
    pc.write_csv(table, sink)
    return sink.getvalue()


def _lines(ids: Iterable[Any]) -> bytes:
    return "".join(f"{identifier}\n" for identifier in sorted(map(str, ids))).encode("utf-8", "surrogateescape")
