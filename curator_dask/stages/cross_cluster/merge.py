"""The best matches across clusters, and the similarity tables written anew with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from curator_dask.data.tables import read_parquet, write_parquet
from curator_dask.files import layout
from curator_dask.runtime.records import UnitResult
from curator_dask.stages.cross_cluster.groups import GroupTask

if TYPE_CHECKING:
    import pyarrow as pa

MATCH_COLUMNS = ("cluster", "place", "cosine", "other", "other_place", "max_id")


def matches_path(group: int) -> str:
    return f"_between/matches-{group:05d}.arrow"


def merge_group(task: GroupTask) -> UnitResult:
    """Write the similarity tables of a group's clusters with the better of both scores."""
    stage = task.stage
    matches = _matches_of(task)
    outputs: dict[str, int] = {}
    counts = {"clusters": 0, "rows": 0, "rows_raised": 0}
    for cluster in task.clusters:
        path = layout.pairwise_file(cluster.number)
        table = read_parquet(stage.pairwise, path, [stage.id_field, "max_id", "cosine_sim_score"])
        merged, num_raised = _raised(table, matches, cluster.number)
        outputs[path] = write_parquet(stage.output, path, merged)
        for name, count in (("clusters", 1), ("rows", len(table)), ("rows_raised", num_raised)):
            counts[name] += count
    return UnitResult(outputs, counts)


def _matches_of(task: GroupTask) -> pa.Table | None:
    """All matches whose later row lies in the group, the best of each row first; None without any."""
    import pyarrow as pa
    import pyarrow.compute as pc

    numbers = pa.array([cluster.number for cluster in task.clusters])
    parts = []
    for group in range(task.between.num_groups):
        data = task.stage.output.read_bytes(matches_path(group))
        table = pa.ipc.open_file(data).read_all()
        if len(table):
            parts.append(table.filter(pc.is_in(table["cluster"], numbers)))
    if not parts:
        return None
    table = pa.concat_tables(parts, promote_options="permissive")
    directions = {"cosine": "descending"}
    keys = [(name, directions.get(name, "ascending")) for name in MATCH_COLUMNS[:-1]]
    return table.sort_by(keys).combine_chunks()


def _raised(table: pa.Table, matches: pa.Table | None, cluster: int) -> tuple[pa.Table, int]:
    """The cluster's table with the scores that a match beats, and how many these are; on a tie its own cluster stands."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if matches is None:
        return table, 0
    ours = matches.filter(pc.equal(matches["cluster"], cluster))
    place, first = np.unique(ours["place"].to_numpy(), return_index=True)
    cosine = ours["cosine"].to_numpy()[first]
    score = table["cosine_sim_score"].to_numpy().copy()
    better = cosine > score[place]
    if not better.any():
        return table, 0
    score[place[better]] = cosine[better]
    own = table["max_id"].combine_chunks()
    source = np.arange(len(table))
    source[place[better]] = len(table) + first[better]
    max_ids = pa.concat_arrays([own, ours["max_id"].combine_chunks().cast(own.type)]).take(pa.array(source))
    columns = {table.column_names[0]: table.column(0), "max_id": max_ids, "cosine_sim_score": pa.array(score)}
    return pa.table(columns), int(better.sum())
