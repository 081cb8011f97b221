"""What workers do for the scores across clusters: rows at the borders are found, and compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curator_dask.dedup.arrays.xp import Array, to_host
from curator_dask.dedup.cross_cluster.borders import Centroids, find_borders
from curator_dask.dedup.cross_cluster.scores import AcrossScores, Indices, Party, score_across
from curator_dask.dedup.cross_cluster.sketch import sketch
from curator_dask.files.folder import Folder
from curator_dask.runtime.device import to_device
from curator_dask.runtime.records import UnitResult
from curator_dask.stages.cross_cluster.border_files import (
    PLACE,
    SCORE,
    SKETCH,
    SOURCE,
    VECTOR,
    Travellers,
    by_target,
    fetch_vectors,
    read_arrivals,
    write_travellers,
)
from curator_dask.stages.cross_cluster.groups import (
    GroupTask,
    Rows,
    centroids_of,
    places_and_scores,
    places_of,
    read_members,
)
from curator_dask.stages.cross_cluster.merge import MATCH_COLUMNS, matches_path

if TYPE_CHECKING:
    import pyarrow as pa

    from curator_dask.stages.cross_cluster.stage import CrossClusterStage


# Borders


def find_group_borders(task: GroupTask) -> UnitResult:
    """Write down the rows of a group that have to meet other clusters, one record batch a group of those clusters."""
    import pyarrow as pa

    stage, numbers, group_of = task.stage, task.between.numbers, task.between.group_of
    centroids = centroids_of(task)
    parts: list[Travellers] = []
    counts = {"borders": 0, "borders_left_out": 0}
    for cluster in task.clusters:
        rows, X = read_members(task, cluster)
        places, scores = places_and_scores(stage, cluster, rows)
        own = int(np.searchsorted(numbers, cluster.number))
        borders = find_borders(to_device(X, task.device), own, centroids, stage.eps, budget=stage.budget)
        columns = rows.columns
        source = np.full(len(places), cluster.number, np.int32)
        for name, values in ((SOURCE, source), (PLACE, places), (SCORE, scores)):
            columns = columns.append_column(name, pa.array(values))
        sketches = to_host(borders.sketches).astype(np.int16)
        target = borders.cluster
        parts.append(Travellers(columns, X, sketches, borders.row, numbers[target], group_of[target]))
        counts["borders"] += len(borders.row)
        counts["borders_left_out"] += borders.left_out
    written = write_travellers(stage.output, task.group, Travellers.together(parts), task.between.num_groups)
    return UnitResult(written, counts)


# Comparisons


def compare_group(task: GroupTask) -> UnitResult:
    """Compare the members of a group's clusters with the rows that come to meet them; write down the best matches."""
    stage = task.stage
    clusters = {cluster.number: cluster for cluster in task.clusters}
    counts = {"pairs_compared": 0, "pairs_measured": 0}
    found: list[dict[str, Any]] = []
    for table, source in read_arrivals(stage.output, task.group, task.between.num_groups):
        arrivals = _arrivals(task, table, source)
        for number, chosen in by_target(arrivals.rows.columns):
            members, X = read_members(task, clusters[number])
            places, member_scores = places_and_scores(stage, clusters[number], members)
            party = _members(task, number, arrivals, X, member_scores)
            scores = _compare(task, number, arrivals, chosen, members, party)
            counts["pairs_compared"] += len(chosen) * len(members.ids)
            counts["pairs_measured"] += scores.num_measured
            found.extend(_matches(stage, number, arrivals, chosen, members, places, scores))
    path = matches_path(task.group)
    return UnitResult({path: _write_matches(stage.output, path, found)}, counts)


@dataclass(frozen=True)
class _Arrivals:
    """Rows of other groups that have to meet clusters of this one."""

    rows: Rows
    group: Indices
    """The groups they come from, where their vectors are."""
    place: NDArray[np.int32]
    """The places of their vectors there."""
    sketches: Array
    """On the device."""
    scores: NDArray[np.float32]
    centroids: Centroids
    numbers: Indices
    """Of all clusters."""

    @property
    def dim(self) -> int:
        return int(self.centroids.steps.shape[1])

    def width(self, cluster: int, eps: float) -> int:
        """The numbers of a sketch to compare with the members of a cluster; 0 for whole rows."""
        width = int(self.centroids.sketch_widths(eps)[np.searchsorted(self.numbers, cluster)])
        return width if width < self.dim else 0

    def party(self, chosen: Indices, task: GroupTask) -> Party:
        """Those of them that have to meet a cluster."""

        def fetched(some: Indices) -> Array:
            rows = chosen[some]
            return to_device(
                fetch_vectors(task.stage.output, self.group[rows], self.place[rows], self.dim), task.device
            )

        sketches = self.sketches[to_device(chosen, task.device)]
        return Party(len(chosen), self.dim, fetched, sketches, self.scores[chosen])


def _arrivals(task: GroupTask, table: pa.Table, group: Indices) -> _Arrivals:
    sketches = np.concatenate([chunk.flatten().to_numpy() for chunk in table[SKETCH].chunks])
    sketches = to_device(sketches.reshape(len(table), -1).astype(np.float32), task.device)
    place, scores = table[VECTOR].to_numpy(), table[SCORE].to_numpy()
    rows = Rows.of(task, table.drop_columns([SKETCH, SCORE, VECTOR]))
    return _Arrivals(rows, group, place, sketches, scores, centroids_of(task), task.between.numbers)


def _members(
    task: GroupTask, cluster: int, arrivals: _Arrivals, X: NDArray[np.float32], scores: NDArray[np.float32]
) -> Party:
    on_device = to_device(X, task.device)
    width = arrivals.width(cluster, task.stage.eps)
    return Party.of(on_device, sketch(on_device, arrivals.sketches.shape[1]) if width else None, scores)


def _compare(
    task: GroupTask, cluster: int, arrivals: _Arrivals, chosen: Indices, members: Rows, party: Party
) -> AcrossScores:
    stage, rows = task.stage, arrivals.rows

    def order(query: Indices, member: Indices) -> tuple[Indices, Indices]:
        query = chosen[query]
        keys = {name: np.concatenate([rows.keys[name][query], members.keys[name][member]]) for name in members.keys}
        places = places_of(stage.strategy.rank(keys, np.concatenate([rows.ids[query], members.ids[member]])))
        return places[: len(query)], places[len(query) :]

    width = arrivals.width(cluster, stage.eps)
    queries = arrivals.party(chosen, task)
    return score_across(queries, party, order, stage.eps, width=width, tile_rows=stage.pairwise_batch_size)


def _matches(
    stage: CrossClusterStage,
    cluster: int,
    arrivals: _Arrivals,
    chosen: Indices,
    members: Rows,
    member_place: Indices,
    scores: AcrossScores,
) -> list[dict[str, Any]]:
    """For the later row of each match its cluster and place; and the earlier one's, with its id."""
    queries = arrivals.rows.columns
    member = np.full(len(member_place), cluster), member_place, members.columns[stage.id_field]
    query = (
        queries[SOURCE].to_numpy()[chosen], queries[PLACE].to_numpy()[chosen], queries[stage.id_field].take(chosen)
    )  # fmt: skip
    found = []
    for partial, (source, place, _), (other_source, other_place, other_ids) in (
        (scores.queries, query, member),
        (scores.members, member, query),
    ):
        row = np.flatnonzero(partial.index >= 0)
        best = partial.index[row]
        ids = other_ids.combine_chunks().take(best)
        values = (source[row], place[row], partial.cosine[row], other_source[best], other_place[best], ids)
        found.append(dict(zip(MATCH_COLUMNS, values, strict=True)))
    return found


def _write_matches(folder: Folder, path: str, found: Sequence[dict[str, Any]]) -> int:
    import pyarrow as pa

    parts = [pa.table(part) for part in found if len(part["place"])]
    table = pa.concat_tables(parts, promote_options="permissive") if parts else pa.table({})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return folder.write_bytes(path, sink.getvalue().to_pybytes())
