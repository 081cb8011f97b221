"""The three passes over a cluster group that run on workers: find its border rows, compare, merge the tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from curator_dask.data.tables import read_parquet, write_parquet
from curator_dask.dedup.arrays.xp import to_host
from curator_dask.dedup.cross_cluster.borders import Borders, find_borders
from curator_dask.dedup.cross_cluster.centroids import Centroids
from curator_dask.files import layout
from curator_dask.runtime.device import to_device
from curator_dask.runtime.records import UnitResult, add_counts
from curator_dask.stages.cross_cluster.border_files import GroupRows, with_row_columns, write_group_rows
from curator_dask.stages.cross_cluster.fetch_vectors import copied_vectors_path, copy_vectors
from curator_dask.stages.cross_cluster.incoming_rows import Comparison, incoming_rows
from curator_dask.stages.cross_cluster.match_files import matches_path, raise_scores, read_matches, write_matches
from curator_dask.stages.cross_cluster.members import about_members, group_members
from curator_dask.stages.cross_cluster.read_clusters import places_and_scores, read_members, read_prepared_centroids
from curator_dask.stages.cross_cluster.spec import MISSED, Cluster, CrossClusterSpec, GroupTask

if TYPE_CHECKING:
    import pyarrow as pa


def find_group_borders(task: GroupTask) -> UnitResult:
    """Write down the rows of a group, and its border rows for each group that they are compared with."""
    spec, centroids = task.spec, read_prepared_centroids(task.spec)
    found = [_rows_of_cluster(spec, cluster, centroids) for cluster in task.clusters]
    written = write_group_rows(spec.output, task.group, _joined(task, found, centroids), len(spec.groups))
    for part in found:
        written |= part.copied
    return UnitResult(written, add_counts([_counts(part.borders, len(part.table)) for part in found]))


@dataclass(frozen=True)
class _ClusterRows:
    """The rows of a cluster, without their vectors; where these were copied to, with the bytes; and its border rows."""

    table: pa.Table
    copied: dict[str, int]
    borders: Borders


def _counts(borders: Borders, num_rows: int) -> dict[str, int]:
    missed = round(borders.missed_share * num_rows * 1000)
    return {"borders": len(borders.row), "borders_left_out": borders.left_out, MISSED: missed}


def _rows_of_cluster(spec: CrossClusterSpec, cluster: Cluster, centroids: Centroids) -> _ClusterRows:
    rows, X, where = read_members(spec, cluster)
    places, scores = places_and_scores(spec, cluster, rows)
    own = int(np.searchsorted(spec.groups.numbers, cluster.number))
    borders = find_borders(to_device(X, spec.device), own, centroids, spec.eps, budget=spec.budget, recall=spec.recall)
    copied = {}
    if where is None:
        where = copy_vectors(spec.output, cluster.number, X)
        path = copied_vectors_path(cluster.number)
        copied[path] = spec.output.size(path) or 0
    source = np.full(len(X), cluster.number, np.int32)
    return _ClusterRows(with_row_columns(rows.columns, source, places, scores, where), copied, borders)


def _joined(task: GroupTask, found: Sequence[_ClusterRows], centroids: Centroids) -> GroupRows:
    """The rows of all clusters of a group."""
    spec, groups = task.spec, task.spec.groups
    firsts = np.cumsum([0, *(len(part.table) for part in found[:-1])])
    target = np.concatenate([part.borders.cluster for part in found])
    widths = centroids.sketch_widths(spec.eps)[list(groups.groups[task.group])]
    return GroupRows(
        [part.table for part in found],
        [to_host(part.borders.sketches).astype(np.int16) for part in found],
        np.concatenate([part.borders.row + first for part, first in zip(found, firsts, strict=True)]),
        groups.numbers[target],
        groups.group_of[target],
        about_members(widths, centroids.dimension),
    )


def compare_group(task: GroupTask) -> UnitResult:
    """Compare the clusters of a group with the incoming rows; write down the matches."""
    counts = {"pairs_compared": 0, "pairs_measured": 0}
    found: list[dict[str, Any]] = []
    members = group_members(task)
    for incoming, of_clusters in incoming_rows(task, members):
        for number, chosen in of_clusters:
            comparison = Comparison.of(members, incoming, chosen, number)
            scores = comparison.scores()
            counts["pairs_compared"] += len(chosen) * len(comparison.members)
            counts["pairs_measured"] += scores.num_measured
            found.extend(comparison.matches(scores))
    path = matches_path(task.group)
    return UnitResult({path: write_matches(task.spec.output, path, found, task.spec.groups)}, counts)


def merge_group(task: GroupTask) -> UnitResult:
    """Write the similarity tables of a group's clusters, with the scores raised by the matches of all groups."""
    spec = task.spec
    matches = read_matches(spec.output, task.group, len(spec.groups))
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
