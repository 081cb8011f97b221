"""What workers do for the scores across clusters: rows at the borders, comparisons, and the tables written anew."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curator_dask import layout
from curator_dask.backend import to_device
from curator_dask.dedup.borders import find_borders, prepare_centroids
from curator_dask.dedup.cross_cluster import AcrossScores, Indices, score_across
from curator_dask.errors import InputError
from curator_dask.records import UnitRecord
from curator_dask.stages.clusters import column_values, id_values, read_cluster, unit_rows
from curator_dask.storage import Folder
from curator_dask.tables import read_parquet, write_parquet
from curator_dask.vectors import matrix_column

if TYPE_CHECKING:
    import pyarrow as pa

    from curator_dask.stages.cross_cluster import CrossClusterStage

# A row's own cluster, its place in that cluster's ranking, and the cluster it has to meet.
SOURCE, PLACE, TARGET = "__source", "__place", "__target"
MATCH_COLUMNS = ("cluster", "place", "cosine", "other", "other_place", "max_id")


@dataclass(frozen=True)
class Cluster:
    """A cluster's files in the k-means output."""

    number: int
    paths: tuple[str, ...]
    num_bytes: int


@dataclass(frozen=True)
class Between:
    """All clusters in order, and how many of them each group takes."""

    clusters: tuple[Cluster, ...]
    group_sizes: tuple[int, ...]

    def group(self, number: int) -> tuple[Cluster, ...]:
        start = sum(self.group_sizes[:number])
        return self.clusters[start : start + self.group_sizes[number]]

    @property
    def num_groups(self) -> int:
        return len(self.group_sizes)


@dataclass(frozen=True)
class GroupTask:
    stage: CrossClusterStage
    between: Between
    group: int
    device: str

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

    def take(self, row: Indices) -> _Rows:
        keys = {name: values[row] for name, values in self.keys.items()}
        return _Rows(self.columns.take(row), self.ids[row], keys, self.X[row])


def _rows(stage: CrossClusterStage, table: pa.Table, where: str) -> _Rows:
    keys = {name: column_values(table, name) for name in stage.strategy.metadata_cols}
    X = unit_rows(table, stage.embedding_field, stage.embedding_dim, where)
    return _Rows(table.drop_columns([stage.embedding_field]), id_values(table, stage.id_field), keys, X)


def _read(stage: CrossClusterStage, cluster: Cluster) -> _Rows:
    columns = [stage.id_field, stage.embedding_field, *stage.strategy.metadata_cols]
    return _rows(stage, read_cluster(stage.input, cluster.paths, columns), f"cluster {cluster.number}")


def _places(order: Indices) -> Indices:
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    return places


# Borders


def find_group_borders(task: GroupTask) -> UnitRecord:
    """Write down the rows of a group that have to meet other clusters, one record batch a group of those clusters."""

    stage, clusters = task.stage, task.between.clusters
    numbers = np.array([cluster.number for cluster in clusters])
    C = np.load(io.BytesIO(stage.input.read_bytes(layout.CENTROIDS)))
    if C.ndim != 2 or len(C) <= numbers[-1]:
        raise InputError(f"{layout.CENTROIDS} has shape {C.shape}, but there is a cluster {numbers[-1]}")
    costs = np.array([cluster.num_bytes for cluster in clusters], dtype=np.float64)
    centroids = prepare_centroids(to_device(C[numbers], task.device), costs)
    parts, num_left_out = [], 0
    for cluster in task.clusters:
        rows = _read(stage, cluster)
        places = _checked_places(stage, cluster, rows)
        own = int(np.searchsorted(numbers, cluster.number))
        borders = find_borders(to_device(rows.X, task.device), own, centroids, stage.eps, budget=stage.budget)
        marks = {SOURCE: np.full(len(places), cluster.number)[borders.row], PLACE: places[borders.row]}
        parts.append(_marked(rows.take(borders.row), {**marks, TARGET: numbers[borders.cluster]}))
        num_left_out += borders.left_out
    path = borders_path(task.group)
    num_borders, num_bytes = _write_by_group(task, path, parts)
    return UnitRecord("", "", {path: num_bytes}, {"borders": num_borders, "borders_left_out": num_left_out})


def _checked_places(stage: CrossClusterStage, cluster: Cluster, rows: _Rows) -> Indices:
    """Each row's place in the cluster's ranking. Raises InputError where the similarity table has another one."""
    order = stage.strategy.rank(rows.keys, rows.ids)
    path = layout.pairwise_file(cluster.number)
    listed = id_values(read_parquet(stage.pairwise, path, [stage.id_field]), stage.id_field)
    if not np.array_equal(listed, rows.ids[order]):
        raise InputError(
            f"cluster {cluster.number}: {path} does not list the rows of the k-means output in the order of this "
            "ranking: give the ranking of the pairwise stage, or run that stage again"
        )
    return _places(order)


def _marked(rows: _Rows, marks: dict[str, NDArray[Any]]) -> tuple[pa.Table, NDArray[np.float32]]:
    import pyarrow as pa

    columns = rows.columns
    for name, values in marks.items():
        columns = columns.append_column(name, pa.array(values))
    return columns, rows.X


def _write_by_group(
    task: GroupTask, path: str, parts: Sequence[tuple[pa.Table, NDArray[np.float32]]]
) -> tuple[int, int]:
    """An Arrow file with one record batch a group, its rows by the cluster they have to meet; returns rows and bytes."""
    import pyarrow as pa

    between, folder = task.between, task.stage.output
    columns = pa.concat_tables([part for part, _ in parts], promote_options="permissive")
    X = np.concatenate([vectors for _, vectors in parts])
    targets = columns[TARGET].to_numpy()
    order = np.argsort(targets, kind="stable")
    firsts = [between.group(number)[0].number for number in range(between.num_groups)]
    starts = [*np.searchsorted(targets[order], firsts), len(order)]
    schema = columns.schema.append(pa.field(task.stage.embedding_field, pa.list_(pa.float32())))
    with (
        folder.writing(path) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, schema) as writer,
    ):
        for start, end in itertools.pairwise(starts):
            rows = order[start:end]
            arrays = [column.combine_chunks() for column in columns.take(rows).columns]
            writer.write_batch(pa.RecordBatch.from_arrays([*arrays, matrix_column(X[rows])], schema=schema))
    return len(order), folder.size(path) or 0


# Comparisons


def compare_group(task: GroupTask) -> UnitRecord:
    """Compare the members of a group's clusters with the rows that come to meet them; write down the best matches."""

    stage = task.stage
    arrivals = _arrivals(task)
    counts = {"pairs_compared": 0, "pairs_measured": 0}
    found: list[dict[str, Any]] = []
    for cluster in task.clusters:
        if arrivals is None:
            break
        queries = arrivals.take(np.flatnonzero(arrivals.columns[TARGET].to_numpy() == cluster.number))
        if not len(queries.ids):
            continue
        members = _read(stage, cluster)
        scores = _compare(task, queries, members)
        counts["pairs_compared"] += len(queries.ids) * len(members.ids)
        counts["pairs_measured"] += scores.num_measured
        found.extend(_matches(stage, cluster, queries, members, scores))
    path = matches_path(task.group)
    return UnitRecord("", "", {path: _write_matches(stage.output, path, found)}, counts)


def _arrivals(task: GroupTask) -> _Rows | None:
    """The rows of all groups that have to meet clusters of this one; None without any."""
    import pyarrow as pa

    parts = []
    for group in range(task.between.num_groups):
        with task.stage.output.open(borders_path(group)) as stream:
            parts.append(pa.Table.from_batches([pa.ipc.open_file(stream).get_batch(task.group)]))
    table = pa.concat_tables(parts, promote_options="permissive")
    if not len(table):
        return None
    return _rows(task.stage, table, "rows that meet other clusters")


def _compare(task: GroupTask, queries: _Rows, members: _Rows) -> AcrossScores:
    strategy = task.stage.strategy

    def order(query: Indices, member: Indices) -> tuple[Indices, Indices]:
        keys = {name: np.concatenate([queries.keys[name][query], members.keys[name][member]]) for name in members.keys}
        places = _places(strategy.rank(keys, np.concatenate([queries.ids[query], members.ids[member]])))
        return places[: len(query)], places[len(query) :]

    return score_across(
        to_device(queries.X, task.device),
        to_device(members.X, task.device),
        order,
        task.stage.eps,
        tile_rows=task.stage.pairwise_batch_size,
    )


def _matches(
    stage: CrossClusterStage, cluster: Cluster, queries: _Rows, members: _Rows, scores: AcrossScores
) -> list[dict[str, Any]]:
    """For the later row of each match its cluster and place; and the earlier one's, with its id."""
    member_place = _places(stage.strategy.rank(members.keys, members.ids))
    member_source = np.full(len(member_place), cluster.number)
    query_place, query_source = queries.columns[PLACE].to_numpy(), queries.columns[SOURCE].to_numpy()
    found = []
    for partial, (source, place), (other_source, other_place, other) in (
        (scores.queries, (query_source, query_place), (member_source, member_place, members)),
        (scores.members, (member_source, member_place), (query_source, query_place, queries)),
    ):
        row = np.flatnonzero(partial.index >= 0)
        best = partial.index[row]
        ids = other.columns[stage.id_field].combine_chunks().take(best)
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
