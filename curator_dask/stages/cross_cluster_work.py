"""What workers do for the scores across clusters: rows at the borders, comparisons, and the tables written anew."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curator_dask import layout
from curator_dask.backend import to_device
from curator_dask.dedup.borders import Centroids, find_borders, prepare_centroids
from curator_dask.dedup.cross_cluster import AcrossScores, Indices, Party, score_across
from curator_dask.dedup.sketch import sketch
from curator_dask.dedup.xp import Array, to_host
from curator_dask.errors import InputError
from curator_dask.records import UnitRecord
from curator_dask.stages.between import (
    PLACE,
    SCORE,
    SKETCH,
    SOURCE,
    Travellers,
    by_target,
    write_travellers,
)
from curator_dask.stages.clip_columns import ClipIndex, ranking_columns, stored_columns
from curator_dask.stages.clusters import id_values, read_cluster, unit_rows
from curator_dask.storage import Folder
from curator_dask.tables import read_parquet, write_parquet

if TYPE_CHECKING:
    import pyarrow as pa

    from curator_dask.stages.cross_cluster import CrossClusterStage

MATCH_COLUMNS = ("cluster", "place", "cosine", "other", "other_place", "max_id")


@dataclass(frozen=True)
class Cluster:
    """A cluster's files in the k-means output."""

    number: int
    paths: tuple[str, ...]
    num_bytes: int


@dataclass(frozen=True)
class Between:
    """All clusters in order, and which of them, by their places in that order, each group has."""

    clusters: tuple[Cluster, ...]
    groups: tuple[tuple[int, ...], ...]

    def group(self, number: int) -> tuple[Cluster, ...]:
        return tuple(self.clusters[place] for place in self.groups[number])

    @property
    def numbers(self) -> Indices:
        """(k,) of the clusters, ascending."""
        return np.array([cluster.number for cluster in self.clusters])

    @property
    def group_of(self) -> Indices:
        """(k,) the group of each cluster."""
        found = np.empty(len(self.clusters), np.int64)
        for number, places in enumerate(self.groups):
            found[list(places)] = number
        return found

    @property
    def num_groups(self) -> int:
        return len(self.groups)


@dataclass(frozen=True)
class GroupTask:
    stage: CrossClusterStage
    between: Between
    group: int
    device: str
    index: ClipIndex | None = None

    @property
    def clusters(self) -> tuple[Cluster, ...]:
        return self.between.group(self.group)


def borders_path(group: int) -> str:
    return f"_between/borders-{group:05d}.arrow"


def matches_path(group: int) -> str:
    return f"_between/matches-{group:05d}.arrow"


@dataclass(frozen=True)
class _Rows:
    """Rows with what ranks them. Vectors are kept apart: Arrow takes several times as long to pick rows of lists."""

    columns: pa.Table
    """All but the vectors."""
    ids: NDArray[Any]
    keys: dict[str, NDArray[Any]]
    X: NDArray[np.float32]


def _rows(task: GroupTask, table: pa.Table, where: str) -> _Rows:
    stage = task.stage
    ids = id_values(table, stage.id_field)
    keys = ranking_columns(stage.strategy.metadata_cols, table, ids, task.index)
    X = unit_rows(table, stage.embedding_field, stage.embedding_dim, where)
    return _Rows(table.drop_columns([stage.embedding_field]), ids, keys, X)


def _read(task: GroupTask, cluster: Cluster) -> _Rows:
    stage = task.stage
    stored = stored_columns(stage.strategy.metadata_cols, task.index)
    columns = list(dict.fromkeys([stage.id_field, stage.embedding_field, *stored]))
    return _rows(task, read_cluster(stage.input, cluster.paths, columns), f"cluster {cluster.number}")


def _places(order: Indices) -> Indices:
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    return places


# Borders


def find_group_borders(task: GroupTask) -> UnitRecord:
    """Write down the rows of a group that have to meet other clusters, one record batch a group of those clusters."""
    import pyarrow as pa

    stage, numbers, group_of = task.stage, task.between.numbers, task.between.group_of
    centroids = _centroids(task)
    parts: list[Travellers] = []
    counts = {"borders": 0, "borders_left_out": 0}
    for cluster in task.clusters:
        rows = _read(task, cluster)
        places, scores = _places_and_scores(stage, cluster, rows)
        own = int(np.searchsorted(numbers, cluster.number))
        borders = find_borders(to_device(rows.X, task.device), own, centroids, stage.eps, budget=stage.budget)
        columns = rows.columns
        for name, values in ((SOURCE, np.full(len(places), cluster.number)), (PLACE, places), (SCORE, scores)):
            columns = columns.append_column(name, pa.array(values))
        sketches = to_host(borders.sketches).astype(np.int16)
        target = borders.cluster
        parts.append(Travellers(columns, rows.X, sketches, borders.row, numbers[target], group_of[target]))
        counts["borders"] += len(borders.row)
        counts["borders_left_out"] += borders.left_out
    path = borders_path(task.group)
    travellers, num_groups = Travellers.together(parts), task.between.num_groups
    written = write_travellers(stage.output, path, travellers, num_groups, stage.embedding_field)
    return UnitRecord("", "", {path: written}, counts)


def _centroids(task: GroupTask) -> Centroids:
    C = read_centroids(task.stage.input, task.between.numbers)
    costs = np.array([cluster.num_bytes for cluster in task.between.clusters], dtype=np.float64)
    return prepare_centroids(to_device(C, task.device), costs)


def read_centroids(folder: Folder, numbers: Indices) -> NDArray[np.float32]:
    """(len(numbers), D), those of some clusters. Raises InputError if there are none, or fewer than the numbers need."""
    if not folder.exists(layout.CENTROIDS):
        raise InputError(f"{folder.url} has no {layout.CENTROIDS}: it is not the output of a k-means stage")
    C = np.load(io.BytesIO(folder.read_bytes(layout.CENTROIDS)))
    if C.ndim != 2 or len(C) <= max(numbers):
        raise InputError(f"{layout.CENTROIDS} has shape {C.shape}, but there is a cluster {max(numbers)}")
    chosen: NDArray[np.float32] = C[numbers]
    return chosen


def _places_and_scores(stage: CrossClusterStage, cluster: Cluster, rows: _Rows) -> tuple[Indices, NDArray[np.float32]]:
    """Each row's place in the cluster's ranking, and its score. Raises InputError where the similarity table has another."""
    order = stage.strategy.rank(rows.keys, rows.ids)
    path = layout.pairwise_file(cluster.number)
    table = read_parquet(stage.pairwise, path, [stage.id_field, "cosine_sim_score"])
    if not np.array_equal(id_values(table, stage.id_field), rows.ids[order]):
        raise InputError(
            f"cluster {cluster.number}: {path} does not list the rows of the k-means output in the order of this "
            "ranking: give the ranking of the pairwise stage, or run that stage again"
        )
    places = _places(order)
    return places, table["cosine_sim_score"].to_numpy()[places]


# Comparisons


def compare_group(task: GroupTask) -> UnitRecord:
    """Compare the members of a group's clusters with the rows that come to meet them; write down the best matches."""
    stage = task.stage
    arrivals = _arrivals(task)
    counts = {"pairs_compared": 0, "pairs_measured": 0}
    found: list[dict[str, Any]] = []
    if arrivals is not None:
        clusters = {cluster.number: cluster for cluster in task.clusters}
        for number, chosen in by_target(arrivals.rows.columns):
            members = _read(task, clusters[number])
            places, member_scores = _places_and_scores(stage, clusters[number], members)
            scores = _compare(task, number, arrivals, chosen, members, member_scores)
            counts["pairs_compared"] += len(chosen) * len(members.ids)
            counts["pairs_measured"] += scores.num_measured
            found.extend(_matches(stage, number, arrivals, chosen, members, places, scores))
    path = matches_path(task.group)
    return UnitRecord("", "", {path: _write_matches(stage.output, path, found)}, counts)


@dataclass(frozen=True)
class _Arrivals:
    """The rows of all groups that have to meet clusters of this one; vectors and sketches on the device."""

    rows: _Rows
    X: Array
    sketches: Array
    scores: NDArray[np.float32]
    centroids: Centroids
    numbers: Indices
    """Of all clusters."""

    def width(self, cluster: int, eps: float) -> int:
        """The numbers of a sketch to compare with the members of a cluster; 0 for whole rows."""
        width = int(self.centroids.sketch_widths(eps)[np.searchsorted(self.numbers, cluster)])
        return width if width < self.X.shape[1] else 0


def _arrivals(task: GroupTask) -> _Arrivals | None:
    """None where nobody comes."""
    import pyarrow as pa

    parts = []
    for group in range(task.between.num_groups):
        with task.stage.output.open(borders_path(group)) as stream:
            parts.append(pa.Table.from_batches([pa.ipc.open_file(stream).get_batch(task.group)]))
    table = pa.concat_tables(parts, promote_options="permissive")
    if not len(table):
        return None
    sketches = np.concatenate([chunk.flatten().to_numpy() for chunk in table[SKETCH].chunks])
    scores = table[SCORE].to_numpy()
    rows = _rows(task, table.drop_columns([SKETCH, SCORE]), "rows that meet other clusters")
    sketches = sketches.reshape(len(rows.ids), -1).astype(np.float32)
    X, sketches = to_device(rows.X, task.device), to_device(sketches, task.device)
    return _Arrivals(rows, X, sketches, scores, _centroids(task), task.between.numbers)


def _compare(
    task: GroupTask,
    cluster: int,
    arrivals: _Arrivals,
    chosen: Indices,
    members: _Rows,
    member_scores: NDArray[np.float32],
) -> AcrossScores:
    stage, rows = task.stage, arrivals.rows

    def order(query: Indices, member: Indices) -> tuple[Indices, Indices]:
        query = chosen[query]
        keys = {name: np.concatenate([rows.keys[name][query], members.keys[name][member]]) for name in members.keys}
        places = _places(stage.strategy.rank(keys, np.concatenate([rows.ids[query], members.ids[member]])))
        return places[: len(query)], places[len(query) :]

    X = to_device(members.X, task.device)
    queries = Party(arrivals.X, chosen, arrivals.sketches[to_device(chosen, task.device)], arrivals.scores[chosen])
    width = arrivals.width(cluster, stage.eps)
    party = Party(X, None, sketch(X, arrivals.sketches.shape[1]) if width else None, member_scores)
    return score_across(queries, party, order, stage.eps, width=width, tile_rows=stage.pairwise_batch_size)


def _matches(
    stage: CrossClusterStage,
    cluster: int,
    arrivals: _Arrivals,
    chosen: Indices,
    members: _Rows,
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


# Tables


def merge_group(task: GroupTask) -> UnitRecord:
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
    return UnitRecord("", "", outputs, counts)


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
