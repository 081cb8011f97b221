"""The decisions on the rows of one cluster as an Arrow file, which lies beside the marker of the cluster's unit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.scored_clusters import Scores
from curator_dask.dedup.decide.rules import ClusterDecisions, Rule
from curator_dask.files.folder import Folder
from curator_dask.runtime.records import UnitResult

if TYPE_CHECKING:
    import pyarrow as pa

VERSION = 4
"""Version of the table. A unit that wrote an older one is done again."""


def decision_table(
    cluster: int, scores: Scores, decisions: ClusterDecisions, *,
    cross_cluster: NDArray[np.bool_] | None = None, rows: slice = slice(None),
) -> pa.Table:  # fmt: skip
    """The decisions on the rows of a cluster, one line per row, in ranked order.

    Args:
        scores, decisions: all rows of the cluster.
        cross_cluster: (N,) rows whose `max_id` is a duplicate in another cluster; None: there is none.
        rows: the rows to include. A group is included whole or not at all.
    """
    import pyarrow as pa

    removed = decisions.removed
    elsewhere = np.zeros(len(removed), np.bool_) if cross_cluster is None else cross_cluster
    kind = scores.id_type or pa.array(scores.ids).type
    kept_ids = [scores.ids[row] if row >= 0 else None for row in decisions.kept_row[rows].tolist()]
    return pa.table(
        {
            "id": pa.array(scores.ids[rows], kind),
            "max_id": pa.array(_blank_others(scores.max_ids[rows], (removed | elsewhere)[rows]), kind),
            "kept_id": pa.array(_blank_others(kept_ids, removed[rows]), kind),
            "cluster": np.full(len(removed[rows]), cluster),
            "removed": removed[rows],
            "cross_cluster": elsewhere[rows],
            "group": decisions.group[rows] - rows.indices(len(removed))[0],
            "cosine_sim_score": scores.score[rows],
            "kept_score": decisions.kept_score[rows],
        }
    )


def _blank_others(values: list[Any], chosen: NDArray[np.bool_]) -> list[Any]:
    """The chosen values, and None in place of the others."""
    return [value if is_chosen else None for value, is_chosen in zip(values, chosen.tolist(), strict=True)]


def empty_decision_table() -> pa.Table:
    """The table of a run without any rows."""
    import pyarrow as pa

    text, number, score, flag = pa.string(), pa.int64(), pa.float32(), pa.bool_()
    columns = {
        "id": text, "max_id": text, "kept_id": text, "cluster": number, "removed": flag, "cross_cluster": flag,
        "group": number, "cosine_sim_score": score, "kept_score": score,
    }  # fmt: skip
    return pa.schema(list(columns.items())).empty_table()


def write_decisions_of_unit(folder: Folder, path: str, table: pa.Table, rule: Rule) -> UnitResult:
    """Write the table of a unit. The result names the file and counts the decisions."""
    return write_unit_table(folder, path, table, _counts(table, rule))


def write_unit_table(folder: Folder, path: str, table: pa.Table, counts: dict[str, int]) -> UnitResult:
    """Write the Arrow file of a unit. The result names it, with these counts."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table.combine_chunks())
    return UnitResult({path: folder.write_bytes(path, sink.getvalue().to_pybytes())}, counts)


def _counts(table: pa.Table, rule: Rule) -> dict[str, int]:
    removed, kept_score = table["removed"].to_numpy(), table["kept_score"].to_numpy()
    num_removed = int(removed.sum())
    return {
        "rows": len(table),
        "kept": len(table) - num_removed,
        "removed": num_removed,
        "orphans": count_orphans(removed, kept_score, rule),
    }


def count_orphans(removed: NDArray[np.bool_], kept_score: NDArray[np.float32], rule: Rule) -> int:
    """How many removed rows have no kept row within eps."""
    return int((removed & (kept_score.astype(np.float64) < 1 - rule.eps)).sum())
