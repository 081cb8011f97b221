"""The plan of shards that are to be written, one Parquet file for each. A worker reads that of its own shard."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from curator_dask.data.tables import write_parquet
from curator_dask.export.planned.columns import CONTENT_HASH, PREVIEW_BYTES, record_schema
from curator_dask.export.planned.cut import PlannedShard
from curator_dask.runtime.state import StageState
from curator_dask.stages.export.clips.exported import ExportedClips

if TYPE_CHECKING:
    import pyarrow as pa

PLAN: Final = "plan"


def plan_path(state: StageState, key: str) -> str:
    """Where the plan of a shard lies."""
    return state.path(PLAN, f"{key}.parquet")


def shard_key(shard: PlannedShard) -> str:
    """The name of a shard among units of work."""
    return f"{shard.split}-{shard.name}"


@contextlib.contextmanager
def plan_files(
    state: StageState, clips: ExportedClips, shards: Sequence[PlannedShard], todo: Collection[str]
) -> Iterator[None]:
    """During the block, the plans of the shards with these keys lie in the stage's record."""
    with plans_removed(state):
        for shard, rows in clips.shard_rows(shards) if todo else ():
            if (key := shard_key(shard)) in todo:
                write_parquet(state.folder, plan_path(state, key), _needed(rows))
        yield


@contextlib.contextmanager
def plans_removed(state: StageState) -> Iterator[None]:
    """At the end of the block, all plans are removed."""
    try:
        yield
    finally:
        for entry in state.folder.entries(state.path(PLAN)):
            state.folder.remove(entry.path)


def _needed(rows: pa.Table) -> pa.Table:
    """The columns that a worker needs."""
    schema = record_schema(with_quality=True, with_metadata=True)
    return rows.select([name for name in (*schema.names, CONTENT_HASH, PREVIEW_BYTES) if name in rows.column_names])
