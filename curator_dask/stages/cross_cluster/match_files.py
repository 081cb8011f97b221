"""The matches of each cluster group in an Arrow file: written by the group that found them, read by the groups they concern."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from curator_dask.data.ids import id_column
from curator_dask.data.tables import arrow_table
from curator_dask.files.folder import Folder
from curator_dask.stages.cross_cluster.spec import INTERMEDIATE

if TYPE_CHECKING:
    import pyarrow as pa

MATCH_COLUMNS = ("cluster", "place", "cosine", "other", "other_place", "max_id")
"""The cluster and the place of the row that a match is for; its cosine with the row before it; the cluster, the place and
the id of that row."""


def matches_path(group: int) -> str:
    """Path of the Arrow file with the matches that a group found."""
    return f"{INTERMEDIATE}/matches-{group:05d}.arrow"


def write_matches(folder: Folder, path: str, found: Sequence[dict[str, Any]]) -> int:
    """Write matches, given as columns by name, to an Arrow file; returns its size."""
    import pyarrow as pa

    parts = [pa.table(part) for part in found if len(part["place"])]
    table = pa.concat_tables(parts, promote_options="permissive") if parts else pa.table({})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return folder.write_bytes(path, sink.getvalue().to_pybytes())


def read_matches(folder: Folder, num_groups: int, clusters: Sequence[int]) -> pa.Table | None:
    """The matches of all groups for rows of these clusters, the best match of each row first; None if there is none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    parts = []
    for group in range(num_groups):
        table = arrow_table(folder, matches_path(group), folder.read_bytes(matches_path(group)))
        if len(table):
            parts.append(table.filter(pc.is_in(table["cluster"], pa.array(clusters))))
    if not parts:
        return None
    table = pa.concat_tables(parts, promote_options="permissive")
    directions = {"cosine": "descending"}
    keys = [(name, directions.get(name, "ascending")) for name in MATCH_COLUMNS[:-1]]
    return table.sort_by(keys).combine_chunks()


def raise_scores(table: pa.Table, matches: pa.Table | None, cluster: int) -> tuple[pa.Table, int]:
    """The similarity table of a cluster with its scores raised to those of better matches, and the number of raised rows.

    On a tie the row keeps the match in its own cluster.
    """
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
    own = id_column(table, "max_id")
    source = np.arange(len(table))
    source[place[better]] = len(table) + first[better]
    max_ids = pa.concat_arrays([own, id_column(ours, "max_id").cast(own.type)]).take(pa.array(source))
    columns = {table.column_names[0]: table.column(0), "max_id": max_ids, "cosine_sim_score": pa.array(score)}
    return pa.table(columns), int(better.sum())
