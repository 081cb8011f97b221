"""Cut clusters that are too large for one worker into parts of about equal work, and plan the units of a run."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from curator_dask.data.clusters import count_rows
from curator_dask.dedup.similarity.pairwise import runs_of_equal_work
from curator_dask.errors import CuratorError
from curator_dask.runtime.records import digest
from curator_dask.runtime.state import StageState
from curator_dask.runtime.units import Unit
from curator_dask.stages.pairwise.spec import ClusterTask, JoinTask

CUT_ROWS = 32_768
"""Clusters with more rows are cut. At 512 dimensions this many rows are 64 MiB and take one core 6 s, or 3 s with products
of one-byte numbers. The memory grows with the number of rows, the time with its square."""
PART_ROWS = 32_768
"""Average rows per part. Each part reads the whole cluster, which takes 3 to 7 % of the time of its products at
this size (7 us per row at 512 dimensions), and twice that share with half as many rows. The earlier rows lie on the worker's
disk meanwhile."""
TASK_ROWS = 8192
"""A cluster of this many rows fills a Dask task, half a second; smaller clusters share one, each by the square of its
rows."""
MOST_DENSE = 4
"""So many times as many rows per byte as in the largest file, some other file may hold. How many rows a file has is read from
it only where they may be too many for one worker, as it takes a round trip to an object store."""
FOOTERS_AT_ONCE = 16
"""Parquet footers that are read at the same time from an object store, where each takes a round trip."""
PART_VERSION = 2
"""Version of a part's file. Parts of an older version are scored again."""


@dataclass(frozen=True)
class LargeCluster:
    """A cluster that is cut."""

    join: Unit[JoinTask]
    """The unit that writes its table."""
    parts: list[Unit[ClusterTask]]

    def is_scored(self, done: Mapping[str, str]) -> bool:
        """Whether all its parts are done."""
        return all(done.get(part.key) == part.inputs for part in self.parts)


@dataclass(frozen=True)
class PairwisePlan:
    clusters: list[Unit[ClusterTask]]
    """One unit per cluster: the one that writes its table."""
    first: list[Unit[ClusterTask]]
    """The units that can run at once: whole clusters, and the parts of large ones. The most work comes first."""
    large: list[LargeCluster]

    def keys(self) -> set[str]:
        return {unit.key for unit in (*self.clusters, *self.first)}


def plan_units(state: StageState, clusters: list[Unit[ClusterTask]]) -> PairwisePlan:
    """Cut the large ones among the clusters that are not done yet."""
    done = state.done_units()
    todo = [unit for unit in clusters if done.get(unit.key) != unit.inputs]
    counted = _with_rows(todo)
    large = [_cut(state, unit) for unit in counted if unit.task.num_rows > CUT_ROWS]
    whole = [unit for unit in counted if unit.task.num_rows <= CUT_ROWS]
    whole.sort(key=lambda unit: -unit.task.num_rows)
    skipped = [unit for unit in clusters if done.get(unit.key) == unit.inputs]
    return PairwisePlan(clusters, [*(part for one in large for part in one.parts), *whole, *skipped], large)


def _with_rows(units: list[Unit[ClusterTask]]) -> list[Unit[ClusterTask]]:
    """The units with the number of their rows: read for those that may be large, else judged by their bytes."""
    row_bytes = _row_bytes(units)
    least = CUT_ROWS / MOST_DENSE * row_bytes
    guessed = [_of_rows(unit, round(unit.task.num_bytes / row_bytes)) for unit in units if unit.task.num_bytes < least]
    return [*_count_rows_of([unit for unit in units if unit.task.num_bytes >= least]), *guessed]


def _row_bytes(units: list[Unit[ClusterTask]]) -> float:
    """The bytes per row of the largest cluster that can be read; 0 where there is none."""
    for unit in sorted(units, key=lambda unit: -unit.task.num_bytes):
        if num_rows := _count_unit_rows(unit).task.num_rows:
            return unit.task.num_bytes / num_rows
    return 0.0


def _count_rows_of(units: list[Unit[ClusterTask]]) -> list[Unit[ClusterTask]]:
    if (
        not units or units[0].task.spec.input.is_local
    ):  # a footer takes a tenth of a millisecond, and threads are slower
        return list(map(_count_unit_rows, units))
    with ThreadPoolExecutor(FOOTERS_AT_ONCE) as pool:
        return list(pool.map(_count_unit_rows, units))


def _count_unit_rows(unit: Unit[ClusterTask]) -> Unit[ClusterTask]:
    try:
        return _of_rows(unit, count_rows(unit.task.spec.input, unit.task.paths))
    except (CuratorError, OSError):  # the worker will meet the same error and record it for this unit
        return unit


def _of_rows(unit: Unit[ClusterTask], num_rows: int) -> Unit[ClusterTask]:
    """The unit with its number of rows, and the share of a Dask task that it fills."""
    return replace(unit, task=replace(unit.task, num_rows=num_rows), share=min(1.0, (num_rows / TASK_ROWS) ** 2))


def _cut(state: StageState, unit: Unit[ClusterTask]) -> LargeCluster:
    parts: list[Unit[ClusterTask]] = []
    for number, run in enumerate(runs_of_equal_work(unit.task.num_rows, PART_ROWS)):
        key = f"{unit.key}-part-{number:05d}"
        part = unit.task.part(run, state.beside_marker(key))
        parts.append(Unit(key, digest(unit.inputs, run.start, run.stop, PART_VERSION), part, str(part)))
    join = unit.task.join(tuple(state.beside_marker(part.key) for part in parts))
    return LargeCluster(Unit(unit.key, unit.inputs, join, unit.source, unit.share), parts)


def scored_clusters(state: StageState, plan: PairwisePlan) -> list[LargeCluster]:
    """The large clusters whose parts are all done. Tables that earlier runs left of the others are removed."""
    if not plan.large:
        return []
    done = state.done_units()
    scored = [one for one in plan.large if one.is_scored(done)]
    state.forget({one.join.key for one in plan.large} - {one.join.key for one in scored})
    return scored


def forget_parts(state: StageState, joined: list[LargeCluster]) -> None:
    """Remove the parts of the clusters whose tables are written."""
    done = state.done_units()
    for one in joined:
        if done.get(one.join.key) == one.join.inputs:
            state.forget(part.key for part in one.parts)
