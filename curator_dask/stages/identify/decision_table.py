"""What was decided on the rows of one cluster, as a table that a unit's record holds."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.scored_clusters import Scores
from curator_dask.dedup.cross_cluster.scores import Indices
from curator_dask.dedup.decide.decisions import Kept
from curator_dask.dedup.decide.rules import Rule
from curator_dask.runtime.records import UnitRecord, UnitResult

if TYPE_CHECKING:
    import pyarrow as pa

PACKED = "decisions"
VERSION = 2
"""Of the table; a record of an older one is made again."""


def decided(
    cluster: int, rule: Rule, scores: Scores, kept: Kept, group: Indices, rows: slice = slice(None), *,
    outputs: dict[str, int] | None = None, foreign: NDArray[np.bool_] | None = None,
) -> UnitResult:  # fmt: skip
    """The record of a cluster's decisions.

    Args:
        kept: of all rows of the cluster, in ranked order; a `Kept.index` of -1 is no kept row in scope.
        group: (N,) the first row of the group that each row is in, itself where it is in none.
        rows: those that the decisions are on, if not all; whole groups.
        foreign: (N,) rows whose `max_id` is a duplicate in another cluster.
    """
    import pyarrow as pa

    removed, score = kept.removed[rows], kept.score[rows]
    foreign = np.zeros(len(kept.removed), np.bool_) if foreign is None else foreign
    stands = [scores.ids[row] if row >= 0 else None for row in kept.index[rows].tolist()]
    told = (kept.removed | foreign)[rows].tolist()
    ids = {
        "id": scores.ids[rows],
        "max_id": [one if tell else None for one, tell in zip(scores.max_ids[rows], told, strict=True)],
        "kept_id": [one if gone else None for one, gone in zip(stands, removed.tolist(), strict=True)],
    }
    kind = pa.int64() if isinstance(scores.ids[0], int) else pa.string()
    table = pa.table(
        {
            **{name: pa.array(values, kind) for name, values in ids.items()},
            "cluster": np.full(len(removed), cluster),
            "removed": removed,
            "foreign": foreign[rows],
            "group": group[rows] - rows.indices(len(group))[0],
            "cosine_sim_score": scores.score[rows],
            "kept_score": score,
        }
    )
    return UnitResult(outputs or {}, _counts(removed, score, rule), data={PACKED: _packed(table)})


def _counts(removed: NDArray[np.bool_], kept_score: NDArray[np.float32], rule: Rule) -> dict[str, int]:
    """Of a cluster's decisions; orphans are removed rows without a kept row within eps."""
    num_removed = int(removed.sum())
    orphans = int((removed & (kept_score.astype(np.float64) < 1 - rule.eps)).sum())
    return {"rows": len(removed), "kept": len(removed) - num_removed, "removed": num_removed, "orphans": orphans}


def no_rows() -> pa.Table:
    """The table of no cluster at all."""
    import pyarrow as pa

    kinds = {"removed": pa.bool_(), "foreign": pa.bool_(), "cosine_sim_score": pa.float32(), "kept_score": pa.float32()}
    names = ("id", "max_id", "kept_id", "cluster", "removed", "foreign", "group", "cosine_sim_score", "kept_score")
    text = dict.fromkeys(names[:3], pa.string())
    return pa.schema([(name, {**text, **kinds}.get(name, pa.int64())) for name in names]).empty_table()


def _packed(table: pa.Table) -> str:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table.combine_chunks())
    return base64.b64encode(sink.getvalue()).decode("ascii")


def unpacked(record: UnitRecord) -> pa.Table:
    """The table of a record of `decided`."""
    import pyarrow as pa

    return pa.ipc.open_stream(base64.b64decode(record.data[PACKED])).read_all()
