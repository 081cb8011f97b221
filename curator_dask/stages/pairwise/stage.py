"""Clusters → similarity tables: for every row, the most similar row ranked before it. One unit a cluster.

A cluster too large for one worker is cut: units of about equal work each compare a run of its ranking with all rows
before it, which they read from the cluster's files batch by batch; a last unit joins what they found. The table is the
same, byte for byte. A part's result waits in its marker, so a run goes on with the parts that are not done.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import KW_ONLY, asdict, dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from curator_dask.data.clip_columns import ClipIndex, ranking_columns, stored_columns
from curator_dask.data.clusters import (
    cluster_folders,
    count_rows,
    id_values,
    part_at,
    read_back,
    read_cluster,
    unit_rows,
    vector_batches,
)
from curator_dask.data.tables import write_parquet
from curator_dask.dedup.similarity.pairwise import (
    PartialScores,
    finish_scores,
    max_earlier_similarity,
    runs_of_equal_work,
    scores_among,
)
from curator_dask.errors import CuratorError, InputError
from curator_dask.files import layout
from curator_dask.files.folder import Entry, Folder
from curator_dask.files.storage_options import storage_options
from curator_dask.runtime.device import to_device
from curator_dask.runtime.records import UnitResult, add_counts, digest
from curator_dask.runtime.state import StageState
from curator_dask.runtime.units import Unit, UnitsOutcome, run_units
from curator_dask.stages.base import RunContext, Stage, StageResult
from curator_dask.stages.pairwise.parameters import PairwiseParameters, require_paths

if TYPE_CHECKING:
    import pyarrow as pa

CUT_ROWS = 32_768
"""Clusters with more rows are cut: at 512 dimensions this many are 64 MiB and 7 s of one core; both grow, the second
with the square."""
PART_ROWS = 32_768
"""Of a part, about. Each reads the whole cluster: some 3 % of the time of its products at this size (at 512 dimensions,
7 us a row); with half as many rows, twice that share. The rows before its own lie on the worker's disk meanwhile."""
TASK_ROWS = 8192
"""A cluster of so many rows fills a task of its own, half a second; smaller ones share one, by the square of their rows."""
AT_ONCE = 16
"""Footers read at a time: on an object store each takes a round trip."""


@dataclass(frozen=True)
class PairwiseStage(PairwiseParameters, Stage):
    """Score every row of a cluster against the rows ranked before it in that cluster.

    Writes ``cluster_{k}.parquet`` per cluster: the id, ``max_id`` (the most similar row ranked before it) and
    ``cosine_sim_score`` (their cosine, float32) of all rows in ranked order.

    Args:
        id_field: The column with the ids.
        embedding_field: The column with the vectors.
        input_path: The output of the k-means stage.
        output_path: The folder to write to.
        which_to_keep: Which rows rank first. ``"hard"``: those far from the centroid; ``"easy"``: those near it;
            ``"random"``: a draw that depends on the ids and `random_seed` only.
        sim_metric: Which distance to the centroid ranks: ``"cosine"`` or ``"l2"``. Similarity is cosine in both cases.
        pairwise_batch_size: Rows per tile. It changes memory and speed, not the result.
        random_seed: Seed of the ranking ``"random"``.
        ranking_strategy: Rank by any columns that k-means carried along, or by columns of the clip index, instead of
            `which_to_keep`.
        clips_path: The output of the split stage. The columns of its clip index, and ``pixels`` and ``duration_s``, can
            rank.
        embedding_dim: The expected number of dimensions; other vectors are refused. None: any.
        verbose: Accepted for compatibility with the original; it changes nothing.
        read_kwargs: ``{"storage_options": {…}}`` for the inputs.
        write_kwargs: ``{"storage_options": {…}}`` for the output.
    """

    id_field: str = "id"
    embedding_field: str = "embedding"
    input_path: str = ""
    output_path: str = ""
    _: KW_ONLY
    clips_path: str | None = None
    embedding_dim: int | None = None
    verbose: bool = False
    read_kwargs: Mapping[str, Any] | None = field(default=None, repr=False)
    write_kwargs: Mapping[str, Any] | None = field(default=None, repr=False)

    name: ClassVar[str] = "pairwise"
    workers: ClassVar[str] = "rapids"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_paths(self, "input_path", "output_path")

    @property
    def input(self) -> Folder:
        return Folder(self.input_path, storage_options(self.read_kwargs))

    @property
    def output(self) -> Folder:
        return Folder(self.output_path, storage_options(self.write_kwargs))

    @property
    def clips(self) -> Folder | None:
        return Folder(self.clips_path, storage_options(self.read_kwargs)) if self.clips_path is not None else None

    def identity(self) -> dict[str, Any]:
        return {
            "input_path": self.input.root,
            "id_field": self.id_field,
            "embedding_field": self.embedding_field,
            "ranking": asdict(self.strategy),
            "embedding_dim": self.embedding_dim,
            "clips_path": None if self.clips is None else self.clips.root,
        }

    def execute(self, context: RunContext) -> StageResult:
        state = StageState(self.output, self.name)
        clusters = cluster_folders(self.input)
        if context.dry_run:
            state.check(self.identity())
            return StageResult(self.name, self.output, {"clusters": len(clusters)})
        state.claim(self.identity(), overwrite=context.overwrite)
        index = None if self.clips is None else ClipIndex.of(self.clips)
        task = PairwiseTask(self, state, index, context.cluster.device)
        units = [self._unit(task, number, entries) for number, entries in clusters.items()]
        plan = plan_units(units, state.done_units())
        state.forget({record.key for record in state.records()} - plan.keys())
        first = run_units(context.cluster, state, plan.first, score, reporter=context.reporter, what="clusters")
        joins = joinable(state, plan)
        second = UnitsOutcome({}, (), 0, 0)
        if joins:
            second = run_units(context.cluster, state, joins, join_parts, reporter=context.reporter, what="tables")
            forget_parts(state, joins)
        return self._result(state, plan, first, second)

    def _unit(self, task: PairwiseTask, cluster: int, entries: list[Entry]) -> Unit[PairwiseTask]:
        version = [task.index.version] if task.index is not None else []
        inputs = digest([(entry.path, entry.num_bytes, entry.version) for entry in entries], *version)
        task = replace(task, cluster=cluster, paths=tuple(entry.path for entry in entries))
        return Unit(f"cluster-{cluster:06d}", inputs, task, str(task))

    def _result(self, state: StageState, plan: PairwisePlan, first: UnitsOutcome, second: UnitsOutcome) -> StageResult:
        counts = add_counts([first.counts, second.counts])
        num_clusters = len(plan.clusters)
        done = counts.get("clusters", 0)
        counts = {"clusters": done, "rows": counts.get("rows", 0), "clusters_failed": num_clusters - done}
        failures = first.failures + second.failures
        state.summarise(counts, failures=failures)
        tables = tuple(layout.pairwise_file(unit.task.cluster) for unit in plan.clusters)
        num_run, num_skipped = (first.num_run + second.num_run, first.num_skipped + second.num_skipped)
        return StageResult(self.name, self.output, counts, failures, num_run, num_skipped, tables=tables)


@dataclass(frozen=True)
class PairwiseTask:
    """One cluster, or a run of its ranking, as it travels to a worker."""

    stage: PairwiseStage
    state: StageState
    index: ClipIndex | None
    device: str
    cluster: int = 0
    paths: tuple[str, ...] = ()
    num_rows: int = 0
    """Of the cluster, where it was counted."""
    run: slice | None = None
    """The part of the ranking; None: all of it."""
    parts: tuple[str, ...] = ()
    """The units that a large cluster's table is joined from, in ranked order."""

    def __str__(self) -> str:
        where = f", rows {self.run.start} to {self.run.stop} of its ranking" if self.run else ""
        return f"cluster {self.cluster}{where}"

    def ranking(self, *more: str) -> tuple[pa.Table, NDArray[np.int64]]:
        """The ids and `more` columns in the order of the files, and the order of rank: (N,) rows, the first in rank first."""
        stage, strategy = self.stage, self.stage.strategy
        stored = stored_columns(strategy.metadata_cols, self.index)
        table = read_cluster(stage.input, self.paths, list(dict.fromkeys([stage.id_field, *stored, *more])))
        ids = id_values(table, stage.id_field)
        return table, strategy.rank(ranking_columns(strategy.metadata_cols, table, ids, self.index), ids)

    def batches(self) -> Iterator[tuple[int, NDArray[np.float32]]]:
        stage = self.stage
        return vector_batches(stage.input, self.paths, stage.embedding_field, stage.embedding_dim, str(self))


@dataclass(frozen=True)
class PairwisePlan:
    clusters: list[Unit[PairwiseTask]]
    """The unit that writes a cluster's table, of every cluster."""
    first: list[Unit[PairwiseTask]]
    """What can be done at once: whole clusters, and parts of the large ones. The most work comes first."""
    large: list[tuple[Unit[PairwiseTask], list[Unit[PairwiseTask]]]]
    """The clusters that are cut, each with its parts."""

    def keys(self) -> set[str]:
        return {unit.key for unit in (*self.clusters, *self.first)}


def plan_units(clusters: list[Unit[PairwiseTask]], done: Mapping[str, str]) -> PairwisePlan:
    """Cut the clusters that are large, and not done yet."""
    todo = [unit for unit in clusters if done.get(unit.key) != unit.inputs]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        counted = list(pool.map(_counted, todo))
    large = [_cut(unit) for unit in counted if unit.task.num_rows > CUT_ROWS]
    whole = [unit for unit in counted if unit.task.num_rows <= CUT_ROWS]
    whole.sort(key=lambda unit: -unit.task.num_rows)
    skipped = [unit for unit in clusters if done.get(unit.key) == unit.inputs]
    return PairwisePlan(clusters, [*(part for _, parts in large for part in parts), *whole, *skipped], large)


def _counted(unit: Unit[PairwiseTask]) -> Unit[PairwiseTask]:
    try:
        num_rows = count_rows(unit.task.stage.input, unit.task.paths)
    except (CuratorError, OSError):  # the worker will find the same, and say so in the unit's record
        return unit
    return replace(unit, task=replace(unit.task, num_rows=num_rows), share=min(1.0, (num_rows / TASK_ROWS) ** 2))


def _cut(unit: Unit[PairwiseTask]) -> tuple[Unit[PairwiseTask], list[Unit[PairwiseTask]]]:
    parts = []
    for number, run in enumerate(runs_of_equal_work(unit.task.num_rows, PART_ROWS)):
        task = replace(unit.task, run=run)
        parts.append(Unit(f"{unit.key}-part-{number:05d}", digest(unit.inputs, run.start, run.stop), task, str(task)))
    return replace(unit, task=replace(unit.task, parts=tuple(part.key for part in parts))), parts


def joinable(state: StageState, plan: PairwisePlan) -> list[Unit[PairwiseTask]]:
    """The large clusters whose parts are all done. What an earlier version of the others left is removed."""
    if not plan.large:
        return []
    done = state.done_units()
    ready = [unit for unit, parts in plan.large if all(done.get(part.key) == part.inputs for part in parts)]
    state.forget({unit.key for unit, _ in plan.large} - {unit.key for unit in ready})
    return ready


def forget_parts(state: StageState, joined: list[Unit[PairwiseTask]]) -> None:
    """Remove the parts of the clusters whose tables are written."""
    done = state.done_units()
    for unit in joined:
        if done.get(unit.key) == unit.inputs:
            state.forget(unit.task.parts)


def score(task: PairwiseTask) -> UnitResult:
    """On a worker: the similarity table of a cluster, or the scores of a part of one."""
    return score_cluster(task) if task.run is None else score_part(task, task.run)


def score_cluster(task: PairwiseTask) -> UnitResult:
    """Rank one cluster, score it and write its table."""
    stage = task.stage
    table, ranked = task.ranking(stage.embedding_field)
    X = unit_rows(table, stage.embedding_field, stage.embedding_dim, str(task))[ranked]
    table = table.select([stage.id_field])  # the vectors are needed once
    found = max_earlier_similarity(to_device(X, task.device), tile_rows=stage.pairwise_batch_size)
    return _written(task, table, ranked, *found)


def score_part(task: PairwiseTask, run: slice) -> UnitResult:
    """Compare a run of a ranking with all rows before them; the result goes into the unit's record."""
    _, ranked = task.ranking()
    place = np.empty(len(ranked), dtype=np.int64)
    place[ranked] = np.arange(len(ranked))
    state = task.state
    with state.folder.scratch(*state.scratch_parts()) as scratch, (scratch / "earlier").open("w+b") as file:
        rows, earlier = part_at(task.batches(), place, run, file)
        X, places = to_device(rows, task.device), np.arange(run.start, run.stop)
        chunks = ((to_device(batch, task.device), at) for batch, at in read_back(file, earlier, rows.shape[1]))
        best = scores_among(X, places, chain([(X, places)], chunks), tile_rows=task.stage.pairwise_batch_size)
    return UnitResult(data={"cosine": _text(best.cosine, "<f4"), "index": _text(best.index, "<i8")})


def join_parts(task: PairwiseTask) -> UnitResult:
    """On a worker: the similarity table of a large cluster from the records of its parts."""
    table, ranked = task.ranking()
    records = [task.state.record(key) for key in task.parts]
    if any(record is None for record in records):
        raise InputError(f"{task}: the record of a part vanished while the run went on; run again")
    cosine, index = (
        np.concatenate([_array(record.data[name], kind) for record in records if record])
        for name, kind in (("cosine", "<f4"), ("index", "<i8"))
    )
    return _written(task, table, ranked, *finish_scores(PartialScores(cosine, index), 0))


def _written(
    task: PairwiseTask, table: pa.Table, ranked: NDArray[np.int64], score: NDArray[np.float32], best: NDArray[np.int64]
) -> UnitResult:
    import pyarrow as pa

    stage = task.stage
    ids = table[stage.id_field].combine_chunks().take(pa.array(ranked))
    columns = {stage.id_field: ids, "max_id": ids.take(pa.array(best)), "cosine_sim_score": pa.array(score)}
    path = layout.pairwise_file(task.cluster)
    num_bytes = write_parquet(stage.output, path, pa.table(columns))
    return UnitResult({path: num_bytes}, {"clusters": 1, "rows": len(ranked)})


def _text(array: NDArray[Any], kind: str) -> str:
    return base64.b64encode(array.astype(kind).tobytes()).decode("ascii")


def _array(text: str, kind: str) -> NDArray[Any]:
    return np.frombuffer(base64.b64decode(text), dtype=kind)


def score_pairs(input_path: str, output_path: str, **parameters: Any) -> StageResult:
    """Score the pairs within each cluster; the parameters are those of `PairwiseStage`."""
    return PairwiseStage(input_path=input_path, output_path=output_path, **parameters).run()
