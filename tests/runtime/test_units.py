"""Units over real Dask workers: each once, every failure recorded, nothing lost when processes die."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cloudpickle
import dask
import distributed  # noqa: F401  before its settings are changed below, which would else be all that it has
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curator_dask.errors import ClusterError, InputError, MediaError, OpenFailureError
from curator_dask.files.folder import Folder
from curator_dask.runtime import units as execution
from curator_dask.runtime import waiting
from curator_dask.runtime.cluster import LazyCluster
from curator_dask.runtime.cluster_settings import ClusterSettings
from curator_dask.runtime.markers import packing
from curator_dask.runtime.progress import SilentReporter
from curator_dask.runtime.records import Failure, UnitResult, digest
from curator_dask.runtime.state import StageState, recorded_versions
from curator_dask.runtime.units import Unit, UnitsOutcome, next_task, run_units
from curator_dask.runtime.waiting import gather, hold

# Workers cannot import this file: send its functions along.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

Behave = Callable[[str], None]


class Counted(SilentReporter):
    def __init__(self) -> None:
        self.total, self.done, self.finished = 0, 0, 0
        self.notes: list[str] = []

    def start(self, stage: str, total: int, unit: str) -> None:
        self.total = total

    def advance(self, count: int = 1) -> None:
        self.done += count

    def finish(self) -> None:
        self.finished += 1

    def note(self, text: str) -> None:
        self.notes.append(text)


class Job:
    """Units that write one file each and record each attempt; each first calls `behave` with its key."""

    def __init__(self, root: Path, cluster: LazyCluster) -> None:
        self.state = StageState(Folder(str(root / "out")), "work")
        self.attempts_dir = root / "attempts"
        self.attempts_dir.mkdir()
        self.cluster = cluster
        self.reporter = Counted()

    def units(self, keys: str, inputs: str = "v1", share: float = 1.0) -> list[Unit[str]]:
        return [Unit(key, digest(key, inputs), key, f"/videos/{key}.mp4", share) for key in keys]

    def run(
        self, units: list[Unit[str]], behave: Behave = lambda key: None, *, flush_together: bool = False
    ) -> UnitsOutcome:
        folder, attempts = self.state.folder, self.attempts_dir

        def work(key: str) -> UnitResult:
            with (attempts / key).open("a") as log:
                log.write("x")
            behave(key)
            outputs = {f"{key}.txt": folder.write_bytes(f"{key}.txt", key.encode())}
            return UnitResult(outputs, {"made": 1, "bytes": 10}, data={"bulk": key * 1000})

        how = {"what": "things", "flush_together": flush_together}
        return run_units(self.cluster, self.state, units, work, reporter=self.reporter, **how)

    def attempts(self) -> dict[str, int]:
        return {path.name: path.stat().st_size for path in sorted(self.attempts_dir.iterdir())}

    def files(self) -> list[str]:
        return [entry.path for entry in self.state.folder.entries()]


@pytest.fixture
def job(tmp_path: Path, cluster: LazyCluster) -> Job:
    return Job(tmp_path, cluster)


@pytest.fixture
def mortal_job(tmp_path: Path) -> Iterator[Job]:
    """A job on its own workers, which may be killed; Dask gives a task up when two workers have died with it."""
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        LazyCluster(ClusterSettings(device="cpu", n_workers=2, dashboard=False)) as cluster,
    ):
        yield Job(tmp_path, cluster)


def in_words(outcome: UnitsOutcome) -> dict[str, str]:
    return {failure.source: failure.reason for failure in outcome.failures}


def test_every_unit_runs_once_and_never_again(job):
    units = job.units("abcdefghijklmnopqrst")
    first = job.run(units)
    assert first == UnitsOutcome({"made": 20, "bytes": 200}, (), num_run=20, num_skipped=0)
    second = job.run(units)
    assert second == UnitsOutcome({"made": 20, "bytes": 200}, (), num_run=0, num_skipped=20)
    assert set(job.attempts().values()) == {1}
    assert job.files() == [f"{unit.key}.txt" for unit in units]
    assert (job.reporter.total, job.reporter.done, job.reporter.finished) == (20, 40, 2)
    assert job.state.record("a").data == {"bulk": "a" * 1000}


@pytest.fixture
def few_loose(monkeypatch: pytest.MonkeyPatch) -> None:
    """Markers go to batches already when there are three."""
    for module in (execution, packing):
        monkeypatch.setattr(module, "MOST_LOOSE", 3)


@pytest.mark.usefixtures("few_loose")
def test_packed_units_are_as_done_as_others(job):
    units = job.units("abcdefghijklmnopqrst")
    made = UnitsOutcome({"made": 20, "bytes": 200}, (), num_run=20, num_skipped=0)
    assert job.run(units) == made
    folders = {entry.path.split("/")[2] for entry in job.state.folder.entries(".curator")}
    assert "batches" in folders
    assert job.run(units) == replace(made, num_run=0, num_skipped=20)
    assert set(job.attempts().values()) == {1}
    job.state.folder.remove("b.txt")
    units[3] = job.units("d", inputs="v2")[0]
    assert job.run(units).num_run == 2
    assert job.attempts() == {unit.key: 2 if unit.key in "bd" else 1 for unit in units}
    assert [record.key for record in job.state.records()] == [unit.key for unit in units]


@pytest.mark.usefixtures("few_loose")
def test_a_packed_unit_that_fails_on_new_inputs_leaves_nothing_of_the_old_ones(job):
    job.run(job.units("abcdef"))

    def behave(key: str) -> None:
        raise InputError("worse than before")

    outcome = job.run([*job.units("acdef"), *job.units("b", inputs="v2")], behave)
    assert outcome.counts == {"made": 5, "bytes": 50, "units_failed": 1}
    assert job.files() == [f"{key}.txt" for key in "acdef"]
    assert [record.key for record in job.state.records()] == list("acdef")


@pytest.mark.parametrize("most", [2000, 3])
def test_a_unit_whose_marker_vanishes_is_a_failure(job, monkeypatch, most):
    """As if a worker had written it to another disk."""
    for module in (execution, packing):
        monkeypatch.setattr(module, "MOST_LOOSE", most)
    markers = job.state.folder.local_path(job.state.path("units"))

    class Careless(Counted):
        def advance(self, count: int = 1) -> None:
            if (path := markers / "c.json").exists():
                path.unlink()

    job.reporter = Careless()
    units = job.units("abcdefgh")
    outcome = job.run(units)
    lost = [failure.source for failure in outcome.failures if failure.reason == "record-lost"]
    assert lost in ([], ["/videos/c.mp4"])  # unless it was packed before
    assert outcome.counts.get("made", 0) == 8 - len(lost)
    assert len(lost) == 1 or job.state.record("c") is not None
    assert job.run(units).num_run == len(lost)


def test_nothing_to_do_starts_no_cluster(tmp_path, job):
    job.run(job.units("ab"))
    job.cluster = LazyCluster(ClusterSettings(scheduler_address="tcp://127.0.0.1:1"))
    assert job.run(job.units("ab")).num_skipped == 2
    assert job.run([]) == UnitsOutcome({}, (), 0, 0)


def test_failures_have_their_reasons_and_are_tried_again_while_the_others_finish(job):
    def behave(key: str) -> None:
        if key == "b":
            raise InputError("it is not what it should be")
        if key == "c":
            raise MediaError("no-video-stream", "there is no video in it")
        if key == "d":
            b"\xff".decode()  # its error has a `reason` of its own, which is a sentence

    outcome = job.run(job.units("abcde"), behave)
    assert outcome.counts == {"made": 2, "bytes": 20, "units_failed": 3}
    assert in_words(outcome) == {
        "/videos/b.mp4": "failed", "/videos/c.mp4": "no-video-stream", "/videos/d.mp4": "internal-error"
    }  # fmt: skip
    messages = {failure.reason: failure.message for failure in outcome.failures}
    assert messages["failed"] == "it is not what it should be"
    assert messages["internal-error"].startswith("UnicodeDecodeError: 'utf-8' codec can't decode")
    assert job.files() == ["a.txt", "e.txt"]

    again = job.run(job.units("abcde"))
    assert again == UnitsOutcome({"made": 5, "bytes": 50}, (), num_run=3, num_skipped=2)
    assert job.attempts() == {"a": 1, "b": 2, "c": 2, "d": 4, "e": 1}, "what is open is tried three times in a run"


def test_what_the_machine_did_is_tried_again_in_the_same_run(job):
    attempts = job.attempts_dir

    def behave(key: str) -> None:
        if key in "bc" and (attempts / key).stat().st_size <= "abc".index(key):
            raise MediaError("no-space", "the disk is full")

    assert job.run(job.units("abc"), behave) == UnitsOutcome({"made": 3, "bytes": 30}, (), num_run=3, num_skipped=0)
    assert job.attempts() == {"a": 1, "b": 2, "c": 3}
    assert len(job.reporter.notes) == 2
    assert job.reporter.notes[0].startswith("work: 2 units failed (no-space), tried again in ")


def test_where_most_units_fail_the_run_comes_to_an_end(job, monkeypatch):
    monkeypatch.setattr(execution, "FEW_FAILURES", 2)

    def behave(key: str) -> None:
        raise MediaError("no-space", "the disk is full")

    outcome = job.run(job.units("abcd"), behave)
    assert [failure.is_open for failure in outcome.failures] == [True] * 4
    assert set(job.attempts().values()) == {1}
    with pytest.raises(OpenFailureError, match=r"4 things failed: the disk is full. Run again to go on"):
        outcome.raise_failures("4 things failed")


@pytest.mark.parametrize(("reason", "attempts"), [("no-video-stream", 1), ("killed", 6)])
def test_a_final_failure_is_tried_again_only_on_request(job, reason, attempts):
    failure = Failure("work", "x", reason, "why")
    log = job.attempts_dir / "a"

    def work(key: str) -> UnitResult:
        with log.open("a") as file:
            file.write("x")
        return UnitResult(counts={"made": 0}, failures=(failure,))

    def run(again: set[str]) -> UnitsOutcome:
        return run_units(
            job.cluster, job.state, job.units("a"), work, reporter=job.reporter, what="things", again=again
        )

    assert run(set()).failures == run(set()).failures == (failure,)
    assert log.stat().st_size == attempts
    assert run(job.state.units_with_failures() | {"a"}).num_run == 1
    assert log.stat().st_size > attempts


def test_a_unit_without_some_of_its_parts_is_another_version_until_they_are_there(job):
    missing = Failure("work", "x", "killed", "its process was stopped", "clip")
    folder = job.state.folder

    def work(failures: tuple[Failure, ...], key: str) -> UnitResult:
        return UnitResult({"a.txt": folder.write_bytes("a.txt", b"a")}, {"made": 1}, failures)

    versions = []
    for failures in ((missing,), ()):
        do = functools.partial(work, failures)
        outcome = run_units(job.cluster, job.state, job.units("a"), do, reporter=job.reporter, what="things")
        assert (outcome.failures, outcome.num_run, job.files()) == (failures, 1, ["a.txt"])
        versions.append((job.state.fingerprint(), recorded_versions(folder)["a.txt"]))
    assert versions[0][0] != versions[1][0]
    assert versions[0][1] != versions[1][1]


def test_changed_inputs_run_that_unit_again_and_only_that(job):
    job.run(job.units("abc"))
    units = [*job.units("a"), *job.units("b", inputs="v2"), *job.units("c")]
    assert job.run(units).num_run == 1
    assert job.attempts() == {"a": 1, "b": 2, "c": 1}


def test_a_missing_output_runs_its_unit_again(job):
    job.run(job.units("abc"))
    job.state.folder.remove("b.txt")
    assert job.run(job.units("abc")).num_run == 1
    assert job.files() == ["a.txt", "b.txt", "c.txt"]


def test_a_unit_that_fails_on_new_inputs_leaves_nothing_of_the_old_ones(job):
    job.run(job.units("ab"))

    def behave(key: str) -> None:
        raise InputError("worse than before")

    outcome = job.run([*job.units("a"), *job.units("b", inputs="v2")], behave)
    assert outcome.counts == {"made": 1, "bytes": 10, "units_failed": 1}
    assert job.files() == ["a.txt"]
    assert [record.key for record in job.state.records()] == ["a"]


def test_counts_are_those_of_the_planned_units(job):
    job.run(job.units("abcd"))
    outcome = job.run(job.units("ab"))
    assert outcome == UnitsOutcome({"made": 2, "bytes": 20}, (), num_run=0, num_skipped=2)


def test_a_unit_that_is_not_final_counts_and_is_tried_again(job):
    failure = Failure("work", "x", "timeout", "it took too long")

    def work(key: str) -> UnitResult:
        return UnitResult(counts={"late": 1}, failures=(failure,), final=False)

    for _ in range(2):
        outcome = run_units(job.cluster, job.state, job.units("a"), work, reporter=job.reporter, what="things")
        assert outcome == UnitsOutcome({"late": 1}, (failure,), num_run=1, num_skipped=0)


def test_a_marker_that_cannot_be_written_is_the_units_failure(job):
    def work(key: str) -> UnitResult:
        return UnitResult(counts={"made": 1}, data={"score": float("nan")} if key == "a" else {})

    outcome = run_units(job.cluster, job.state, job.units("ab"), work, reporter=job.reporter, what="things")
    assert in_words(outcome) == {"/videos/a.mp4": "internal-error"}
    assert "not JSON compliant" in outcome.failures[0].message
    assert outcome.counts == {"made": 1, "units_failed": 1}


def test_a_task_that_cannot_travel_is_the_units_failure(job):
    class Stuck:
        def __reduce__(self):
            return (eval, ("1/0",))

    unit = Unit("stuck", "v1", Stuck(), "/videos/stuck.mp4")
    outcome = job.run([unit, *job.units("b")])
    assert in_words(outcome) == {"/videos/stuck.mp4": "internal-error"}
    assert outcome.counts["made"] == 1


@pytest.mark.parametrize("key", ["", "a/b", "..", ".hidden", "a\nb", "x" * 300])
def test_a_key_that_is_no_file_name_is_refused(job, key):
    with pytest.raises(InputError, match="cannot name a unit"):
        job.run([Unit(key, "v1", "a", "some.mp4")])


def test_doubled_keys_are_refused(job):
    with pytest.raises(InputError, match=r"'a' \(/videos/a.mp4\)"):
        job.run([*job.units("a"), *job.units("a")])


def test_only_a_few_tasks_are_submitted_ahead(job, monkeypatch):
    """A unit ends only when all but one of the units before it are collected, so many waiting units would be seen."""
    monkeypatch.setattr(execution, "SUBMIT_AHEAD", 1)
    keys = "abcdefghijkl"
    collected = job.attempts_dir.parent / "collected"
    collected.mkdir()
    waiting: list[int] = []

    class Watched(Counted):
        def advance(self, count: int = 1) -> None:
            super().advance(count)
            # Those that are done, but not released yet, are no longer ahead of anything.
            waiting.append(sum(future.status == "pending" for future in job.cluster.client.futures.values()))
            (collected / str(self.done)).touch()

    def behave(key: str) -> None:
        give_up = time.monotonic() + 5
        while not (collected / str(keys.index(key) - 1)).exists() and key not in "ab" and time.monotonic() < give_up:
            time.sleep(0.01)

    job.reporter = Watched()
    assert job.run(job.units(keys), behave).num_run == 12
    assert 1 <= max(waiting) <= 2  # two threads


@pytest.mark.parametrize(
    ("shares", "num_threads", "most", "tasks"),
    [
        ([1.0] * 3, 1, 64, [1, 1, 1]),
        ([0.5] * 12, 1, 64, [2, 2, 2, 2, 2, 1, 1]),
        ([1.0, 0.75, 0.25, 0.25, *[0.0] * 10], 1, 64, [1, 2, 6, 3, 1, 1]),
        ([0.0] * 20, 1, 4, [4, 4, 4, 4, 2, 1, 1]),
        ([0.0] * 20, 5, 64, [2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
        ([0.0] * 3, 1, 1, [1, 1, 1]),
    ],
    ids=["whole ones alone", "halves in pairs", "the rest of a task", "at most", "some for every thread", "one by one"],
)
def test_short_units_share_a_task(shares, num_threads, most, tasks):
    waiting = deque(Unit(f"u{number}", "v1", number, share=share) for number, share in enumerate(shares))
    found = []
    while waiting:
        found.append(next_task(waiting, num_threads, most))
    assert [len(task) for task in found] == tasks
    assert [unit.task for task in found for unit in task] == list(range(len(shares)))


@given(st.lists(st.floats(0, 2), min_size=1, max_size=200), st.integers(1, 16))
def test_no_task_is_overfull_and_all_threads_get_some(shares, num_threads):
    waiting = deque(Unit(f"u{number}", "v1", number, share=share) for number, share in enumerate(shares))
    while waiting:
        before = len(waiting)
        task = next_task(waiting, num_threads)
        assert len(task) == 1 or sum(unit.share for unit in task) <= 1
        assert 1 <= len(task) <= max(1, -(-before // (2 * num_threads)))
        assert len(waiting) == before - len(task)


@pytest.mark.parametrize("flush_together", [False, True])
def test_units_that_share_a_task_fail_alone_and_are_skipped_alone(job, flush_together):
    def behave(key: str) -> None:
        if key in "ck":
            raise InputError("it is not what it should be")

    keys = "abcdefghijklmnopqrstuvwxyz"
    outcome = job.run(job.units(keys, share=0.01), behave, flush_together=flush_together)
    assert outcome.counts == {"made": 24, "bytes": 240, "units_failed": 2}
    assert in_words(outcome) == {"/videos/c.mp4": "failed", "/videos/k.mp4": "failed"}
    assert (job.reporter.total, job.reporter.done) == (26, 26)
    assert job.state.record("b").data == {"bulk": "b" * 1000}
    again = job.run(job.units(keys, share=0.01), flush_together=flush_together)
    assert (again.num_run, again.num_skipped) == (2, 24)
    assert job.files() == [f"{key}.txt" for key in keys]
    assert job.attempts() == {key: 2 if key in "ck" else 1 for key in keys}


def test_tasks_are_shared_by_units_that_say_so(job):
    """Units of one task run in one process at the same time."""
    folder = job.attempts_dir.parent

    def behave(key: str) -> None:
        (folder / f"{key}.pid").write_text(f"{os.getpid()}")

    submitted: list[int] = []
    submit = job.cluster.client.submit
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            job.cluster.client,
            "submit",
            lambda do, units, **named: (submitted.append(len(units)), submit(do, units, **named))[1],
        )
        assert job.run(job.units("abcdefghijklmnop", share=0.01), behave).counts["made"] == 16
    assert sum(submitted) == 16
    assert submitted[0] == 4
    assert len({(folder / f"{key}.pid").read_text() for key in "abcd"}) == 1


@pytest.mark.parametrize("last", ["h", "c"], ids=["all", "some"])
def test_units_done_together_are_recorded_alone_and_the_rest_one_by_one(job, last):
    def alone(key: str) -> UnitResult:
        return UnitResult(counts={"alone": 1})

    def together(keys):
        for key in keys:
            if key > last:
                raise OSError("no more")
            yield UnitResult(counts={"together": 1}, data={"beside": "".join(keys)})

    units = job.units("abcdefgh", share=0.25)
    outcome = run_units(job.cluster, job.state, units, alone, reporter=job.reporter, what="things", together=together)
    assert outcome.counts == ({"together": 4, "alone": 4} if last == "h" else {"together": 3, "alone": 5})
    assert not outcome.failures
    assert len(job.state.record("a").data["beside"]) > 1
    assert job.run(units).num_run == 0


def test_a_unit_that_cannot_travel_fails_alone_of_those_that_share_its_task(job):
    class Stuck:
        def __reduce__(self):
            return (eval, ("1/0",))

    units = job.units("abcdefghijkl", share=0.01)
    units[1] = Unit("b", "v1", Stuck(), "/videos/b.mp4", share=0.01)
    outcome = job.run(units)
    assert in_words(outcome) == {"/videos/b.mp4": "internal-error"}
    assert outcome.counts == {"made": 11, "bytes": 110, "units_failed": 1}


def test_giving_up_stops_the_tasks(job):
    class Impatient(Counted):
        def advance(self, count: int = 1) -> None:
            if count:
                raise KeyboardInterrupt

    job.reporter = Impatient()
    with pytest.raises(KeyboardInterrupt):
        job.run(job.units("abcdefghijklmnopqrstuvwxyz"), lambda key: time.sleep(0.05))
    assert job.reporter.finished == 1
    assert not [key for key, future in job.cluster.client.futures.items() if future.status == "pending"]
    assert len(job.attempts()) < 26

    job.reporter = Counted()
    outcome = job.run(job.units("abcdefghijklmnopqrstuvwxyz"))
    assert outcome.counts["made"] == 26
    assert outcome.num_skipped >= 1


def test_a_worker_that_dies_once_costs_nothing(mortal_job):
    attempts = mortal_job.attempts_dir

    def behave(key: str) -> None:
        if key in "cf" and (attempts / key).stat().st_size == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    outcome = mortal_job.run(mortal_job.units("abcdefgh"), behave)
    assert outcome == UnitsOutcome({"made": 8, "bytes": 80}, (), num_run=8, num_skipped=0)
    assert mortal_job.attempts()["c"] >= 2
    assert mortal_job.files() == [f"{key}.txt" for key in "abcdefgh"]


def test_a_unit_that_kills_every_worker_is_a_failure_and_the_rest_goes_on(mortal_job):
    folder = mortal_job.state.folder

    def behave(key: str) -> None:
        if key == "c":
            with folder.writing("half.txt") as temporary:
                temporary.write_bytes(b"half")
                os.kill(os.getpid(), signal.SIGKILL)

    outcome = mortal_job.run(mortal_job.units("abcdefgh"), behave)
    assert in_words(outcome) == {"/videos/c.mp4": "worker-lost"}
    assert outcome.counts == {"made": 7, "bytes": 70, "units_failed": 1}
    assert "127.0.0.1" not in outcome.failures[0].message
    assert not [entry.path for entry in folder.entries(hidden=True) if "tmp" in entry.path]

    again = mortal_job.run(mortal_job.units("abcdefgh"))
    assert again.counts == {"made": 8, "bytes": 80}
    assert again.failures == ()


def test_a_unit_that_kills_its_worker_is_the_only_failure_of_those_that_share_its_task(mortal_job):
    def behave(key: str) -> None:
        if key == "c":
            os.kill(os.getpid(), signal.SIGKILL)

    keys = "abcdefghijklmnop"
    outcome = mortal_job.run(mortal_job.units(keys, share=0.01), behave)
    assert in_words(outcome) == {"/videos/c.mp4": "worker-lost"}
    assert outcome.counts == {"made": 15, "bytes": 150, "units_failed": 1}
    assert mortal_job.files() == [f"{key}.txt" for key in keys if key != "c"]


def test_the_one_part_that_kills_workers_is_found_and_the_others_are_done(mortal_job):
    folder = mortal_job.state.folder
    parts = {f"clip{number:02}": f"/videos/{number}.mp4" for number in range(4)}

    def work(task: tuple[str, ...]) -> UnitResult:
        if "clip02" in task:
            os.kill(os.getpid(), signal.SIGKILL)
        lost = tuple(
            Failure("work", parts[part], "worker-lost", "it killed", part) for part in sorted({*parts} - {*task})
        )
        return UnitResult({"u.txt": folder.write_bytes("u.txt", " ".join(task).encode())}, {"made": len(task)}, lost)

    def without(task: tuple[str, ...], aside: frozenset[str]) -> tuple[str, ...]:
        return tuple(part for part in task if part not in aside)

    unit = Unit("u", digest("u"), tuple(parts), "unit", parts=parts, without=without)
    state, reporter = mortal_job.state, mortal_job.reporter
    outcome = run_units(mortal_job.cluster, state, [unit], work, reporter=reporter, what="things")
    assert [(failure.clip_id, failure.source) for failure in outcome.failures] == [("clip02", "/videos/2.mp4")]
    assert outcome.counts == {"made": 3}
    assert folder.read_bytes("u.txt").decode().split() == [part for part in parts if part != "clip02"]


def test_a_value_that_is_held_outlives_all_workers_that_have_it(mortal_job):
    client = mortal_job.cluster.client
    value = np.arange(3_000_000)  # of 24 MB
    held = hold(client, value)
    assert client.submit(np.sum, held, pure=False).result() == value.sum()
    for worker in client.who_has(held)[held.key]:
        with contextlib.suppress(OSError):
            client.run(lambda: os.kill(os.getpid(), signal.SIGKILL), workers=[worker])
    assert gather(client, [client.submit(np.sum, held, pure=False)]) == [value.sum()]


def test_workers_that_are_gone_end_the_wait_and_new_ones_go_on(mortal_job, monkeypatch):
    for module in (execution, waiting):
        monkeypatch.setattr(module, "LOOK_EVERY_S", 0.2)
    monkeypatch.setattr(waiting, "NO_WORKERS_S", 0.5)
    client = mortal_job.cluster.client
    client.cluster.scale(0)
    while client.nthreads():
        time.sleep(0.1)
    with pytest.raises(ClusterError, match=r"no workers for .* 3 units left to do"):
        mortal_job.run(mortal_job.units("abc"))
    assert mortal_job.reporter.notes == ["work: the Dask cluster has no workers now: waiting up to 0 s for some"]
    with pytest.raises(ClusterError, match=r"no workers for .* 1 task left to do"):
        gather(client, [client.submit(abs, -1)], mortal_job.reporter.note)
    assert len(mortal_job.reporter.notes) == 2
    monkeypatch.setattr(waiting, "NO_WORKERS_S", 60)
    client.cluster.scale(1)
    assert mortal_job.run(mortal_job.units("abc")).counts["made"] == 3
