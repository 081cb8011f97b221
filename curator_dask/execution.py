"""Units over a Dask cluster: skip the finished ones, run the rest, record each one, lose none.

A unit is idempotent and writes its own marker on the worker, so the death of the client or of a worker costs only the
units under way.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Generic, TypeVar

from curator_dask.cluster import LazyCluster
from curator_dask.errors import ClusterError, CuratorError
from curator_dask.progress import Reporter
from curator_dask.records import Failure, UnitRecord, add_counts, printable
from curator_dask.state import StageState

T = TypeVar("T")
logger = logging.getLogger(__name__)

# Tasks submitted ahead of each worker thread: enough to never starve one, few enough to keep the scheduler small.
SUBMIT_AHEAD = 4


@dataclass(frozen=True)
class Unit(Generic[T]):
    """One independent piece of a stage's work."""

    key: str
    """A safe file name, the same in every run."""
    inputs: str
    """Digest of what the unit reads."""
    task: T
    """What the worker needs, picklable."""
    source: str = ""
    """What a person calls it, for failures."""


@dataclass(frozen=True)
class UnitsOutcome:
    """What running a stage's units came to."""

    counts: dict[str, int]
    """Added up over all planned units, those of earlier runs included."""
    failures: tuple[Failure, ...]
    num_run: int
    num_skipped: int


def run_units(
    cluster: LazyCluster,
    state: StageState,
    units: Sequence[Unit[T]],
    work: Callable[[T], UnitRecord],
    *,
    reporter: Reporter,
    what: str,
) -> UnitsOutcome:
    """Run `work` on the task of every unit that is not done, each in a Dask task; returns counts over all units.

    A unit that raises is recorded as a failure and the others go on; it is tried again in the next run.
    """
    done = state.done_units()
    todo = [unit for unit in units if done.get(unit.key) != unit.inputs]
    reporter.start(state.stage, len(units), what)
    reporter.advance(len(units) - len(todo))
    unfinished: dict[str, UnitRecord] = {}
    try:
        for record in _completed(cluster, state, todo, work) if todo else ():
            if not record.final:
                unfinished[record.key] = record
            reporter.advance()
    finally:
        reporter.finish()
    return _outcome(state, units, unfinished, num_run=len(todo))


def _outcome(
    state: StageState, units: Sequence[Unit[T]], unfinished: dict[str, UnitRecord], num_run: int
) -> UnitsOutcome:
    planned = {unit.key for unit in units}
    counts: list[dict[str, int]] = []
    failures: list[Failure] = []
    for record in (*state.records(), *unfinished.values()):
        if record.key in planned and (record.final is False or record.key not in unfinished):
            counts.append(record.counts)
            failures.extend(record.failures)
    return UnitsOutcome(add_counts(counts), tuple(failures), num_run, len(units) - num_run)


def _completed(
    cluster: LazyCluster, state: StageState, units: Sequence[Unit[T]], work: Callable[[T], UnitRecord]
) -> Iterator[UnitRecord]:
    from distributed import as_completed

    client = cluster.client
    waiting = iter(units)
    by_future: dict[Any, Unit[T]] = {}

    def submit(unit: Unit[T]) -> Any:
        # pure=False: the same unit may have to run again on the same scheduler, with its outputs gone.
        future = client.submit(run_unit, state, unit, work, pure=False, key=None)
        by_future[future.key] = unit
        return future

    pool = as_completed([submit(unit) for unit in islice(waiting, SUBMIT_AHEAD * cluster.num_threads)])
    for future in pool:
        unit = by_future.pop(future.key)
        for following in islice(waiting, 1):
            pool.add(submit(following))
        yield _result(future, state.stage, unit)


def _result(future: Any, stage: str, unit: Unit[T]) -> UnitRecord:
    """The unit's record; for a future without one (its workers died), a failure that says so."""
    if future.status == "finished":
        record: UnitRecord = future.result()
        return record
    if future.status == "cancelled":
        raise ClusterError("the Dask scheduler dropped the running tasks: it was closed or lost; run again to go on")
    error = future.exception()
    message = f"the worker died or the task could not run: {type(error).__name__}: {error}"
    failure = Failure(stage, printable(unit.source or unit.key), "worker-lost", message)
    return UnitRecord(unit.key, unit.inputs, counts={"units_failed": 1}, failures=(failure,), final=False)


def run_unit(state: StageState, unit: Unit[T], work: Callable[[T], UnitRecord]) -> UnitRecord:
    """On the worker: do the work and write the marker. The record that travels back leaves its bulk in the marker."""
    try:
        record = work(unit.task)
    except Exception as error:  # a unit's fault must not end the run; it is recorded with its reason
        reason = getattr(error, "reason", "internal-error" if not isinstance(error, CuratorError) else "failed")
        if not isinstance(error, CuratorError):
            logger.error("unit %s of stage %s:\n%s", unit.key, state.stage, traceback.format_exc())
        message = str(error) if isinstance(error, CuratorError) else f"{type(error).__name__}: {error}"
        failure = Failure(state.stage, printable(unit.source or unit.key), reason, message)
        return UnitRecord(unit.key, unit.inputs, counts={"units_failed": 1}, failures=(failure,), final=False)
    record = replace(record, key=unit.key, inputs=unit.inputs)
    if record.final:
        state.write(record)
    return replace(record, data={}, outputs={})
