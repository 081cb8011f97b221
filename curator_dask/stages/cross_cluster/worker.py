"""The three passes over a cluster group that run on workers: find its border rows, compare, merge the tables."""

from __future__ import annotations

from typing import Any

import numpy as np

from curator_dask.data.tables import read_parquet, write_parquet
from curator_dask.dedup.arrays.xp import to_host
from curator_dask.dedup.cross_cluster.borders import Borders, Centroids, find_borders
from curator_dask.files import layout
from curator_dask.runtime.device import to_device
from curator_dask.runtime.records import UnitResult, add_counts
from curator_dask.stages.cross_cluster.border_files import (
    PLACE,
    SCORE,
    SOURCE,
    BorderRows,
    rows_by_target,
    write_border_rows,
)
from curator_dask.stages.cross_cluster.incoming_rows import Members, incoming_rows
from curator_dask.stages.cross_cluster.match_files import matches_path, raise_scores, read_matches, write_matches
from curator_dask.stages.cross_cluster.read_clusters import places_and_scores, read_members, read_prepared_centroids
from curator_dask.stages.cross_cluster.spec import MISSED, Cluster, CrossClusterSpec, GroupTask


def find_group_borders(task: GroupTask) -> UnitResult:
    """Write down the border rows of a group, one record batch per group that they are compared with."""
    spec, centroids = task.spec, read_prepared_centroids(task.spec)
    found = [_border_rows(spec, read_cluster_members(spec, cluster), centroids) for cluster in task.clusters]
    rows = BorderRows.concatenate([part for part, _ in found])
    written = write_border_rows(spec.output, task.group, rows, len(spec.groups))
    counts = [_counts(borders, len(part.X)) for part, borders in found]
    return UnitResult(written, add_counts(counts))


def _counts(borders: Borders, num_rows: int) -> dict[str, int]:
    missed = round(borders.missed_share * num_rows * 1000)
    return {"borders": len(borders.row), "borders_left_out": borders.left_out, MISSED: missed}


def read_cluster_members(spec: CrossClusterSpec, cluster: Cluster) -> Members:
    rows, X = read_members(spec, cluster)
    return Members(cluster.number, rows, X, *places_and_scores(spec, cluster, rows))


def _border_rows(spec: CrossClusterSpec, members: Members, centroids: Centroids) -> tuple[BorderRows, Borders]:
    """The border rows of a cluster."""
    import pyarrow as pa

    numbers = spec.groups.numbers
    own = int(np.searchsorted(numbers, members.cluster))
    borders = find_borders(
        to_device(members.X, spec.device), own, centroids, spec.eps, budget=spec.budget, recall=spec.recall
    )
    source = np.full(len(members.places), members.cluster, np.int32)
    columns = members.rows.columns
    for name, values in ((SOURCE, source), (PLACE, members.places), (SCORE, members.scores)):
        columns = columns.append_column(name, pa.array(values))
    sketches, target = to_host(borders.sketches).astype(np.int16), borders.cluster
    group = spec.groups.group_of[target]
    return BorderRows(columns, members.X, sketches, borders.row, numbers[target], group), borders


def compare_group(task: GroupTask) -> UnitResult:
    """Compare the clusters of a group with the incoming rows; write down the matches."""
    clusters = {cluster.number: cluster for cluster in task.clusters}
    counts = {"pairs_compared": 0, "pairs_measured": 0}
    found: list[dict[str, Any]] = []
    for incoming in incoming_rows(task):
        for number, chosen in rows_by_target(incoming.rows.columns):
            members = read_cluster_members(task.spec, clusters[number])
            scores = incoming.compare(chosen, members)
            counts["pairs_compared"] += len(chosen) * len(members.places)
            counts["pairs_measured"] += scores.num_measured
            found.extend(incoming.matches(chosen, members, scores))
    path = matches_path(task.group)
    return UnitResult({path: write_matches(task.spec.output, path, found)}, counts)


def merge_group(task: GroupTask) -> UnitResult:
    """Write the similarity tables of a group's clusters, with the scores raised by the matches of all groups."""
    spec = task.spec
    matches = read_matches(spec.output, len(spec.groups), [cluster.number for cluster in task.clusters])
    outputs: dict[str, int] = {}
    counts = {"clusters": 0, "rows": 0, "rows_raised": 0}
    for cluster in task.clusters:
        path = layout.pairwise_file(cluster.number)
        table = read_parquet(spec.pairwise, path, [spec.id_field, "max_id", "cosine_sim_score"])
        merged, num_raised = raise_scores(table, matches, cluster.number)
        outputs[path] = write_parquet(spec.output, path, merged)
        for name, count in (("clusters", 1), ("rows", len(table)), ("rows_raised", num_raised)):
            counts[name] += count
    return UnitResult(outputs, counts)
