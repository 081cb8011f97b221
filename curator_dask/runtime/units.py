"""Run units on a Dask cluster: skip the finished ones, run the others, and record each one.

A unit may be run again without harm, and its marker is written on the worker. So the death of the client or of a worker
costs only the units under way. Short units share a Dask task, as a task costs about as much as such a unit; each still
has a record of its own.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import re
import time
import traceback
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from curator_dask._version import __version__
from curator_dask.errors import ClusterError, CuratorError, InputError, MediaError, OpenFailureError
from curator_dask.files.folder import Folder
from curator_dask.files.local_disk.held_files import HeldFiles, put_in_place
from curator_dask.files.names import counted, printable
from curator_dask.files.object_store.asking_once import workers_wrote
from curator_dask.files.temporary.temporary_folders import sweep_temporary_folders
from curator_dask.runtime.agreement.shared_folder import lock_token, require_shared
from curator_dask.runtime.agreement.versions import refuse_other_version
from curator_dask.runtime.cluster import LazyCluster
from curator_dask.runtime.failing.final_reasons import reason_of
from curator_dask.runtime.failing.halving import Halving
from curator_dask.runtime.markers.packing import MOST_LOOSE
from curator_dask.runtime.progress import Reporter
from curator_dask.runtime.records import Failure, FoundUnit, UnitRecord, UnitResult
from curator_dask.runtime.state import StageState
from curator_dask.runtime.waiting import ALL_WORKERS_DIED, LOOK_EVERY_S, WorkerWatch

T = TypeVar("T")
R = TypeVar("R")
WorkTogether = Callable[[Sequence[T]], Iterator[UnitResult]]
logger = logging.getLogger(__name__)

# Tasks submitted per worker thread: enough that no thread waits, few enough to keep the scheduler small.
SUBMIT_AHEAD = 4
# At most so many units share a task: enough to make a task's own cost small, few enough to repeat when a worker dies.
MOST_IN_TASK = 64
# How many of them run at a time: a short unit mostly waits, for an object store or for the disk to flush. Beside a disk a few
# are enough, and more of them would push each other's numbers out of the processor's cache.
THREADS_IN_TASK = 8
THREADS_BESIDE_DISK = 3
# How many of them have their files flushed together: enough to make the flush of a folder small for each.
FLUSHED_TOGETHER = 32
# How long to wait before units that failed because of the machine are tried again in the same run.
TRY_AGAIN_AFTER_S = (1.0, 5.0)
# Where more units fail than this, and more than half of all, waiting some seconds will not help.
FEW_FAILURES = 32
WORKER_LOST = "worker-lost"
CLIP_MILLISECONDS = "clip_milliseconds"
"""The count of a unit that says how long its clips are."""

_SAFE_KEY = re.compile(r"[A-Za-z0-9_=][A-Za-z0-9_=.-]{0,199}")


@dataclass(frozen=True)
class Unit(Generic[T]):
    """One independent piece of a stage's work."""

    key: str
    """A safe file name, the same in every run."""
    inputs: str
    """Digest of what the unit reads."""
    task: T
    """What the worker is told; it must pickle."""
    source: str = ""
    """Its name for people, in failures."""
    share: float = 1.0
    """The share of a task that it fills: 1 is about a second of work. Units of less than 1 may share a task and run beside
    each other, so they should need little memory."""
    parts: Mapping[str, str] = field(default_factory=dict)
    """Clip id → its source, where the unit can be done without some of its clips, see `without`."""
    without: Callable[[T, frozenset[str]], T] | None = None
    """The task with these parts set aside: they fail as `WORKER_LOST`, and the others are done."""
    careful: T | None = None
    """Another task for the same unit, for workers that died of the first: it leaves out what a later stage does too."""
    reads: tuple[Folder, tuple[str, ...]] | None = None
    """Files that it reads, if they are large. With `flush_together`, a disk is asked for those of the next unit meanwhile."""
    before: tuple[str, ...] = ()
    """What an earlier version of the unit wrote. `run_units` fills it in."""


@dataclass(frozen=True)
class UnitsOutcome:
    """The outcome of a stage's units."""

    counts: dict[str, int]
    """Sums over all planned units, including those of earlier runs."""
    failures: tuple[Failure, ...]
    num_run: int
    num_skipped: int

    def raise_failures(self, text: str) -> None:
        """Raise an error with this text and what failed first, if anything failed: one that says whether to run again."""
        if self.failures:
            told = f"{text}: {self.failures[0].message}"
            if any(failure.is_open for failure in self.failures):
                raise OpenFailureError(f"{told}. Run again to go on")
            raise InputError(told)


def run_units(
    cluster: LazyCluster,
    state: StageState,
    units: Sequence[Unit[T]],
    work: Callable[[T], UnitResult],
    *,
    reporter: Reporter,
    what: str,
    together: WorkTogether[T] | None = None,
    again: Collection[str] = (),
    flush_together: bool = False,
    after_each: Callable[[UnitRecord], None] | None = None,
) -> UnitsOutcome:
    """Run `work` on the task of every unit that is not done, in Dask tasks; returns counts over all units.

    `together` does the same for several units that share a Dask task, and yields their results in order. Without it, a
    few of them run at a time. If it raises, the units whose results are missing are done one by one.

    `again` holds the keys of units that are to be done even if they are done.

    With `flush_together`, files on a local disk of some units that share a task are flushed together, and then their markers,
    while the next units are done one after the other.
    It is for work that writes its files by `Folder.write_bytes` or `write_parts` and reads none of them again.

    `after_each` gets the record of every unit that was done or failed in this run, once it is settled.

    A unit that raises is recorded as a failure and the others continue; the next run tries it again. The outputs of an
    earlier version of a failed unit are removed, so that no later stage takes them for the current ones. Units with open
    failures (see `failing.final_reasons`) are tried again in this run too, after all others and a pause, at most twice.

    Raises:
        ClusterError: the scheduler is lost, or has had no workers for a long time. The finished units stay finished.
    """
    _check_keys(units)
    state.pack()
    found = _survey(state, units, again)
    finished = _Finished(state, found.tally)
    reporter.start(state.stage, len(units), what)
    try:
        reporter.advance(len(units) - len(found.todo))
        do = functools.partial(
            _run_task_for, Run.of(state), state, work=work, together=together, flush_together=flush_together
        )
        with contextlib.closing(_complete(cluster, state, found.todo, do, reporter)) as records:
            for record in records:
                if not record.is_done and not record.outputs:
                    state.forget([record.key], known=found.known)
                finished.add(record)
                if after_each is not None:
                    after_each(record)
                reporter.add_video(record.counts.get(CLIP_MILLISECONDS, 0) / 1000)
                reporter.advance()
        finished.settle()
    finally:
        reporter.finish()
    return _outcome(state, units, found)


def has_work(state: StageState, units: Sequence[Unit[Any]], again: Collection[str] = ()) -> bool:
    """Whether `run_units` would do some of the units."""
    return bool(_survey(state, units, again).todo)


def count_work(state: StageState, units: Sequence[Unit[Any]], again: Collection[str] = ()) -> tuple[int, int]:
    """How many of the units `run_units` would do, and how many are done."""
    num_todo = len(_survey(state, units, again).todo)
    return num_todo, len(units) - num_todo


@dataclass
class _Tally:
    """Counts and failures of units, in any order."""

    counts: dict[str, int] = field(default_factory=dict)
    failures: dict[str, tuple[Failure, ...]] = field(default_factory=dict)
    """Unit key → its failures, if it has some."""
    keys: set[str] = field(default_factory=set)

    def add(self, record: UnitRecord | FoundUnit) -> None:
        self.keys.add(record.key)
        for name, number in record.counts.items():
            self.counts[name] = self.counts.get(name, 0) + number
        if record.failures:
            self.failures[record.key] = record.failures


@dataclass
class _Survey(Generic[T]):
    """What earlier runs left of the planned units."""

    todo: list[Unit[T]]
    known: Set[str]
    """The keys of those units to do that have a marker."""
    tally: _Tally
    """The units that are done."""


def _survey(state: StageState, units: Sequence[Unit[T]], again: Collection[str]) -> _Survey[T]:
    """Read the markers of these units once."""
    tally, before = _Tally(), dict[str, tuple[str, ...]]()
    planned = {unit.key: unit.inputs for unit in units}
    for record, is_done in state.checked_units(planned.keys()):
        if is_done and planned[record.key] == record.inputs and record.key not in again:
            tally.add(record)
        else:
            before[record.key] = tuple(record.outputs)
    todo = [
        replace(unit, before=before[unit.key]) if before.get(unit.key) else unit
        for unit in units
        if unit.key not in tally.keys
    ]
    return _Survey(todo, before.keys(), tally)


def _check_keys(units: Sequence[Unit[T]]) -> None:
    """Refuse keys that are no safe file names, and equal keys, which would make two units share a marker."""
    seen: set[str] = set()
    for unit in units:
        if unit.key in seen:
            raise InputError(f"two units of work share the name {unit.key!r} ({unit.source}): names must be unique")
        if not _SAFE_KEY.fullmatch(unit.key):
            raise InputError(
                f"{printable(unit.source)}: {unit.key!r} cannot name a unit of work: use A-Z a-z 0-9 _ = . -"
            )
        seen.add(unit.key)


@dataclass
class _Finished:
    """Units that this run finished. Before they count, their markers must have been seen."""

    state: StageState
    tally: _Tally
    records: list[UnitRecord] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    """The keys of markers that lay there, also of units that are done but have not been told of yet."""

    num_left: int = 0
    """Markers that were not packed, as they are large: the more there are, the more seldom they are listed."""

    def add(self, record: UnitRecord) -> None:
        self.records.append(record)
        if len(self.records) >= max(MOST_LOOSE, self.num_left):
            self.settle()

    def settle(self) -> None:
        """Count the last ones, and pack all markers if there are many. A unit without a marker is left out."""
        if not self.records:
            return
        loose = self.state.pack()
        self.num_left = len(loose) - len(self.records)
        self.seen |= loose
        for record in self.records:
            if not record.is_done or record.key in self.seen:
                self.tally.add(record)
            self.seen.discard(record.key)
        self.records.clear()


def _outcome(state: StageState, units: Sequence[Unit[T]], found: _Survey[T]) -> UnitsOutcome:
    """Counts and failures of all units: of those that were done before, and of those that this run did or could not do."""
    tally = found.tally
    for unit in units:
        if unit.key not in tally.keys:
            tally.add(_failure_record(state, unit, "record-lost", "its record vanished during the run; run again"))
    failures = tuple(failure for key in sorted(tally.failures) for failure in tally.failures[key])
    return UnitsOutcome(tally.counts, failures, len(found.todo), len(units) - len(found.todo))


def _complete(
    cluster: LazyCluster,
    state: StageState,
    units: Sequence[Unit[T]],
    do: Callable[[list[Unit[T]]], list[UnitRecord]],
    reporter: Reporter,
) -> Generator[UnitRecord, None, None]:
    """The records of all units, as they finish."""
    if not units:
        return  # before a cluster is started
    watch = WorkerWatch(cluster.client, lambda text: reporter.note(f"{state.stage}: {text}"))
    watch.look(counted(len(units), "units"))
    suspects: list[Unit[T]] = []
    state.sweep()
    sweep_temporary_folders()
    todo = units
    for pause_s in (*TRY_AGAIN_AFTER_S, None):
        failed = yield from _complete_once(watch, state, todo, do, suspects)
        if pause_s is None or len(failed) > max(FEW_FAILURES, len(todo) // 2):
            yield from (record for _, record in failed)
            break
        todo = [unit for unit, _ in failed]
        _pause(state, [record for _, record in failed], pause_s, reporter)
    yield from _complete_suspects(watch, state, suspects, do)
    state.sweep()


def _complete_once(
    watch: WorkerWatch,
    state: StageState,
    units: Sequence[Unit[T]],
    do: Callable[[list[Unit[T]]], list[UnitRecord]],
    suspects: list[Unit[T]],
) -> Generator[UnitRecord, None, list[tuple[Unit[T], UnitRecord]]]:
    """The records of the units without open failures, as they finish; returns the others.

    Units of which it is unknown what became of them are added to `suspects`.
    """
    failed: list[tuple[Unit[T], UnitRecord]] = []
    for unit, record in _run_all(watch, state, units, do, per_thread=SUBMIT_AHEAD, most=MOST_IN_TASK):
        if record is None:
            suspects.append(unit)
        elif record.has_open_failures:
            failed.append((unit, record))
        else:
            yield record
    return failed


def _pause(state: StageState, failed: Sequence[UnitRecord], pause_s: float, reporter: Reporter) -> None:
    """Wait before the units of these records are tried again, and say why."""
    if failed:
        reasons = sorted({failure.reason for record in failed for failure in record.failures if failure.is_open})
        what = counted(len(failed), "units")
        reporter.note(f"{state.stage}: {what} failed ({', '.join(reasons)}), tried again in {pause_s:g} s")
        time.sleep(pause_s)


def _complete_suspects(
    watch: WorkerWatch, state: StageState, suspects: Sequence[Unit[T]], do: Callable[[list[Unit[T]]], list[UnitRecord]]
) -> Generator[UnitRecord, None, None]:
    """The records of units whose task killed workers, or was held by a worker that another task killed.

    Dask blames every task that a dying worker held, also those that waited there. So all get a second chance, one per
    task. A unit that kills again is halved, until the part that kills is found.
    """
    careful = [unit if unit.careful is None else replace(unit, task=unit.careful) for unit in suspects]
    searches: list[tuple[Unit[T], Halving]] = []
    for unit, record in _run_all(watch, state, careful, do, per_thread=0.5, most=1):
        if record is not None:
            yield record
        elif unit.without is None or len(unit.parts) < 2:
            yield _failure_record(state, unit, WORKER_LOST, ALL_WORKERS_DIED)
        else:
            searches.append((unit, Halving(list(unit.parts))))
    yield from _complete_halved(watch, state, searches, do)


def _complete_halved(
    watch: WorkerWatch,
    state: StageState,
    searches: Sequence[tuple[Unit[T], Halving]],
    do: Callable[[list[Unit[T]]], list[UnitRecord]],
) -> Generator[UnitRecord, None, None]:
    """The records of units that kill workers, with the parts that do so set aside.

    Each try writes the unit with the parts that it does, so each is a state that the next run could go on from. Tries of
    one unit follow each other, as they write the same files.
    """
    by_key = {unit.key: search for unit, search in searches}
    todo = [unit for unit, _ in searches]
    while todo:
        tries = [_without(unit, by_key[unit.key].aside() or frozenset()) for unit in todo]
        for unit, record in _run_all(watch, state, tries, do, per_thread=0.5, most=1):
            by_key[unit.key].tell(survived=record is not None)
        todo = [unit for unit in todo if by_key[unit.key].aside() is not None]
    whole = [_without(unit, frozenset(search.deadly)) for unit, search in searches]
    for unit, record in _run_all(watch, state, whole, do, per_thread=0.5, most=1):
        yield record or _failure_record(state, unit, WORKER_LOST, ALL_WORKERS_DIED)


def _without(unit: Unit[T], parts: frozenset[str]) -> Unit[T]:
    return unit if unit.without is None else replace(unit, task=unit.without(unit.task, parts))


def _run_all(
    watch: WorkerWatch,
    state: StageState,
    units: Sequence[Unit[T]],
    do: Callable[[list[Unit[T]]], list[UnitRecord]],
    *,
    per_thread: float,
    most: int,
) -> Generator[tuple[Unit[T], UnitRecord | None], None, None]:
    """Every unit with its record, as they finish; None instead of a record if each worker that tried its task died.

    Args:
        per_thread: tasks submitted at a time, per worker thread.
        most: units that share a task at most.
    """
    waiting = deque(units)
    running: dict[Any, list[Unit[T]]] = {}
    finished: SimpleQueue[Any] = SimpleQueue()

    def fill() -> None:
        while waiting and len(running) < max(1, int(per_thread * watch.num_threads)):
            shared = next_task(waiting, watch.num_threads, most)
            # pure=False: the same unit may have to run again on the same scheduler, with its outputs gone.
            future = watch.client.submit(do, shared, pure=False)
            running[future] = shared
            future.add_done_callback(finished.put)

    try:
        fill()
        while running:
            try:
                future = finished.get(timeout=LOOK_EVERY_S)
            except Empty:
                watch.look(_counted_units(running.values()))
                continue
            shared = running.pop(future)
            watch.look(_counted_units([shared, *running.values()]))
            fill()
            yield from zip(shared, _results(future, state, shared), strict=True)
    finally:
        if running:  # the caller gave up, or the scheduler is gone: stop all work of this run
            with contextlib.suppress(Exception):
                watch.client.cancel(list(running))


def _counted_units(tasks: Iterable[Sequence[Unit[Any]]]) -> str:
    return counted(sum(map(len, tasks)), "units")


def next_task(waiting: deque[Unit[T]], num_threads: int, most: int = MOST_IN_TASK) -> list[Unit[T]]:
    """Take the units of one task off the front: as many as fill it; fewer towards the end, so that no thread runs out of work."""
    most = min(most, -(-len(waiting) // (2 * num_threads)))
    together = [waiting.popleft()]
    filled = together[0].share
    while waiting and len(together) < most and filled + waiting[0].share <= 1:
        together.append(waiting.popleft())
        filled += together[-1].share
    return together


def _results(future: Any, state: StageState, units: list[Unit[T]]) -> Sequence[UnitRecord | None]:
    """The records of the units of a task, or None for each where it is unknown which unit made the task fail."""
    from distributed import CancelledError, KilledWorker

    try:
        workers_wrote()
        records: list[UnitRecord] = future.result()
    except CancelledError as error:
        raise ClusterError("the Dask scheduler was closed or lost: run again to go on") from error
    except KilledWorker:
        return [None] * len(units)
    except ClusterError:  # this worker must not work here
        raise
    except Exception as error:
        if future.client.status != "running":
            raise ClusterError(f"the Dask scheduler was closed or lost ({error}): run again to go on") from error
        if len(units) > 1:  # one of them could not be sent
            return [None] * len(units)
        message = f"the task could not run: {type(error).__name__}: {error}"
        return [_failure_record(state, units[0], "internal-error", message)]
    return records


def _failure_record(state: StageState, unit: Unit[T], reason: str, message: str) -> UnitRecord:
    parts = unit.parts or {"": unit.source or unit.key}
    failures = tuple(Failure(state.stage, printable(source), reason, message, part) for part, source in parts.items())
    return UnitRecord(unit.key, unit.inputs, counts={"units_failed": 1}, failures=failures, final=False)


@dataclass(frozen=True)
class Run:
    """What a worker compares before it works for a run, as workers may come at any time, from any machine."""

    version: str
    lock: str

    @classmethod
    def of(cls, state: StageState) -> Run:
        """The run of this process."""
        return cls(__version__, lock_token(state.folder, state.stage))

    def check(self, state: StageState) -> None:
        """On the worker: raise ClusterError where it is of another version, or sees another disk."""
        refuse_other_version(self.version)
        require_shared(state.folder, state.stage, self.lock)


def _run_task_for(run: Run, state: StageState, units: Sequence[Unit[T]], **how: Any) -> list[UnitRecord]:
    """On the worker: `run_task`. Raises ClusterError where the worker is of another version, or sees another disk."""
    run.check(state)
    return run_task(state, units, **how)


def run_task(
    state: StageState,
    units: Sequence[Unit[T]],
    work: Callable[[T], UnitResult],
    together: WorkTogether[T] | None = None,
    flush_together: bool = False,
) -> list[UnitRecord]:
    """On the worker: do the units of a task, a few at a time or `together`. A single unit runs in the task's own thread."""
    if len(units) == 1:
        return [run_unit(state, units[0], work)]
    if together is not None:
        records = _run_together(state, units, together)
        return [*records, *(run_unit(state, unit, work) for unit in units[len(records) :])]
    if flush_together and state.folder.is_local:
        # One thread, as its units wait for no flush. A second one would only wait for its lock and take its cache.
        with ThreadPoolExecutor(1) as pool:
            following = [*units[1:], None]
            asides = pool.map(lambda unit, after: _run_aside(state, unit, work, after), units, following)
            return _flushed_together(state, asides)
    with ThreadPoolExecutor(THREADS_BESIDE_DISK if state.folder.is_local else THREADS_IN_TASK) as pool:
        return list(pool.map(lambda unit: run_unit(state, unit, work), units))


@dataclass
class _Aside(Generic[T]):
    """A unit whose files are written, but not in their places yet."""

    unit: Unit[T]
    files: HeldFiles
    found: UnitResult | UnitRecord
    """Its result; or its record, if it failed or its marker is among the files."""


def _run_aside(
    state: StageState, unit: Unit[T], work: Callable[[T], UnitResult], following: Unit[T] | None
) -> _Aside[T]:
    if following is not None and following.reads is not None:
        folder, paths = following.reads
        folder.read_ahead(paths)
    return _aside(state, unit, lambda: work(unit.task))


def _aside(state: StageState, unit: Unit[T], act: Callable[[], UnitResult | UnitRecord]) -> _Aside[T]:
    """What comes of an act that writes files for a unit."""
    files = HeldFiles()

    def held() -> UnitResult | UnitRecord:
        with files.holding():
            return act()

    return _Aside(unit, files, _recorded(state, unit, held))


def _flushed_together(state: StageState, asides: Iterator[_Aside[T]]) -> list[UnitRecord]:
    """The records of units, some of which are put in place together while the next ones are worked on."""
    records: list[UnitRecord] = []
    marked: list[_Aside[T]] = []
    while True:
        some = list(itertools.islice(asides, FLUSHED_TOGETHER))
        _put_in_place(state, [*some, *marked])  # markers whose files are in place, beside the files of the next units
        records += [one.found for one in marked if isinstance(one.found, UnitRecord)]
        if not some:
            return records
        marked = [_mark_aside(state, one) for one in some]


def _put_in_place(state: StageState, asides: Sequence[_Aside[T]]) -> None:
    """Put the files of some units in place. Where that fails, the unit does."""
    for one, error in zip(asides, put_in_place([aside.files for aside in asides]), strict=True):
        if error is not None:
            one.found = _failure_of(state, one.unit, error)


def _mark_aside(state: StageState, aside: _Aside[T]) -> _Aside[T]:
    result = aside.found
    if isinstance(result, UnitRecord):
        return replace(aside, files=HeldFiles())
    return _aside(state, aside.unit, lambda: _mark_done(state, aside.unit, result))


def _run_together(state: StageState, units: Sequence[Unit[T]], together: WorkTogether[T]) -> list[UnitRecord]:
    """The records of the first units, up to the first one that failed."""
    records: list[UnitRecord] = []
    try:
        for unit, result in zip(units, together([unit.task for unit in units]), strict=True):
            records.append(_mark_done(state, unit, result))
    except Exception:  # which unit failed shows when each is done alone
        logger.debug("units that share a task of stage %s are done one by one", state.stage, exc_info=True)
    return records


def run_unit(state: StageState, unit: Unit[T], work: Callable[[T], UnitResult]) -> UnitRecord:
    """On the worker: do the work and write the marker."""
    return _recorded(state, unit, lambda: _mark_done(state, unit, work(unit.task)))


def _recorded(state: StageState, unit: Unit[T], act: Callable[[], R]) -> R | UnitRecord:
    """What comes of an act for a unit; if it raises, the record of that failure."""
    try:
        return act()
    except Exception as error:  # recorded with its reason: the failure of a unit must not end the run
        return _failure_of(state, unit, error)


def _failure_of(state: StageState, unit: Unit[T], error: Exception) -> UnitRecord:
    return _failure_record(state, unit, *reason_and_message(error, f"unit {unit.key} of stage {state.stage}"))


def reason_and_message(error: Exception, what: str) -> tuple[str, str]:
    """What a `Failure` says of an error. One that is none of this package's goes to the log, with what failed."""
    if isinstance(error, MediaError):
        return error.reason, str(error)
    if isinstance(error, CuratorError):
        return reason_of(error), str(error)
    logger.error("%s", what, exc_info=error)
    return "internal-error", _describe_error(error)


def _mark_done(state: StageState, unit: Unit[T], result: UnitResult) -> UnitRecord:
    """Write the unit's marker; returns its record without the large parts, which are in the marker.

    A unit with open failures has a marker if it wrote anything, and names its outputs here, as they are to be kept.
    """
    record = UnitRecord.of(unit.key, unit.inputs, result)
    if record.is_done or (record.final and record.outputs):
        state.write(record, unit.before)
    return replace(record, data={}, outputs={} if record.is_done or not record.final else record.outputs)


def _describe_error(error: Exception) -> str:
    """The exception and the line that raised it, to find the fault without the worker's log."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{where}"
