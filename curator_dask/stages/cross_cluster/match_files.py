"""The matches of each cluster group in a file: written by the group that found them, read by the groups they concern."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from curator_dask.data.ids import id_column
from curator_dask.files.folder import Folder
from curator_dask.stages.cross_cluster.batch_files import Batches, BatchWriter
from curator_dask.stages.cross_cluster.spec import INTERMEDIATE, ClusterGroups

if TYPE_CHECKING:
    import pyarrow as pa

MATCH_COLUMNS = ("cluster", "place", "cosine", "other", "other_place", "max_id")
"""The cluster and the place of the row that a match is for; its cosine with the row before it; the cluster, the place and
the id of that row."""


def matches_path(group: int) -> str:
    """Path of the file with the matches that a group found."""
    return f"{INTERMEDIATE}/matches-{group:05d}.batches"


def write_matches(folder: Folder, path: str, found: Sequence[dict[str, Any]], groups: ClusterGroups) -> int:
    """Write matches, given as columns by name, to a file, a record batch per group that they concern.

    Without any match there is no batch either. Returns the file's size.
    """
    import pyarrow as pa

    parts = [pa.table(part) for part in found if len(part["place"])]
    table = pa.concat_tables(parts, promote_options="permissive").combine_chunks() if parts else pa.table({})
    starts = np.zeros(1, np.int64)
    if parts:
        group = groups.group_of[np.searchsorted(groups.numbers, table["cluster"].to_numpy())]
        table = table.take(np.argsort(group, kind="stable"))
        starts = np.cumsum(np.bincount(group + 1, minlength=len(groups) + 1))
    with folder.writing(path) as temporary, BatchWriter(temporary, table.schema, len(starts) - 1) as writer:
        writer.write_slices(table, starts)
    return folder.size(path) or 0


def read_matches(folder: Folder, group: int, num_groups: int) -> pa.Table | None:
    """The matches of all groups for rows of this one, the best match of each row first; None if there is none."""
    import pyarrow as pa

    parts = []
    for source in range(num_groups):
        batches = Batches.of(folder, matches_path(source))
        if len(batches):
            parts.append(batches.table(group))
    if not sum(map(len, parts)):
        return None
    table = pa.concat_tables(parts, promote_options="permissive").combine_chunks()
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
